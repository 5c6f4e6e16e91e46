"""Ours as the harness sees it: the real training loop and the folded generator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from benchmarks.adapters import Batch, attention_resolution, surroundings
from sagan import config as settings
from sagan.data import Dataset
from sagan.sampling.generator import TrainedGenerator
from sagan.training.loop import train_steps
from sagan.training.state import new_state


class Ours:
    """sagan's own steps: draws, both updates, average; the pictures come from a dataset in memory.

    The first batch becomes that dataset, so that every step picks, copies to the device and
    converts its pictures as a run does.
    """

    def __init__(
        self,
        resolution: int,
        num_classes: int,
        width: int,
        *,
        compile: bool = False,
        generator: Mapping[str, Any] = MappingProxyType({}),
        discriminator: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.device, self.autocast = surroundings()
        self.num_classes = num_classes
        network = {"base_channels": width, "attention": [attention_resolution(resolution)]}
        self.config = settings.from_dict(
            {
                "data": {"resolution": resolution},
                "generator": {**network, **generator},
                "discriminator": {**network, **discriminator},
                "train": {"compile": compile},
            }
        )
        with torch.device("cpu"), torch.autocast(self.device.type, enabled=False):
            self.state = new_state(self.config, num_classes, self.device)
        self.steps: Iterator[dict[str, Tensor]] | None = None

    def train_step(self, batch: Batch) -> None:
        """One step of the real loop."""
        if self.steps is None:
            self.steps = self._loop(*batch)
        next(self.steps)

    def _loop(self, images: Tensor, labels: Tensor) -> Iterator[dict[str, Tensor]]:
        train = replace(self.config.train, batch_size=len(images))
        return train_steps(
            self.state,
            Dataset(
                images=images.cpu().numpy(),
                labels=labels.cpu().numpy(),
                class_names=tuple(map(str, range(self.num_classes))),
                fingerprint="noise",
            ),
            replace(self.config, train=train),
            label_frequencies=torch.full((self.num_classes,), 1 / self.num_classes),
            device=self.device,
            autocast=self.autocast,
        )

    @cached_property
    def generator(self) -> TrainedGenerator:
        """The averaged generator, folded."""
        names = tuple(map(str, range(self.num_classes)))
        generator = TrainedGenerator(self.state.generator_ema, names)
        if self.config.train.compile:
            generator.compile()
        return generator

    @torch.inference_mode()
    def sample(self, count: int) -> Tensor:
        """The folded network on fresh latents."""
        latents = torch.randn(count, self.generator.latent_dim, device=self.device)
        labels = torch.randint(self.num_classes, (count,), device=self.device)
        with self.autocast:
            return self.generator.network(latents, labels)
