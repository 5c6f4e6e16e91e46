"""The files in zip and tar archives: listed without unpacking, read at their places."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import threading
import weakref
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Literal, NamedTuple, Self, cast

import numpy as np

from sagan.data.sources.judging import ignored
from sagan.errors import SaganError
from sagan.system.damage import DAMAGES, reading
from sagan.system.memory import require_free
from sagan.system.npy import zip_header_size

Packing = Literal["zip", "tar", "gzip", "bzip2", "xz"]
"""Of an archive: the last three are compressed tar files."""

LARGEST_MEMBER = 2**29
"""Bytes of a file in an archive; larger ones are passed over."""

_LONGEST_HEADER = 2**24
_SPREAD = 0x9E3779B97F4A7C15
_MOST_GROWTH = 200  # of a whole compressed tar, and of large members of a zip
_ALWAYS_FINE = 2**32
_LARGE = 2**24


class Member(NamedTuple):
    """A file in an archive."""

    name: str
    offset: int
    """Where its content begins: in the archive, or in what that unpacks to; of a zip, where the
    header before it does."""
    size: int
    packed_size: int
    """Bytes in a zip; -1 where it is stored as it is."""
    checksum: int
    """CRC-32; -1: the archive has none."""
    stamp: int


def packing_of(path: Path) -> Packing | None:
    """Recognises an archive by its content; None for anything else.

    Raises:
        SaganError: It is an archive of a kind that cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith((b"PK\3\4", b"PK\5\6")):
        return "zip"
    if head.startswith((b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07")) or (
        head.startswith(b"\x28\xb5\x2f\xfd") and ".tar" in path.name.lower()
    ):
        kind = {b"7": "7-Zip", b"R": "RAR", b"\x28": "Zstandard"}[head[:1]]
        raise SaganError(f"{path} is a {kind} archive; unpack it, or pack it as .zip or .tar")
    packings: dict[bytes, Packing] = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}
    for magic, packing in packings.items():
        if head.startswith(magic):
            with reading(path), _unpacked(path, packing) as file:
                return packing if _is_tar(file.read(512)) else None
    return "tar" if _is_tar(head) else None


def _is_tar(head: bytes) -> bool:
    try:
        return len(head) == 512 and bool(tarfile.TarInfo.frombuf(head, "utf-8", "replace").name)
    except tarfile.TarError:
        return False


def members_of(path: Path, packing: Packing, passed_over: list[tuple[str, str]]) -> list[Member]:
    """Lists the files of an archive, in its order; adds to ``passed_over`` what is left out.

    Left out are links, devices, paths that lead outside, files too large to be pictures, what
    would unpack to much more than its size, and earlier files of a name that comes twice.

    Raises:
        SaganError: The archive is damaged, encrypted, or would unpack to much more than its size.
    """
    walk = _zip_members if packing == "zip" else walk_tar
    found: dict[str, Member] = {}
    with reading(path):
        for member in walk(path, packing, passed_over):
            if found.pop(member.name, None):
                passed_over.append((member.name, "comes twice in the archive; the last one counts"))
            found[member.name] = member
    return list(found.values())


def _judged_name(name: str, passed_over: list[tuple[str, str]]) -> str | None:
    """The path of a member with "/"; None if it is passed over."""
    plain = name.replace("\\", "/")
    pieces = [piece for piece in plain.split("/") if piece not in ("", ".")]
    if plain.startswith("/") or ".." in pieces or plain[1:2] == ":":
        passed_over.append((name, "a path that leads out of the archive"))
    elif reason := next(filter(None, map(ignored, pieces)), None):
        passed_over.append((name, reason))
    elif pieces:
        return "/".join(pieces)
    return None


def _zip_members(
    path: Path, packing: Packing, passed_over: list[tuple[str, str]]
) -> Iterator[Member]:
    require_free(20 * _directory_size(path), f"the list of files in {path}", "unpack it")
    end = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if not 0 <= info.header_offset + info.compress_size <= end:
                raise ValueError("a file in it lies beyond its end")
            is_folder = info.filename.endswith("/")
            if is_folder or (name := _judged_name(info.filename, passed_over)) is None:
                continue
            growth = info.file_size / max(1, info.compress_size)
            if kind not in (0, stat.S_IFREG):
                passed_over.append((name, "a link or a device in an archive"))
            elif info.file_size > LARGEST_MEMBER or (
                info.file_size > _LARGE and growth > _MOST_GROWTH
            ):
                passed_over.append((name, "too large to be a picture in an archive"))
            elif info.flag_bits & 1:
                raise SaganError(f"{path} is encrypted; unpack it, or pack it without a password")
            elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                passed_over.append((name, "compressed in an unusual way; pack with deflate"))
            else:
                is_stored = info.compress_type == zipfile.ZIP_STORED
                packed = -1 if is_stored else info.compress_size
                stamp = info.CRC << 32 | info.file_size
                yield Member(name, info.header_offset, info.file_size, packed, info.CRC, stamp)


