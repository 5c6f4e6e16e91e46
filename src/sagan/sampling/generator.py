"""From seeds and labels to pictures.

A picture depends on its seed and label: each seed draws its own latent, and the networks here are
folded. Batch mates change it by rounding alone, by single levels of a few values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from sagan.config import network_shape
from sagan.errors import SaganError
from sagan.images import grid, to_float, to_uint8
from sagan.images.batch import Pictures
from sagan.images.variety import nearest_distance
from sagan.nn.initialization import undrawn
from sagan.nn.residual import AnyGenerator, make_discriminator, make_generator
from sagan.runs.alarms import variety_of
from sagan.runs.checkpoint import Checkpoint, restore_network
from sagan.runs.run import load_checkpoint
from sagan.sampling.attention import Attention, Points, observe
from sagan.sampling.latents import draw_latents, whole_numbers
from sagan.sampling.network import Labels, TrainedNetwork
from sagan.system.device import pick_device, require_compiler
from sagan.system.spacing import from_the_first

if TYPE_CHECKING:
    from sagan.data import Dataset  # whose sources would be loaded to draw a picture

BATCH_SIZE = 64
_ROUNDING = 1e-3  # how far beyond -1 and 1 a picture may lie


class TrainedGenerator(TrainedNetwork):
    """A generator ready to draw: averaged weights, folded, with the names of its classes.

    Attributes:
        latent_dim: Length of a latent.
    """

    kind = "generator"

    def __init__(self, generator: AnyGenerator, class_names: Sequence[str]) -> None:
        super().__init__(generator, class_names)
        self.latent_dim = generator.latent_dim

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """(N, latent_dim) and labels -> (N, C, H, W) in [-1, 1].

        Args:
            latents: Drawn from N(0, I).
            labels: Integer (N,), or the share of every class, floating (N, classes), which mixes
                the classes' batch-norm tables; None for an unconditional generator.

        Raises:
            SaganError: The latents have another form, a label is missing or out of range, or
                shares do not sum to 1.
        """
        if self._checks_values and latents.shape[1:] != (self.latent_dim,):
            raise SaganError(
                f"latents must have shape (N, {self.latent_dim}); got {tuple(latents.shape)}"
            )
        return self.network(self._placed(latents), self._labels(labels, latents.shape[0]))

    @torch.inference_mode()
    def sample(
        self, seeds: Iterable[int], labels: Labels = None, *, truncation: float | None = None
    ) -> Pictures:
        """Draws one picture per seed.

        Args:
            seeds: Whole numbers, at least 0: a list, a range, an array or a tensor.
            labels: Class names or numbers, one for all or one per seed; None for an unconditional
                generator.
            truncation: See :func:`draw_latents`.

        Returns:
            uint8 (N, C, H, W), an array that a notebook shows as a grid.

        Raises:
            SaganError: A class is unknown (lists the known ones), counts differ, or a number is out
                of range.
        """
        latents = draw_latents(seeds, self.latent_dim, truncation=truncation)
        return self.pictures(latents, self.label_numbers(labels, len(latents)))

    @torch.inference_mode()
    def pictures(self, latents: Tensor, labels: Tensor) -> Pictures:
        """As :meth:`forward`, in portions and for any number of latents: uint8 (N, C, H, W)."""
        portions = torch.arange(len(latents)).split(BATCH_SIZE)
        drawn = [to_uint8(self(latents[rows], labels[rows])).cpu() for rows in portions]
        return Pictures(torch.cat(drawn).numpy())

    @torch.inference_mode()
    def attention(
        self,
        seeds: int | Iterable[int],
        labels: Labels = None,
        *,
        at: Points = (),
        layer: int | str | None = None,
        truncation: float | None = None,
    ) -> Attention:
        """Where points of pictures look while they are drawn.

        Args:
            seeds: One, or several as for :meth:`sample`.
            labels: As for :meth:`sample`; None takes the first class.
            at: Query points, pixels (x, y) from the upper left; by default five salient ones of
                each picture whose attention differs.
            layer: Only layers whose map has this side, or the one of this name; None takes all.
            truncation: See :func:`draw_latents`.

        Raises:
            SaganError: As for :meth:`sample`; there is no attention (there), it is not finite, or
                a point lies outside the picture.
        """
        seeds = whole_numbers([seeds] if isinstance(seeds, int | np.integer) else seeds)
        latents = draw_latents(seeds, self.latent_dim, truncation=truncation)
        if labels is None and self.class_names:
            labels = self.class_names[0]
        numbers = self.label_numbers(labels, len(latents))
        extra = [] if truncation is None else [f"truncation {truncation:g}"]
        names = [
            ", ".join([*self.class_names[number : number + 1], f"seed {seed}", *extra])
            for seed, number in zip(seeds, numbers.tolist(), strict=True)
        ]
        return observe(self, latents, numbers, names=names, at=at, layer=layer)

    def compile(self) -> None:
        """Compiles the network at its first call: ten seconds or more then, a third less later.

        Raises:
            SaganError: There is no compiler.
        """
        require_compiler(self.device)
        self.network.compile()


class TrainedDiscriminator(TrainedNetwork):
    """A discriminator ready to judge."""

    kind = "discriminator"

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """(N, C, H, W) in [-1, 1] and labels -> logits (N,), high for real.

        Args:
            images: Of the generator's range; :func:`sagan.images.to_float` makes them.
            labels: Integer (N,), or the share of every class, floating (N, classes), which mixes
                the classes' projections; None for an unconditional discriminator.

        Raises:
            SaganError: The images have another size or range, a label is missing or out of range,
                or shares do not sum to 1.
        """
        if self._checks_values:
            self._require_images(images)
        return self.network(self._placed(images), self._labels(labels, images.shape[0]))

    def _require_images(self, images: Tensor) -> None:
        wanted = (self.channels, *self.size)
        if images.ndim != 4 or images.shape[1:] != wanted:
            raise SaganError(
                f"the pictures have the shape {tuple(images.shape)}; this discriminator judges "
                f"(N, {', '.join(map(str, wanted))})"
            )
        if not images.numel():
            return
        low, high = (value.item() for value in images.detach().aminmax())
        if not (images.is_floating_point() and -1 - _ROUNDING <= low <= high <= 1 + _ROUNDING):
            raise SaganError(
                f"the pictures are {str(images.dtype).removeprefix('torch.')} from {low:g} to "
                f"{high:g}; give floats in [-1, 1], as sagan.images.to_float makes of uint8"
            )

    @torch.inference_mode()
    def attention(
        self,
        pictures: np.ndarray,
        labels: Labels = None,
        *,
        at: Points = (),
        layer: int | str | None = None,
        names: Sequence[str] = (),
    ) -> Attention:
        """Where points of given pictures look while they are judged.

        The attention depends on the picture alone; the label only enters the verdict, after it.

        Args:
            pictures: uint8 (N, C, H, W), or one (C, H, W).
            labels: Class names or numbers, for the titles.
            at: As for :meth:`TrainedGenerator.attention`.
            layer: As there.
            names: What the pictures are called in the titles.

        Raises:
            SaganError: A class is unknown, the pictures have another size, there is no attention
                (there), it is not finite, or a point lies outside the picture.
        """
        pictures = Pictures(np.array(pictures, ndmin=4))
        known = () if labels is None else self.class_names
        labels = np.zeros(len(pictures), np.int64) if labels is None else labels
        numbers = self.label_numbers(labels, len(pictures))
        titles = [
            ", ".join(filter(None, (name, *known[number : number + 1])))
            for name, number in zip(names or [""] * len(pictures), numbers.tolist(), strict=True)
        ]
        inputs = to_float(torch.from_numpy(pictures))
        return observe(self, inputs, numbers, names=titles, at=at, layer=layer)


def load_generator(path: str | Path, *, device: str | torch.device = "cpu") -> TrainedGenerator:
    """Opens the generator of a model.

    The averaged weights are used where there are some.

    Args:
        path: A run folder, a checkpoint, an exported file, or a name: :func:`sagan.models`.
        device: auto, cpu, cuda or mps.

    Raises:
        SaganError: There is none, it is damaged, or the device is absent.
    """
    place = pick_device(str(device))
    return generator_of(load_checkpoint(path)[0]).to(place)


def generator_of(checkpoint: Checkpoint, part: str | None = None) -> TrainedGenerator:
    """Makes a generator of a checkpoint ready to draw, by default the averaged one.

    Raises:
        SaganError: The part is absent or does not fit.
    """
    shape = network_shape(checkpoint.config.data, len(checkpoint.class_names))
    with undrawn():
        generator = make_generator(checkpoint.config.generator, **shape).float()
    restore_network(generator, checkpoint.parts, part or averaged_part(checkpoint))
    return TrainedGenerator(generator, checkpoint.class_names)


def load_discriminator(
    path: str | Path, *, device: str | torch.device = "cpu"
) -> TrainedDiscriminator:
    """Opens the discriminator of a model.

    Args:
        path: A run folder, a checkpoint, an exported file, or a name: :func:`sagan.models`.
        device: auto, cpu, cuda or mps.

    Raises:
        SaganError: There is none, it is damaged, or the device is absent.
    """
    place = pick_device(str(device))
    return discriminator_of(load_checkpoint(path)[0]).to(place)


def discriminator_of(checkpoint: Checkpoint) -> TrainedDiscriminator:
    """Makes the discriminator that a checkpoint holds ready to judge.

    Raises:
        SaganError: It is absent or does not fit.
    """
    shape = network_shape(checkpoint.config.data, len(checkpoint.class_names))
    with undrawn():
        discriminator = make_discriminator(checkpoint.config.discriminator, **shape).float()
    restore_network(discriminator, checkpoint.parts, "discriminator")
    return TrainedDiscriminator(discriminator, checkpoint.class_names)


def averaged_part(checkpoint: Checkpoint) -> str:
    """The part that holds the generator to draw with."""
    return "generator_ema" if "generator_ema" in checkpoint.parts else "generator"


def for_inference(checkpoint: Checkpoint) -> Checkpoint:
    """Keeps what drawing and judging need: the averaged generator and the discriminator."""
    given = checkpoint.parts
    names = {"generator": averaged_part(checkpoint), "discriminator": "discriminator"}
    parts = {name: given[part] for name, part in names.items() if part in given}
    return replace(checkpoint, parts=parts)


MOST_CLASSES = 16
SAMPLE_COLUMNS = 8
"""Pictures in a row of the sample grids of a run."""


def shown_classes(generator: TrainedGenerator) -> list[int]:
    """Numbers of all classes, or of 16 evenly spaced ones."""
    return from_the_first(len(generator.class_names), MOST_CLASSES).tolist()


def class_sheet(generator: TrainedGenerator, columns: int) -> np.ndarray:
    """A grid of pictures, one row per class, the same seeds in every row: uint8 (C, H, W).

    Of more than 16 classes it shows 16 evenly spaced ones; without classes it is a square of
    different seeds.
    """
    if not generator.class_names:
        return grid(generator.sample(range(columns * columns)), columns)
    shown = shown_classes(generator)
    seeds = list(range(columns)) * len(shown)
    return grid(generator.sample(seeds, np.repeat(shown, columns)), columns)


def varieties(generator: TrainedGenerator, dataset: Dataset) -> dict[str, float]:
    """How far apart pictures of every class are, generated over real, by the name of the class.

    1 is as varied as the real pictures, 0 is one picture; :func:`nearest_distance` says what counts
    as apart. Of more than 16 classes it takes 16 evenly spaced ones, and of each 32 pictures at
    most; without classes the name is empty. Classes whose real pictures are all alike are left out.
    """
    ratios = {}
    for label in shown_classes(generator) or [0]:
        rows = rows_of_class(dataset, label, 32)
        if distance := nearest_distance(dataset.images[rows]) if len(rows) > 1 else 0.0:
            fake = generator.sample(range(len(rows)), np.full(len(rows), label))
            name = generator.class_names[label] if generator.class_names else ""
            ratios[name] = nearest_distance(fake) / distance
    return ratios


def rows_of_class(dataset: Dataset, label: int, most: int) -> np.ndarray:
    """At most so many pictures of a class, evenly spaced, by their numbers: int64."""
    rows = np.flatnonzero(dataset.labels == label)
    return rows[from_the_first(len(rows), most)]


def logged_variety(generator: TrainedGenerator, dataset: Dataset) -> dict[str, Any]:
    """:func:`varieties` as the log has them, and summed up, NaN where there is none."""
    by_class = {name: round(value, 4) for name, value in varieties(generator, dataset).items()}
    variety = variety_of(by_class) if by_class else math.nan
    return {"variety": round(variety, 4), "variety_by_class": by_class}
