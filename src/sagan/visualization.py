"""The paper's Figure 1 for one picture: where chosen places of the picture look.

In the attention matrix a row is a query, the place being drawn, and a column is a key, a place it
looks at. Each row is a softmax over the keys and sums to 1. Keys are 2x2 max-pooled, so that one
key stands for a block twice as wide as a query cell. Both grids are numbered row by row.

These are pure functions of arrays; the rows are computed where the network runs.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sagan.errors import SaganError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

Colour = tuple[int, int, int]
Region = tuple[float, float, float]

# Okabe and Ito's palette, distinguishable with every common colour blindness; the two that are
# weakest on white and on dark ground come last.
QUERY_COLOURS: tuple[Colour, ...] = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (230, 159, 0),
    (240, 228, 66),
    (0, 0, 0),
)

# Anchors of the heat ramp, evenly spaced from 0 to the row maximum; lightness rises steadily.
# The darkest is rarely seen: opacity rises with the weight.
_HEAT = ((101, 18, 118), (188, 55, 84), (249, 142, 9), (252, 255, 164))
_LUMINANCE = np.array([0.299, 0.587, 0.114])
_INK: Colour = (36, 41, 47)
_FAINT: Colour = (208, 215, 222)
_DOT = 0.036  # radius of a dot in panels
_SUPERSAMPLING = 3


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


def attended_regions(row: np.ndarray, limit: int = 3) -> list[Region]:
    """Finds the distinct places one query looks at most.

    A region is a key that no neighbour exceeds, with more than twice the uniform weight and a
    third of the row maximum; of two closer than a fifth of the picture the heavier stays.

    Args:
        row: (K,) attention weights on the square key grid, summing to 1.
        limit: Largest number of regions.

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
    return regions[:limit]


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


def attention_figure(
    image: np.ndarray,
    points: Sequence[tuple[int, int]],
    rows: np.ndarray,
    *,
    panel: int = 256,
    caption: str = "",
) -> np.ndarray:
    """Draws the picture with its query points and, for each query, where it looks.

    Args:
        image: uint8 (3, R, R).
        points: Q query points (x, y) in pixels.
        rows: (Q, K) attention weights over K = k * k pooled keys. Key (i, j) covers the pixel rows
            from i * R/k and the columns from j * R/k. Each row sums to 1.
        panel: Side of a panel in pixels.
        caption: A line above the panels.

    Returns:
        uint8 (3, H, W).

    Raises:
        SaganError: A weight is not finite.
    """
    assert image.shape == (3, image.shape[-1], image.shape[-1])
    assert rows.ndim == 2
    assert len(points) == len(rows) > 0
    assert math.isqrt(rows.shape[1]) ** 2 == rows.shape[1], "the key grid must be square"
    if not np.isfinite(rows).all():
        raise SaganError("attention weights are not finite; choose an earlier checkpoint")
    rows = rows.astype(np.float64)
    assert np.allclose(rows.sum(axis=1), 1, atol=0.01), "rows must sum to 1 over the keys"
    queries = []
    for index, (x, y) in enumerate(points):
        centre = ((x + 0.5) / image.shape[-1], (y + 0.5) / image.shape[-1])
        queries.append(_Query(centre, str(index + 1), QUERY_COLOURS[index % len(QUERY_COLOURS)]))
    picture = _enlarged(image.transpose(1, 2, 0), panel)
    cells = [_Cell(_marked(picture, queries), _FAINT, "query points")]
    dimmed = 16 + 0.4 * picture @ _LUMINANCE[:, None]
    for query, row in zip(queries, rows, strict=True):
        drawn = _marked(_glowing(dimmed, heat_map(row, panel)), [query], attended_regions(row))
        label = f"max {100 * row.max():.1f} %  (uniform {100 / row.size:.1f} %)"
        cells.append(_Cell(drawn, query.colour, label))
    return np.asarray(_sheet(cells, panel, caption)).transpose(2, 0, 1).copy()


class _Query(NamedTuple):
    centre: tuple[float, float]
    """(x, y) in 0..1 of the picture."""
    number: str
    colour: Colour


class _Cell(NamedTuple):
    picture: Image
    frame: Colour
    label: str


def _enlarged(pixels: np.ndarray, side: int) -> np.ndarray:
    nearest = np.arange(side) * len(pixels) // side
    return pixels[nearest[:, None], nearest]


