"""Sheets with names: a few pictures of every class, with its name beside them."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sagan.errors import printable
from sagan.images import enlarge, grid
from sagan.images.drawing import font
from sagan.images.figure import INK

LEAST_SIDE = 64
"""Pixels of the shorter side of a picture on a sheet."""
NAMED_SIDE = 96
"""The same on a sheet of what was drawn."""
_PALE = (101, 109, 118)
_MARGIN, _SPACE = 16, 4
WIDEST_LABEL = 220
"""Pixels that a name has at most."""
_NAME_HEIGHT, _REMARK_HEIGHT, _LEAST_HEIGHT = 18, 14, 9


def named_sheet(
    rows: Sequence[tuple[str, np.ndarray]],
    *,
    columns: int,
    title: str = "",
    least_side: int = NAMED_SIDE,
) -> np.ndarray:
    """Draws pictures with the names of their classes, large, on a sheet as wide as high or wider.

    Args:
        rows: Name and uint8 (N, C, H, W) of each class, as for :func:`contact_sheet`.
        columns: As there.
        title: As there.
        least_side: As there.

    Returns:
        uint8 (3, H, W).
    """
    height, width = rows[0][1].shape[-2:]
    lines = max(-(-len(pictures) // columns) for _, pictures in rows)
    stacks = 1
    while stacks * columns * width < -(-len(rows) // stacks) * lines * height:
        stacks += 1
    labelled = [(printable(name), "", pictures) for name, pictures in rows]
    return contact_sheet(
        labelled, columns=columns, title=title, least_side=least_side, stacks=stacks
    )


def contact_sheet(
    rows: Sequence[tuple[str, str, np.ndarray]],
    *,
    columns: int,
    title: str = "",
    least_side: int = LEAST_SIDE,
    stacks: int = 1,
) -> np.ndarray:
    """Draws rows of pictures, each with its name and a remark to the left.

    Args:
        rows: Name, remark, and uint8 (N, C, H, W) with C of 1, 3 or 4; transparent pictures lie on
            a chequered ground. Names that are too long are cut.
        columns: Pictures in a row; longer ones are broken.
        title: A line above.
        least_side: Pixels of the shorter side of a picture on the sheet; smaller ones are enlarged
            by the least whole number that reaches it.
        stacks: The first rows stand on the left, the next ones beside them, and so on.

    Returns:
        uint8 (3, H, W).
    """
    factor = -(-least_side // min(rows[0][2].shape[-2:]))
    style = _Label(rows, title)
    drawn = [
        style.beside(
            name, remark, grid(enlarge(in_colour(pictures), factor), columns, padding=_SPACE)
        )
        for name, remark, pictures in rows
    ]
    high = -(-len(drawn) // stacks)
    stacked = [drawn[first : first + high] for first in range(0, len(drawn), high)]
    widths = [max(row.width for row in stack) for stack in stacked]
    top = _MARGIN + (2 * _NAME_HEIGHT if title else 0)
    height = top + max(sum(row.height for row in stack) for stack in stacked) + _MARGIN
    width = sum(widths) + _MARGIN * (len(stacked) + 1)
    sheet = Image.new("RGB", (width, height), "white")
    shown = _cut_to(title, style.names, width - 2 * _MARGIN)
    ImageDraw.Draw(sheet).text((_MARGIN, _MARGIN), shown, fill=INK, font=style.names)
    for number, stack in enumerate(stacked):
        left, below = sum(widths[:number]) + _MARGIN * (number + 1), top
        for row in stack:
            sheet.paste(row, (left, below))
            below += row.height
    return np.asarray(sheet).transpose(2, 0, 1).copy()


def with_names(sheet: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Writes the names of its rows to the right of a grid; the grid itself stays as it is.

    Args:
        sheet: uint8 (C, H, W), rows of equal height.
        names: One a row, cut where they are long; () changes nothing.

    Returns:
        uint8 (C, H, wider).
    """
    if not names:
        return sheet
    height = sheet.shape[1] / len(names)
    style = font(min(_NAME_HEIGHT, max(_LEAST_HEIGHT, height / 2)), "".join(names))
    shown = [_cut_to(printable(name), style, WIDEST_LABEL) for name in names]
    width = 3 * _SPACE + round(max(style.getlength(name) for name in shown))
    strip = Image.new("L", (width, sheet.shape[1]), "white")
    draw = ImageDraw.Draw(strip)
    for row, name in enumerate(shown):
        draw.text((_SPACE, (row + 0.5) * height), name, fill=INK[0], font=style, anchor="lm")
    beside = np.broadcast_to(np.asarray(strip), (len(sheet), *strip.size[::-1])).copy()
    if len(sheet) == 4:
        beside[3] = 255
    return np.concatenate([sheet, beside], axis=2)


class _Label:
    """Fonts, and the room for the names of all rows."""

    def __init__(self, rows: Sequence[tuple[str, str, np.ndarray]], title: str) -> None:
        self.names = font(_NAME_HEIGHT, title + "".join(name for name, *_ in rows))
        self.remarks = font(_REMARK_HEIGHT)
        widest = max(
            max(self.names.getlength(name), self.remarks.getlength(remark))
            for name, remark, _ in rows
        )
        self.width = round(min(WIDEST_LABEL, widest)) + _MARGIN if widest else 0

    def beside(self, name: str, remark: str, block: np.ndarray) -> Image.Image:
        """Draws the name and the remark to the left of a block of pictures, uint8 (3, H, W)."""
        _, height, width = block.shape
        row = Image.new("RGB", (self.width + width, height), "white")
        row.paste(Image.fromarray(block.transpose(1, 2, 0)), (self.width, 0))
        draw, middle = ImageDraw.Draw(row), height / 2
        place = (0, middle - 2 if remark else middle)
        shown = _cut_to(name, self.names, WIDEST_LABEL)
        draw.text(place, shown, fill=INK, font=self.names, anchor="ls" if remark else "lm")
        shown = _cut_to(remark, self.remarks, WIDEST_LABEL)
        draw.text((0, middle + 4), shown, fill=_PALE, font=self.remarks, anchor="lt")
        return row


def in_colour(pictures: np.ndarray) -> np.ndarray:
    """Makes pictures of any channels uint8 (N, 3, H, W), transparent ones on a chequered ground."""
    channels = pictures.shape[1]
    if channels == 4:
        rows, columns = np.indices(pictures.shape[-2:]) * 8 // max(pictures.shape[-2:])
        ground = np.where((rows + columns) % 2, 255, 204)
        opacity = pictures[:, 3:] / 255
        mixed = pictures[:, :3] * opacity + ground * (1 - opacity)
        return mixed.round().astype(np.uint8)
    return np.repeat(pictures, 3 // channels, axis=1)


def _cut_to(text: str, style: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    """The text, or its beginning and an ellipsis."""
    if style.getlength(text) <= width:
        return text
    end = min(len(text), 200)
    while end and style.getlength(text[:end] + "...") > width:
        end -= 1
    return text[:end] + "..."
