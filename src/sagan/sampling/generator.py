"""From seeds and labels to pictures.

A picture depends on its seed and label alone: each seed draws its own latent, and the networks
here are folded, so that nothing depends on batch mates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sagan.config import nearest
from sagan.data import Dataset
from sagan.errors import SaganError
from sagan.images import grid, to_uint8
from sagan.nn.folding import fold
from sagan.nn.residual import AnyDiscriminator, AnyGenerator, make_discriminator, make_generator
from sagan.runs.checkpoint import Checkpoint, restore_network
from sagan.runs.run import load_checkpoint
from sagan.system.device import require_compiler

BATCH_SIZE = 64


class TrainedGenerator(nn.Module):
    """A generator ready to draw: averaged weights, folded, with the names of its classes.

    Attributes:
        network: The folded network.
        class_names: () for an unconditional generator.
        latent_dim: Length of a latent.
        resolution: Side of the pictures in pixels.
    """

    def __init__(self, generator: AnyGenerator, class_names: Sequence[str]) -> None:
        super().__init__()
        self.network = fold(generator)
        self.class_names = tuple(class_names)
        self.latent_dim = generator.latent_dim
        self.resolution = generator.resolution

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """(N, latent_dim) and labels -> (N, 3, R, R) in [-1, 1].

        Args:
            latents: Drawn from N(0, I).
            labels: Integer (N,), or the share of every class, floating (N, classes), which mixes
                the classes' batch-norm tables.

        Raises:
            SaganError: A label is out of range, or shares do not sum to 1.
        """
        _require_labels(labels, len(self.class_names))
        device = next(self.network.buffers()).device
        return self.network(latents.to(device), labels.to(device))

    @torch.inference_mode()
    def sample(
        self,
        seeds: Iterable[int],
        labels: str | int | Sequence[str | int] | None = None,
        *,
        truncation: float | None = None,
    ) -> np.ndarray:
        """Draws one picture per seed.

        Args:
            seeds: Whole numbers, at least 0.
            labels: Class names or numbers, one for all or one per seed; None for an unconditional
                generator.
            truncation: See :func:`draw_latents`.

        Returns:
            uint8 (N, 3, R, R).

        Raises:
            SaganError: A class is unknown (lists the known ones), counts differ, or a number is out
                of range.
        """
        seeds = list(seeds)
        numbers = self.label_numbers(labels, len(seeds))
        latents = draw_latents(seeds, self.latent_dim, truncation=truncation)
        return self.pictures(latents, numbers)

    @torch.inference_mode()
    def pictures(self, latents: Tensor, labels: Tensor) -> np.ndarray:
        """As :meth:`forward`, in portions and for any number of latents: uint8 (N, 3, R, R)."""
        portions = torch.arange(len(latents)).split(BATCH_SIZE)
        drawn = [to_uint8(self(latents[rows], labels[rows])).cpu() for rows in portions]
        return torch.cat(drawn).numpy()

    def compile(self) -> None:
        """Compiles the network at its first call: ten seconds or more then, a third less later.

        Raises:
            SaganError: There is no compiler.
        """
        require_compiler(next(self.network.buffers()).device)
        self.network.compile()

    def label_numbers(self, labels: str | int | Sequence[str | int] | None, count: int) -> Tensor:
        """Turns names or numbers of classes into int64 (count,)."""
        if labels is None:
            if self.class_names:
                raise SaganError(f"choose a class; known are {', '.join(self.class_names)}")
            labels = 0
        if isinstance(labels, str | int | np.integer):
            labels = [labels] * count
        if len(labels) != count:
            raise SaganError(f"{len(labels)} labels for {count} seeds; give one, or one per seed")
        numbers = [label_number(label, self.class_names) for label in labels]
        return torch.tensor(numbers, dtype=torch.int64)


def label_number(label: str | int, class_names: Sequence[str]) -> int:
    """Turns the name or number of a class into its number; 0 is the only one without classes.

    Raises:
        SaganError: It is unknown; lists the known ones.
    """
    if not isinstance(label, str) and 0 <= label < max(len(class_names), 1):
        return int(label)
    if label in class_names:
        return class_names.index(str(label))
    if not class_names:
        raise SaganError(f"this model has no classes; leave {label!r} out")
    hint = nearest(label, class_names) if isinstance(label, str) else ""
    raise SaganError(f"there is no class {label!r}{hint}; known are {', '.join(class_names)}")


def draw_latents(
    seeds: Sequence[int], latent_dim: int, *, truncation: float | None = None
) -> Tensor:
    """One latent per seed: float32 (N, latent_dim), the same on every machine.

    Args:
        seeds: Whole numbers, at least 0.
        latent_dim: Length of a latent.
        truncation: t > 0 maps N(0, 1) onto the normal distribution cut off at -t and t, by the
            inverse of the distribution function; smaller values give more typical pictures, and a
            seed's picture changes smoothly with t. None does nothing.

    Raises:
        SaganError: A seed is negative or the truncation is not positive.
    """
    for seed in seeds:
        if not 0 <= seed < 2**63:
            raise SaganError(f"seed {seed} is out of range; it must be a whole number from 0")
    latents = [
        torch.randn(latent_dim, generator=torch.Generator().manual_seed(int(seed)))
        for seed in seeds
    ]
    stacked = torch.stack(latents) if latents else torch.empty(0, latent_dim)
    if truncation is None:
        return stacked
    if not 0 < truncation < math.inf:
        raise SaganError(f"truncation {truncation} is out of range; it must be above 0 and finite")
    limit = torch.tensor(truncation, dtype=torch.float64)
    low, high = torch.special.ndtr(-limit), torch.special.ndtr(limit)
    quantile = low + torch.special.ndtr(stacked.double()) * (high - low)
    return torch.special.ndtri(quantile).clamp(-limit, limit).float()


def _require_labels(labels: Tensor, num_classes: int) -> None:
    rows = max(num_classes, 1)
    if labels.is_floating_point():
        if labels.ndim != 2 or labels.shape[1] != rows:
            raise SaganError(
                f"shares of classes must have shape (N, {rows}); got {tuple(labels.shape)}"
            )
        sums = labels.sum(dim=1, dtype=torch.float32)
        if not torch.allclose(sums, torch.ones_like(sums), rtol=0, atol=1e-2):
            raise SaganError(
                f"shares of classes must sum to 1 for each picture; got {sums.tolist()}"
            )
    elif len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < rows:
        raise SaganError(f"labels must lie between 0 and {rows - 1}; got {labels.tolist()}")


class TrainedDiscriminator(nn.Module):
    """A discriminator ready to judge.

    Attributes:
        network: The folded network.
        class_names: () for an unconditional discriminator.
    """

    def __init__(self, discriminator: AnyDiscriminator, class_names: Sequence[str]) -> None:
        super().__init__()
        self.network = fold(discriminator)
        self.class_names = tuple(class_names)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """(N, 3, R, R) in [-1, 1] and labels -> logits (N,), high for real.

        Args:
            images: Of the generator's range.
            labels: Integer (N,), or the share of every class, floating (N, classes), which mixes
                the classes' projections.

        Raises:
            SaganError: A label is out of range, or shares do not sum to 1.
        """
        _require_labels(labels, len(self.class_names))
        device = next(self.network.parameters()).device
        return self.network(images.to(device), labels.to(device))


def load_generator(path: str | Path, *, device: str = "cpu") -> TrainedGenerator:
    """Opens the generator of a run folder, a checkpoint or an exported file.

    The averaged weights are used where there are some.

    Raises:
        SaganError: There is none, or it is damaged.
    """
    checkpoint, _ = load_checkpoint(path)
    return generator_of(checkpoint, averaged_part(checkpoint)).to(device)


def generator_of(checkpoint: Checkpoint, part: str) -> TrainedGenerator:
    """Makes the generator that a part of a checkpoint holds ready to draw.

    Raises:
        SaganError: The part is absent or does not fit.
    """
    generator = make_generator(checkpoint.config.generator, **_size(checkpoint))
    restore_network(generator, checkpoint.parts, part)
    return TrainedGenerator(generator, checkpoint.class_names)


def load_discriminator(path: str | Path, *, device: str = "cpu") -> TrainedDiscriminator:
    """Opens the discriminator of a run folder, a checkpoint or an exported file.

    Raises:
        SaganError: There is none, or it is damaged.
    """
    checkpoint, _ = load_checkpoint(path)
    return discriminator_of(checkpoint).to(device)


def discriminator_of(checkpoint: Checkpoint) -> TrainedDiscriminator:
    """Makes the discriminator that a checkpoint holds ready to judge.

    Raises:
        SaganError: It is absent or does not fit.
    """
    discriminator = make_discriminator(checkpoint.config.discriminator, **_size(checkpoint))
    restore_network(discriminator, checkpoint.parts, "discriminator")
    return TrainedDiscriminator(discriminator, checkpoint.class_names)


def _size(checkpoint: Checkpoint) -> dict[str, int]:
    return {
        "resolution": checkpoint.config.data.resolution,
        "num_classes": len(checkpoint.class_names),
    }


def averaged_part(checkpoint: Checkpoint) -> str:
    """The part that holds the generator to draw with."""
    return "generator_ema" if "generator_ema" in checkpoint.parts else "generator"


def for_inference(checkpoint: Checkpoint) -> Checkpoint:
    """Keeps what drawing and judging need: the averaged generator and the discriminator."""
    parts = {"generator": averaged_part(checkpoint), "discriminator": "discriminator"}
    return replace(
        checkpoint,
        parts={
            name: checkpoint.parts[part] for name, part in parts.items() if part in checkpoint.parts
        },
    )


MOST_CLASSES = 16


def shown_classes(generator: TrainedGenerator) -> list[int]:
    """Numbers of all classes, or of 16 evenly spaced ones."""
    count = len(generator.class_names)
    shown = min(count, MOST_CLASSES)
    return [i * count // shown for i in range(shown)]


def class_sheet(generator: TrainedGenerator, columns: int) -> np.ndarray:
    """A grid of pictures, one row per class, the same seeds in every row: uint8 (3, H, W).

    Of more than 16 classes it shows 16 evenly spaced ones; without classes it is a square of
    different seeds.
    """
    if not generator.class_names:
        return grid(generator.sample(range(columns * columns)), columns)
    shown = shown_classes(generator)
    seeds = list(range(columns)) * len(shown)
    return grid(
        generator.sample(seeds, [label for label in shown for _ in range(columns)]), columns
    )


def variety(generator: TrainedGenerator, dataset: Dataset, *, count: int = 32) -> float:
    """Spread of a pixel within a class, generated over real, mean over the classes.

    1 is as varied as the real pictures, 0 is one picture per class. Of more than 16 classes it
    takes 16 evenly spaced ones, and of each ``count`` pictures at most.
    """
    ratios = []
    for label in shown_classes(generator) or [0]:
        real = dataset.images[np.flatnonzero(dataset.labels == label)[:count]]
        if spread := real.std(axis=0).mean() if len(real) else 0.0:
            fake = generator.sample(range(len(real)), label)
            ratios.append(fake.std(axis=0).mean() / spread)
    return float(np.mean(ratios)) if ratios else math.nan
