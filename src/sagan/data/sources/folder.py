"""A folder of encoded pictures."""

from __future__ import annotations

import os
import stat
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sagan.config import DataConfig
from sagan.data.catalog import Catalog, stamp_of
from sagan.data.sources.assembly import catalog_of_files
from sagan.data.sources.judging import Files, ignored, suffix_of
from sagan.data.sources.listed import TABLES
from sagan.errors import SaganError
from sagan.system.memory import require_free

_LITTLE = 2**20
_SPECIAL_FILES = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def picture_folder(path: Path, config: DataConfig) -> Catalog | None:
    """Recognises every folder; see :func:`sagan.data.sources.assembly.catalog_of_files`.

    Links are followed, each folder is read once. Hidden things and those that operating systems
    leave behind are passed over, as are pipes, devices, dead links and what may not be read.

    Raises:
        SaganError: The folder cannot be read, or the pictures in it cannot be used.
    """
    return catalog_of_files(_walked(path), config) if path.is_dir() else None


def picture_list(path: Path, config: DataConfig) -> Catalog | None:
    """Recognises a list of pictures, such as labels.csv, that lie in its folder or below.

    Only those that it names are taken, and only its classes count.

    Raises:
        SaganError: It cannot be read or names no pictures, or as for :func:`picture_folder`.
    """
    is_list = suffix_of(path.name) in (*TABLES, ".json") and not ignored(path.name)
    if not path.is_file() or not is_list:
        return None
    return catalog_of_files(_walked(path.absolute().parent), config, only=path.name)


@dataclass(frozen=True)
class _FolderReader:
    root: Path

    def __call__(self, index: int, name: str) -> Path:
        return self.root / name


class _Folder(NamedTuple):
    path: str
    name: str
    status: os.stat_result


def _walked(root: Path) -> Files:
    found: list[tuple[str, int]] = []
    passed_over: list[tuple[str, str]] = []
    links: deque[_Folder] = deque([_Folder(os.fspath(root), "", os.stat(root))])
    visited: set[tuple[int, int]] = set()
    above = Path(os.path.realpath(root))
    while links:  # the folder itself first, so that what it holds keeps its plain name
        first = links.popleft()
        if first.name and above.is_relative_to(os.path.realpath(first.path)):
            passed_over.append((first.name, "a link that leads back up"))
            continue
        pending = [first]
        while pending:
            folder = pending.pop()
            identity = (folder.status.st_dev, folder.status.st_ino)
            if identity in visited and first.name:
                passed_over.append((folder.name, "a link to a folder that was read already"))
                continue
            visited.add(identity)
            _read_folder(folder, found, passed_over, pending, links)
    found.sort()
    names = [name for name, _ in found]
    return Files(
        what="a folder",
        root=root,
        names=names,
        stamps=np.array([stamp for _, stamp in found], np.uint64),
        read=_FolderReader(root),
        begin=lambda number, size: _first_bytes(root / names[number], size),
        passed_over=passed_over,
    )


def _read_folder(
    folder: _Folder,
    found: list[tuple[str, int]],
    passed_over: list[tuple[str, str]],
    pending: list[_Folder],
    links: deque[_Folder],
) -> None:
    """Adds the files of one folder, and its sub-folders to those that wait."""
    try:
        with os.scandir(folder.path) as entries:
            listed = list(entries)
    except OSError as error:
        if not folder.name:
            raise SaganError(
                f"cannot read {folder.path}: {error.strerror or error}; make it readable or "
                "remove it"
            ) from error
        passed_over.append(
            (folder.name, f"a folder that cannot be read ({error.strerror or error})")
        )
        return
    if not listed and folder.name:
        passed_over.append((folder.name, "an empty folder"))
    prefix = f"{folder.name}/" if folder.name else ""
    for entry in listed:
        name = prefix + entry.name
        if reason := ignored(entry.name):
            passed_over.append((name, reason))
            continue
        try:
            status = entry.stat()
        except OSError as error:
            dead = entry.is_symlink()
            reason = "a dead link" if dead else f"unreadable ({error.strerror or error})"
            passed_over.append((name, reason))
            continue
        if stat.S_ISREG(status.st_mode):
            found.append((name, stamp_of(status)))
        elif stat.S_ISDIR(status.st_mode):
            (links if entry.is_symlink() else pending).append(_Folder(entry.path, name, status))
        else:
            kind = next(
                (words for is_kind, words in _SPECIAL_FILES if is_kind(status.st_mode)), "no file"
            )
            passed_over.append((name, kind))


def _first_bytes(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        if size > _LITTLE:
            size = min(size, os.fstat(file.fileno()).st_size)
            require_free(size, str(path), "make it smaller")
        return file.read(size)
