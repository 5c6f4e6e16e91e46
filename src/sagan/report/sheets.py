"""The pictures of the page: sheets with labels, the timeline."""

import base64
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from sagan.errors import SaganError
from sagan.images import PADDING, image_of, png_bytes
from sagan.runs.folder import sample_files
from sagan.sampling.generator import SAMPLE_COLUMNS, TrainedGenerator, class_sheet
from sagan.sampling.timelapse import read_sheet, row_names
from sagan.system.spacing import with_both_ends

SHEET_WIDTH = 512  # pixels of pictures in a row of the newest sheet, 2 to 12 pictures
FRAMES = 10
FRAME_PIXELS = 160_000
FEWEST_COLUMNS = 4

_Chosen = TypeVar("_Chosen")
_LARGEST_WEBP = 2**14


class Picture(NamedTuple):
    """A picture that the page holds."""

    uri: str
    width: int
    height: int
    description: str
    """For those who cannot see it."""
    file: str
    """Name of the file it is saved as."""


class Sheet(NamedTuple):
    """A grid of pictures, with a name for every row."""

    picture: Picture
    rows: tuple[str, ...]
    """() where rows have no names."""


class TimelineFrame(NamedTuple):
    """The pictures of fixed seeds at one step."""

    step: int
    picture: Picture


class Timeline(NamedTuple):
    """How the pictures of fixed seeds changed."""

    frames: tuple[TimelineFrame, ...]
    rows: tuple[str, ...]
    cut: bool
    """Some rows or columns of the stored sheets were left out."""
    stored: int
    """Sheets in the run folder."""


def embedded(image: np.ndarray, description: str, name: str, apng: bytes = b"") -> Picture:
    """Puts a picture into the page, as PNG or as WebP without loss, whichever is smaller.

    Args:
        image: uint8 (C, H, W).
        description: For those who cannot see it.
        name: What a file of it is called, in words.
        apng: The same in motion, put there instead.
    """
    height, width = image.shape[1:]
    files = {"png": apng or png_bytes(image)}
    if not apng and max(height, width) < _LARGEST_WEBP:
        webp = io.BytesIO()
        image_of(image).save(webp, format="WebP", lossless=True, exact=True)
        files["webp"] = webp.getvalue()
    kind = min(files, key=lambda kind: len(files[kind]))
    uri = f"data:image/{kind};base64,{base64.b64encode(files[kind]).decode()}"
    stem = re.sub(r"[^\w]+", "-", name).strip("-").lower()
    return Picture(uri, width, height, description, f"{stem}.{kind}")


def without_lines(sheet: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Makes the lines of a grid transparent: uint8 (C, H, W) -> (4, H, W).

    ``size`` is the height and width of a picture in it.
    """
    transparent = [
        np.arange(side) % (cell + PADDING) < PADDING
        for side, cell in zip(sheet.shape[1:], size, strict=True)
    ]
    lines = transparent[0][:, None] | transparent[1]
    opacity = sheet[3] if len(sheet) == 4 else np.full_like(sheet[0], 255)
    colours = sheet[:3] if len(sheet) > 1 else sheet.repeat(3, axis=0)
    return np.where(lines, 0, np.concatenate([colours, opacity[None]]))


def newest_sheet(generator: TrainedGenerator) -> Sheet:
    """A row of pictures per class, the same seeds in every row."""
    columns = min(max(SHEET_WIDTH // generator.size[1], 2), 12)
    names = row_names(generator)
    rows = f"; the rows are {', '.join(names)}" if names else ""
    description = f"Generated pictures, {columns} in each row{rows}"
    sheet = without_lines(class_sheet(generator, columns), generator.size)
    return Sheet(embedded(sheet, description, "newest pictures"), names)


def timeline(folder: Path, generator: TrainedGenerator | None, size: tuple[int, int]) -> Timeline:
    """The sheets that training left in ``samples``, evenly chosen and cut to a bearable size.

    ``size`` is the height and width of a picture.

    Raises:
        SaganError: There is none.
    """
    files = sample_files(folder)
    if not files:
        raise SaganError("training has left no sheet of pictures yet")
    frames, cut = [], False
    row, column = (side + PADDING for side in size)
    for step in spread(sorted(files), FRAMES):
        image = read_sheet(files[step])[:, :, : SAMPLE_COLUMNS * column + PADDING]
        shown = _cut(image, row, column)
        cut |= shown.shape != image.shape
        shown = without_lines(shown, size)
        words = f"Pictures of fixed seeds at step {step:,}"
        picture = embedded(shown, words, f"step {step:08d}")
        frames.append(TimelineFrame(step, picture))
    names = row_names(generator) if generator is not None else ()
    shown_rows = (frames[-1].picture.height - PADDING) // row
    return Timeline(tuple(frames), names[:shown_rows], cut, len(files))


def spread(items: Sequence[_Chosen], count: int) -> list[_Chosen]:
    """Evenly chosen items, with the first and the last."""
    return [items[place] for place in with_both_ends(len(items), count)]


def _cut(image: np.ndarray, row: int, column: int) -> np.ndarray:
    """Leaves columns out, then rows, until few enough pixels are left."""
    _, height, width = image.shape
    while height * width > FRAME_PIXELS and width > FEWEST_COLUMNS * column + PADDING:
        width -= column
    while height * width > FRAME_PIXELS and height > row + PADDING:
        height -= row
    return image[:, :height, :width]