def _directory_size(path: Path) -> int:
    """Bytes that are at most in the list of files at the end of a zip archive."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 2**16 - 22))
        end = file.read()
    place = end.rfind(b"PK\5\6")
    stated = int.from_bytes(end[place + 12 : place + 16], "little") if place >= 0 else 0
    return min(stated, size)


def first_folder(path: Path, packing: Packing) -> str:
    """The outermost folder of the first file in a tar; empty where there is none."""
    with reading(path):
        member = next(walk_tar(path, packing, []), None)
    return member.name.partition("/")[0] if member else ""


def walk_tar(path: Path, packing: Packing, passed_over: list[tuple[str, str]]) -> Iterator[Member]:
    """Gives the files of a tar in its order, as :func:`members_of` lists them.

    Raises:
        SaganError: It would unpack to much more than its size.
    """
    status = path.stat()
    own = status.st_size * _SPREAD + status.st_mtime_ns
    most = max(_ALWAYS_FINE, _MOST_GROWTH * status.st_size)
    with (
        _unpacked(path, packing) as file,
        tarfile.open(fileobj=_Headers(file), mode="r:", tarinfo=_QuickHeader) as archive,
    ):
        while (info := archive.next()) is not None:
            vars(archive)["members"] = []  # which would hold all of them in memory
            if info.size < 0:  # which would lead back, for ever
                raise ValueError("a size in it is negative")
            if packing != "tar" and info.offset_data + info.size > most:
                raise SaganError(
                    f"{path} would unpack to more than {_MOST_GROWTH} times its size; unpack it "
                    "yourself if you trust it"
                )
            if info.isdir() or (name := _judged_name(info.name, passed_over)) is None:
                continue
            if not info.isreg() or info.issparse():
                passed_over.append((name, "a link or a device in an archive"))
            elif info.size > LARGEST_MEMBER:
                passed_over.append((name, "too large to be a picture in an archive"))
            else:
                stamp = (own * _SPREAD + info.offset_data * _SPREAD**2 + info.size) % 2**64
                yield Member(name, info.offset_data, info.size, -1, -1, stamp)


class _QuickHeader(tarfile.TarInfo):
    """Reads the header of a plain file thrice as fast; leaves all others to Python's own code."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if len(buf) != 512 or buf[156] not in b"0" or not buf.startswith(b"ustar", 257):
            return super().frombuf(buf, encoding, errors)
        try:
            size, time, checksum = (
                int(buf[a:b].rstrip(b" \0"), 8) for a, b in ((124, 136), (136, 148), (148, 156))
            )
        except ValueError:
            return super().frombuf(buf, encoding, errors)
        if sum(buf) - sum(buf[148:156]) + 8 * ord(" ") != checksum:
            return super().frombuf(buf, encoding, errors)
        name, prefix = (bytes(buf[a:b]).partition(b"\0")[0] for a, b in ((0, 100), (345, 500)))
        info = cls((prefix + b"/" + name if prefix else name).decode(encoding, errors))
        info.size, info.mtime = size, time
        return info


class _Headers(io.RawIOBase):
    """A tar file of which only the headers are read; an enormous one is refused."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LONGEST_HEADER:
            raise ValueError("a header of it is enormous")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _unpacked(path: str | Path, packing: Packing) -> IO[bytes]:
    if packing == "gzip":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    if packing == "bzip2":
        return bz2.open(path, "rb")
    return lzma.open(path, "rb") if packing == "xz" else open(path, "rb")


class _Opened:
    """An archive that is open in this process."""

    def __init__(self, path: str, packing: Packing) -> None:
        self.file = _unpacked(path, packing)
        self.lock = threading.Lock()
        weakref.finalize(self, self.file.close)

    def bytes_at(self, offset: int, size: int) -> bytes:
        with self.lock:
            self.file.seek(offset)
            return self.file.read(size)


@lru_cache(maxsize=16)
def _opened_here(path: str, packing: Packing, process: int) -> _Opened:
    return _Opened(path, packing)


@dataclass(frozen=True, kw_only=True, eq=False)
class MemberReader:
    """Reads files of archives; a copy in another process opens the archives anew.

    A compressed tar can only be read onwards: a file before the last one read begins again from
    the start. Its files are therefore catalogued in the order of the archive, in which a pass over
    all costs one decompression per process, no space on the disk and no memory.
    """

    archives: tuple[tuple[str, Packing], ...]
    archive_of: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    packed_sizes: np.ndarray
    checksums: np.ndarray

    def __call__(self, index: int, name: str) -> bytes:
        """The content of a file.

        Raises:
            OSError: It is damaged.
        """
        size = int(self.sizes[index])
        if size > _LARGE:
            require_free(2 * size, f"{name} in its archive", "make it smaller")
        content = self.begin(index, size)
        checksum = int(self.checksums[index])
        if checksum >= 0 and zlib.crc32(content) != checksum:
            raise OSError("damaged in the archive: its checksum is wrong")
        return content

    def begin(self, index: int, size: int) -> bytes:
        """At most so many of the first bytes of a file.

        Raises:
            OSError: It is damaged.
        """
        path, packing = self.archives[self.archive_of[index]]
        size = min(size, int(self.sizes[index]))
        opened = _opened_here(path, packing, os.getpid())
        try:
            offset = int(self.offsets[index])
            if packing == "zip":
                offset += zip_header_size(opened.bytes_at(offset, 30))
            packed = int(self.packed_sizes[index])
            if packed < 0:
                content = opened.bytes_at(offset, size)
            else:
                content = opened.bytes_at(offset, min(packed, size + size // 8 + 4096))
                content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, max(1, size))
        except DAMAGES as error:
            raise OSError(f"damaged in the archive: {error}") from error
        if len(content) < size:
            raise OSError("damaged in the archive: cut off")
        return content[:size]


def reader_of(
    archives: list[tuple[str, Packing]], archive_of: list[int], members: list[Member]
) -> MemberReader:
    """Makes a reader of files in one or several archives."""
    columns = np.array([m[1:5] for m in members], np.int64).reshape(-1, 4).T.copy()
    return MemberReader(
        archives=tuple(archives),
        archive_of=np.array(archive_of, np.int32),
        offsets=columns[0],
        sizes=columns[1],
        packed_sizes=columns[2],
        checksums=columns[3],
    )
