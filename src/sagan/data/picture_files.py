"""Picture files of any kind, opened by their content and bounded before they are decoded."""

from __future__ import annotations

import io
import os
import stat
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from sagan.errors import SaganError
from sagan.system.extras import install
from sagan.system.memory import require_free

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

MOST_PIXELS = 500_000_000
"""In one picture; more are refused."""
MOST_FRAMES = 10_000
MOST_PIXELS_OF_ALL_FRAMES = 5_000_000_000

_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
"""Without waiting for someone to write into a pipe."""
_SHORT = 2**20
"""Bytes of files that are read at once."""
_SMALL = 2**22
"""Pixels of a picture that is decoded without asking how much memory is free."""
_STRIP = 256
"""Rows of deep colours that are copied at once."""
_BYTES_PER_PIXEL = 16
"""Of the hungriest decoders and the copies that follow."""

_RUN_PROGRAMS = ("EPS", "WMF")
"""Formats that Pillow leaves to Ghostscript and to Windows."""
_OF_FRAMES = ("GIF", "PNG", "WEBP", "AVIF", "TIFF")
"""Formats whose further pictures are frames or pages; in others they are layers or previews."""
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
_HOLD_ORIENTATION = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")
_ORIENTATION = 0x0112
_FOREIGN = (
    ("a PDF, not a picture", (b"%pdf",)),
    ("an SVG drawing, which has no pixels", (b"<svg",)),
    ("a web page, not a picture", (b"<!doctype html", b"<html")),
    ("JPEG XL, which cannot be read; save it as PNG", (b"\xff\x0a", b"\0\0\0\x0cjxl ")),
    ("a PostScript file, not a picture", (b"%!ps", b"\xc5\xd0\xd3\xc6")),
)
"""What is often found among pictures, and how such files begin (in lower case)."""


class UnreadableError(SaganError):
    """A picture cannot be used; the message is the reason, without the picture's name."""


def stream_of(content: Path | bytes) -> BinaryIO:
    """Opens a picture's file, or its bytes as one.

    Raises:
        UnreadableError: It is empty or no regular file.
    """
    if not isinstance(content, Path):
        if not content:
            raise UnreadableError("an empty file")
        return io.BytesIO(content)
    descriptor = os.open(content, _READ)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableError("no regular file")
        if not status.st_size:
            raise UnreadableError("an empty file")
        if status.st_size <= _SHORT:
            return io.BytesIO(os.read(descriptor, status.st_size))
        return os.fdopen(os.dup(descriptor), "rb")
    finally:
        os.close(descriptor)


def identified(stream: BinaryIO) -> ImageFile:
    """Recognises a picture by its content and reads its header.

    Unlike ``PIL.Image.open`` this asks no plugin that runs other programs, opens HEIC where
    pillow-heif is installed, and bounds the number of pixels by :data:`MOST_PIXELS`.

    Raises:
        UnreadableError: It is no picture or too large.
    """
    from PIL import Image

    prefix = stream.read(16)
    for prepare in (Image.preinit, Image.init, lambda: _prepare_heic(prefix)):
        known = () if prepare == Image.preinit else tuple(Image.ID)
        prepare()
        formats = (name for name in Image.ID if name not in known and name not in _RUN_PROGRAMS)
        for name in formats:
            factory, accepts = Image.OPEN[name]
            try:
                accepted = accepts is None or accepts(prefix)
                if not accepted or isinstance(accepted, str):  # a text names a missing library
                    continue
                stream.seek(0)
                image = factory(stream, "")
            except (SyntaxError, IndexError, TypeError, struct.error):
                continue
            require_plausible(image)
            return image
    stream.seek(0)
    raise UnreadableError(_foreign(stream.read(1024)))


