"""Places of a picture to ask about, and the rows of the attention matrix that belong to them."""

import numpy as np

from sagan.errors import SaganError


def choose_query_points(image: np.ndarray, count: int = 5) -> list[tuple[int, int]]:
    """Picks places worth asking about: salient, and far from each other and from the border.

    Each point in turn maximises the root of the saliency times the distance to the nearest point
    chosen before (or twice that to the border). A constant picture gets an even spread.

    Args:
        image: uint8 (3, R, R).
        count: Number of points, at most R * R.

    Returns:
        Distinct (x, y) in pixels; a function of the picture alone.
    """
    resolution = image.shape[-1]
    assert image.shape == (3, resolution, resolution)
    assert 0 <= count <= resolution**2
    y, x = np.mgrid[:resolution, :resolution]
    distance = 1.0 + 2.0 * np.minimum.reduce([x, y, resolution - 1 - x, resolution - 1 - y])
    appeal = np.sqrt(_saliency(image))
    points: list[tuple[int, int]] = []
    for _ in range(count):
        row, column = divmod(int(np.argmax(appeal * distance)), resolution)
        points.append((column, row))
        distance = np.minimum(distance, np.hypot(x - column, y - row))
    return points


def _saliency(image: np.ndarray) -> np.ndarray:
    """Smoothed gradient magnitude times the difference from the border colour, in (0, 1].

    The difference counts twice, here and around here, so that features inside an object outweigh
    its outline.
    """
    resolution = image.shape[-1]
    pixels = image.astype(np.float64)
    down, right = np.gradient(pixels, axis=(1, 2))
    contrast = _smooth(np.sqrt((down**2 + right**2).sum(axis=0)), resolution / 24)
    border = np.concatenate(
        [pixels[:, 0], pixels[:, -1], pixels[:, 1:-1, 0], pixels[:, 1:-1, -1]], axis=1
    )
    colour = np.median(border, axis=1)[:, None, None]
    difference = np.sqrt(((pixels - colour) ** 2).sum(axis=0))
    saliency = contrast * difference * _smooth(difference, resolution / 16)
    return saliency / max(saliency.max(), 1e-9) + 1e-9


def _smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    place = np.arange(len(values))
    weights = np.exp(-0.5 * ((place[:, None] - place) / sigma) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights @ values @ weights.T


def query_index(point: tuple[int, int], resolution: int, map_size: int) -> int:
    """Returns the row of the attention matrix that belongs to a pixel.

    Args:
        point: (x, y) in pixels.
        resolution: Side of the picture in pixels.
        map_size: Side of the query grid in cells.

    Raises:
        SaganError: The point lies outside the picture.
    """
    x, y = point
    if not (0 <= x < resolution and 0 <= y < resolution):
        raise SaganError(
            f"the query point {x},{y} is outside the picture; "
            f"x and y must be between 0 and {resolution - 1}"
        )
    return y * map_size // resolution * map_size + x * map_size // resolution


def grid_points(count: int, resolution: int, map_size: int) -> list[tuple[int, int]]:
    """Spreads count x count points evenly over a picture, row by row.

    Args:
        count: Points along each side.
        resolution: Side of the picture in pixels.
        map_size: Side of the query grid in cells; no two points share a cell.

    Returns:
        (x, y) in pixels.

    Raises:
        SaganError: ``count`` is below 1 or above ``map_size``.
    """
    if not 1 <= count <= map_size:
        raise SaganError(
            f"a grid of {count} x {count} points is out of range; the attention map has "
            f"{map_size} x {map_size} places, so choose 1 to {map_size}"
        )
    places = [(2 * index + 1) * resolution // (2 * count) for index in range(count)]
    return [(x, y) for y in places for x in places]
