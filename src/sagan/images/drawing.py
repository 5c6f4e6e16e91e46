"""Dots, arrows, glow: one picture with queries and what they look at."""

import math
from collections.abc import Sequence
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sagan.images import as_rgb
from sagan.images.maps import Region, attended_regions, heat_map, key_grid

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

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

# Anchors of the heat ramp, evenly spaced from 0 to the greatest weight; lightness rises steadily.
# The darkest is rarely seen: opacity rises with the weight.
_HEAT = ((101, 18, 118), (188, 55, 84), (249, 142, 9), (252, 255, 164))
_LUMINANCE = np.array([0.299, 0.587, 0.114])
DOT = 0.036
"""Radius of a dot in 0..1 of a panel's longer side."""
_SUPERSAMPLING = 3


class Query(NamedTuple):
    """A place asked about, as it is drawn."""

    centre: tuple[float, float]
    """(x, y) in 0..1 of the picture."""
    number: str
    colour: Colour
    radius: float
    """Of the dot, in 0..1 of the picture's longer side."""


def numbered_queries(
    points: Sequence[tuple[int, int]], size: tuple[int, int], radius: float
) -> list[Query]:
    """Gives every point (x, y) of a picture of some height and width its number and its colour."""
    height, width = size
    return [
        Query(
            ((x + 0.5) / width, (y + 0.5) / height),
            str(index + 1),
            QUERY_COLOURS[index % len(QUERY_COLOURS)],
            radius,
        )
        for index, (x, y) in enumerate(points)
    ]


def query_panel(image: np.ndarray, queries: Sequence[Query], size: int) -> Image.Image:
    """The picture, uint8 (C, H, W), with a dot on every query; its longer side has ``size``."""
    return _marked(_enlarged(image, size), queries)


def attention_panel(
    image: np.ndarray, query: Query, row: np.ndarray, size: int, top: float
) -> Image.Image:
    """The picture in grey under the heat of one query's row (K,), with arrows to its regions.

    ``top`` is the weight of the brightest colour.
    """
    keys = key_grid(row, image.shape[1:])
    dimmed = 16 + 0.4 * _enlarged(image, size) @ _LUMINANCE[:, None]
    heat = heat_map(keys, dimmed.shape[:2], top)
    return _marked(glowing(dimmed, heat), [query], attended_regions(keys))


def glowing(ground: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lays the heat ramp over grey levels (H, W, 1); opacity rises with the heat (H, W)."""
    ramp = heat_ramp(heat)
    opacity = ramp[..., 3:]
    return (ground * (1 - opacity) + ramp[..., :3] * opacity).round().astype(np.uint8)


def heat_ramp(heat: np.ndarray) -> np.ndarray:
    """Colours of heat in 0..1: (...) -> (..., 4), red, green, blue in 0..255, opacity in 0..1."""
    steps = np.linspace(0, 1, len(_HEAT))
    channels = [np.interp(heat, steps, channel) for channel in np.transpose(_HEAT)]
    return np.stack([*channels, 0.9 * heat**0.55], axis=-1)


def font(size: float, text: str = "") -> Font:
    """Pillow's own font; for a text beyond ASCII, which it lacks, matplotlib's if there is one."""
    if not text.isascii() and find_spec("matplotlib"):
        from matplotlib import get_data_path

        return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)
    return ImageFont.load_default(size)


def _enlarged(image: np.ndarray, longer: int) -> np.ndarray:
    """(C, H, W) -> (height, width, 3), the longer side in ``longer`` pixels."""
    sides = image.shape[1:]
    rows, columns = (np.arange(max(1, round(side * longer / max(sides)))) for side in sides)
    nearest = rows * sides[0] // len(rows), columns * sides[1] // len(columns)
    return as_rgb(image).transpose(1, 2, 0)[nearest[0][:, None], nearest[1]]


def _marked(
    pixels: np.ndarray, queries: Sequence[Query], regions: Sequence[Region] = ()
) -> Image.Image:
    """Draws the dots of the queries and arrows from the first one to the regions."""
    picture = Image.fromarray(pixels)
    marks = Image.new("RGBA", [side * _SUPERSAMPLING for side in picture.size])
    draw = ImageDraw.Draw(marks)
    for x, y, weight in reversed(regions):
        _draw_arrow(draw, marks.size, queries[0], (x, y), weight / regions[0][2])
    for query in queries:
        _draw_dot(draw, marks.size, query)
    marks = marks.resize(picture.size, Image.Resampling.BOX)
    picture.paste(marks, mask=marks)
    return picture


def _draw_dot(draw: ImageDraw.ImageDraw, size: tuple[int, int], query: Query) -> None:
    x, y = query.centre[0] * size[0], query.centre[1] * size[1]
    radius = query.radius * max(size)
    draw.circle((x, y), 1.2 * radius, fill="white")
    draw.circle((x, y), radius, fill=query.colour)
    ink = "black" if _LUMINANCE @ query.colour > 140 else "white"
    height = radius * min(1.5, 2.4 / max(len(query.number), 1))
    draw.text((x, y), query.number, fill=ink, font=font(height), anchor="mm")


def _draw_arrow(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    query: Query,
    end: tuple[float, float],
    strength: float,
) -> None:
    """Draws an arrow whose tip is ``end``, unless the query's own dot reaches there."""
    side, tail, tip = max(size), np.array(query.centre) * size, np.array(end) * size
    length = math.dist(tail, tip)
    if length < 2 * query.radius * side:
        return
    along = (tip - tail) / length
    across = np.array([-along[1], along[0]])
    width = side * (0.005 + 0.011 * strength)
    head = min(0.03 * side + width, length - 1.2 * query.radius * side)
    rim = 0.005 * side
    for ink, margin in (("white", rim), (query.colour, 0.0)):
        base = tip - along * (head + margin)
        wing = across * (0.5 * head + 1.6 * margin)
        draw.line([*tail, *base], fill=ink, width=round(width + 2 * margin))
        corners = (tip + along * 2 * margin, base + wing, base - wing)
        draw.polygon([(x, y) for x, y in corners], fill=ink)
