"""How far and how widely attention reaches, as numbers."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch

from sagan.images.maps import key_grid
from sagan.nn.attention import row_entropy

NEIGHBOURHOOD = 8
"""Side of the neighbourhood of a query, in cells of the query grid."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Means over rows of attention weights."""

    keys: int
    """K, places that a query can look at."""
    entropy: float
    """In nats: 0 where one key has all the attention, ln K where all K keys have the same."""
    peak: float
    """Largest weight, 0..1."""
    distance: float
    """From the query's centre to the keys', weighted; 1 is the longer side of the picture."""
    outside: float
    """Share of the attention outside the 8 x 8 cells around the query, 0..1."""

    @property
    def effective_keys(self) -> float:
        """As many keys with equal weights have the same entropy."""
        return math.exp(self.entropy)

    @property
    def entropy_share(self) -> float:
        """Of the greatest possible, 0..1."""
        return self.entropy / math.log(self.keys)


def attention_spread(
    rows_of: Callable[[np.ndarray], np.ndarray],
    map_size: tuple[int, int],
    *,
    weights: int = 2**21,
) -> Spread:
    """Measures the rows of all queries of a map, some at a time.

    The neighbourhood is a square centred on the query. A key covers 2x2 cells where keys are
    pooled, else one, and counts by the part of them that lies outside, half cells at the square's
    edge included.

    Args:
        rows_of: Turns numbers of queries, int64 (Q,), into their attention weights (N, Q, K) of N
            pictures over K keys, row by row on a grid of the map's proportions; each row sums to 1.
        map_size: Height and width of the query grid in cells.
        weights: Held at a time, about.
    """
    queries = np.arange(math.prod(map_size))
    first = rows_of(queries[:1])
    keys, chunk = key_grid(first[0, 0], map_size).shape, max(1, weights // first.size)
    distances, outside = _key_distances(map_size, keys), _shares_outside(map_size, keys)
    total = np.zeros(4)
    for some in np.split(queries, range(chunk, len(queries), chunk)):
        rows = np.asarray(rows_of(some), dtype=np.float64)
        total += (
            row_entropy(torch.from_numpy(rows)).sum().item() / len(rows),
            rows.max(axis=2).sum() / len(rows),
            np.einsum("nqk,qk->", rows, distances[some]) / len(rows),
            np.einsum("nqk,qk->", rows, outside[some]) / len(rows),
        )
    entropy, peak, distance, share = (total / len(queries)).tolist()
    return Spread(
        keys=math.prod(keys),
        entropy=max(entropy, 0.0),
        peak=peak,
        distance=distance,
        outside=share,
    )


def uniform_spread(map_size: tuple[int, int], keys: int) -> Spread:
    """What attention that weighs all keys alike would give."""
    return attention_spread(lambda queries: np.full((1, len(queries), keys), 1 / keys), map_size)


def _key_distances(map_size: tuple[int, int], keys: tuple[int, ...]) -> np.ndarray:
    """(queries, keys), in longer sides of the picture; ``keys`` are rows and columns."""

    def apart(cells: int, keys: int) -> np.ndarray:  # along one axis, in cells of the map
        query, key = np.arange(cells) + 0.5, (np.arange(keys) + 0.5) * cells / keys
        return ((query[:, None] - key) / max(map_size)) ** 2

    return np.sqrt(_both_axes(map(apart, map_size, keys), np.add))


def _shares_outside(map_size: tuple[int, int], keys: tuple[int, ...]) -> np.ndarray:
    """(queries, keys): part of a key's cells that lies outside the query's neighbourhood."""

    def inside(cells: int, keys: int) -> np.ndarray:  # along one axis
        width, reach = cells / keys, NEIGHBOURHOOD / 2
        centre, left = np.arange(cells)[:, None] + 0.5, np.arange(keys) * width
        shared = np.minimum(left + width, centre + reach) - np.maximum(left, centre - reach)
        return np.clip(shared, 0, width) / width

    return 1 - _both_axes(map(inside, map_size, keys), np.multiply)


def _both_axes(along: Iterable[np.ndarray], combine: np.ufunc) -> np.ndarray:
    """(cells, keys) along each axis -> (all cells, all keys), row by row."""
    down, across = along
    both = combine(down[:, None, :, None], across[None, :, None, :])  # (y, x, key y, key x)
    return both.reshape(len(down) * len(across), -1)
