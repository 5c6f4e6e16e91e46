"""STL-10 as distributed: pictures by column, one file for each part."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sagan.config import DataConfig
from sagan.data.catalog import Catalog
from sagan.data.sources.blocks import Block, BlockReader
from sagan.data.sources.bundles import Stretch, bundled
from sagan.data.sources.forms import Form
from sagan.data.sources.portions import Portion, catalog_of_portions
from sagan.errors import SaganError

_STL10_FOLDERS = ("stl10_binary",)
_PARTS = ("train", "test", "unlabeled")
_STL10_SHAPE = (3, 96, 96)
_STL10_SIZE = 3 * 96 * 96
_STL10_NAMES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")


def stl10(path: Path, config: DataConfig) -> Catalog | None:
    """Recognises STL-10: its folder, the one around it, or the ``.tar.gz``.

    The parts are train, test and unlabeled, which has no classes.

    Raises:
        SaganError: A file is damaged.
    """
    stretches = bundled(
        path, _STL10_FOLDERS, lambda names: bool({"train_X.bin", "unlabeled_X.bin"} & names)
    )
    if stretches is None:
        return None
    held = [part for part in _PARTS if f"{part}_X.bin" in stretches]
    blocks = tuple(_stl10_block(stretches[f"{part}_X.bin"]) for part in held)
    portions = [
        Portion(
            part, block.shape[0], stretches[f"{part}_X.bin"].stamp, _stl10_labels(stretches, part)
        )
        for part, block in zip(held, blocks, strict=True)
    ]
    listed = stretches.get("class_names.txt")
    names = [line.strip() for line in listed.lines()] if listed else _STL10_NAMES
    return catalog_of_portions(
        "STL-10",
        path,
        portions,
        BlockReader(blocks, Form(axes=(2, 1, 0))),
        config,
        class_names=["", *names],  # labels begin at 1
    )


def _stl10_block(stretch: Stretch) -> Block:
    count, rest = divmod(stretch.size, _STL10_SIZE)
    if rest or not count:
        raise SaganError(
            f"{stretch.path}: {stretch.size:,} bytes are no whole number of pictures with "
            f"{_STL10_SIZE:,} each; fetch it anew"
        )
    return Block(
        path=stretch.path, shape=(count, *_STL10_SHAPE), dtype="|u1", offset=stretch.offset
    )


def _stl10_labels(stretches: dict[str, Stretch], part: str) -> np.ndarray | None:
    stretch = stretches.get(f"{part}_y.bin")
    return np.frombuffer(stretch.content(), np.uint8) if stretch else None
