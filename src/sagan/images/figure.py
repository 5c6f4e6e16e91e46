"""The figure: one picture, its query points, and a block of panels per attention layer."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from sagan.images.drawing import (
    DOT,
    Colour,
    Font,
    attention_panel,
    font,
    glowing,
    numbered_queries,
    query_panel,
)

INK: Colour = (36, 41, 47)
_FAINT: Colour = (208, 215, 222)


def attention_figure(
    image: np.ndarray,
    points: Sequence[tuple[int, int]],
    layers: Mapping[str, np.ndarray],
    *,
    panel: int = 256,
    caption: str = "",
) -> np.ndarray:
    """Draws the picture with its query points and, for each layer and query, where it looks.

    The panels of a layer have one scale of colours, from 0 to the largest weight that they show.
    Points that form a lattice, row by row, get panels that lie as the points do.

    Args:
        image: uint8 (C, H, W) with 1, 3 or 4 channels.
        points: Q query points (x, y) in pixels.
        layers: Heading, of one or several lines -> (Q, K) attention weights over K = k * l keys, a
            grid with the picture's proportions. Key (i, j) covers the pixel rows from i * H/k and
            the columns from j * W/l. Each row sums to 1.
        panel: Longer side of a panel in pixels; those of a lattice are smaller.
        caption: A line above the panels.

    Returns:
        uint8 (3, H, W).
    """
    assert layers
    lattice = _lattice_columns(points)
    radius = min(DOT, 0.2 / lattice) if lattice else DOT
    side = min(panel, max(panel // 4, 3 * panel // lattice)) if lattice else panel
    queries = numbered_queries(points, image.shape[1:], radius)
    shown = numbered_queries(points, image.shape[1:], DOT * (panel / side) ** 0.5)
    style = _Style(panel)
    blocks = []
    for heading, rows in layers.items():
        rows, top = _checked(rows, len(points)), float(rows.max())
        seen = [
            _Cell(attention_panel(image, query, row, side, top), query.colour, panel_labels(row))
            for query, row in zip(shown, rows, strict=True)
        ]
        grid = _cells(seen, lattice, style) if lattice else None
        size = _size_beside(grid, image, style) if grid else panel
        first = _Cell(query_panel(image, queries, size), _FAINT, ("query points",))
        if grid:
            block = _beside(_cells([first], 1, style), grid, style.gap)
        else:
            count = 1 + len(seen)
            columns = count if count < 6 else 3 if count % 3 == 0 else 4
            block = _cells([first, *seen], columns, style)
        blocks.append(_Block(heading.splitlines(), block, top))
    return np.asarray(_stacked(caption, blocks, style)).transpose(2, 0, 1).copy()


def _checked(rows: np.ndarray, count: int) -> np.ndarray:
    assert rows.ndim == 2
    assert len(rows) == count > 0
    rows = rows.astype(np.float64)
    assert np.allclose(rows.sum(axis=1), 1, atol=0.01), "rows must sum to 1 over the keys"
    return rows


def _size_beside(grid: Image.Image, image: np.ndarray, style: "_Style") -> int:
    """Longer side of a panel as high as a grid of others, at most four times a panel's."""
    height = grid.height - style.line - 2 * style.frame
    return min(4 * style.panel, height * max(image.shape[1:]) // image.shape[1])


def _lattice_columns(points: Sequence[tuple[int, int]]) -> int:
    """How many columns the points form row by row; 0 if they form no lattice of 2 x 2 or more."""
    columns, rows = (sorted({point[axis] for point in points}) for axis in (0, 1))
    is_lattice = list(points) == [(x, y) for y in rows for x in columns]
    return len(columns) if is_lattice and min(len(columns), len(rows)) > 1 else 0


def percent(weight: float) -> str:
    """A share of attention in words."""
    return f"{100 * weight:.1f} %"


def panel_labels(row: np.ndarray) -> tuple[str, ...]:
    """What is said of one row (K,), from the longest words to the shortest."""
    most = f"max {percent(row.max())}"
    return (f"{most}  (uniform {100 / row.size:.1f} %)", most, f"{100 * row.max():.0f} %")


class _Style:
    """Sizes in pixels, and fonts."""

    def __init__(self, panel: int) -> None:
        unit = panel / 256
        self.panel = panel
        self.frame, self.gap, self.line = round(4 * unit), round(20 * unit), round(28 * unit)
        self.title, self.label = font(25 * unit), font(18 * unit)


class _Cell(NamedTuple):
    picture: Image.Image
    frame: Colour
    labels: tuple[str, ...]
    """From the longest to the shortest; the first that fits is drawn."""


def _cells(cells: list[_Cell], columns: int, style: _Style) -> Image.Image:
    """Framed panels in rows, each with its label below."""
    width, height = (side + 2 * style.frame for side in cells[0].picture.size)
    is_large = max(width, height) >= style.panel
    gap = style.gap if is_large else style.gap // 3
    small = font(17 * style.panel / 256 * (1 if is_large else 0.8))
    shown = [next((x for x in c.labels if small.getlength(x) <= width), "") for c in cells]
    line = style.line if any(shown) else 0
    rows = -(-len(cells) // columns)
    size = (columns * (width + gap) - gap, rows * (height + line + gap) - gap)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for index, (cell, label) in enumerate(zip(cells, shown, strict=True)):
        x = index % columns * (width + gap)
        y = index // columns * (height + line + gap)
        sheet.paste(cell.frame, (x, y, x + width, y + height))
        sheet.paste(cell.picture, (x + style.frame, y + style.frame))
        middle = (x + width / 2, y + height + 0.55 * line)
        draw.text(middle, label, fill=INK, font=small, anchor="mm")
    return sheet


def _beside(left: Image.Image, right: Image.Image, gap: int) -> Image.Image:
    width, height = left.width + gap + right.width, max(left.height, right.height)
    both = Image.new("RGB", (width, height), "white")
    both.paste(left, (0, 0))
    both.paste(right, (left.width + gap, 0))
    return both


class _Block(NamedTuple):
    """The panels of a layer."""

    heading: list[str]
    picture: Image.Image
    top: float
    """The weight of the brightest colour."""


def _stacked(caption: str, blocks: list[_Block], style: _Style) -> Image.Image:
    """Stacks blocks under their headings and above their legends, with the caption on top."""
    gap, line = style.gap, style.line
    width = max(block.picture.width for block in blocks) + 2 * gap
    titles = _lines_within(caption, style.title, width - 2 * gap)
    headings = [
        [
            part
            for text in block.heading
            for part in _lines_within(text, style.label, width - 2 * gap)
        ]
        for block in blocks
    ]
    height = gap + round(1.2 * line) * len(titles) + line * sum(map(len, headings))
    height += sum(block.picture.height + 2 * line + gap // 2 for block in blocks)
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    top = gap
    for text in titles:
        draw.text((gap, top + line / 2), text, fill=INK, font=style.title, anchor="lm")
        top += round(1.2 * line)
    for block, heading in zip(blocks, headings, strict=True):
        for text in heading:
            draw.text((gap, top + line / 2), text, fill=INK, font=style.label, anchor="lm")
            top += line
        sheet.paste(block.picture, (gap, top + gap // 2))
        top += gap // 2 + block.picture.height + 2 * line
        _draw_legend(sheet, gap, top - round(1.3 * line), style, block.top)
    return sheet


def _lines_within(text: str, ink: Font, width: int) -> list[str]:
    characters = len(text) * width / max(ink.getlength(text), 1)
    return textwrap.wrap(text, max(int(0.95 * characters), 1))


def _draw_legend(sheet: Image.Image, left: int, middle: int, style: _Style, top: float) -> None:
    draw, unit = ImageDraw.Draw(sheet), style.panel / 256
    heat = np.tile(np.linspace(0, 1, round(140 * unit)), (round(14 * unit), 1))
    ramp = Image.fromarray(glowing(np.full((*heat.shape, 1), 67.0), heat))
    before = "attention of a block:  0"
    start = left + round(draw.textlength(before, font=style.label) + 7 * unit)
    end = start + ramp.width + round(7 * unit)
    draw.text((left, middle), before, fill=INK, font=style.label, anchor="lm")
    sheet.paste(ramp, (start, middle - ramp.height // 2))
    draw.text((end, middle), percent(top), fill=INK, font=style.label, anchor="lm")
