"""From seeds to the numbers that a generator starts from."""

import math
from collections.abc import Iterable
from operator import index

import numpy as np
import torch
from torch import Tensor

from sagan.errors import SaganError
from sagan.system.randomness import normal


def draw_latents(
    seeds: Iterable[int], latent_dim: int, *, truncation: float | None = None
) -> Tensor:
    """One latent per seed: float32 (N, latent_dim), the same on every machine.

    Args:
        seeds: Whole numbers, at least 0: a list, a range, an array or a tensor.
        latent_dim: Length of a latent.
        truncation: t > 0 maps N(0, 1) onto the normal distribution cut off at -t and t, by the
            inverse of the distribution function; smaller values give more typical pictures, and a
            seed's picture changes smoothly with t. None does nothing.

    Raises:
        SaganError: A seed is negative or the truncation is not positive.
    """
    numbers = whole_numbers(seeds)
    stacked = torch.empty(len(numbers), latent_dim, dtype=torch.float32, device="cpu")
    for latent, seed in zip(stacked, numbers, strict=True):
        latent.copy_(normal(latent_dim, random=torch.Generator().manual_seed(seed)))
    if truncation is None:
        return stacked
    if not 0 < truncation < math.inf:
        raise SaganError(f"truncation {truncation} is out of range; it must be above 0 and finite")
    limit = torch.tensor(truncation, dtype=torch.float64)
    low, high = torch.special.ndtr(-limit), torch.special.ndtr(limit)
    quantile = low + torch.special.ndtr(stacked.double()) * (high - low)
    return torch.special.ndtri(quantile).clamp(-limit, limit).float()


def whole_numbers(seeds: Iterable[int]) -> list[int]:
    """Reads seeds from a list, a range, an array or a tensor.

    Raises:
        SaganError: It is a single number, or one is no whole number from 0.
    """
    if isinstance(seeds, np.ndarray | Tensor):
        seeds = seeds.tolist()  # of a single number it gives that number
    if not isinstance(seeds, Iterable):
        raise SaganError(f"give several seeds as range({seeds}), or the one seed as [{seeds}]")
    numbers = []
    for seed in seeds:
        try:
            numbers.append(index(seed))
        except TypeError:
            raise SaganError(f"seed {seed!r} is no whole number") from None
        if not 0 <= numbers[-1] < 2**63:
            raise SaganError(f"seed {seed} is out of range; it must be a whole number from 0")
    return numbers
