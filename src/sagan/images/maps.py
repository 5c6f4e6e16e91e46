"""One row of the attention matrix as a map of the picture."""

import math

import numpy as np

Region = tuple[float, float, float]


def key_grid(row: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Lays a row of the attention matrix out over the picture, whose proportions its keys have.

    Args:
        row: (K,) attention weights, row by row.
        size: Height and width of the picture, or of one of its maps.

    Returns:
        (rows, columns), K numbers in all.
    """
    height, width = size
    rows = math.isqrt(row.size * height // width)
    columns = math.isqrt(row.size * width // height)
    assert (rows * columns, rows * width) == (row.size, columns * height), (row.size, size)
    return row.reshape(rows, columns)


def attended_regions(keys: np.ndarray) -> list[Region]:
    """Finds the distinct places one query looks at most, three at most.

    A region is a key that no neighbour exceeds, with more than twice the uniform weight and a
    third of the maximum; of two closer than a fifth of the picture's longer side the heavier stays.

    Args:
        keys: Attention weights of one query, (rows, columns), summing to 1.

    Returns:
        (x, y, weight) in descending weight; x and y of the key's centre in 0..1 of the picture.
    """
    rows, columns = keys.shape
    longer, row = max(rows, columns), keys.flatten()
    padded = np.pad(keys, 1, mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).max(axis=(2, 3))
    peaks = np.flatnonzero((keys >= around) & (keys > max(2 / row.size, row.max() / 3)))
    regions: list[Region] = []
    for peak in peaks[np.argsort(-row[peaks], kind="stable")]:
        x, y = (peak % columns + 0.5) / columns, (peak // columns + 0.5) / rows
        apart = [
            math.hypot((x - left) * columns, (y - top) * rows) / longer for left, top, _ in regions
        ]
        if all(distance > max(0.2, 1.5 / longer) for distance in apart):
            regions.append((float(x), float(y), float(row[peak])))
    return regions[:3]


def heat_map(keys: np.ndarray, size: tuple[int, int], top: float) -> np.ndarray:
    """Enlarges a grid of keys to a picture, in which each key is a block.

    Args:
        keys: Attention weights of one query, (rows, columns).
        size: Height and width of the result in pixels.
        top: The weight that becomes 1.

    Returns:
        Of that size, in 0..1.
    """
    down, across = (
        np.arange(pixels) * cells // pixels for cells, pixels in zip(keys.shape, size, strict=True)
    )
    return np.minimum(keys[down[:, None], across] / top, 1)


def overlaps(rows: np.ndarray) -> np.ndarray:
    """How far attention rows (P, K) look at the same places.

    Returns:
        (P, P), in 0..1: the sum of the smaller weights; 1 for equal rows, 0 for rows that share
        no place.
    """
    return np.stack([np.minimum(rows, row).sum(axis=1) for row in rows])


def median_overlap(rows: np.ndarray) -> float:
    """The median of :func:`overlaps` over the pairs of rows (P, K); NaN for a single row."""
    pairs = overlaps(rows)[np.triu_indices(len(rows), 1)]
    return float(np.median(pairs)) if len(pairs) else math.nan
