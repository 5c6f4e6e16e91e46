"""One row of the attention matrix as a map of the picture."""

import math

import numpy as np

Region = tuple[float, float, float]


def attended_regions(row: np.ndarray) -> list[Region]:
    """Finds the distinct places one query looks at most, three at most.

    A region is a key that no neighbour exceeds, with more than twice the uniform weight and a
    third of the row maximum; of two closer than a fifth of the picture the heavier stays.

    Args:
        row: (K,) attention weights on the square key grid, summing to 1.

    Returns:
        (x, y, weight) in descending weight; x and y of the key's centre in 0..1 of the picture.
    """
    side = math.isqrt(row.size)
    keys = row.reshape(side, side)
    padded = np.pad(keys, 1, mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).max(axis=(2, 3))
    peaks = np.flatnonzero((keys >= around) & (keys > max(2 / row.size, row.max() / 3)))
    regions: list[Region] = []
    for peak in peaks[np.argsort(-row[peaks], kind="stable")]:
        x, y = (peak % side + 0.5) / side, (peak // side + 0.5) / side
        if all(math.dist((x, y), other[:2]) > max(0.2, 1.5 / side) for other in regions):
            regions.append((float(x), float(y), float(row[peak])))
    return regions[:3]


def heat_map(row: np.ndarray, size: int) -> np.ndarray:
    """Enlarges a row's key grid to a picture, bilinear between the centres of the keys' blocks.

    Args:
        row: (K,) attention weights on the square key grid.
        size: Side of the result in pixels.

    Returns:
        (size, size) in 0..1, where 1 is the row maximum; constant beyond the outermost centres.
    """
    side = math.isqrt(row.size)
    place = np.clip((np.arange(size) + 0.5) * side / size - 0.5, 0, side - 1)
    spread = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(side)))  # (size, side)
    return spread @ (row / row.max()).reshape(side, side) @ spread.T
