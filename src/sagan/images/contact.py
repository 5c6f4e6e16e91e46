"""A contact sheet: a few pictures of every class, with its name beside them."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sagan.images import enlarge, grid
from sagan.images.drawing import font
from sagan.images.figure import INK

LEAST_SIDE = 64
"""Pixels of the shorter side of a picture on the sheet; smaller ones are enlarged."""
_PALE = (101, 109, 118)
_MARGIN, _SPACE = 16, 4
_WIDEST_LABEL = 220
_NAME_HEIGHT, _REMARK_HEIGHT = 18, 14


def contact_sheet(
    rows: Sequence[tuple[str, str, np.ndarray]], *, columns: int, title: str = ""
) -> np.ndarray:
    """Draws rows of pictures, each with its name and a remark to the left.

    Args:
        rows: Name, remark, and uint8 (N, C, H, W) with C of 1, 3 or 4; transparent pictures lie on
            a chequered ground. Names that are too long are cut.
        columns: Pictures in a row; longer ones are broken.
        title: A line above.

    Returns:
        uint8 (3, H, W).
    """
    factor = -(-LEAST_SIDE // min(rows[0][2].shape[-2:]))
    blocks = [
        grid(enlarge(in_colour(pictures), factor), columns, padding=_SPACE)
        for _, _, pictures in rows
    ]
    names = font(_NAME_HEIGHT, title + "".join(name for name, *_ in rows))
    remarks = font(_REMARK_HEIGHT)
    lengths = [names.getlength(name) for name, *_ in rows]
    lengths += [remarks.getlength(remark) for _, remark, _ in rows]
    widest = max(lengths)
    label = round(min(_WIDEST_LABEL, widest)) + _MARGIN if widest else 0
    top = _MARGIN + (2 * _NAME_HEIGHT if title else 0)
    width = label + max(block.shape[2] for block in blocks) + 2 * _MARGIN
    height = top + sum(block.shape[1] for block in blocks) + _MARGIN
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN), _cut_to(title, names, width - 2 * _MARGIN), fill=INK, font=names)
    for (name, remark, _), block in zip(rows, blocks, strict=True):
        sheet.paste(Image.fromarray(block.transpose(1, 2, 0)), (_MARGIN + label, top))
        middle = top + block.shape[1] / 2
        shown = _cut_to(name, names, _WIDEST_LABEL)
        draw.text((_MARGIN, middle - 2), shown, fill=INK, font=names, anchor="ls")
        shown = _cut_to(remark, remarks, _WIDEST_LABEL)
        draw.text((_MARGIN, middle + 4), shown, fill=_PALE, font=remarks, anchor="lt")
        top += block.shape[1]
    return np.asarray(sheet).transpose(2, 0, 1).copy()


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
