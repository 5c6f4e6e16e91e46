"""How far and how widely attention reaches, as numbers."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

NEIGHBOURHOOD = 8
"""Side of the neighbourhood of a query, in cells of the query grid."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Means over rows of attention weights."""

    keys: int
    """K, places that a query can look at."""
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
    rows_of: Callable[[np.ndarray], np.ndarray], map_size: int, *, weights: int = 2**21
) -> Spread:
    """Measures the rows of all queries of a map, some at a time.

    The neighbourhood is a square centred on the query. A key covers 2x2 cells where keys are
    pooled, else one, and counts by the part of them that lies outside, half cells at the square's
    edge included.

    Args:
        rows_of: Turns numbers of queries, int64 (Q,), into their attention weights (N, Q, K) of N
            pictures over K keys, row by row on a square grid; each row sums to 1.
        map_size: Side of the query grid in cells.
        weights: Held at a time, about.
    """
    queries = np.arange(map_size**2)
    first = rows_of(queries[:1])
    keys, chunk = first.shape[2], max(1, weights // first.size)
    distances, outside = _key_distances(map_size, keys), _shares_outside(map_size, keys)
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
    return Spread(keys=keys, entropy=max(entropy, 0.0), distance=distance, outside=share)


def uniform_spread(map_size: int, keys: int) -> Spread:
    """What attention that weighs all keys alike would give."""
    return attention_spread(lambda queries: np.full((1, len(queries), keys), 1 / keys), map_size)


def _key_distances(map_size: int, keys: int) -> np.ndarray:
    """(queries, keys), in sides of the picture."""
    side = math.isqrt(keys)
    query = (np.arange(map_size) + 0.5) / map_size
    key = (np.arange(side) + 0.5) / side
    apart = (query[:, None] - key) ** 2  # along one axis
    return np.sqrt(_both_axes(apart, np.add))


def _shares_outside(map_size: int, keys: int) -> np.ndarray:
    """(queries, keys): part of a key's cells that lies outside the query's neighbourhood."""
    width = map_size / math.isqrt(keys)
    centre = np.arange(map_size)[:, None] + 0.5
    left = np.arange(math.isqrt(keys)) * width
    reach = NEIGHBOURHOOD / 2
    inside = np.minimum(left + width, centre + reach) - np.maximum(left, centre - reach)
    return 1 - _both_axes(np.clip(inside, 0, width) / width, np.multiply)


def _both_axes(along: np.ndarray, combine: np.ufunc) -> np.ndarray:
    """(cells, keys) along one axis -> (cells * cells, keys * keys), row by row."""
    cells, keys = along.shape
    both = combine(along[:, None, :, None], along[None, :, None, :])  # (y, x, key y, key x)
    return both.reshape(cells * cells, keys * keys)
