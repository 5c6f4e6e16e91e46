"""Which part of a picture is used, and how it is brought to its size."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from sagan.data.picture_files import UnreadableError

if TYPE_CHECKING:
    from PIL.Image import Image

    from sagan.data.rules import Rules

Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels."""

DRAFT_MARGIN = 3
"""A JPEG is decoded at 1/2, 1/4 or 1/8 where that leaves at least so many times the wanted size.

Beside all pixels and Lanczos that is 51 dB or more; with 2 it is 46 dB for noisy pictures, and fine
stripes leave more of a false pattern."""

_PIECE = 2**20
"""Pixels that are converted at once."""

_WEIGHTED = {"LA": "La", "RGBA": "RGBa"}
"""Modes, and the same with colours multiplied by alpha, as Pillow reduces them."""

_SWAPPED, _MIRRORED, _UPSIDE_DOWN = (5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8)
"""EXIF orientations, by what is done to the stored place of a point."""
TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
"""What turns a stored picture upright: EXIF orientation to ``PIL.Image.Transpose``."""


class Fit(NamedTuple):
    """How a picture becomes one of the wanted size."""

    box: tuple[int, int, int, int]
    """Part of the upright picture: left, top, right, bottom."""
    size: tuple[int, int]
    """Width and height to which the part is brought."""
    canvas: tuple[int, int]
    """Width and height of the result; what is more than ``size`` is margin, the same at opposite
    sides."""


def fit(width: int, height: int, rules: Rules, name: str) -> Fit:
    """Decides which part of a picture is used.

    A box of another shape than the result gives its middle: only ``stretch`` distorts.

    Args:
        width: Of the upright picture in pixels.
        height: Likewise.
        rules: The size and crop.
        name: Of the picture; decides where a random part lies.

    Raises:
        UnreadableError: The box reaches out of the picture.
    """
    whole = (0, 0, width, height)
    if rules.crop == "box":
        left, top, right, bottom = rules.box
        if right > width or bottom > height:
            raise UnreadableError(f"{width} x {height} pixels, so that data.box reaches out of it")
        whole = (left, top, right, bottom)
    stored = whole[2] - whole[0], whole[3] - whole[1]
    if rules.size is None:
        return Fit(whole, stored, stored)
    canvas = rules.size[1], rules.size[0]
    if rules.crop == "pad":
        return Fit(whole, _within(canvas, width, height), canvas)
    if rules.crop == "stretch":
        return Fit(whole, canvas, canvas)
    across, down = _within(stored, *canvas)
    spare = stored[0] - across, stored[1] - down
    left, top = whole[0] + spare[0] // 2, whole[1] + spare[1] // 2
    if rules.crop == "random":
        place = _fraction(name)
        left, top = int(place * (spare[0] + 1)), int(place * (spare[1] + 1))
    return Fit((left, top, left + across, top + down), canvas, canvas)


def _within(outer: tuple[int, int], width: int, height: int) -> tuple[int, int]:
    """The largest width and height of a given ratio within others."""
    across, down = outer
    if across * height <= down * width:
        return across, max(1, round(across * height / width))
    return max(1, round(down * width / height)), down


def _fraction(name: str) -> float:
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:6]) / 2**48


def stored_box(box: Box, width: int, height: int, orientation: int) -> Box:
    """Finds a part of an upright picture in the picture as stored.

    Args:
        box: In the upright picture.
        width: Of the upright picture.
        height: Likewise.
        orientation: EXIF's, 1 to 8.
    """
    left, top, right, bottom = box
    if orientation in _MIRRORED:
        left, right = width - right, width - left
    if orientation in _UPSIDE_DOWN:
        top, bottom = height - bottom, height - top
    return (top, left, bottom, right) if is_swapped(orientation) else (left, top, right, bottom)


def is_swapped(orientation: int) -> bool:
    """Whether the upright picture's width is the stored one's height."""
    return orientation in _SWAPPED


def stored_fit(
    size: tuple[int, int], turn: int, rules: Rules, name: str
) -> tuple[Fit, Box, tuple[int, int]]:
    """Decides which part of a picture is used, in upright and in stored pixels.

    Args:
        size: Width and height as stored.
        turn: EXIF's orientation.
        rules: The size and crop.
        name: Of the picture.

    Returns:
        How the upright picture is fitted, and the part and its wanted width and height as stored.

    Raises:
        UnreadableError: The box reaches out of the picture.
    """
    width, height = (size[1], size[0]) if is_swapped(turn) else size
    fitted = fit(width, height, rules, name)
    box = stored_box(fitted.box, width, height, turn)
    wanted = (fitted.size[1], fitted.size[0]) if is_swapped(turn) else fitted.size
    return fitted, box, wanted


def draft_scale(box: Box, size: tuple[int, int]) -> int:
    """By how much a JPEG may be reduced as it is decoded: 1, 2, 4 or 8."""
    ratio = min((box[2] - box[0]) / size[0], (box[3] - box[1]) / size[1])
    return next(scale for scale in (8, 4, 2, 1) if ratio >= DRAFT_MARGIN * scale or scale == 1)


def resized(
    image: Image, box: Box, size: tuple[int, int], convert: Callable[[Image], Image]
) -> Image:
    """Brings a part of a picture to a size: Lanczos with antialiasing, enlarged bicubic.

    Colours are weighted by alpha, so that invisible ones do not bleed. Large pictures are converted
    and reduced sideways in strips, then downwards, which is what Pillow does with the whole; so a
    picture takes little more memory than its decoded pixels.

    Args:
        image: The picture.
        box: Within it, may cut through pixels.
        size: Width and height.
        convert: To L, LA, RGB, RGBA or CMYK.
    """
    from PIL import Image

    left, top, right, bottom = math.floor(box[0]), math.floor(box[1]), *map(math.ceil, box[2:])
    right, bottom = min(right, image.width), min(bottom, image.height)
    x, y = (box[0] - left, box[2] - left), (box[1] - top, box[3] - top)
    shrinks = x[1] - x[0] > size[0] or y[1] - y[0] > size[1]
    method = Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC
    rows = max(1, _PIECE // (right - left))
    if bottom - top <= rows:
        if (left, top, right, bottom) != (0, 0, *image.size):
            image = image.crop((left, top, right, bottom))
        image = convert(image)
        if image.size == size and (x, y) == ((0, size[0]), (0, size[1])):
            return image
        return image.resize(size, method, (x[0], y[0], x[1], y[1]))
    narrow = None
    for start in range(top, bottom, rows):
        strip = convert(image.crop((left, start, right, min(start + rows, bottom))))
        strip = strip.convert(_WEIGHTED.get(strip.mode, strip.mode))
        strip = strip.resize((size[0], strip.height), method, (x[0], 0, x[1], strip.height))
        narrow = narrow or Image.new(strip.mode, (size[0], bottom - top))
        narrow.paste(strip, (0, start - top))
    assert narrow is not None
    whole = narrow.resize(size, method, (0, y[0], size[0], y[1]))
    return whole.convert({"La": "LA", "RGBa": "RGBA"}.get(whole.mode, whole.mode))
