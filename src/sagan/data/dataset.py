"""What every source of pictures delivers, the order of batches, and the cache of packed data."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, TypeVar

import numpy as np

from sagan.config import require_class_names
from sagan.errors import SaganError
from sagan.system.files import replacing, writing

if TYPE_CHECKING:
    from sagan.data.opening import Origin

_Result = TypeVar("_Result")


class Rows:
    """Some of the pictures of an array; they are read when they are asked for."""

    def __init__(self, images: PictureArray, rows: np.ndarray) -> None:
        """Takes uint8 (N, C, H, W) and the numbers of the chosen ones, int64 (n,)."""
        self._images, self._rows = images, rows

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, C, H, W)."""
        return (len(self), *self._images.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """Of the pictures, uint8."""
        return self._images.dtype

    @property
    def ndim(self) -> int:
        """4."""
        return len(self.shape)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> np.ndarray:
        """Reads by a number, a slice or an array of numbers; not by several axes at once."""
        return self._images[self._rows[index]]


PictureArray: TypeAlias = np.ndarray | Rows
"""uint8 (N, C, H, W)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Labelled pictures of one size."""

    images: PictureArray
    """uint8 (N, C, H, W), C-contiguous; may be a read-only memory map, or chosen rows of one."""
    labels: np.ndarray
    """int64 (N,), values in [0, len(class_names)); all 0 when unconditional."""
    class_names: tuple[str, ...]
    """One name per label; () when unconditional."""
    fingerprint: str
    """16 hex digits that depend on every picture, label and class name."""
    origin: Origin | None = None
    """Where the pictures come from; None of those made in memory."""

    def __post_init__(self) -> None:
        require_class_names(self.class_names)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def label_frequencies(self) -> np.ndarray:
        """Share of each class: float64 (num_classes,), sums to 1; (1,) when unconditional."""
        counts = np.bincount(self.labels, minlength=max(1, len(self.class_names)))
        return counts / len(self)

    @cached_property
    def _decks(self) -> list[_Deck]:
        """The pictures of every class that has some."""
        by_class = np.argsort(self.labels, kind="stable")
        labels, first = np.unique(self.labels[by_class], return_index=True)
        return [
            _Deck(int(label), pictures)
            for label, pictures in zip(labels, np.split(by_class, first[1:]), strict=True)
        ]

    def balanced_indices(self, batch_size: int, step: int, seed: int) -> np.ndarray:
        """Picks the pictures of one training step so that every class comes as often as the others.

        The classes that have pictures come in one fresh permutation after another, and so do the
        pictures within a class: each once before any comes again. Like :func:`batch_indices` it is
        a function of its arguments alone.

        Args:
            batch_size: Pictures in a batch.
            step: Number of the batch, from 0.
            seed: Chooses the order; at least 0.

        Returns:
            int64 (batch_size,), values in [0, len(self)).
        """
        first, count = step * batch_size, len(self._decks)
        places = range(first, first + batch_size)
        rounds = range(first // count, (first + batch_size - 1) // count + 1)
        order = {n: np.random.default_rng([seed, n, 1]).permutation(count) for n in rounds}
        return np.array(
            [
                self._decks[order[place // count][place % count]].picture(place // count, seed)
                for place in places
            ]
        )


class _Deck:
    """The pictures of a class, shuffled anew for each of its epochs.

    Args:
        label: Of the class.
        pictures: Their numbers in the dataset.
    """

    def __init__(self, label: int, pictures: np.ndarray) -> None:
        self._label = label
        self._pictures = pictures
        self._newest: tuple[tuple[int, int], np.ndarray] | None = None

    def picture(self, number: int, seed: int) -> int:
        """The number in the dataset of the picture that comes at a place of the class's order."""
        epoch, place = divmod(number, len(self._pictures))
        newest = self._newest
        if newest is None or newest[0] != (epoch, seed):
            random = np.random.default_rng([seed, epoch, 2, self._label])
            newest = self._newest = (epoch, seed), random.permutation(self._pictures)
        return int(newest[1][place])


def dataset_of(
    images: np.ndarray, labels: np.ndarray | None = None, class_names: tuple[str, ...] = ()
) -> Dataset:
    """Makes a dataset of pictures in memory, without labels an unconditional one."""
    if labels is None:
        labels = np.zeros(len(images), np.int64)
    mark = fingerprint(images.shape, digests_of(images), labels, class_names)
    return Dataset(images=images, labels=labels, class_names=class_names, fingerprint=mark)


def digests_of(images: PictureArray) -> np.ndarray:
    """A number of 64 bits for each picture, the BLAKE2b of its pixels: uint64 (N,)."""
    found = bytearray()
    for row in range(len(images)):
        picture = np.ascontiguousarray(images[row])
        found += hashlib.blake2b(picture.data, digest_size=8).digest()
    return np.frombuffer(bytes(found), "<u8").astype(np.uint64)


def fingerprint(
    shape: tuple[int, ...], digests: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...]
) -> str:
    """Returns 16 hex digits for a whole dataset, from the digests of its pictures.

    Args:
        shape: Of the pictures, (N, C, H, W).
        digests: uint64 (N,), from :func:`digests_of`.
        labels: int64 (N,).
        class_names: One name per label.
    """
    mark = hashlib.sha256(repr((tuple(map(int, shape)), class_names)).encode())
    mark.update(np.ascontiguousarray(labels, "<i8").data)
    mark.update(np.ascontiguousarray(digests, "<u8").data)
    return mark.hexdigest()[:16]


def batch_indices(length: int, batch_size: int, step: int, seed: int) -> np.ndarray:
    """Picks the pictures of one training step from an endless, stateless order.

    The order is one fresh permutation per epoch after another; epoch e's permutation depends on
    ``length``, ``seed`` and e alone. A batch may straddle two epochs.

    Args:
        length: Pictures in the dataset.
        batch_size: Pictures in a batch, at most ``length``.
        step: Number of the batch, from 0.
        seed: Chooses the order; at least 0.

    Returns:
        int64 (batch_size,), values in [0, length).

    Raises:
        SaganError: The dataset is smaller than a batch.
    """
    if length < batch_size:
        raise SaganError(
            f"a batch of {batch_size} pictures cannot be filled from {length}; "
            "choose a smaller --train.batch-size or give more pictures"
        )
    epoch, first = divmod(step * batch_size, length)
    batch = _permutation(length, seed, epoch)[first : first + batch_size].copy()
    missing = batch_size - len(batch)
    if missing:
        batch = np.concatenate([batch, _permutation(length, seed, epoch + 1)[:missing]])
    return batch


@lru_cache(maxsize=2)
def _permutation(length: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(length)


def cache_folder() -> Path:
    """Returns $SAGAN_CACHE, else $XDG_CACHE_HOME/sagan, else ~/.cache/sagan."""
    if chosen := os.environ.get("SAGAN_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "sagan"


@contextmanager
def cache_file(path: Path) -> Iterator[BinaryIO]:
    """Opens a file for writing that appears at ``path`` complete, or not at all.

    Raises:
        SaganError: The cache folder cannot be made or written.
    """
    remedy = "set SAGAN_CACHE to a folder with free space that you may write"
    where = f"to the cache folder {path.parent}"
    with writing(where, remedy), replacing(path) as draft, draft.open("wb") as file:
        yield file


def read_cached(
    path: Path, read: Callable[[Path], _Result], build: Callable[[], object]
) -> _Result:
    """Reads a file of the cache; one that is absent or damaged is built anew first.

    Raises:
        SaganError: It cannot be built.
    """
    if path.exists():
        try:
            return read(path)
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            pass
    build()
    return read(path)