def decoders() -> dict[str, str]:
    """Versions of the libraries that read pictures; "" of one that is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("pillow", "pillow-heif"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found


def _prepare_heic(prefix: bytes) -> None:
    if prefix[4:8] != b"ftyp" or prefix[8:12] not in _HEIC:
        return
    try:
        from pillow_heif import register_heif_opener  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UnreadableError(f"HEIC, which needs: {install('heic')}") from error
    register_heif_opener()


def _foreign(start: bytes) -> str:
    start = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for reason, beginnings in _FOREIGN:
        if start.startswith(beginnings):
            return reason
    if start.startswith(b"<?xml") and b"<svg" in start:
        return _FOREIGN[1][0]
    return "a film, not a picture" if start[4:8] == b"ftyp" else "no picture"


def require_plausible(image: ImageFile) -> None:
    """Judges a picture's size before it is decoded.

    Raises:
        UnreadableError: It has no pixels, or more than :data:`MOST_PIXELS`.
    """
    pixels = image.width * image.height
    if pixels <= 0:
        raise UnreadableError("without pixels")
    if pixels > MOST_PIXELS:
        raise UnreadableError(f"more than {MOST_PIXELS // 10**6} million pixels")


def require_decodable(image: ImageFile) -> None:
    """Judges whether a picture can be decoded within the free memory.

    Raises:
        UnreadableError: It cannot.
    """
    pixels = image.width * image.height
    if pixels > _SMALL:
        try:
            require_free(_BYTES_PER_PIXEL * pixels, f"{pixels:,} pixels", "make it smaller")
        except SaganError as error:
            raise UnreadableError(str(error)) from error


def frame_count(image: ImageFile) -> int:
    """Counts the frames of an animated picture or the pages of a TIFF; 1 for others."""
    return getattr(image, "n_frames", 1) if image.format in _OF_FRAMES else 1


def chosen_frames(image: ImageFile, count: int, frame: str) -> range:
    """Numbers of the frames that a rule chooses.

    Args:
        image: With its header read.
        count: Of its frames.
        frame: first, all, or a number from 0.

    Raises:
        UnreadableError: There are fewer, or too many to decode.
    """
    if frame == "first":
        return range(1)
    chosen = range(count) if frame == "all" else range(int(frame), int(frame) + 1)
    if chosen.stop > count:
        raise UnreadableError(
            f"{count} frame{'s' * (count > 1)}, so that there is no --data.frame {frame} (the "
            "first is 0)"
        )
    if chosen.stop > MOST_FRAMES:
        raise UnreadableError(f"more than {MOST_FRAMES:,} frames")
    if chosen.stop * image.width * image.height > MOST_PIXELS_OF_ALL_FRAMES:
        raise UnreadableError(f"more than {MOST_PIXELS_OF_ALL_FRAMES // 10**9} billion pixels")
    return chosen


def orientation_of(image: ImageFile) -> int:
    """EXIF's number for how a picture is to be turned, 1 (as it is) to 8; damaged EXIF counts as 1.

    Of PNG, it may only be known once the pixels are decoded. TIFFs are turned as they are decoded,
    after which this is 1.
    """
    if image.format != "TIFF" and not any(key in image.info for key in _HOLD_ORIENTATION):
        return 1
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # whatever a hostile EXIF block makes the reader raise
        return 1
    return orientation if orientation in range(1, 9) else 1


def deep_colours(stream: BinaryIO, image: ImageFile) -> np.ndarray | None:
    """Reads colours of 16 bits, of which Pillow keeps the upper 8 (PNG and TIFF).

    It is decoded twice, the second time in the other order of bytes, so that Pillow keeps the lower
    8.

    Args:
        stream: The file.
        image: The same file, with its header read; is decoded.

    Returns:
        uint16 (H, W, 3 or 4).
    """
    values = _half(stream, takes_lower=True).astype(np.uint16)
    upper = _half(stream, takes_lower=False)
    for top in range(0, len(values), _STRIP):
        values[top : top + _STRIP] |= upper[top : top + _STRIP].astype(np.uint16) << 8
    return values


def _half(stream: BinaryIO, *, takes_lower: bool) -> np.ndarray:
    """The upper or lower 8 of 16 bits: uint8 (H, W, C)."""
    stream.seek(0)
    image = identified(stream)
    if takes_lower:
        image.tile = [tile._replace(args=_other_order(tile.args)) for tile in image.tile]
    return np.asarray(image)


def is_deep_colour(image: ImageFile) -> bool:
    """Whether a picture, of which only the header was read, has colours of 16 bits (PNG, TIFF)."""
    modes = ("RGB;16", "RGBX;16", "RGBA;16")
    return bool(image.tile) and all(_raw_mode(tile.args)[:-1] in modes for tile in image.tile)


def _raw_mode(arguments: object) -> str:
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _other_order(arguments: tuple[object, ...] | str | None) -> tuple[object, ...] | str:
    raw = _raw_mode(arguments)
    native = "L" if sys.byteorder == "little" else "B"
    order = native if raw[-1] == "N" else raw[-1]
    other = raw[:-1] + ("B" if order == "L" else "L")
    return (other, *arguments[1:]) if isinstance(arguments, tuple) else other


def reason_of(error: Exception) -> str:
    """Says in a few words why a picture could not be decoded; alike for alike causes."""
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if isinstance(error, FileNotFoundError):
        return "it is gone"
    if isinstance(error, MemoryError):
        return "too large for the memory"
    message = str(error).partition("\n")[0]
    if isinstance(error, EOFError) or "truncated" in message.lower():
        return "cut off"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return f"cannot be decoded ({message.partition('(')[0].strip() or type(error).__name__})"
