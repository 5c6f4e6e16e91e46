"""Values of every kind to 8-bit sRGB: modes, deep values, colour profiles, transparency."""

from __future__ import annotations

import io
import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from sagan.data.picture_files import UnreadableError
from sagan.errors import SaganError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageCms import ImageCmsTransform

Background = tuple[int, int, int]

_LARGEST_PROFILE = 4 * 2**20
"""Bytes; real ones for printing have up to 3 MB."""
_SRGB_TOLERANCE = 2
"""Levels by which the colours of a profile may differ from sRGB to pass for it."""
_ALIKE = 2
"""Levels by which the colours of a grey pixel may differ."""
_SPACES = {"GRAY": "L", "RGB ": "RGB", "CMYK": "CMYK"}
"""Modes by the name of a profile's colour space."""
_GREY = ("1", "L", "LA", "La")
_ROWS = 256
"""Rows of deep values that are converted at once."""


@lru_cache(maxsize=4)
def background_of(colour: str) -> Background:
    """Turns the name of a colour, or #rrggbb, into levels of red, green and blue.

    Raises:
        SaganError: There is no such colour.
    """
    from PIL import ImageColor

    if colour.lower() in ImageColor.colormap or re.fullmatch("#[0-9a-fA-F]{6}", colour):
        red, green, blue = ImageColor.getrgb(colour)[:3]
        return red, green, blue
    raise SaganError(
        f"data.background is {colour!r}; give the name of a colour, such as white, or #rrggbb"
    )


def levels(values: np.ndarray, limits: tuple[float, ...]) -> tuple[np.ndarray, float, float]:
    """Turns deep values into 8 bits.

    Args:
        values: (H, W) or (H, W, C) of any number type; 8 bits stay as they are, and True is white.
        limits: Lowest and highest value, which become 0 and 255; values beyond are cut off, and
            what is no number becomes 0. Empty: 0 and 65535, for 16 bits without sign alone.

    Returns:
        uint8 of the same shape, and the lowest and highest value found; NaN for 8 bits.

    Raises:
        UnreadableError: The values need limits, or are no numbers.
    """
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255), math.nan, math.nan
    if values.dtype == np.uint8:
        return values, math.nan, math.nan
    if values.dtype.kind not in "uif":
        raise UnreadableError(f"values of type {values.dtype}, which are no pixels")
    if values.dtype == np.uint16:
        table, flat = _table_of_16_bits(limits or (0, 65535)), np.empty(values.shape, np.uint8)
        for start in range(0, len(values), _ROWS):  # NumPy makes 64 bits of what it looks up
            flat[start : start + _ROWS] = table[values[start : start + _ROWS]]
        return flat, float(values.min()), float(values.max())
    if not limits:
        raise UnreadableError(
            f"values of type {values.dtype}, of which black and white are unknown; give "
            "--data.range twice, the lowest and the highest value"
        )
    result = np.empty(values.shape, np.uint8)
    low, high = math.inf, -math.inf
    for start in range(0, len(values), _ROWS):
        strip = values[start : start + _ROWS]
        result[start : start + _ROWS] = _scaled(strip, limits)
        finite = strip[np.isfinite(strip)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return result, *((low, high) if low <= high else (math.nan, math.nan))


@lru_cache(maxsize=4)
def _table_of_16_bits(limits: tuple[float, ...]) -> np.ndarray:
    return _scaled(np.arange(65536), limits)


def _scaled(values: np.ndarray, limits: tuple[float, ...]) -> np.ndarray:
    low, high = limits
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = (values.astype(np.float64) - low) * (255 / (high - low))
    return np.floor(np.nan_to_num(scaled, nan=0.0).clip(0, 255) + 0.5).astype(np.uint8)


class Profile(NamedTuple):
    """What a picture's colour profile demands."""

    kind: Literal["none", "sRGB", "other", "broken"]
    mode: str = ""
    """Mode of the pictures that it fits: L, RGB or CMYK."""
    convert: ImageCmsTransform | tuple[int, ...] | None = None
    """Of kind other: to RGB, or for grey the table of 256 levels."""


NO_PROFILE = Profile("none")
_BROKEN = Profile("broken")


def profile_of(image: Image) -> Profile:
    """Reads a picture's ICC profile.

    A profile is sRGB by what it does to colours, not by its name. One that is damaged or of another
    kind than the picture is broken, and has no effect.
    """
    data = image.info.get("icc_profile")
    if not data:
        return NO_PROFILE
    if not isinstance(data, bytes) or len(data) > _LARGEST_PROFILE:
        return _BROKEN
    grey = image.mode in _GREY or image.mode[0] in "IF"
    return _profile(data, "L" if grey else "CMYK" if image.mode == "CMYK" else "RGB")


@lru_cache(maxsize=8)
def _profile(data: bytes, mode: str) -> Profile:
    from PIL import Image, ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(data))
        space = _SPACES.get(source.profile.xcolor_space)  # pyright: ignore[reportAttributeAccessIssue]
        if space is None or (space != mode and (mode, space) != ("L", "RGB")):
            return _BROKEN
        # Media white stays white, as in the relative colorimetric intent, and black black.
        convert = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            space,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        probe = (
            _every_colour() if mode == "RGB" else Image.frombytes("L", (256, 1), bytes(range(256)))
        )
        after = None if mode == "CMYK" else ImageCms.applyTransform(probe.convert(space), convert)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return _BROKEN
    if after is None:
        return Profile("other", mode, convert)
    shift = np.asarray(after).astype(int) - np.asarray(probe.convert("RGB"))
    if np.abs(shift).max() <= _SRGB_TOLERANCE:
        return Profile("sRGB")
    if mode == "L":
        return Profile("other", mode, tuple(after.getchannel("G").tobytes()))
    return Profile("other", mode, convert)


