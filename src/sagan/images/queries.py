"""Places of a picture to ask about, and the rows of the attention matrix that belong to them."""

import numpy as np

from sagan.errors import SaganError
from sagan.images import as_rgb


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
