"""CIFAR-10 and CIFAR-100 as distributed: Python's pickles, or binary."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sagan.config import DataConfig
from sagan.data.catalog import Catalog, natural
from sagan.data.sources.blocks import Block, BlockReader
from sagan.data.sources.bundles import Stretch, bundled
from sagan.data.sources.forms import Form
from sagan.data.sources.pickled import unpickled
from sagan.data.sources.portions import Portion, catalog_of_portions
from sagan.errors import SaganError

_CIFAR_FOLDERS = (
    "cifar-10-batches-py",
    "cifar-100-python",
    "cifar-10-batches-bin",
    "cifar-100-binary",
)
_BATCH_NAME = re.compile(r"(data_batch_\d+|test_batch|train|test)(\.bin)?")
_CIFAR_SHAPE = (3, 32, 32)
_CIFAR_SIZE = 3 * 32 * 32
_TRIES = 16


class _Batch(NamedTuple):
    split: str
    block: Block
    labels: np.ndarray
    stamp: int


def cifar(path: Path, config: DataConfig) -> Catalog | None:
    """Recognises CIFAR-10 and CIFAR-100: a folder, the one around it, or the ``.tar.gz``.

    CIFAR-100 has two sets of classes: ``label`` of the config is fine (the default) or coarse.
    Pictures are mapped where they lie, also within a pickle.

    Raises:
        SaganError: A file is damaged or holds something else.
    """
    stretches = bundled(path, _CIFAR_FOLDERS, _is_cifar)
    if stretches is None:
        return None
    is_binary = "train.bin" in stretches or "test_batch.bin" in stretches
    is_hundred = "meta" in stretches or "fine_label_names.txt" in stretches
    level = _level(path, config) if is_hundred else ""
    names = [
        name for name in stretches if (m := _BATCH_NAME.fullmatch(name)) and bool(m[2]) == is_binary
    ]
    read = _binary if is_binary else _pickled
    batches = [
        read(name, stretches[name], level)
        for name in sorted(names, key=lambda name: ("test" in name, natural(name)))
    ]
    portions = [
        Portion(batch.split, batch.block.shape[0], batch.stamp, batch.labels) for batch in batches
    ]
    blocks = tuple(batch.block for batch in batches)
    return catalog_of_portions(
        f"CIFAR-{100 if is_hundred else 10}{', binary' if is_binary else ''}",
        path,
        portions,
        BlockReader(blocks, Form(axes=(1, 2, 0))),
        config,
        class_names=_names_of_classes(stretches, level),
    )


def _is_cifar(names: set[str]) -> bool:
    tens = "test_batch" in names or any(name.startswith("data_batch_1") for name in names)
    hundreds = {"train", "test", "meta"} <= names or {"train.bin", "fine_label_names.txt"} <= names
    return tens or hundreds or "test_batch.bin" in names


def _level(path: Path, config: DataConfig) -> str:
    if config.label not in ("", "fine", "coarse"):
        raise SaganError(f"{path} has no label {config.label!r}; --data.label is fine or coarse")
    return config.label or "fine"


def _part_of_batch(name: str) -> str:
    return "test" if name.startswith("test") else "train"


def _binary(name: str, stretch: Stretch, level: str) -> _Batch:
    """A picture follows its label, or the coarse and the fine one."""
    skipped = 2 if level else 1
    block = stretch.pictures(_CIFAR_SHAPE, skipped)
    rows = (block.shape[0], skipped + _CIFAR_SIZE)
    stored = np.memmap(stretch.path, np.uint8, "r", stretch.offset, rows)
    return _Batch(_part_of_batch(name), block, stored[:, int(level == "fine")], stretch.stamp)


def _pickled(name: str, stretch: Stretch, level: str) -> _Batch:
    content = stretch.content()
    held = unpickled(stretch.path, content)
    pictures, labels = held.get("data"), held.get(f"{level}_labels" if level else "labels")
    if (
        not isinstance(pictures, np.ndarray)
        or (pictures.dtype, pictures.shape[1:]) != (np.uint8, (_CIFAR_SIZE,))
        or not _are_numbers(labels)
    ):
        raise SaganError(
            f"{stretch.path}, {name} holds no CIFAR pictures with labels; fetch it anew"
        )
    offset = _position(content, pictures)
    if offset is None:
        raise SaganError(
            f"{stretch.path}, {name} was pickled anew in a way that hides the pictures; fetch the "
            "original"
        )
    block = Block(
        path=stretch.path,
        shape=(len(pictures), *_CIFAR_SHAPE),
        dtype="|u1",
        offset=stretch.offset + offset,
    )
    return _Batch(_part_of_batch(name), block, np.array(labels, np.int64), stretch.stamp)


def _are_numbers(labels: object) -> bool:
    return isinstance(labels, list) and all(
        isinstance(label, int) and abs(label) < 2**31 for label in labels
    )


def _position(content: bytes, pictures: np.ndarray) -> int | None:
    """Where the bytes of an array begin in a pickle, which stores them as they are."""
    if not pictures.flags.c_contiguous:
        return None
    wanted = memoryview(pictures.data).cast("B")
    start = bytes(wanted[:256])
    offset = content.find(start)
    for _ in range(_TRIES):
        if offset < 0:
            break
        if memoryview(content)[offset : offset + len(wanted)] == wanted:
            return offset
        offset = content.find(start, offset + 1)
    return None


def _names_of_classes(stretches: Mapping[str, Stretch], level: str) -> list[str] | None:
    key = f"{level}_label_names" if level else "label_names"
    for name in ("meta", "batches.meta"):
        if name in stretches:
            held = unpickled(stretches[name].path, stretches[name].content()).get(key)
            if not isinstance(held, list) or not all(isinstance(text, str) for text in held):
                raise SaganError(f"{stretches[name].path} holds no {key}; fetch it anew")
            return held
    text = f"{level}_label_names.txt" if level else "batches.meta.txt"
    return stretches[text].lines() if text in stretches else None
