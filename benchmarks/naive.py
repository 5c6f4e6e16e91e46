"""The plain reference as the harness sees it: ``tests/reference.py``."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.adapters import Batch, attention_resolution, surroundings

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import reference

LATENT_DIM = 128


class Naive:
    """The textbook loop over the plain networks; there is no average.

    Under autocast the passes and losses are in bfloat16 and the backward passes outside, as
    PyTorch's documentation has it.
    """

    def __init__(
        self,
        resolution: int,
        num_classes: int,
        width: int,
        *,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self.device, self.autocast = surroundings()
        self.num_classes = num_classes
        size = (resolution, num_classes, width, (attention_resolution(resolution),))
        with torch.autocast(self.device.type, enabled=False):
            networks = reference.Generator(*size), reference.Discriminator(*size)
        self.generator, self.discriminator = (
            network.to(memory_format=memory_format)  # pyright: ignore[reportCallIssue]
            for network in networks
        )
        self.memory_format = memory_format
        self.optimizers = [
            torch.optim.Adam(network.parameters(), lr=rate, betas=(0.0, 0.999))
            for network, rate in ((self.generator, 1e-4), (self.discriminator, 4e-4))
        ]

    def train_step(self, batch: Batch) -> None:
        """One step of the textbook loop."""
        self.generator.train()
        images, labels = batch
        real = (images.float() / 127.5 - 1).contiguous(memory_format=self.memory_format)
        reference.train_step(
            self.generator,
            self.discriminator,
            self.optimizers,
            real,
            labels,
            torch.randn(2, len(images), LATENT_DIM, device=self.device),
            torch.randint(self.num_classes, (2, len(images)), device=self.device),
            self.autocast,
        )

    @torch.inference_mode()
    def sample(self, count: int) -> Tensor:
        """The generator in evaluation mode."""
        self.generator.eval()
        latents = torch.randn(count, LATENT_DIM, device=self.device)
        labels = torch.randint(self.num_classes, (count,), device=self.device)
        with self.autocast:
            return self.generator(latents, labels)


def channels_last(resolution: int, num_classes: int, width: int) -> Naive:
    """The same with the memory format that tensor cores like."""
    return Naive(resolution, num_classes, width, memory_format=torch.channels_last)
