"""Randomness as a function of (seed, step, purpose), never of history.

A resumed run draws the same numbers as one that never stopped, and one more draw in one place
changes no other. Numbers are drawn on the CPU, so that a seed means the same on every device.
"""

from enum import IntEnum

import numpy as np
import torch
from torch import Tensor


class Purpose(IntEnum):
    """What random numbers are for. Each purpose has its own stream."""

    INITIALIZATION = 0
    DISCRIMINATOR = 1
    GENERATOR = 2
    FLIP = 3
    STATISTICS = 4
    AUGMENTATION_REAL = 5
    AUGMENTATION_FAKE = 6
    AUGMENTATION_GENERATOR = 7
    INTERPOLATION = 8
    CONSISTENCY_REAL = 9
    CONSISTENCY_FAKE = 10


def generator_at(seed: int, step: int, purpose: Purpose, portion: int = 0) -> torch.Generator:
    """A random generator at the start of the stream of (seed, step, purpose).

    Args:
        seed: The run's seed.
        step: Number of the step or update, from 0.
        purpose: What the numbers are for.
        portion: Number of the portion, from 0, where each portion of a batch has its own draws.
    """
    place = (seed, step, purpose, portion) if portion else (seed, step, purpose)
    state = np.random.SeedSequence(place).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


def normal(*shape: int, random: torch.Generator) -> Tensor:
    """Numbers from N(0, 1): float32 on the CPU, whatever torch's defaults are."""
    return torch.randn(shape, generator=random, dtype=torch.float32, device="cpu")


def uniform(*shape: int, random: torch.Generator) -> Tensor:
    """Numbers from [0, 1): float32 on the CPU, whatever torch's defaults are."""
    return torch.rand(shape, generator=random, dtype=torch.float32, device="cpu")


def whole(low: int, high: int, *shape: int, random: torch.Generator) -> Tensor:
    """Whole numbers from low to high - 1: int64 on the CPU."""
    return torch.randint(low, high, shape, generator=random, dtype=torch.int64, device="cpu")


def draw_latents_and_labels(
    count: int, latent_dim: int, label_frequencies: Tensor, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draws latents from N(0, I), (N, latent_dim), and labels by frequency, int64 (N,)."""
    latents = normal(count, latent_dim, random=random)
    labels = torch.multinomial(label_frequencies, count, replacement=True, generator=random)
    return latents, labels
