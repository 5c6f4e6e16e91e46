"""LMDB folders, such as those of LSUN: encoded pictures under keys."""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sagan.config import DataConfig
from sagan.data.catalog import Catalog, MadeNames, labelled, stamp_of
from sagan.data.sources.bundles import few
from sagan.data.sources.portions import Portion, catalog_of_portions
from sagan.errors import SaganError
from sagan.system.damage import reading
from sagan.system.extras import install

if TYPE_CHECKING:
    import lmdb

_DATA_FILE = "data.mdb"
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
        raise SaganError(f"{path} is LMDB; to read it, {install('lmdb')}") from error
    keys: list[bytes] = []
    ends: list[int] = []
    passed_over: list[tuple[str, str]] = []
    with reading(path, lmdb.Error):
        for environment in environments:
            keys += _keys(environment, passed_over)
            ends.append(len(keys))
    if not keys:
        raise SaganError(f"{path} holds no pictures; fetch it anew")
    return _lmdb_catalog(path, config, environments, keys, ends, passed_over)


def _lmdb_catalog(
    path: Path,
    config: DataConfig,
    environments: Sequence[_Environment],
    keys: list[bytes],
    ends: list[int],
    passed_over: list[tuple[str, str]],
) -> Catalog:
    label_of, class_names = labelled([environment.category for environment in environments])
    is_split = all(environment.split for environment in environments)
    prefixes = [f"{e.path.name}/" if len(environments) > 1 else "" for e in environments]
    portions = [
        Portion(
            environment.split if is_split else "",
            count,
            stamp_of((environment.path / _DATA_FILE).stat()),
            np.broadcast_to(label, count) if len(class_names) > 1 else None,
        )
        for environment, count, label in zip(
            environments, np.diff([0, *ends]).tolist(), label_of, strict=True
        )
    ]
    catalog = catalog_of_portions(
        "LMDB" if len(environments) == 1 else f"{len(environments)} LMDB folders",
        path,
        portions,
        LmdbReader(tuple(e.path for e in environments), prefixes, ends),
        config,
        class_names=class_names,
    )
    return replace(catalog, names=KeyNames(prefixes, ends, keys), passed_over=passed_over)


class KeyNames(MadeNames):
    """Names of pictures made of their keys, when they are asked for."""

    def __init__(self, prefixes: Sequence[str], ends: Sequence[int], keys: Sequence[bytes]) -> None:
        self._prefixes = prefixes
        self._ends = ends
        self._keys = keys

    def __len__(self) -> int:
        return len(self._keys)

    def name_of(self, number: int) -> str:
        """Its folder, if there are several, and its key."""
        return self._prefixes[bisect_right(self._ends, number)] + key_name(self._keys[number])


_BY_DIGITS = "0x"


def key_name(key: bytes) -> str:
    """A key as text: as it is where that is plain ASCII, otherwise its hexadecimal digits."""
    text = key.decode("ascii", "replace")
    is_plain = text.isascii() and text.isprintable() and not text.startswith(_BY_DIGITS)
    return text if is_plain else f"{_BY_DIGITS}{key.hex()}"


def _key_of(name: str) -> bytes:
    is_plain = not name.startswith(_BY_DIGITS)
    return name.encode("ascii") if is_plain else bytes.fromhex(name.removeprefix(_BY_DIGITS))


def _environments(path: Path) -> list[_Environment]:
    if not path.is_dir():
        return []
    if (path / _DATA_FILE).is_file():
        return [_Environment(path, "", "")]
    found = []
    for folder in few(path):
        if (folder / _DATA_FILE).is_file():
            match = _LSUN.fullmatch(folder.name)
            category, split = (match["category"], match["split"]) if match else (folder.name, "")
            found.append(_Environment(folder, category or "", split))
    return found


def _keys(environment: _Environment, passed_over: list[tuple[str, str]]) -> list[bytes]:
    """Of the pictures. Keys of another length than most are looked at: they may be notes."""
    stated = _stated_entries(environment.path / _DATA_FILE)
    if environment.path in _OPENED:
        _OPENED.pop(environment.path).close()  # it may be another by now
    with _open(environment.path).begin(buffers=True) as transaction:
        keys = transaction.cursor().iternext(keys=True, values=False)
        found = [bytes(key) for key in islice(keys, stated + 1)]
        if len(found) > stated:
            raise SaganError(f"{environment.path} is damaged: it goes in circles; fetch it anew")
        usual = Counter(map(len, found)).most_common(1)[0][0] if found else 0
        notes = {
            key for key in found if len(key) != usual and len(transaction.get(key, b"")) < _LEAST
        }
    passed_over += [(f"{environment.path.name}/{key_name(key)}", "no picture") for key in notes]
    return [key for key in found if key not in notes] if notes else found


def _stated_entries(path: Path) -> int:
    """How many keys a file says to have.

    One that is shorter than it says is refused: reading beyond its end would end the process.
    """
    with reading(path), path.open("rb") as file:
        pages = [file.read(_META.size)]
        page_size = _META.unpack(pages[0])[4]
        if not 256 <= page_size <= 2**16:
            raise ValueError("its page size is impossible")
        file.seek(page_size)
        pages.append(file.read(_META.size))
        metas = [_META.unpack(page) for page in pages]
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
    prefixes: Sequence[str]
    """Of the names of each folder's pictures; what follows is the key."""
    ends: Sequence[int]
    """Number after the last picture of each folder."""

    def __call__(self, index: int, name: str) -> bytes:
        """Returns the bytes of one picture's file.

        Raises:
            SaganError: It is gone.
        """
        number = bisect_right(self.ends, index)
        key = _key_of(name.removeprefix(self.prefixes[number]))
        with _open(self.paths[number]).begin() as transaction:
            content = transaction.get(key)
        if content is None:
            raise SaganError(f"{self.paths[number]} has changed while it was read; begin anew")
        return content
