"""From arrays to a catalog: parts of a data set, their labels and the names of their pictures."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sagan.config import DataConfig
from sagan.data.catalog import Catalog, MadeNames, Reader, gaps_told, labelled, part_taken
from sagan.errors import SaganError, enumerated


@dataclass(frozen=True, eq=False)
class Portion:
    """Pictures that follow each other in a source."""

    split: str
    """Name of the part they belong to; "" where the source is not divided."""
    count: int
    stamp: int
    """Of the file."""
    labels: np.ndarray | None
    """(N,) or (N, 1) numbers or texts, or one-hot (N, K)."""
    unlabelled: np.ndarray | None = None
    """bool (N,): pictures whose label is missing; None if none is."""


class NumberedNames(MadeNames):
    """Names of pictures that have none: "train/00017" is number 17 of a part."""

    def __init__(self, portions: Sequence[tuple[str, int]]) -> None:
        prefixes = [f"{prefix}/" if prefix else "" for prefix, _ in portions]
        counts = [count for _, count in portions]
        self._prefixes = dict.fromkeys(prefixes, 0)
        self._starts = np.cumsum([0, *counts])
        self._runs: list[tuple[str, int]] = []
        for prefix, count in zip(prefixes, counts, strict=True):
            self._runs.append((prefix, self._prefixes[prefix]))
            self._prefixes[prefix] += count

    def __len__(self) -> int:
        return int(self._starts[-1])

    def name_of(self, number: int) -> str:
        """Its part and its number there."""
        run = int(np.searchsorted(self._starts, number, side="right")) - 1
        prefix, first = self._runs[run]
        width = len(str(self._prefixes[prefix] - 1))
        return f"{prefix}{first + number - int(self._starts[run]):0{width}}"


def catalog_of_portions(
    kind: str,
    root: Path,
    portions: Sequence[Portion],
    read: Reader,
    config: DataConfig,
    *,
    class_names: Sequence[str] | None = None,
    notes: Sequence[str] = (),
) -> Catalog:
    """Lists the pictures of all portions; those without a label make no class.

    Args:
        kind: As for :class:`Catalog`, like ``root``, ``read`` and ``notes``.
        root: The folder or file.
        portions: At least one, in the order of the reader's numbers.
        read: Gives a picture by its number.
        config: Says which part is wanted and whether classes are.
        class_names: By label, where the source states them.
        notes: What is known already.

    Raises:
        SaganError: The labels do not fit the pictures or the names.
    """
    splits, told = tuple(dict.fromkeys(p.split for p in portions if p.split)), list(notes)
    with_classes, chosen = _with_classes(portions, splits, config, told)
    counts = [p.count for p in portions]
    names = NumberedNames([(p.split, p.count) for p in portions])
    labels, missing, found = np.zeros(len(names), np.int64), np.zeros(len(names), bool), ()
    if with_classes:
        missing = np.concatenate([_missing(p) for p in portions]) & chosen
        chosen &= ~missing
        labelled = [p for p in portions if p.labels is not None]
        values = [_class_values(root, p, config)[~_missing(p)] for p in labelled]
        labels[chosen], found = _classes(root, values, class_names, told)
    catalog = Catalog(
        kind=kind,
        root=root,
        names=names,
        stamps=np.repeat(np.array([p.stamp for p in portions], np.uint64), counts),
        read=read,
        labels=labels,
        class_names=found,
        splits=splits,
        split_of=np.repeat([splits.index(p.split) for p in portions], counts) if splits else None,
        passed_over=[(names[n], "without a label") for n in np.flatnonzero(missing).tolist()],
        notes=told,
    )
    return catalog if chosen.all() else catalog.take(np.flatnonzero(chosen))


def _missing(portion: Portion) -> np.ndarray:
    """Which pictures have no label: bool (N,)."""
    if portion.unlabelled is None:
        return np.zeros(portion.count, bool)
    return portion.unlabelled


def _with_classes(
    portions: Sequence[Portion], splits: tuple[str, ...], config: DataConfig, told: list[str]
) -> tuple[bool, np.ndarray]:
    """Whether classes are learned, and which pictures are listed: bool (N,)."""
    has_labels = [portion.labels is not None for portion in portions]
    counts = [portion.count for portion in portions]
    everything = np.ones(sum(counts), bool)
    if config.labels == "none" or not any(has_labels):
        return False, everything
    bare = {portion.split for portion in portions if portion.labels is None}
    if not bare:
        return True, everything
    wanted = part_taken(splits, config.split)
    named = ", ".join(sorted(bare))
    if wanted in bare or wanted == "all":
        told.append(f"the part {named} has no labels, so that no classes are learned")
        return False, everything
    told.append(f"the part {named} has no labels; --data.split {named} takes it, without classes")
    return True, np.repeat(has_labels, counts)


def _class_values(root: Path, portion: Portion, config: DataConfig) -> np.ndarray:
    """The class of each picture of a portion: (N,) whole numbers or texts."""
    labels = portion.labels
    assert labels is not None
    part = f"{root}{f', {portion.split}' if portion.split else ''}"
    if labels.ndim == 0 or len(labels) != portion.count:
        raise SaganError(
            f"{part} has {portion.count:,} pictures but {labels.size:,} labels; take both from one "
            "set"
        )
    labels = labels.reshape(len(labels), -1)
    columns = labels.shape[1]
    if columns == 1:
        labels = labels[:, 0]
    elif config.label.isdecimal() and int(config.label) < columns:
        labels = labels[:, int(config.label)]
    elif labels.dtype.kind in "biuf" and _is_one_hot(labels):
        labels = labels.argmax(axis=1)
    else:
        raise SaganError(
            f"{part} has {columns} numbers as the label of a picture, which are not one 1 among "
            f"zeros; choose one with --data.label 0 to {columns - 1}, or set --data.labels none"
        )
    if labels.dtype.kind in "US" or (labels.dtype.kind in "biuf" and _is_whole(labels)):
        return labels
    raise SaganError(f"{part}: labels must be whole numbers or texts; set --data.labels none")


def _is_one_hot(labels: np.ndarray) -> bool:
    return bool(((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all())


def _is_whole(labels: np.ndarray) -> bool:
    if labels.dtype.kind != "f":
        return True
    return bool((np.abs(labels) < 2**53).all() and (labels == np.rint(labels)).all())


def _classes(
    root: Path, values: list[np.ndarray], class_names: Sequence[str] | None, told: list[str]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels without gaps and class names; what was compacted is told."""
    if any(part.dtype.kind in "US" for part in values):
        joined = np.concatenate([part.astype(np.str_) for part in values])
        texts, inverse = np.unique(joined, return_inverse=True)
        label_of, found = labelled([str(text) for text in texts])
        return label_of[inverse], found
    kind = np.uint64 if all(part.dtype.kind == "u" for part in values) else np.int64
    numbers, labels = np.unique(
        np.concatenate([part.astype(kind) for part in values]), return_inverse=True
    )
    if class_names is None:
        told += gaps_told(numbers.tolist())
        return labels, tuple(str(number) for number in numbers)
    if numbers[0] < 0 or numbers[-1] >= len(class_names):
        wrong = numbers[0] if numbers[0] < 0 else numbers[-1]
        raise SaganError(
            f"{root} has a label {wrong} but {len(class_names)} class names, which are counted from"
            " 0; mend it, or set --data.labels none"
        )
    unused = sorted(set(range(len(class_names))) - set(numbers.tolist()))
    if unused := [number for number in unused if class_names[number]]:
        names = enumerated([class_names[number] for number in unused])
        told.append(f"classes without pictures are left out: {names}")
    named = [str(class_names[number]) for number in numbers]
    return labels, tuple(unicodedata.normalize("NFC", name) for name in named)
