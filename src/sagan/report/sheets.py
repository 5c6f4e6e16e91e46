"""The pictures of the page: sheets with labels, the timeline, attention."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from sagan.data import Dataset
from sagan.errors import SaganError
from sagan.images import png_bytes
from sagan.runs.run import sample_files
from sagan.sampling.generator import (
    TrainedDiscriminator,
    TrainedGenerator,
    class_sheet,
    shown_classes,
)
from sagan.sampling.timelapse import read_sheet, row_names
from sagan.system.spacing import with_both_ends

SHEET_WIDTH = 512  # pixels of pictures in a row of the newest sheet, 2 to 12 pictures
FRAMES = 12
FRAME_PIXELS = 160_000
FEWEST_COLUMNS = 4
ATTENTION_FIGURES = 3
REAL_FIGURES = 2

_Chosen = TypeVar("_Chosen")
_GAP = 2  # padding of sagan.images.grid


class Picture(NamedTuple):
    """A picture that the page holds."""

    uri: str
    width: int
    height: int
    description: str
    """For those who cannot see it."""


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


def embedded(image: np.ndarray, description: str, png: bytes = b"") -> Picture:
    """Puts a uint8 (C, H, W) picture into the page; ``png`` may hold the same, in motion."""
    encoded = base64.b64encode(png or png_bytes(image)).decode()
    height, width = image.shape[1:]
    return Picture(f"data:image/png;base64,{encoded}", width, height, description)


def newest_sheet(generator: TrainedGenerator) -> Sheet:
    """A row of pictures per class, the same seeds in every row."""
    columns = min(max(SHEET_WIDTH // generator.size[1], 2), 12)
    names = row_names(generator)
    rows = f"; the rows are {', '.join(names)}" if names else ""
    description = f"Generated pictures, {columns} in each row{rows}"
    return Sheet(embedded(class_sheet(generator, columns), description), names)


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
    row, column = (side + _GAP for side in size)
    for step in spread(sorted(files), FRAMES):
        image = read_sheet(files[step])
        shown = _cut(image, row, column)
        cut |= shown.shape != image.shape
        picture = embedded(shown, f"Pictures of fixed seeds at step {step:,}")
        frames.append(TimelineFrame(step, picture))
    names = row_names(generator) if generator is not None else ()
    shown_rows = (frames[-1].picture.height - _GAP) // row
    return Timeline(tuple(frames), names[:shown_rows], cut, len(files))


def attention_figures(generator: TrainedGenerator) -> list[Picture]:
    """Where points of generated pictures look, one figure each for a few classes.

    Raises:
        SaganError: The generator has no attention.
    """
    labels = spread(shown_classes(generator), ATTENTION_FIGURES) or [None] * ATTENTION_FIGURES
    figures = []
    for seed, label in enumerate(labels):
        name = None if label is None else generator.class_names[label]
        words = f"Where five points of {name or 'a picture'} (seed {seed}) look, as heat maps"
        figures.append(embedded(generator.attention(seed, name).figure, words))
    return figures


def attention_to_real(discriminator: TrainedDiscriminator, dataset: Dataset) -> list[Picture]:
    """What the discriminator compares in real pictures, one figure each for a few of them.

    Raises:
        SaganError: The discriminator has no attention.
    """
    figures = []
    for row in spread(range(len(dataset)), REAL_FIGURES):
        label = dataset.labels[row : row + 1] if discriminator.class_names else None
        words = f"Where five points of training picture {row} look, as heat maps"
        figures.append(embedded(discriminator.attention(dataset.images[row], label).figure, words))
    return figures


def spread(items: Sequence[_Chosen], count: int) -> list[_Chosen]:
    """Evenly chosen items, with the first and the last."""
    return [items[place] for place in with_both_ends(len(items), count)]


def _cut(image: np.ndarray, row: int, column: int) -> np.ndarray:
    """Leaves columns out, then rows, until few enough pixels are left."""
    _, height, width = image.shape
    while height * width > FRAME_PIXELS and width > FEWEST_COLUMNS * column + _GAP:
        width -= column
    while height * width > FRAME_PIXELS and height > row + _GAP:
        height -= row
    return image[:, :height, :width]