def _every_colour() -> Image:
    from PIL import Image

    steps = np.arange(0, 256, 51, dtype=np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1)
    return Image.fromarray(cube.reshape(len(steps), -1, 3))


def plain(image: Image, profile: Profile) -> Image:
    """Converts a picture of 8 bits to L, LA, RGB or RGBA; or CMYK if the profile needs it."""
    if image.mode == "CMYK" and profile.mode == "CMYK":
        return image
    wanted = "L" if image.mode in _GREY else "RGB"
    if image.has_transparency_data:
        wanted += "A"
    return image if image.mode == wanted else image.convert(wanted)


def as_srgb(image: Image, profile: Profile) -> Image:
    """Applies a profile to a picture of mode L, LA, RGB, RGBA or CMYK; alpha stays."""
    if profile.convert is None:
        return image
    from PIL import ImageCms

    if image.mode in ("LA", "RGBA"):
        alpha = image.getchannel("A")
        image = as_srgb(image.convert(image.mode[:-1]), profile)
        image.putalpha(alpha)
        return image
    if isinstance(profile.convert, tuple):
        return image.point(profile.convert)
    converted = ImageCms.applyTransform(image, profile.convert)
    assert converted is not None
    return converted


def over(image: Image, background: Background) -> Image:
    """Lays a picture of mode LA or RGBA over a colour; gives RGB, or L where all is grey."""
    from PIL import Image

    canvas = Image.new("RGBA", image.size, background)
    result = Image.alpha_composite(canvas, image.convert("RGBA"))
    return result.convert("L" if image.mode == "LA" and len(set(background)) == 1 else "RGB")


def is_grey(pixels: bytes, channels: int) -> bool:
    """Whether interleaved RGB or RGBA has no colour but grey, where it can be seen."""
    few = range(0, len(pixels), 61 * channels)  # enough for most
    if channels == 3 and any(abs(pixels[i] - pixels[i + 1]) > _ALIKE for i in few):
        return False
    values = np.frombuffer(pixels, np.uint8).reshape(-1, channels).astype(np.int16)
    off = np.abs(values[:, 1:3] - values[:, :1]) > _ALIKE
    return not (off.any(axis=1) & (values[:, 3] > 0) if channels == 4 else off).any()
