"""The figure: one picture, its query points, and a block of panels per attention layer."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from sagan.images.drawing import (
    DOT,
    Colour,
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

    Points that form a lattice, row by row, get panels that lie as the points do.

    Args:
        image: uint8 (C, H, W) with 1, 3 or 4 channels.
        points: Q query points (x, y) in pixels.
        layers: Heading -> (Q, K) attention weights over K = k * l keys, a grid with the picture's
            proportions. Key (i, j) covers the pixel rows from i * H/k and the columns from
            j * W/l. Each row sums to 1.
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
        seen = [
            _Cell(attention_panel(image, query, row, side), query.colour, _labels(row))
            for query, row in zip(shown, _checked(rows, len(points)), strict=True)
        ]
        grid = _cells(seen, lattice, style) if lattice else None
        size = _size_beside(grid, image, style) if grid else panel
        first = _Cell(query_panel(image, queries, size), _FAINT, ("query points",))
        if grid:
            block = _beside(_cells([first], 1, style), grid, style.gap)
        else:
            count = 1 + len(seen)
            columns = count if count <= 6 else 3 if count % 3 == 0 else 4
            block = _cells([first, *seen], columns, style)
        blocks.append((heading, block))
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


def _labels(row: np.ndarray) -> tuple[str, ...]:
    most = f"max {100 * row.max():.1f} %"
    return (f"{most}  (uniform {100 / row.size:.1f} %)", most, f"{100 * row.max():.0f} %")


class _Style:
    """Sizes in pixels, and fonts."""

    def __init__(self, panel: int) -> None:
        unit = panel / 256
        self.panel = panel
        self.frame, self.gap, self.line = round(4 * unit), round(20 * unit), round(28 * unit)
        self.title, self.label = font(22 * unit), font(17 * unit)


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


def _stacked(caption: str, blocks: list[tuple[str, Image.Image]], style: _Style) -> Image.Image:
    """Stacks blocks under their headings, with the caption above and the legend below."""
    gap, line = style.gap, style.line
    width = max(block.width for _, block in blocks) + 2 * gap
    characters = len(caption) * (width - 2 * gap) / max(style.title.getlength(caption), 1)
    lines = textwrap.wrap(caption, max(int(0.95 * characters), 1))
    height = gap + len(lines) * line + 2 * line
    height += sum(block.height + gap + (line if heading else 0) for heading, block in blocks)
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    top = gap
    for text in lines:
        draw.text((gap, top + line / 2), text, fill=INK, font=style.title, anchor="lm")
        top += line
    for heading, block in blocks:
        if heading:
            draw.text((gap, top + line / 2), heading, fill=INK, font=style.label, anchor="lm")
            top += line + gap // 4
        sheet.paste(block, (gap, top))
        top += block.height + gap - (gap // 4 if heading else 0)
    _draw_legend(sheet, gap, height - line, style)
    return sheet


def _draw_legend(sheet: Image.Image, left: int, middle: int, style: _Style) -> None:
    draw, unit = ImageDraw.Draw(sheet), style.panel / 256
    heat = np.tile(np.linspace(0, 1, round(140 * unit)), (round(12 * unit), 1))
    ramp = Image.fromarray(glowing(np.full((*heat.shape, 1), 67.0), heat))
    start = left + round(draw.textlength("attention  0", font=style.label) + 7 * unit)
    end = start + ramp.width + round(7 * unit)
    draw.text((left, middle), "attention  0", fill=INK, font=style.label, anchor="lm")
    sheet.paste(ramp, (start, middle - ramp.height // 2))
    draw.text((end, middle), "maximum of the panel", fill=INK, font=style.label, anchor="lm")
