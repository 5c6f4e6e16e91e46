"""The files of a data set as distributed: in a folder, or still in the archive."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from sagan.data.catalog import stamp_of
from sagan.data.sources.blocks import DAMAGES, Block, require_possible
from sagan.errors import SaganError
from sagan.system.memory import require_free

FEW = 1000
"""Entries of a folder or an archive that are looked at; a data set as distributed has fewer."""

_START = 2**16


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
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                return file.read(self.size)
        except OSError as error:
            raise SaganError(f"cannot read {self.path} ({error}); fetch it anew") from error

    def lines(self) -> list[str]:
        """Reads a short text as its lines, without empty ones.

        Raises:
            SaganError: It is not short, or cannot be read.
        """
        if self.size > 2**20:
            raise SaganError(f"{self.path} is too long for a list of names; fetch it anew")
        return [line for line in self.content().decode("utf-8", "replace").split("\n") if line]


def bundled(
    path: Path, folders: Iterable[str], is_one: Callable[[set[str]], bool]
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
    if not path.is_file() or _first_folder(path) not in folders:
        return None
    found = _members(path)
    return found if is_one(set(found)) else None


def _whole_file(path: Path) -> Stretch:
    status = path.stat()
    return Stretch(path, 0, status.st_size, stamp_of(status))


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _first_folder(path: Path) -> str:
    """The folder that a tar begins with; "" where the file is no tar."""
    try:
        with (gzip.open if _is_gzip(path) else open)(path, "rb") as file:
            start = io.BytesIO(file.read(8 * tarfile.BLOCKSIZE))
        with tarfile.open(fileobj=start, mode="r:") as archive:
            member = archive.next()
    except (*DAMAGES, tarfile.TarError):
        return ""
    return member.name.removeprefix("./").partition("/")[0] if member else ""


class _TarHeaders(io.FileIO):
    """A tar of which no more is read at a time than an honest header takes."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _START:
            raise ValueError("an enormous header")
        return super().read(size) or b""


def _members(path: Path) -> dict[str, Stretch]:
    tar = path
    if _is_gzip(path):
        with path.open("rb") as file:
            file.seek(-4, os.SEEK_END)
            size = int.from_bytes(file.read(4), "little")
        require_possible(path, size, path.stat().st_size)
        tar = Block(path=path, shape=(size,), dtype="|u1", packing="gzip").unpacked()
    stamp, end = stamp_of(path.stat()), tar.stat().st_size
    found = {}
    try:
        with _TarHeaders(tar) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for member in islice(archive, FEW):
                if member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse():
                    stretch = Stretch(tar, member.offset_data, member.size, stamp)
                    if stretch.offset + stretch.size > end:
                        raise SaganError(f"{path} is cut off; fetch it anew")
                    found[member.name.rpartition("/")[2]] = stretch
    except (*DAMAGES, tarfile.TarError) as error:
        if isinstance(error, SaganError):
            raise
        raise SaganError(f"cannot read {path} ({error}); fetch it anew") from error
    return found
