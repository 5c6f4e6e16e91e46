"""What can be read: each module recognises sources by their content and lists their pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sagan.config import DataConfig
from sagan.data.catalog import Catalog
from sagan.data.sources.archive import picture_archive, picture_shards
from sagan.data.sources.arrays import arrays
from sagan.data.sources.cifar import cifar
from sagan.data.sources.folder import picture_folder, picture_list
from sagan.data.sources.hdf5 import hdf5
from sagan.data.sources.huggingface import huggingface
from sagan.data.sources.idx import idx
from sagan.data.sources.lmdb import lmdb_folders
from sagan.data.sources.stl10 import stl10

Recogniser = Callable[[Path, DataConfig], Catalog | None]
"""Given an existing file or folder; None where it is of another kind."""

RECOGNISERS: tuple[Recogniser, ...] = (
    idx,
    cifar,
    stl10,
    arrays,
    hdf5,
    lmdb_folders,
    huggingface,
    picture_shards,
    picture_archive,
    picture_list,
    picture_folder,
)
"""Asked in this order."""
