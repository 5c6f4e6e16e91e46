"""LMDB folders, such as those of LSUN: encoded pictures under keys."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sagan.config import DataConfig
from sagan.data.catalog import Catalog, labelled, stamp_of
from sagan.data.sources.bundles import few
from sagan.errors import SaganError

if TYPE_CHECKING:
    import lmdb

_FILE = "data.mdb"
_META = struct.Struct("<16xIIQQI44x32xQQQQ")
"""A meta page after its head: magic, version, address, size of the map, size of a page; of the main
tree its entries and its root; the last page, and the transaction."""
_MAGIC_NUMBER = 0xBEEFC0DE
_LSUN = re.compile(r"(?:(?P<category>.+)_)?(?P<split>train|val|test)(?:_lmdb)?")
_LEAST = 64
"""Bytes of the smallest picture; what is smaller, such as a count, is none."""


@dataclass(frozen=True)
class _Environment:
    path: Path
    category: str
    split: str


def lmdb_folders(path: Path, config: DataConfig) -> Catalog | None:
    """Recognises an LMDB folder, or a folder of several such as LSUN's.

    LSUN's are called ``bedroom_train_lmdb``: several categories in one folder are its classes, and
    train and val its parts.

    Raises:
        SaganError: The library is missing, or a file is damaged or holds no pictures.
    """
    environments = _environments(path)
    if not environments:
        return None
    try:
        import lmdb
    except ImportError as error:
        raise SaganError(f'{path} is LMDB; to read it, pip install "sagan[lmdb]"') from error
    keys: list[bytes] = []
    ends: list[int] = []
    passed_over: list[tuple[str, str]] = []
    try:
        for environment in environments:
            found = _keys(environment, passed_over)
            keys += found
            ends.append(len(keys))
    except (lmdb.Error, OSError) as error:
        raise SaganError(f"cannot read {path} ({error}); fetch it anew") from error
    if not keys:
        raise SaganError(f"{path} holds no pictures; fetch it anew")
    return _catalog(path, config, environments, keys, ends, passed_over)


def _catalog(
    path: Path,
    config: DataConfig,
    environments: Sequence[_Environment],
    keys: list[bytes],
    ends: list[int],
    passed_over: list[tuple[str, str]],
) -> Catalog:
    counts = np.diff([0, *ends])
    categories = [environment.category for environment in environments]
    is_divided = config.conditional and len(set(categories)) > 1
    label_of, class_names = labelled(categories if is_divided else [None] * len(categories))
    parts = [environment.split for environment in environments]
    splits = tuple(sorted({part for part in parts if part}, key=("train val test").index))
    is_split = len(splits) > 0 and all(parts)
    stamps = [stamp_of((environment.path / _FILE).stat()) for environment in environments]
    read = LmdbReader(tuple(environment.path for environment in environments), ends, keys)
    return Catalog(
        kind="LMDB" if len(environments) == 1 else f"{len(environments)} LMDB folders",
        root=path,
        names=_names(environments, keys, ends),
        stamps=np.repeat(np.array(stamps, np.uint64), counts),
        read=read,
        labels=np.repeat(label_of, counts),
        class_names=class_names,
        splits=splits if is_split else (),
        split_of=np.repeat([splits.index(p) for p in parts], counts) if is_split else None,
        passed_over=passed_over,
    )


def _names(environments: Sequence[_Environment], keys: list[bytes], ends: list[int]) -> list[str]:
    prefixes = [f"{e.path.name}/" if len(environments) > 1 else "" for e in environments]
    names = []
    start = 0
    for prefix, end in zip(prefixes, ends, strict=True):
        names += [prefix + key_name(key) for key in keys[start:end]]
        start = end
    return names


def key_name(key: bytes) -> str:
    """A key as text: as it is where it is plain ASCII, otherwise its hexadecimal digits."""
    return key.decode("ascii") if key.isascii() and key.decode().isprintable() else f"0x{key.hex()}"


def _environments(path: Path) -> list[_Environment]:
    if not path.is_dir():
        return []
    if (path / _FILE).is_file():
        return [_Environment(path, "", "")]
    found = []
    for folder in few(path):
        if (folder / _FILE).is_file():
            match = _LSUN.fullmatch(folder.name)
            category, split = (match["category"], match["split"]) if match else (folder.name, "")
            found.append(_Environment(folder, category or "", split))
    return found


def _keys(environment: _Environment, passed_over: list[tuple[str, str]]) -> list[bytes]:
    left = _stated_entries(environment.path / _FILE)
    keys = []
    if environment.path in _OPENED:
        _OPENED.pop(environment.path).close()  # it may be another by now
    with _open(environment.path).begin(buffers=True) as transaction:
        for key, value in transaction.cursor():
            left -= 1
            if left < 0:
                raise SaganError(
                    f"{environment.path} is damaged: it goes in circles; fetch it anew"
                )
            if len(value) < _LEAST:
                passed_over.append(
                    (f"{environment.path.name}/{key_name(bytes(key))}", "no picture")
                )
            else:
                keys.append(bytes(key))
    return keys


def _stated_entries(path: Path) -> int:
    """How many keys a file says to have.

    One that is shorter than it says is refused: reading beyond its end would end the process.
    """
    try:
        with path.open("rb") as file:
            pages = [file.read(_META.size)]
            page_size = _META.unpack(pages[0])[4]
            if not 256 <= page_size <= 2**16:
                raise ValueError("its page size is impossible")
            file.seek(page_size)
            pages.append(file.read(_META.size))
        metas = [_META.unpack(page) for page in pages]
    except (OSError, ValueError, struct.error) as error:
        raise SaganError(f"cannot read {path} ({error}); fetch it anew") from error
    if any(meta[0] != _MAGIC_NUMBER for meta in metas):
        raise SaganError(f"{path} is no LMDB file of this kind of machine; fetch it anew")
    newest = max(metas, key=lambda meta: meta[-1])
    if (newest[-2] + 1) * page_size > path.stat().st_size:
        raise SaganError(f"{path} is cut off; fetch it anew")
    return newest[5]


_OPENED: dict[Path, lmdb.Environment] = {}
"""A process may open a folder once only. A forked one goes on with what is open: that is safe for
reading without locks."""


def _open(path: Path) -> lmdb.Environment:
    import lmdb

    if path not in _OPENED:
        _OPENED[path] = lmdb.open(
            str(path), readonly=True, lock=False, readahead=False, create=False, max_readers=1
        )
    return _OPENED[path]


@dataclass(frozen=True)
class LmdbReader:
    """Reads encoded pictures; opens each folder where it is first needed."""

    paths: tuple[Path, ...]
    ends: Sequence[int]
    """Number after the last picture of each folder."""
    keys: Sequence[bytes]

    def __call__(self, index: int, name: str) -> bytes:
        """Returns the bytes of one picture's file.

        Raises:
            SaganError: It is gone.
        """
        number = int(np.searchsorted(self.ends, index, side="right"))
        with _open(self.paths[number]).begin() as transaction:
            content = transaction.get(self.keys[index])
        if content is None:
            raise SaganError(f"{self.paths[number]} has changed while it was read; begin anew")
        return content
