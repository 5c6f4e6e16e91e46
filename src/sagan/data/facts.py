"""What is known of a picture beside its pixels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_AT_ONCE = 2**16
"""Pixels that are looked at at once."""


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
    """Some of what is used can be seen through."""
    frames: int
    """1 if it is not animated."""
    lowest: float
    """Of deep values, before their range was applied; NaN for 8 bits."""
    highest: float
    grey: bool
    """No colour in the result."""
    hash: int
    """Alike for pictures that look alike: 64 bits, see :func:`difference_hashes`. Of the first
    frame."""
    content: int
    """Equal for equal files or arrays, whatever is done to them: 64 bits, the BLAKE2b of what the
    source holds."""


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
        ("content", "u8"),
    ]
)
"""A structured type with a field for each of :class:`Facts`."""


_ACROSS, _DOWN = 9, 8


def difference_hashes(pictures: np.ndarray) -> np.ndarray:
    """Tells whether brightness rises or falls to the right, in 8 x 8 places: 64 bits a picture.

    Pictures that look alike differ in few bits, whatever their size. What is transparent counts as
    white.

    Args:
        pictures: uint8 (N, C, H, W) with 1, 3 or 4 channels.

    Returns:
        uint64 (N,).

    Source: N. Krawetz, "Kind of Like That" (2013), dHash.
    """
    count, _, height, width = pictures.shape
    hashes = np.empty(count, np.uint64)
    across, down = averages(width, _ACROSS).T, averages(height, _DOWN)
    block = max(1, _AT_ONCE // (height * width))
    for first in range(0, count, block):
        bright = _brightness(pictures[first : first + block])
        narrow = (bright.reshape(-1, width) @ across).reshape(len(bright), height, _ACROSS)
        small = np.einsum("dh,nha->nda", down, narrow, optimize=True)
        levels = np.floor(small + 0.5).astype(np.uint8) >> 1  # so that noise in flat areas is none
        rises = (levels[:, :, 1:] > levels[:, :, :-1]).reshape(-1, 64)
        hashes[first : first + block] = np.packbits(rises, axis=1).view(">u8")[:, 0]
    return hashes


def averages(size: int, parts: int) -> np.ndarray:
    """float32 (parts, size): the mean of each of equal parts of a row, at least of one value."""
    scale = size / parts
    centre = (np.arange(parts)[:, None] + 0.5) * scale
    reach = max(scale, 1) / 2
    first, last = ((centre + side + 0.5).astype(int) for side in (-reach, reach))
    places = np.arange(size)
    chosen = (first <= places) & (places < last)
    return (chosen / chosen.sum(axis=1, keepdims=True)).astype(np.float32)


def _brightness(pictures: np.ndarray) -> np.ndarray:
    """float32 (N, H, W): ITU-R 601 luma over white, in [0, 255]."""
    if pictures.shape[1] == 1:
        return pictures[:, 0].astype(np.float32)
    red, green, blue = (pictures[:, channel].astype(np.uint16) for channel in range(3))
    luma = ((77 * red + 150 * green + 29 * blue) >> 8).astype(np.float32)
    if pictures.shape[1] == 4:
        alpha = pictures[:, 3].astype(np.float32) / 255
        luma = luma * alpha + 255 * (1 - alpha)
    return luma
