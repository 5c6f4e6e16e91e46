"""Picture files and arrays to pictures of 8 bits, as stored."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from sagan.data.colour import NO_PROFILE, Profile, levels, profile_of
from sagan.data.cropping import draft_scale, stored_fit
from sagan.data.picture_files import (
    UnreadableError,
    deep_colours,
    is_deep_colour,
    orientation_of,
    require_decodable,
    require_plausible,
)
from sagan.data.rules import Rules

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's modes by their channels."""


class Decoded(NamedTuple):
    """A picture that was read, before it is cropped."""

    image: Image
    """8 bits, as stored or reduced."""
    mode: str
    """As stored."""
    size: tuple[int, int]
    """Width and height as stored."""
    scale: float
    """By how much it was reduced."""
    turn: int
    """EXIF's orientation, which is still to be applied."""
    rotated: bool
    profile: Profile
    frames: int
    lowest: float = math.nan
    highest: float = math.nan


def decoded_array(values: np.ndarray, rules: Rules) -> Decoded:
    """Makes a picture of an array.

    Args:
        values: (H, W) or (H, W, 1, 3 or 4) of any number type.
        rules: State the range of deep values.

    Raises:
        UnreadableError: It has not the shape of a picture, or its range is unknown.
    """
    require_shape(values)
    image, low, high = _from_values(values, rules.range)
    return Decoded(image, mode_of(values), image.size, 1, 1, False, NO_PROFILE, 1, low, high)


def decoded_file(
    stream: BinaryIO, image: ImageFile, number: int, count: int, rules: Rules, name: str
) -> Decoded:
    """Decodes a frame, a JPEG only as finely as it is wanted."""
    if number:
        image.seek(number)
        require_plausible(image)
    mode, size, scale = image.mode, image.size, 1.0
    turn = orientation_of(image)
    rotated = turn != 1
    is_jpeg = image.format in ("JPEG", "MPO")
    if is_jpeg:
        _, box, wanted = stored_fit(size, turn, rules, name)
        scale = _drafted(image, draft_scale(box, wanted))
    require_decodable(image)
    deep = count == 1 and is_deep_colour(image)
    values = deep_colours(stream, image) if deep else None
    image.load()
    if not is_jpeg:  # that of a PNG may stand behind its pixels; a TIFF is turned by now
        turn, size = orientation_of(image), image.size
    profile = profile_of(image)
    flat, low, high = image, math.nan, math.nan
    if values is None and is_deep(image):
        values = np.asarray(image)
        if image.format == "PPM" and mode == "I":  # which Pillow scales to 16 bits
            values = values.astype(np.uint16)
    if values is not None:
        flat, low, high = _from_values(values, rules.range, image.info.get("transparency"))
    mode += ";16" * deep
    rotated = rotated or turn != 1
    return Decoded(flat, mode, size, scale, turn, rotated, profile, count, low, high)


def _drafted(image: ImageFile, scale: int) -> float:
    """Lets a JPEG decode smaller, and tells by how much it will be."""
    if scale == 1:
        return 1.0
    width, height = image.size
    drafted = image.draft(None, (width // scale, height // scale))
    return width / drafted[1][2] if drafted else 1.0


def is_deep(image: Image) -> bool:
    """Whether a grey picture has more than 8 bits."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _from_values(
    values: np.ndarray, limits: tuple[float, ...], key: object = None
) -> tuple[Image, float, float]:
    """Makes 8 bits of an array; ``key`` is the value or colour that is transparent."""
    from PIL import Image

    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    flat, low, high = levels(values, limits)
    image = Image.fromarray(flat)
    if isinstance(key, int | tuple) and image.mode in ("L", "RGB"):
        hidden = values == np.array(key)
        hidden = hidden.all(axis=-1) if hidden.ndim == 3 else hidden
        image.putalpha(Image.fromarray(np.where(hidden, 0, 255).astype(np.uint8)))
    return image, low, high


def require_shape(values: np.ndarray) -> None:
    """Checks that an array may be a picture.

    Raises:
        UnreadableError: It is of another shape.
    """
    channels = values.shape[2] if values.ndim == 3 else 1
    if values.ndim not in (2, 3) or channels not in MODES or not values.size:
        raise UnreadableError(
            f"an array of shape {values.shape}; a picture is (height, width), with 1, 3 or 4 "
            "channels behind"
        )


def mode_of(values: np.ndarray) -> str:
    """As Pillow would call it."""
    channels = values.shape[2] if values.ndim == 3 else 1
    kind, bits = values.dtype.kind, 8 * values.dtype.itemsize
    if kind == "b":
        return "1" if channels == 1 else MODES[channels]
    if (kind, bits) == ("u", 8):
        return MODES[channels]
    if channels == 1:
        return "I;16" if (kind, bits) == ("u", 16) else "F" if kind == "f" else "I"
    return f"{MODES[channels]};{bits}"
