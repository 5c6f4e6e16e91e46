"""What can be read: each module recognises sources by their content and lists their pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sagan.config import DataConfig
from sagan.data.catalog import Catalog
from sagan.data.sources.archive import picture_archive, picture_shards
from sagan.data.sources.folder import picture_folder

Recogniser = Callable[[Path, DataConfig], Catalog | None]
"""Given an existing file or folder; None where it is of another kind."""

RECOGNISERS: tuple[Recogniser, ...] = (
    picture_shards,
    picture_archive,
    picture_folder,
)
"""Asked in this order."""
