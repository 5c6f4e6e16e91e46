"""A folder of encoded pictures."""

from __future__ import annotations

import os
import stat
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sagan.config import DataConfig
from sagan.data.catalog import Catalog, stamp_of
from sagan.data.sources.assembly import catalog_of
from sagan.data.sources.judging import Files, ignored
from sagan.errors import SaganError

_SPECIAL_FILES = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def picture_folder(path: Path, config: DataConfig) -> Catalog | None:
    """Recognises every folder; see :func:`sagan.data.sources.assembly.catalog_of`.

    Links are followed, each folder is read once. Hidden things and those that operating systems
    leave behind are passed over, as are pipes, devices, dead links and what may not be read.

    Raises:
        SaganError: The folder cannot be read, or the pictures in it cannot be used.
    """
    return catalog_of(_walked(path), config) if path.is_dir() else None


@dataclass(frozen=True)
class _FolderReader:
    root: Path

    def __call__(self, index: int, name: str) -> Path:
        return self.root / name


def _walked(root: Path) -> Files:
    found: list[tuple[str, int]] = []
    passed_over: list[tuple[str, str]] = []
    links: deque[tuple[str, str]] = deque([(os.fspath(root), "")])
    visited: set[tuple[int, int]] = set()
    above = os.path.realpath(root)
    while (
        links
    ):  # the folder itself first, then what links lead to, so that names are the plain ones
        path, name = links.popleft()
        target = os.path.realpath(path)
        if name and os.path.commonpath([above, target]) == target:
            passed_over.append((name, "a link that leads back up"))
            continue
        pending = [(path, name)]
        while pending:
            here, within = pending.pop()
            status = os.stat(here)
            identity = (status.st_dev, status.st_ino)
            if identity in visited and name:
                passed_over.append((within, "a link to a folder that was read already"))
                continue
            visited.add(identity)
            _read_folder(here, within, found, passed_over, pending, links)
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
    here: str,
    within: str,
    found: list[tuple[str, int]],
    passed_over: list[tuple[str, str]],
    pending: list[tuple[str, str]],
    links: deque[tuple[str, str]],
) -> None:
    """Adds the files of one folder, and its sub-folders to those that wait."""
    try:
        with os.scandir(here) as entries:
            listed = list(entries)
    except OSError as error:
        if not within:
            raise SaganError(
                f"cannot read {here}: {error.strerror or error}; make it readable or remove it"
            ) from error
        passed_over.append((within, f"a folder that cannot be read ({error.strerror or error})"))
        return
    if not listed and within:
        passed_over.append((within, "an empty folder"))
    prefix = f"{within}/" if within else ""
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
            (links if entry.is_symlink() else pending).append((entry.path, name))
        else:
            kind = next(
                (words for is_kind, words in _SPECIAL_FILES if is_kind(status.st_mode)), "no file"
            )
            passed_over.append((name, kind))


def _first_bytes(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)
