"""Sets of generated pictures on the disk, of any number: a file each, or all in one."""

import math
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sagan.images import PADDING, enlarge, grid, save_png
from sagan.images.contact import NAMED_SIDE, named_sheet
from sagan.sampling.generator import BATCH_SIZE, TrainedGenerator
from sagan.system.files import file_names, replacing
from sagan.system.memory import require_free
from sagan.system.npy import uint8_header
from sagan.system.progress import progress


class SampleSet(NamedTuple):
    """Which pictures: every seed of every class."""

    generator: TrainedGenerator
    seeds: Sequence[int]
    labels: Sequence[str | int | None]
    """Class names or numbers; (None,) without classes."""
    truncation: float | None = None
    scale: int = 1
    """Every pixel is repeated so many times in both directions."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a picture as it is written."""
        height, width = self.generator.size
        return self.generator.channels, self.scale * height, self.scale * width

    @property
    def numbers(self) -> list[int]:
        """The labels as numbers of classes.

        Raises:
            SaganError: A class is unknown.
        """
        return [int(self.generator.label_numbers(label, 1)[0]) for label in self.labels]

    def batches(self) -> Iterator[tuple[int, Sequence[int], np.ndarray]]:
        """Number of a class, some seeds, and their pictures, uint8 (N, C, H, W); shows a bar."""
        numbers = self.numbers
        size = 4 * BATCH_SIZE * math.prod(self.shape)
        require_free(size, "a batch", "give a smaller --scale")
        with progress("pictures", len(numbers) * len(self.seeds)) as advance:
            for number in numbers:
                for start in range(0, len(self.seeds), BATCH_SIZE):
                    seeds = self.seeds[start : start + BATCH_SIZE]
                    labels = np.full(len(seeds), number)
                    pictures = self.generator.sample(seeds, labels, truncation=self.truncation)
                    yield number, seeds, enlarge(pictures, self.scale)
                    advance(len(seeds))


def grid_of(pictures: SampleSet, columns: int) -> np.ndarray:
    """Lays pictures out, every class beginning a new row: uint8 (C, H, W).

    Raises:
        SaganError: A class is unknown, a seed is out of range, or the grid would not fit into
            memory.
    """
    columns = min(columns, len(pictures.seeds))
    missing = -len(pictures.seeds) % columns
    _require_grid(pictures, columns, pictures.scale)
    rows = [
        np.pad(drawn, ((0, missing), *[(0, 0)] * 3), constant_values=255)
        for drawn in _drawn(pictures)
    ]
    return enlarge(grid(np.concatenate(rows), columns), pictures.scale)


def named_grid(pictures: SampleSet, columns: int) -> np.ndarray:
    """Lays pictures out, 96 pixels high and wide at least, with the names of their classes.

    Returns:
        uint8 (3, H, W), as wide as high or wider.

    Raises:
        SaganError: As for :func:`grid_of`.
    """
    columns = min(columns, len(pictures.seeds))
    side = max(NAMED_SIDE, pictures.scale * min(pictures.generator.size))
    _require_grid(pictures, columns, -(-side // min(pictures.generator.size)))
    known = pictures.generator.class_names
    names = [known[number] for number in pictures.numbers] if known else [""]
    rows = list(zip(names, _drawn(pictures), strict=True))
    return named_sheet(rows, columns=columns, least_side=side)


def _drawn(pictures: SampleSet) -> Iterator[np.ndarray]:
    """The pictures of one class after the other."""
    for label in pictures.labels:
        yield pictures.generator.sample(pictures.seeds, label, truncation=pictures.truncation)


def _require_grid(pictures: SampleSet, columns: int, scale: int) -> None:
    lines = -(-len(pictures.seeds) // columns)
    cells = len(pictures.labels) * lines * columns
    height, width = pictures.generator.size
    values = pictures.generator.channels * (height + PADDING) * (width + PADDING)
    size = cells * values * (2 + 4 * scale**2)
    require_free(size, "the grid", "give fewer --seeds, a smaller --scale, or a folder to write to")


def save_folder(pictures: SampleSet, folder: str | Path) -> None:
    """Writes a PNG per picture: CLASS/SEED.png, or SEED.png without classes.

    Characters of class names that a file system may refuse are replaced.

    Raises:
        SaganError: A class is unknown, a seed is out of range, or a file cannot be written.
    """
    names = file_names(pictures.generator.class_names)
    homes = [Path(folder, name) for name in names] or [Path(folder)]
    for number, seeds, batch in pictures.batches():
        for seed, picture in zip(seeds, batch, strict=True):
            save_png(picture, homes[number] / f"{seed}.png", flush=False)


def save_packed(pictures: SampleSet, path: str | Path) -> None:
    """Writes one .npz of arrays, as metric tools and ``sagan evaluate`` read it.

    It holds ``images``, uint8 (N, C, H, W), and where there are classes ``labels``, int64 (N,), and
    ``class_names``.

    Raises:
        SaganError: As for :func:`save_folder`.
        OSError: The file cannot be written.
    """
    numbers = pictures.numbers
    shape = (len(numbers) * len(pictures.seeds), *pictures.shape)
    with replacing(Path(path)) as draft, zipfile.ZipFile(draft, "w") as archive:
        with archive.open("images.npy", "w", force_zip64=True) as file:
            file.write(uint8_header(shape))
            for _, _, batch in pictures.batches():
                file.write(batch.tobytes())
        if names := pictures.generator.class_names:
            labels = np.repeat(np.array(numbers, np.int64), len(pictures.seeds))
            for name, array in (("labels", labels), ("class_names", np.array(names))):
                with archive.open(f"{name}.npy", "w") as file:
                    np.lib.format.write_array(file, array)
