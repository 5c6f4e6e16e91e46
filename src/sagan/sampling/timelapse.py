"""How the pictures of a run grew: its sample grids as the frames of a film."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sagan.config import Config
from sagan.errors import SaganError
from sagan.images import PADDING, as_rgb, pictures_of
from sagan.images.contact import NAMED_SIDE, WIDEST_LABEL, named_sheet, with_names
from sagan.runs.folder import checkpoint_files, sample_files, settings_of
from sagan.runs.run import require_run
from sagan.sampling.generator import (
    MOST_CLASSES,
    SAMPLE_COLUMNS,
    TrainedGenerator,
    class_sheet,
    load_generator,
    shown_classes,
)
from sagan.system.memory import require_free

MOST_GRIDS = 48
_SHOWN_OF_CLASS = 4


def growth_frames(
    run: str | Path, *, columns: int | None = None, most: int = MOST_GRIDS
) -> Iterator[np.ndarray]:
    """Draws the sample grids of a run one by one, each with its step and the names of the classes.

    Every grid shows the same latents. Of more grids than ``most`` it takes more of the beginning,
    where most happens, and always the first and the last.

    Args:
        run: A run folder.
        columns: Pictures of each class, from 1 to 8; by default 4, and without classes 8 in a row.
        most: Frames, at least 1.

    Returns:
        Frames of one size, uint8 (3, H, W), whose pictures have 96 pixels a side at least.

    Raises:
        SaganError: The folder is no run, has no sample grid, one of them cannot be read or is
            none of this run, or the frames would not fit into memory.
    """
    folder = Path(run)
    require_run(folder)
    files = sample_files(folder)
    if not files:
        raise SaganError(f"{folder} has no sample grid yet; let it train on")
    config = settings_of(folder)
    names = row_names(load_generator(folder)) if checkpoint_files(folder) else ()
    steps = _more_of_the_beginning(sorted(files), most)
    shown = columns or (_SHOWN_OF_CLASS if names else SAMPLE_COLUMNS)
    height, width = (max(side, NAMED_SIDE) * SAMPLE_COLUMNS for side in config.data.size)
    require_free(6 * len(steps) * height * width, "the frames", "ask for fewer frames or columns")
    return (_frame(step, files[step], config, names, shown) for step in steps)


def row_names(generator: TrainedGenerator) -> tuple[str, ...]:
    """What the rows of a sample grid show; () without classes."""
    return tuple(generator.class_names[label] for label in shown_classes(generator))


def sample_grid(generator: TrainedGenerator) -> np.ndarray:
    """What training leaves now and then: fixed seeds, the names of the classes right of their rows.

    Returns:
        uint8 (C, H, W).
    """
    return with_names(class_sheet(generator, SAMPLE_COLUMNS), row_names(generator))


def read_sheet(path: Path, widest: int = 2**14, highest: int = 2**14) -> np.ndarray:
    """Reads a stored sheet of pictures as it is seen: uint8 (3, H, W).

    Raises:
        SaganError: It cannot be read, or is wider or higher than the sheets of this run are.
    """
    try:
        with Image.open(path) as image:
            if image.width > widest or image.height > highest:
                raise SaganError(
                    f"{path} has {image.width:,} x {image.height:,} pixels and is no sample grid of"
                    " this run; delete it"
                )
            colours = image.convert("RGBA" if image.has_transparency_data else "RGB")
            return as_rgb(np.asarray(colours).transpose(2, 0, 1))
    except (OSError, Image.DecompressionBombError) as error:
        raise SaganError(f"cannot read {path}: {error}; delete it") from error


def _frame(step: int, path: Path, config: Config, names: Sequence[str], columns: int) -> np.ndarray:
    height, width = config.data.size
    rows = len(names) or MOST_CLASSES
    wide = SAMPLE_COLUMNS * (width + PADDING) + PADDING
    sheet = read_sheet(path, wide + 2 * WIDEST_LABEL, rows * (height + PADDING) + PADDING)
    cells = pictures_of(sheet[:, :, :wide], (height, width))
    is_whole = cells.shape[1] == SAMPLE_COLUMNS and len(cells) == (len(names) or len(cells)) > 0
    if not is_whole:
        raise SaganError(f"{path} is no sample grid of this run; delete it")
    seen = step * config.train.pictures_per_step
    title = f"step {step:,} ({seen:,} pictures seen)"
    labels = names or [""] * len(cells)
    shown = [(name, row[:columns]) for name, row in zip(labels, cells, strict=True)]
    return named_sheet(shown, columns=columns, title=title)


def _more_of_the_beginning(steps: list[int], most: int) -> list[int]:
    """At most so many of the steps, the first and the last among them."""
    if len(steps) <= most:
        return steps
    places = np.linspace(0, 1, most) ** 2 * (len(steps) - 1) if most > 1 else np.array([-1.0])
    return [steps[place] for place in np.unique(places.round().astype(int))]
