"""Paths: through latents on the sphere, through classes in their tables."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from sagan.errors import SaganError
from sagan.images.batch import Pictures
from sagan.sampling.generator import TrainedGenerator
from sagan.sampling.latents import draw_latents


def slerp(first: Tensor, second: Tensor, fractions: Tensor) -> Tensor:
    """Spherical interpolation: along the arc between two vectors, at constant speed.

    Latents drawn from N(0, I) have nearly the same length; the straight line between two of them
    leads through shorter ones, which the generator never saw. Parallel and opposite vectors, which
    have no arc of their own, get the straight line.

    Args:
        first: (D,).
        second: (D,).
        fractions: (T,), 0 at the first and 1 at the second.

    Returns:
        (T, D); the ends exactly.

    Source: Shoemake 1985; White 2016, "Sampling Generative Networks".
    """
    cosine = F.cosine_similarity(first.double(), second.double(), dim=0).clamp(-1, 1)
    angle = cosine.acos()
    fractions = fractions.double()[:, None]
    if angle.sin() < 1e-6:
        weights = 1 - fractions, fractions
    else:
        sines = ((1 - fractions) * angle).sin(), (fractions * angle).sin()
        weights = sines[0] / angle.sin(), sines[1] / angle.sin()
    return (weights[0] * first + weights[1] * second).to(first.dtype)


def latent_path(
    generator: TrainedGenerator,
    seeds: Iterable[int],
    label: str | int | None = None,
    *,
    frames: int = 16,
    loop: bool = False,
    truncation: float | None = None,
) -> Pictures:
    """Pictures on the way from seed to seed, the class kept.

    Args:
        generator: Draws them.
        seeds: At least two; their own pictures are on the path.
        label: Class name or number; None for an unconditional generator.
        frames: Pictures from one seed (included) to the next (excluded).
        loop: Return to the first seed, whose picture is not repeated at the end.
        truncation: As for sampling.

    Returns:
        uint8 (T, C, H, W).

    Raises:
        SaganError: Fewer than two seeds, or a number or class is out of range.
    """
    latents = draw_latents(seeds, generator.latent_dim, truncation=truncation)
    legs = _legs(len(latents), frames, loop, "seeds")
    path = torch.cat([slerp(latents[a], latents[b], steps) for a, b, steps in legs])
    return generator.pictures(path, generator.label_numbers(label, len(path)))


def class_path(
    generator: TrainedGenerator,
    seed: int,
    labels: Sequence[str | int],
    *,
    frames: int = 16,
    loop: bool = False,
    truncation: float | None = None,
) -> Pictures:
    """Pictures on the way from class to class, the latent kept.

    Between two classes every conditional batch norm takes gains and biases between those of the
    two: a path in the space of the class tables, on which the classes themselves lie.

    Args:
        generator: Draws them.
        seed: Of the latent.
        labels: At least two class names or numbers.
        frames: Pictures from one class (included) to the next (excluded).
        loop: Return to the first class, whose picture is not repeated at the end.
        truncation: As for sampling.

    Returns:
        uint8 (T, C, H, W).

    Raises:
        SaganError: As for :func:`latent_path`, or the generator is unconditional.
    """
    if not generator.class_names:
        raise SaganError("this generator has no classes; take a path through latents")
    numbers = generator.label_numbers(labels, len(labels))
    shares = F.one_hot(numbers, len(generator.class_names)).double()
    legs = _legs(len(shares), frames, loop, "classes")
    path = torch.cat([torch.lerp(shares[a], shares[b], steps[:, None]) for a, b, steps in legs])
    latent = draw_latents([seed], generator.latent_dim, truncation=truncation)
    return generator.pictures(latent.expand(len(path), -1), path.float())


def _legs(count: int, frames: int, loop: bool, what: str) -> list[tuple[int, int, Tensor]]:
    """Index of the first stop, of the next, and the fractions of the way at which to draw.

    Only the last leg of an open path includes its end.
    """
    if count < 2:
        raise SaganError(f"a path needs two {what} at least, not {count}; give more")
    if frames < 1:
        raise SaganError(f"frames = {frames} is out of range; it must be at least 1")
    steps = torch.arange(frames + 1, dtype=torch.float64) / frames
    legs = [(a, (a + 1) % count, steps[:-1]) for a in range(count)]
    return legs if loop else [*legs[:-2], (count - 2, count - 1, steps)]
