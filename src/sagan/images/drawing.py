"""Dots, arrows, glow: one picture with queries and what they look at."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sagan.images.maps import Region, attended_regions, heat_map

Colour = tuple[int, int, int]

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
DOT = 0.036
"""Radius of a dot in 0..1 of a panel."""
_SUPERSAMPLING = 3


class Query(NamedTuple):
    """A place asked about, as it is drawn."""

    centre: tuple[float, float]
    """(x, y) in 0..1 of the picture."""
    number: str
    colour: Colour
    radius: float
    """Of the dot, in 0..1 of the picture."""


def numbered_queries(
    points: Sequence[tuple[int, int]], resolution: int, radius: float
) -> list[Query]:
    """Gives every point (x, y) in pixels its number and its colour."""
    return [
        Query(
            ((x + 0.5) / resolution, (y + 0.5) / resolution),
            str(index + 1),
            QUERY_COLOURS[index % len(QUERY_COLOURS)],
            radius,
        )
        for index, (x, y) in enumerate(points)
    ]


def query_panel(image: np.ndarray, queries: Sequence[Query], size: int) -> Image.Image:
    """The picture, uint8 (3, R, R), with a dot on every query; ``size`` pixels wide."""
    return _marked(_enlarged(image.transpose(1, 2, 0), size), queries)


def attention_panel(image: np.ndarray, query: Query, row: np.ndarray, size: int) -> Image.Image:
    """The picture in grey under the heat of one query's row (K,), with arrows to its regions."""
    dimmed = 16 + 0.4 * _enlarged(image.transpose(1, 2, 0), size) @ _LUMINANCE[:, None]
    return _marked(glowing(dimmed, heat_map(row, size)), [query], attended_regions(row))


def glowing(ground: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lays the heat ramp over grey levels (H, W, 1); opacity rises with the heat (H, W)."""
    steps = np.linspace(0, 1, len(_HEAT))
    ramp = np.stack([np.interp(heat, steps, channel) for channel in np.transpose(_HEAT)], axis=-1)
    opacity = 0.85 * heat[..., None] ** 0.75
    return (ground * (1 - opacity) + ramp * opacity).round().astype(np.uint8)


def font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font."""
    return ImageFont.load_default(size)


def _enlarged(pixels: np.ndarray, side: int) -> np.ndarray:
    nearest = np.arange(side) * len(pixels) // side
    return pixels[nearest[:, None], nearest]


def _marked(
    pixels: np.ndarray, queries: Sequence[Query], regions: Sequence[Region] = ()
) -> Image.Image:
    """Draws the dots of the queries and arrows from the first one to the regions."""
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


def _draw_dot(draw: ImageDraw.ImageDraw, side: int, query: Query) -> None:
    x, y = query.centre[0] * side, query.centre[1] * side
    radius = query.radius * side
    draw.circle((x, y), 1.2 * radius, fill="white")
    draw.circle((x, y), radius, fill=query.colour)
    ink = "black" if _LUMINANCE @ query.colour > 140 else "white"
    height = radius * min(1.5, 2.4 / max(len(query.number), 1))
    draw.text((x, y), query.number, fill=ink, font=font(height), anchor="mm")


def _draw_arrow(
    draw: ImageDraw.ImageDraw, side: int, query: Query, end: tuple[float, float], strength: float
) -> None:
    """Draws an arrow whose tip is ``end``, unless the query's own dot reaches there."""
    tail, tip = np.array(query.centre) * side, np.array(end) * side
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
