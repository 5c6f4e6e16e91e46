"""How stored pictures become pixels: which axis is which, and which values are black and white."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sagan.config import DataConfig
from sagan.errors import SaganError

_CHANNEL_COUNTS = (1, 3, 4)
_USUAL_LIMITS = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))


@dataclass(frozen=True, kw_only=True)
class Form:
    """Turns one stored picture into pixels as a catalog gives them."""

    axes: tuple[int, ...]
    """Axes of a stored picture in the order height, width and, if there is one, channel."""
    limits: tuple[float, float] | None = None
    """Values that are shown black and white; None leaves the values as stored."""
    side: int = 0
    """Side of the square that the picture is padded to with black, if it is smaller."""

    def pixels(self, stored: np.ndarray) -> np.ndarray:
        """Returns (H, W) or (H, W, C): uint8, uint16 or float."""
        picture = stored.transpose(self.axes)
        picture = picture.astype(picture.dtype.newbyteorder("="), copy=False)
        if picture.ndim == 3 and picture.shape[2] == 1:
            picture = picture[..., 0]
        if self.limits is not None:
            picture = _levels(picture, *self.limits)
        elif picture.dtype not in (np.uint8, np.uint16):
            picture = picture.astype(np.float32 if picture.dtype.itemsize <= 4 else np.float64)
        return np.ascontiguousarray(_squared(picture, self.side))


def _levels(picture: np.ndarray, low: float, high: float) -> np.ndarray:
    shares = (picture.astype(np.float32) - low) / (high - low)
    if not np.isfinite(shares).all():
        return shares  # what has holes is no picture; that is judged where pixels are
    return np.rint(255 * shares.clip(0, 1)).astype(np.uint8)


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
    sample: Callable[[], np.ndarray],
    config: DataConfig,
) -> tuple[Form, list[str]]:
    """Judges how an array of pictures is to be read.

    Args:
        where: Names the array in messages.
        shape: Of the array; the first axis counts the pictures.
        dtype: Of the array.
        sample: Gives some of the pictures, where their values must be looked at.
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
    limits, notes = _black_and_white(where, dtype, sample, config)
    return Form(axes=axes, limits=limits), notes


def _axes(where: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    sizes = " x ".join(map(str, shape))
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


def _black_and_white(
    where: str, dtype: np.dtype, sample: Callable[[], np.ndarray], config: DataConfig
) -> tuple[tuple[float, float] | None, list[str]]:
    if dtype.kind == "b":
        return (0, 1), []
    if dtype.str[1:] == "u2" or (config.range and dtype != np.uint8):
        return None, []
    values = sample()
    low, high = float(values.min()), float(values.max())
    if dtype == np.uint8:
        if high != 1:
            return None, []
        return (0, 1), [f"{where} holds 0 and 1 only; 1 is shown white"]
    for lowest, highest in _USUAL_LIMITS:
        if lowest <= low and high <= highest:
            told = f"{where}: values from {low:.4g} to {high:.4g} in {len(values):,} pictures are"
            return (lowest, highest), [
                f"{told} read as {lowest:g} (black) to {highest:g} (white); --data.range says "
                "otherwise"
            ]
    raise SaganError(
        f"{where} holds values from {low:.4g} to {high:.4g}, which are neither in [0, 1], [-1, 1] "
        f"nor [0, 255]; say which are black and white: --data.range {low:.4g} --data.range "
        f"{high:.4g}"
    )
