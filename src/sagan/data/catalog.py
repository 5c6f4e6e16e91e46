"""What a source of pictures holds, before a pixel is decoded."""

from __future__ import annotations

import os
import re
import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias, overload

import numpy as np

from sagan.config import require_class_names
from sagan.errors import SaganError, enumerated

Content: TypeAlias = Path | bytes | np.ndarray
"""One picture as a source has it: a file, the bytes of one, or pixels as (H, W) or (H, W, C)."""

Reader: TypeAlias = Callable[[int, str], Content]
"""Fetches a picture by its number and name in the catalog. Other processes get a copy (pickle), so
that it opens files where it is called and keeps them open for the next picture."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Catalog:
    """The pictures of a source in their order, by name."""

    kind: str
    """In words, such as "a folder with one sub-folder per class"."""
    root: Path
    """The folder or file."""
    names: Sequence[str]
    """Of the N pictures: unique; of files, their paths within the root with "/"."""
    stamps: np.ndarray
    """uint64 (N,): another number where a picture may have changed; see :func:`stamp_of`."""
    read: Reader
    labels: np.ndarray
    """int64 (N,), values in [0, len(class_names)); all 0 without classes."""
    class_names: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    """The parts that the source is divided into, such as ("train", "val"); () if it is not."""
    split_of: np.ndarray | None = None
    """int64 (N,): number of each picture's part; None where the source is not divided."""
    chosen_by: str = ""
    """The list that says which of the pictures in the root are taken, if the user named one."""
    images: np.ndarray | None = None
    """uint8 (N, C, H, W), a memory map, where the source stores its pictures so: if they are
    wanted so, they are not copied."""
    contents: np.ndarray | None = None
    """uint64 (N,): :attr:`sagan.data.facts.Facts.content` before the pictures were packed; None
    where the source holds them as they first were."""
    range: tuple[float, ...] = ()
    """Values of deep pictures that are black and white, where the source tells; else ()."""
    passed_over: Sequence[tuple[str, str]] = ()
    """What is no picture or cannot be used: name and reason."""
    notes: Sequence[str] = field(default=())
    """What the user should know of how the source was read; a line each."""

    def __post_init__(self) -> None:
        require_class_names(self.class_names)
        assert len(self.names) == len(self.stamps) == len(self.labels)
        assert bool(self.splits) == (self.split_of is not None)

    def __len__(self) -> int:
        return len(self.names)

    def take(self, chosen: np.ndarray) -> Catalog:
        """Returns some of the pictures, by their numbers in ascending order.

        Their classes keep their numbers. The reader still gets the old numbers.
        """
        read, numbers = self.read, chosen
        images = self.images
        if images is not None:
            together = len(chosen) and chosen[-1] - chosen[0] + 1 == len(chosen)
            images = images[chosen[0] : chosen[-1] + 1] if together else None
        return replace(
            self,
            names=[self.names[number] for number in chosen],
            stamps=self.stamps[chosen],
            labels=self.labels[chosen],
            split_of=None if self.split_of is None else self.split_of[chosen],
            read=_Renumbered(read, numbers),
            images=images,
            contents=None if self.contents is None else self.contents[chosen],
        )


@dataclass(frozen=True)
class _Renumbered:
    read: Reader
    numbers: np.ndarray

    def __call__(self, index: int, name: str) -> Content:
        return self.read(int(self.numbers[index]), name)


