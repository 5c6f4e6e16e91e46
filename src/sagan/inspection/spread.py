"""How far and how widely attention reaches, as numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

NEIGHBOURHOOD = 8
"""Side of the neighbourhood of a query, in cells of the query grid."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Means over rows of attention weights."""

    entropy: float
    """In nats: 0 where one key has all the attention, ln K where all K keys have the same."""
    distance: float
    """From the query's centre to the keys', weighted; 1 is the side of the picture."""
    outside: float
    """Share of the attention outside the 8 x 8 cells around the query, 0..1."""

    @property
    def effective_keys(self) -> float:
        """As many keys with equal weights have the same entropy."""
        return math.exp(self.entropy)


def attention_spread(
    rows_of: Callable[[np.ndarray], np.ndarray], map_size: int, *, chunk: int = 256
) -> Spread:
    """Measures the rows of all queries of a map, some at a time.

    The neighbourhood is a square centred on the query. A pooled key covers 2x2 cells and counts by
    the part of them that lies outside, half cells at the square's edge included.

    Args:
        rows_of: Turns numbers of queries, int64 (Q,), into their attention weights (N, Q, K) of N
            pictures over K keys; each row sums to 1.
        map_size: Side of the query grid in cells, even; K = (map_size / 2)^2.
        chunk: Queries asked for at a time.
    """
    queries = np.arange(map_size**2)
    distances, outside = _distances(map_size), _shares_outside(map_size)
    total = np.zeros(3)
    for some in np.split(queries, range(chunk, len(queries), chunk)):
        rows = np.asarray(rows_of(some), dtype=np.float64)
        logarithms = np.log(rows, out=np.zeros_like(rows), where=rows > 0)
        total += (
            -np.einsum("nqk,nqk->", rows, logarithms) / len(rows),
            np.einsum("nqk,qk->", rows, distances[some]) / len(rows),
            np.einsum("nqk,qk->", rows, outside[some]) / len(rows),
        )
    entropy, distance, share = (total / len(queries)).tolist()
    return Spread(entropy=max(entropy, 0.0), distance=distance, outside=share)


def uniform_spread(map_size: int) -> Spread:
    """What attention that weighs all keys alike would give."""
    keys = (map_size // 2) ** 2
    return attention_spread(lambda queries: np.full((1, len(queries), keys), 1 / keys), map_size)


def _distances(map_size: int) -> np.ndarray:
    """(queries, keys), in sides of the picture."""
    query = (np.arange(map_size) + 0.5) / map_size
    key = (np.arange(map_size // 2) + 0.5) / (map_size // 2)
    apart = (query[:, None] - key) ** 2  # along one axis
    return np.sqrt(_both_axes(apart, np.add))


def _shares_outside(map_size: int) -> np.ndarray:
    """(queries, keys): part of a key's 2x2 cells that lies outside the query's neighbourhood."""
    centre = np.arange(map_size)[:, None] + 0.5
    left = np.arange(map_size // 2) * 2.0
    reach = NEIGHBOURHOOD / 2
    inside = np.minimum(left + 2, centre + reach) - np.maximum(left, centre - reach)
    return 1 - _both_axes(np.clip(inside, 0, 2) / 2, np.multiply)


def _both_axes(along: np.ndarray, combine: np.ufunc) -> np.ndarray:
    """(cells, keys) along one axis -> (cells * cells, keys * keys), row by row."""
    cells, keys = along.shape
    both = combine(along[:, None, :, None], along[None, :, None, :])  # (y, x, key y, key x)
    return both.reshape(cells * cells, keys * keys)
