"""Randomness as a function of (seed, step, purpose), never of history.

A resumed run draws the same numbers as one that never stopped, and a change in one place does not
shift the draws of another. Numbers are drawn on the CPU, so that a seed means the same everywhere.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """What the numbers are for; each has a stream of its own."""

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
    """A random generator at the beginning of the stream of (seed, step, purpose).

    Args:
        seed: Of the run.
        step: A step or update, from 0.
        purpose: What the numbers are for.
        portion: Of the batch, from 0, where its portions draw for themselves.
    """
    place = (seed, step, purpose, portion) if portion else (seed, step, purpose)
    state = np.random.SeedSequence(place).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))
