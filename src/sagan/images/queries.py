"""Places of a picture to ask about, and the rows of the attention matrix that belong to them."""

from collections.abc import Sequence

import numpy as np

from sagan.errors import SaganError
from sagan.images import as_rgb
from sagan.images.maps import key_grid, overlaps

CANDIDATES = 256
"""Salient points among which those are chosen whose attention differs most."""
_APART = 1 / 4
"""Of the longer side: points that are closer count as alike."""
_AROUND = 1 / 8
"""Of the longer side: attention within this distance goes to the point itself."""


def choose_query_points(image: np.ndarray, count: int = 5) -> list[tuple[int, int]]:
    """Picks places worth asking about: salient, and far from each other and from the border.

    Each point in turn maximises the root of the saliency times the distance to the nearest point
    chosen before (or twice that to the border). A constant picture gets an even spread.

    Args:
        image: uint8 (C, H, W).
        count: Number of points, at most H * W.

    Returns:
        Distinct (x, y) in pixels; a function of the picture alone.
    """
    height, width = image.shape[1:]
    assert 0 <= count <= height * width
    y, x = np.mgrid[:height, :width]
    distance = 1.0 + 2.0 * np.minimum.reduce([x, y, width - 1 - x, height - 1 - y])
    appeal = np.sqrt(_saliency(as_rgb(image)))
    points: list[tuple[int, int]] = []
    for _ in range(count):
        row, column = divmod(int(np.argmax(appeal * distance)), width)
        points.append((column, row))
        distance = np.minimum(distance, np.hypot(x - column, y - row))
    return points


def most_different(
    points: Sequence[tuple[int, int]],
    maps: Sequence[np.ndarray],
    size: tuple[int, int],
    count: int = 5,
) -> list[int]:
    """Picks the points whose attention differs most, on different parts, that look elsewhere.

    It begins with the first ones and exchanges one after the other, as long as that lowers what
    they have in common: the overlap of their maps, their closeness, and the attention that each
    keeps to itself.

    Args:
        points: P candidates (x, y) in pixels.
        maps: Of each layer the attention weights of the candidates, (P, keys).
        size: Height and width of the picture in pixels.
        count: Number of points to pick.

    Returns:
        Their numbers, ascending; all where there are no more.
    """
    places, longer = np.array(points, dtype=float), max(size)
    distances = np.hypot(*(places[:, None] - places).transpose(2, 0, 1))
    shared = np.maximum(0, 1 - distances / (_APART * longer))
    own = np.zeros(len(points))
    for rows in maps:
        shared += overlaps(rows) / len(maps)
        alike = np.minimum(rows, 1 / rows.shape[1]).sum(axis=1)
        own += (alike + _own_share(places, rows, size)) / len(maps)
    chosen = list(range(min(count, len(points))))
    improved = True
    while improved:
        improved = False
        for place, now in enumerate(chosen):
            others = chosen[:place] + chosen[place + 1 :]
            costs = own + shared[others].sum(axis=0)
            costs[others] = np.inf
            best = int(np.argmin(costs))
            if costs[best] < costs[now] - 1e-6:
                chosen[place], improved = best, True
    return sorted(chosen)


def _own_share(places: np.ndarray, rows: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The share of its attention that each point (x, y) of (P, 2) keeps around itself: (P,)."""
    grid = key_grid(rows[0], size).shape
    down, across = (
        (np.arange(keys) + 0.5) * side / keys for keys, side in zip(grid, size, strict=True)
    )
    apart = np.hypot(
        across[None, None, :] - places[:, 0, None, None], down[:, None] - places[:, 1, None, None]
    )
    near = apart <= _AROUND * max(size)
    return (rows * near.reshape(len(rows), -1)).sum(axis=1)


def _saliency(image: np.ndarray) -> np.ndarray:
    """Smoothed gradient magnitude times the difference from the border colour, in (0, 1].

    The difference counts twice, here and around here, so that features inside an object outweigh
    its outline.
    """
    shorter = min(image.shape[1:])
    pixels = image.astype(np.float64)
    down, right = np.gradient(pixels, axis=(1, 2))
    contrast = _smooth(np.sqrt((down**2 + right**2).sum(axis=0)), shorter / 24)
    border = np.concatenate(
        [pixels[:, 0], pixels[:, -1], pixels[:, 1:-1, 0], pixels[:, 1:-1, -1]], axis=1
    )
    colour = np.median(border, axis=1)[:, None, None]
    difference = np.sqrt(((pixels - colour) ** 2).sum(axis=0))
    saliency = contrast * difference * _smooth(difference, shorter / 16)
    return saliency / max(saliency.max(), 1e-9) + 1e-9


def _smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    down, across = (_blur(side, sigma) for side in values.shape)
    return down @ values @ across.T


def _blur(side: int, sigma: float) -> np.ndarray:
    place = np.arange(side)
    weights = np.exp(-0.5 * ((place[:, None] - place) / sigma) ** 2)
    return weights / weights.sum(axis=1, keepdims=True)


def query_index(point: tuple[int, int], size: tuple[int, int], map_size: tuple[int, int]) -> int:
    """Returns the row of the attention matrix that belongs to a pixel.

    Args:
        point: (x, y) in pixels.
        size: Height and width of the picture in pixels.
        map_size: Height and width of the query grid in cells.

    Raises:
        SaganError: The point lies outside the picture.
    """
    (x, y), (height, width), (rows, columns) = point, size, map_size
    if not (0 <= x < width and 0 <= y < height):
        limits = f"x must be between 0 and {width - 1}, y between 0 and {height - 1}"
        if height == width:
            limits = f"x and y must be between 0 and {height - 1}"
        raise SaganError(f"the query point {x},{y} is outside the picture; {limits}")
    return y * rows // height * columns + x * columns // width


def grid_points(
    count: int, size: tuple[int, int], map_size: tuple[int, int]
) -> list[tuple[int, int]]:
    """Spreads count x count points evenly over a picture, row by row.

    Args:
        count: Points along each side.
        size: Height and width of the picture in pixels.
        map_size: Height and width of the query grid in cells; no two points share a cell.

    Returns:
        (x, y) in pixels.

    Raises:
        SaganError: ``count`` is below 1 or above the shorter side of the query grid.
    """
    if not 1 <= count <= min(map_size):
        raise SaganError(
            f"a grid of {count} x {count} points is out of range; the attention map has "
            f"{map_size[0]} x {map_size[1]} places, so choose 1 to {min(map_size)}"
        )
    rows, columns = (
        [(2 * index + 1) * side // (2 * count) for index in range(count)] for side in size
    )
    return [(x, y) for y in rows for x in columns]
