"""STL-10 as distributed: pictures by column, one file for each part."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sagan.config import DataConfig
from sagan.data.catalog import Catalog
from sagan.data.sources.blocks import BlockReader
from sagan.data.sources.bundles import Stretch, bundled
from sagan.data.sources.forms import Form
from sagan.data.sources.portions import Portion, catalog_of_portions

_STL10_FOLDERS = ("stl10_binary",)
_PARTS = ("train", "test", "unlabeled")
_STL10_SHAPE = (3, 96, 96)
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
    blocks = tuple(stretches[f"{part}_X.bin"].pictures(_STL10_SHAPE) for part in held)
    portions = [
        Portion(
            part, block.shape[0], stretches[f"{part}_X.bin"].stamp, _stl10_labels(stretches, part)
        )
        for part, block in zip(held, blocks, strict=True)
    ]
    listed = stretches.get("class_names.txt")
    names = listed.lines() if listed else _STL10_NAMES
    return catalog_of_portions(
        "STL-10",
        path,
        portions,
        BlockReader(blocks, Form(axes=(2, 1, 0))),
        config,
        class_names=["", *names],  # labels begin at 1
    )


def _stl10_labels(stretches: dict[str, Stretch], part: str) -> np.ndarray | None:
    stretch = stretches.get(f"{part}_y.bin")
    return np.frombuffer(stretch.content(), np.uint8) if stretch else None