def labelled(
    names_of_classes: Sequence[str | None], order: Sequence[str] | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Turns the class of each picture, by name, into labels and class names.

    Names are brought to Unicode's NFC, so that one name is one class however it was typed. Classes
    without pictures are left out.

    Args:
        names_of_classes: One per picture; None everywhere if there are no classes.
        order: Of the classes, where the source states one; otherwise natural, 2 before 10.

    Returns:
        int64 (N,) and the names.
    """
    plain = [unicodedata.normalize("NFC", name or "") for name in names_of_classes]
    found = set(plain)
    if found <= {""}:
        return np.zeros(len(plain), np.int64), ()
    stated = [unicodedata.normalize("NFC", name) for name in order or ()]
    class_names = [name for name in stated if name in found]
    class_names += sorted(found - set(class_names), key=natural)
    label_of = {name: label for label, name in enumerate(class_names)}
    return np.array([label_of[name] for name in plain], np.int64), tuple(class_names)


def gaps_told(numbers: Sequence[int]) -> list[str]:
    """What the user should know of classes that are called by numbers, ascending; often nothing."""
    if numbers[0] in (0, 1) and numbers[-1] - numbers[0] < len(numbers):
        return []
    return [
        f"label numbers run from {numbers[0]} to {numbers[-1]}: the {len(numbers):,} that occur "
        "are the classes, called by their numbers"
    ]


class MadeNames(Sequence[str], ABC):
    """Names of pictures that are made when they are asked for."""

    @abstractmethod
    def name_of(self, number: int) -> str:
        """The name of a picture, by its number from 0."""

    @overload
    def __getitem__(self, key: int) -> str: ...
    @overload
    def __getitem__(self, key: slice) -> list[str]: ...
    def __getitem__(self, key: int | slice) -> str | list[str]:
        numbers = range(len(self))[key]
        if isinstance(numbers, int):
            return self.name_of(numbers)
        return [self.name_of(number) for number in numbers]


def natural(name: str) -> tuple[object, ...]:
    """A key that sorts numbers within names by their value: a2 before a10."""
    pieces = re.split(r"(\d+)", name)
    return (*((int(p), p) if p.isdecimal() else (-1, p.casefold()) for p in pieces), name)


def stamp_of(status: os.stat_result) -> int:
    """A number of 64 bits that differs when a file was changed, replaced or touched."""
    fields = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    number = 0
    for value in fields:
        number = (number * 0x9E3779B97F4A7C15 + value + 1) % 2**64
    return number


def part_taken(splits: Sequence[str], split: str) -> str:
    """Name of the part that is taken: the chosen one, else train where there is one, else "all"."""
    return split or ("train" if "train" in splits else "all")


def in_split(catalog: Catalog, split: str) -> Catalog:
    """Returns the pictures of one part of a divided source.

    Its classes are those of train, so that their numbers are the same in all parts, and its own.

    Args:
        catalog: Of the whole source.
        split: As for :func:`part_taken`.

    Raises:
        SaganError: There is no such part; names those there are.
    """
    part = part_taken(catalog.splits, split)
    if part == "all":
        return catalog
    if not catalog.splits:
        raise SaganError(
            f"{catalog.root} is not divided, so that it has no part {split!r}; leave --data.split "
            "out"
        )
    if part not in catalog.splits:
        raise SaganError(
            f"{catalog.root} has no part {part!r}; it has {', '.join(catalog.splits)}, or all"
        )
    assert catalog.split_of is not None
    known = [catalog.splits.index(name) for name in {part, "train"} & {*catalog.splits}]
    present = np.unique(catalog.labels[np.isin(catalog.split_of, known)])
    taken = catalog.take(np.flatnonzero(catalog.split_of == catalog.splits.index(part)))
    absent = sorted(set(range(len(taken.class_names))) - set(present.tolist()))
    if not absent:
        return taken
    told = f"classes without pictures in {part} are left out: "
    told += enumerated([taken.class_names[label] for label in absent])
    return replace(
        taken,
        labels=np.searchsorted(present, taken.labels),
        class_names=tuple(taken.class_names[label] for label in present),
        notes=[*taken.notes, told],
    )


def counted(reasons: Iterable[tuple[str, str]]) -> list[tuple[str, int, str]]:
    """Sums up what was passed over: reason, how many, one name as an example; most first."""
    pairs = list(reasons)
    example = {reason: name for name, reason in reversed(pairs)}
    return [
        (reason, n, example[reason]) for reason, n in Counter(r for _, r in pairs).most_common()
    ]
