"""The files of a data set as distributed: in a folder, or still in the archive."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from sagan.data.catalog import stamp_of
from sagan.data.sources.blocks import Block, require_possible, size_in_gzip
from sagan.data.sources.members import first_folder, packing_of, walk_tar
from sagan.errors import SaganError
from sagan.system.damage import reading
from sagan.system.memory import require_free

FEW = 1000
"""Entries of a folder or an archive that are looked at; a data set as distributed has fewer."""


def few(folder: Path) -> list[Path]:
    """What is in a folder, without hidden things, sorted; of a very full one only a part."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in islice(entries, FEW))
    return [folder / name for name in names if not name.startswith(".")]


class Stretch(NamedTuple):
    """Where a file's bytes are: a file of its own, or a stretch of another."""

    path: Path
    offset: int
    size: int
    stamp: int

    def content(self) -> bytes:
        """Reads the bytes into memory, which is judged first.

        Raises:
            SaganError: There are too many, or they cannot be read.
        """
        require_free(self.size, str(self.path), "free memory")
        with reading(self.path), self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)

    def pictures(self, shape: tuple[int, ...], skipped: int = 0) -> Block:
        """The pictures that fill it, each of so many bytes after some that are skipped.

        Raises:
            SaganError: They do not fill it.
        """
        each = skipped + math.prod(shape)
        count, rest = divmod(self.size, each)
        if rest or not count:
            raise SaganError(
                f"{self.path}: {self.size:,} bytes are no whole number of pictures with {each:,} "
                "each; fetch it anew"
            )
        return Block(
            path=self.path,
            shape=(count, *shape),
            dtype="|u1",
            offset=self.offset,
            skipped=skipped,
        )

    def lines(self) -> list[str]:
        """Reads a short text as its lines, without empty ones.

        Raises:
            SaganError: It is not short, or cannot be read.
        """
        if self.size > 2**20:
            raise SaganError(f"{self.path} is too long for a list of names; fetch it anew")
        lines = self.content().decode("utf-8", "replace").split("\n")
        return [line.strip() for line in lines if line]


def bundled(
    path: Path, folders: Collection[str], is_one: Callable[[set[str]], bool]
) -> dict[str, Stretch] | None:
    """Finds the files of a data set in a folder, in one of its usual folders there, or in a tar.

    An archive is unpacked into the cache, once.

    Args:
        path: A folder or a file.
        folders: The names that the data set's own folder may have.
        is_one: Tells by the names of files whether they are the data set.

    Returns:
        The files by name; None where it is something else.

    Raises:
        SaganError: The archive is damaged or there is no space for it.
    """
    if path.is_dir():
        for folder in (path, *(path / name for name in folders)):
            if folder.is_dir():
                files = [file for file in few(folder) if file.is_file()]
                if is_one({file.name for file in files}):
                    return {file.name: _whole_file(file) for file in files}
        return None
    found = _in_archive(path, folders) if path.is_file() else {}
    return found if is_one(set(found)) else None


def _whole_file(path: Path) -> Stretch:
    status = path.stat()
    return Stretch(path, 0, status.st_size, stamp_of(status))


def _in_archive(path: Path, folders: Collection[str]) -> dict[str, Stretch]:
    """The files of a tar that begins with one of these folders, unpacked where it is compressed."""
    packing = packing_of(path)
    if packing not in ("tar", "gzip") or first_folder(path, packing) not in folders:
        return {}
    tar, stamp = path, stamp_of(path.stat())
    if packing == "gzip":
        size = size_in_gzip(path)
        require_possible(path, size, path.stat().st_size)
        tar = Block(path=path, shape=(size,), dtype="|u1", packing="gzip").unpacked()
    found = {}
    with reading(path):
        for member in islice(walk_tar(tar, "tar", []), FEW):
            if member.offset + member.size > tar.stat().st_size:
                raise SaganError(f"{path} is cut off; fetch it anew")
            name = member.name.rpartition("/")[2]
            found[name] = Stretch(tar, member.offset, member.size, stamp)
    return found
