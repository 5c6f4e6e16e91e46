"""How stored pictures become pixels: which axis is which, and which values are black and white."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from sagan.config import DataConfig
from sagan.data.picture_files import UnreadableError
from sagan.errors import SaganError

_CHANNEL_COUNTS = (1, 3, 4)
_USUAL_LIMITS = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))


@dataclass(frozen=True, kw_only=True)
class Form:
    """Turns one stored picture into pixels as a catalog gives them."""

    axes: tuple[int, ...]
    """Axes of a stored picture in the order height, width and, if there is one, channel."""
    has_two_levels: bool = False
    """Whether all values are 0 or 1, which are shown black and white."""
    range: tuple[float, ...] = ()
    """Values that are black and white, where the values themselves told; else ()."""
    side: int = 0
    """Side of the square that the picture is padded to with black, if it is smaller."""

    def pixels(self, stored: np.ndarray) -> np.ndarray:
        """Returns (H, W) or (H, W, C): uint8, uint16 or float.

        Raises:
            UnreadableError: There are values that are no numbers, and nobody stated a range.
        """
        picture = stored.transpose(self.axes)
        picture = picture.astype(picture.dtype.newbyteorder("="), copy=False)
        if picture.ndim == 3 and picture.shape[2] == 1:
            picture = picture[..., 0]
        if self.has_two_levels:
            picture = picture.astype(np.uint8) * np.uint8(255)
        elif picture.dtype not in (np.uint8, np.uint16):
            picture = picture.astype(np.float32 if picture.dtype.itemsize <= 4 else np.float64)
            if self.range and not np.isfinite(picture).all():
                raise UnreadableError("it has values that are no numbers")
        return np.ascontiguousarray(_squared(picture, self.side))


def _squared(picture: np.ndarray, side: int) -> np.ndarray:
    height, width = picture.shape[:2]
    top, left = max(0, side - height) // 2, max(0, side - width) // 2
    if height >= side and width >= side:
        return picture
    square = np.zeros((max(height, side), max(width, side), *picture.shape[2:]), picture.dtype)
    square[top : top + height, left : left + width] = picture
    return square


def form_of(
    where: str,
    shape: tuple[int, ...],
    dtype: np.dtype,
    values: Callable[[], Iterable[np.ndarray]],
    config: DataConfig,
) -> tuple[Form, list[str]]:
    """Judges how an array of pictures is to be read.

    Args:
        where: Names the array in messages.
        shape: Of the array; the first axis counts the pictures.
        dtype: Of the array.
        values: Gives pictures, some at a time, where their values must be looked at.
        config: A stated range is left to be applied to the pixels.

    Returns:
        The form, and what the user should know.

    Raises:
        SaganError: It holds no pictures, or it cannot be told how they are to be read.
    """
    if dtype.kind not in "buif":
        kind = "Python objects" if dtype.hasobject else f"values of type {dtype.name}"
        raise SaganError(f"{where} holds {kind}, no pixels; give whole numbers or floats")
    axes = _axes(where, shape)
    if dtype.kind == "b":
        return Form(axes=axes, has_two_levels=True), []
    if dtype == np.uint8:
        if not _has_two_levels(values()):
            return Form(axes=axes), []
        told = f"{where} holds 0 and 1 only; 1 is shown white"
        return Form(axes=axes, has_two_levels=True), [told]
    if dtype.str[1:] == "u2" or config.range:
        return Form(axes=axes), []
    limits, told = _black_and_white(where, values())
    return Form(axes=axes, range=limits), [told]


def _axes(where: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    sizes = " x ".join(map(str, shape)) or "a single number"
    if 0 in shape:
        raise SaganError(f"{where} is empty: {sizes}; give pictures")
    if len(shape) == 3 and shape[2] not in (3, 4):
        return 0, 1
    if len(shape) == 4:
        is_first, is_last = shape[1] in _CHANNEL_COUNTS, shape[3] in _CHANNEL_COUNTS
        if is_first and is_last:  # of small pictures: those that are squares one way only
            is_first, is_last = shape[2] == shape[3], shape[1] == shape[2]
        if is_first != is_last:
            return (1, 2, 0) if is_first else (0, 1, 2)
    raise SaganError(
        f"{where} is {sizes}, which is no set of pictures: it must be N x H x W, N x H x W x C or "
        "N x C x H x W with 1, 3 or 4 channels; reshape it"
    )


def _has_two_levels(values: Iterable[np.ndarray]) -> bool:
    highest = 0
    for some in values:
        highest = max(highest, int(some.max()))
        if highest > 1:
            break
    return highest == 1


def _black_and_white(where: str, values: Iterable[np.ndarray]) -> tuple[tuple[float, float], str]:
    low, high, count = math.inf, -math.inf, 0
    for some in values:
        numbers = some[np.isfinite(some)]
        if numbers.size:
            low, high = min(low, float(numbers.min())), max(high, float(numbers.max()))
        count += len(some)
    if low > high:
        raise SaganError(f"{where} holds no numbers but NaN or infinity; give pictures")
    for lowest, highest in _USUAL_LIMITS:
        if lowest <= low and high <= highest:
            told = f"{where}: values from {low:.4g} to {high:.4g} in {count:,} pictures are"
            return (lowest, highest), (
                f"{told} read as {lowest:g} (black) to {highest:g} (white); --data.range says "
                "otherwise"
            )
    raise SaganError(
        f"{where} holds values from {low:.4g} to {high:.4g}, which are neither in [0, 1], [-1, 1] "
        f"nor [0, 255]; say which are black and white: --data.range {low:.4g} --data.range "
        f"{high:.4g}"
    )