def _glowing(ground: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lays the heat ramp over grey levels (H, W, 1); opacity rises with the heat (H, W)."""
    steps = np.linspace(0, 1, len(_HEAT))
    ramp = np.stack([np.interp(heat, steps, channel) for channel in np.transpose(_HEAT)], axis=-1)
    opacity = 0.85 * heat[..., None] ** 0.75
    return (ground * (1 - opacity) + ramp * opacity).round().astype(np.uint8)


def _marked(pixels: np.ndarray, queries: list[_Query], regions: Sequence[Region] = ()) -> Image:
    """Draws the dots of the queries and arrows from the first one to the regions."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(pixels)
    side = picture.width * _SUPERSAMPLING
    marks = Image.new("RGBA", (side, side))
    draw = ImageDraw.Draw(marks)
    for x, y, weight in reversed(regions):
        _draw_arrow(draw, side, queries[0], (x, y), weight / regions[0][2])
    for query in queries:
        _draw_dot(draw, side, query)
    marks = marks.resize(picture.size, Image.Resampling.BOX)
    picture.paste(marks, mask=marks)
    return picture


def _draw_dot(draw: ImageDraw, side: int, query: _Query) -> None:
    x, y = query.centre[0] * side, query.centre[1] * side
    radius = _DOT * side
    draw.circle((x, y), 1.2 * radius, fill="white")
    draw.circle((x, y), radius, fill=query.colour)
    ink = "black" if _LUMINANCE @ query.colour > 140 else "white"
    draw.text((x, y), query.number, fill=ink, font=_font(1.5 * radius), anchor="mm")


def _draw_arrow(
    draw: ImageDraw, side: int, query: _Query, end: tuple[float, float], strength: float
) -> None:
    """Draws an arrow whose tip is ``end``, unless the query's own dot reaches there."""
    tail, tip = np.array(query.centre) * side, np.array(end) * side
    length = math.dist(tail, tip)
    if length < 2 * _DOT * side:
        return
    along = (tip - tail) / length
    across = np.array([-along[1], along[0]])
    width = side * (0.005 + 0.011 * strength)
    head = min(0.03 * side + width, length - 1.2 * _DOT * side)
    rim = 0.005 * side
    for ink, margin in (("white", rim), (query.colour, 0.0)):
        base = tip - along * (head + margin)
        wing = across * (0.5 * head + 1.6 * margin)
        draw.line([*tail, *base], fill=ink, width=round(width + 2 * margin))
        corners = (tip + along * 2 * margin, base + wing, base - wing)
        draw.polygon([(x, y) for x, y in corners], fill=ink)


def _sheet(cells: list[_Cell], panel: int, caption: str) -> Image:
    """Sets framed panels in rows, with the caption above and the legend below."""
    from PIL import Image, ImageDraw

    unit = panel / 256
    frame, gap, line = round(4 * unit), round(20 * unit), round(28 * unit)
    framed = panel + 2 * frame
    columns = len(cells) if len(cells) <= 5 else 3 if len(cells) % 3 == 0 else 4
    width = gap + columns * (framed + gap)
    title, small = _font(20 * unit), _font(17 * unit)
    characters = len(caption) * (width - 2 * gap) / max(title.getlength(caption), 1)
    lines = textwrap.wrap(caption, max(int(0.95 * characters), 1))
    top = gap + len(lines) * line + (gap // 3 if lines else 0)
    height = top + -(-len(cells) // columns) * (framed + gap + line) + line
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    for index, text in enumerate(lines):
        draw.text((gap, gap + index * line), text, fill=_INK, font=title)
    for index, cell in enumerate(cells):
        x = gap + index % columns * (framed + gap)
        y = top + index // columns * (framed + gap + line)
        sheet.paste(cell.frame, (x, y, x + framed, y + framed))
        sheet.paste(cell.picture, (x + frame, y + frame))
        middle = (x + framed / 2, y + framed + 0.55 * line)
        draw.text(middle, cell.label, fill=_INK, font=small, anchor="mm")
    _draw_legend(sheet, gap, height - line, unit)
    return sheet


def _draw_legend(sheet: Image, left: int, middle: int, unit: float) -> None:
    from PIL import Image, ImageDraw

    draw, font = ImageDraw.Draw(sheet), _font(17 * unit)
    heat = np.tile(np.linspace(0, 1, round(140 * unit)), (round(12 * unit), 1))
    ramp = Image.fromarray(_glowing(np.full((*heat.shape, 1), 67.0), heat))
    start = left + round(draw.textlength("attention  0", font=font) + 7 * unit)
    end = start + ramp.width + round(7 * unit)
    draw.text((left, middle), "attention  0", fill=_INK, font=font, anchor="lm")
    sheet.paste(ramp, (start, middle - ramp.height // 2))
    draw.text((end, middle), "maximum of the row", fill=_INK, font=font, anchor="lm")


def _font(size: float) -> FreeTypeFont | ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size)
