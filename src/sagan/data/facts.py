"""What is known of a picture beside its pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sagan.data.colour import over

if TYPE_CHECKING:
    from PIL.Image import Image


class Facts(NamedTuple):
    """What is known of a picture. Fits a row of :data:`FACTS`."""

    height: int
    """In pixels, of the whole picture after it was turned upright."""
    width: int
    mode: str
    """Pillow's name, such as RGB, P, CMYK or I;16; RGB;16 and RGBA;16 for colours of 16 bits."""
    profile: bool
    """It has a colour profile other than sRGB."""
    broken_profile: bool
    """It has a colour profile that cannot be used and was ignored."""
    rotated: bool
    """EXIF says that it is to be turned or mirrored."""
    transparent: bool
    """Some of what is used can be seen through. (Of a header: it may be so.)"""
    frames: int
    """1 if it is not animated."""
    lowest: float
    """Of deep values, before their range was applied; NaN for 8 bits and of a header."""
    highest: float
    grey: bool
    """No colour in the result. (Of a header: none can be stored.)"""
    hash: int
    """Alike for pictures that look alike: 64 bits, see :func:`difference_hash`. Of the first frame;
    0 of a header."""


FACTS = np.dtype(
    [
        ("height", "u4"),
        ("width", "u4"),
        ("mode", "U8"),
        ("profile", "?"),
        ("broken_profile", "?"),
        ("rotated", "?"),
        ("transparent", "?"),
        ("frames", "u4"),
        ("lowest", "f8"),
        ("highest", "f8"),
        ("grey", "?"),
        ("hash", "u8"),
    ]
)
"""A structured type with a field for each of :class:`Facts`."""


_ONES = int.from_bytes(b"\x01" * 72)
_SEVEN_BITS = 127 * _ONES
_EIGHTH_BIT = 128 * _ONES
_AS_DIGITS = bytes.maketrans(b"\x00\x80", b"01")


def difference_hash(image: Image) -> int:
    """Tells whether brightness rises or falls to the right, in 8 x 8 places: 64 bits.

    Pictures that look alike differ in few bits, whatever their size.
    What is transparent counts as white.

    Source: N. Krawetz, "Kind of Like That" (2013), dHash.
    """
    from PIL.Image import Resampling

    if image.mode in ("LA", "RGBA"):
        image = over(image, (255, 255, 255))
    small = image.convert("L").resize((9, 8), Resampling.BOX)
    # All 72 levels at once, as bytes of one number: NumPy takes as long for them as for a picture.
    levels = int.from_bytes(small.tobytes()) >> 1 & _SEVEN_BITS
    right = levels << 8 & _SEVEN_BITS
    rises = (right + _EIGHTH_BIT - levels - _ONES) & _EIGHTH_BIT
    bits = bytearray(rises.to_bytes(72).translate(_AS_DIGITS))
    del bits[8::9]  # the last of a row has none to its right
    return int(bits, 2)
