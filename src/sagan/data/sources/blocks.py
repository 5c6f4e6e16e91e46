"""Arrays of pictures where they lie: in a file, or packed within one."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import zipfile
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from sagan.data.cached import ARRAY
from sagan.data.catalog import stamp_of
from sagan.data.dataset import cache_file, cache_folder
from sagan.data.sources.forms import Form
from sagan.errors import SaganError
from sagan.system.damage import reading
from sagan.system.memory import readable, require_free, require_space

_STRONGEST_DEFLATE = 1032
"""Bytes that one byte of deflate can stand for, at most."""
_SAMPLED = 64
_COPIED = 2**20
_LOOKED_THROUGH = 2**30
"""Bytes of deep values that are all looked at each time they are opened."""


@dataclass(frozen=True, kw_only=True)
class StoredArray(ABC):
    """An array in a file; the first axis counts the pictures."""

    path: Path
    shape: tuple[int, ...]
    dtype: str
    """As NumPy writes it: "|u1", ">f4"; "<U0" for texts of any length."""

    @abstractmethod
    def mapped(self) -> Any:
        """Opens it: what is indexed by the number of a picture."""

    @abstractmethod
    def whole(self) -> np.ndarray:
        """Reads it into memory."""

    @abstractmethod
    def sample(self) -> np.ndarray:
        """Reads some pictures."""


def looked_at(arrays: Sequence[StoredArray]) -> Iterator[np.ndarray]:
    """Gives values to judge arrays by, some pictures at a time.

    Of bytes, a sample comes first and then everything, so that one may stop early. Deep values are
    given completely if they are few; of many only a sample.
    """
    size = sum(math.prod(one.shape) * np.dtype(one.dtype).itemsize for one in arrays)
    is_bytes = arrays[0].dtype == "|u1"
    is_complete = is_bytes or size <= _LOOKED_THROUGH
    if is_bytes or not is_complete:
        yield from (one.sample() for one in arrays)
    for one in arrays if is_complete else ():
        stored = one.mapped()
        each = math.prod(one.shape[1:]) * np.dtype(one.dtype).itemsize
        step = max(1, _COPIED // max(1, each))
        yield from (np.asarray(stored[n : n + step]) for n in range(0, one.shape[0], step))


@dataclass(frozen=True, kw_only=True)
class Block(StoredArray):
    """An array of pictures of one shape, as it lies in a file."""

    offset: int = 0
    """Bytes before the array; of what is packed, in what comes out."""
    packing: Literal["", "gzip", "zip"] = ""
    member: str = ""
    """Of a zip."""
    skipped: int = 0
    """Bytes before each picture; of bytes only, and not in what is packed."""
    order: Literal["C", "F"] = "C"

    @property
    def size(self) -> int:
        """Of the array in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def mapped(self) -> np.ndarray:
        """Returns the array as a memory map; what is packed is unpacked into the cache first.

        Raises:
            SaganError: It is damaged, or there is no space to unpack it.
        """
        path = self.unpacked() if self.packing else self.path
        shape = self.shape
        if self.skipped:
            shape = (shape[0], self.skipped + math.prod(shape[1:]))
        with reading(self.path):
            offset = 0 if self.packing else self.offset
            found = np.memmap(path, np.dtype(self.dtype), "r", offset, shape, self.order)
            return found[:, self.skipped :].reshape(self.shape) if self.skipped else found

    def whole(self) -> np.ndarray:
        """Reads the array into memory, which is judged first.

        Raises:
            SaganError: It is damaged, too large, or holds Python objects.
        """
        if np.dtype(self.dtype).hasobject:
            where = f"{self.path}, {self.member.removesuffix('.npy')}"
            raise SaganError(
                f"{where} holds Python objects, which are not read; save it as numbers or texts"
            )
        if not self.packing:
            return np.array(self.mapped())
        require_free(2 * self.size, f"{self.path}, unpacked,", "store it uncompressed")
        return self._flat(self._first(self.size)).reshape(self.shape, order=self.order)

    def sample(self) -> np.ndarray:
        """Returns some pictures: of what is packed the first, otherwise from everywhere."""
        count = self.shape[0]
        if not self.packing or self.order == "F":
            return self.mapped()[:: -(-count // _SAMPLED)]
        count = min(count, _SAMPLED)
        return self._flat(self._first(self.size // self.shape[0] * count)).reshape(
            count, *self.shape[1:]
        )

    def _flat(self, content: bytes) -> np.ndarray:
        return np.frombuffer(content, np.dtype(self.dtype))

    def _first(self, size: int) -> bytes:
        with reading(self.path), self._opened() as file:
            content = file.read(size)
        if len(content) < size:
            raise SaganError(f"{self.path} is cut off; fetch it anew")
        return content

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        if self.packing == "gzip":
            with gzip.open(self.path) as file:
                file.read(self.offset)
                yield file
        else:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
                file.read(self.offset)
                yield file

    def unpacked(self) -> Path:
        """Returns a file of the cache with the bytes of the array, written if it is not there.

        Raises:
            SaganError: It is damaged, or there is no space.
        """
        mark = repr((str(self.path.resolve()), stamp_of(self.path.stat()), self.member))
        name = hashlib.sha256(mark.encode()).hexdigest()[:16]
        target = cache_folder() / "unpacked" / f"{name}{ARRAY}"
        if not (target.exists() and target.stat().st_size == self.size):
            require_space(target.parent, self.size, f"{self.path}, unpacked,")
            with cache_file(target) as draft, self._opened() as file:
                self._copy(file, draft)
        with suppress(OSError):
            os.utime(target)  # which tells that it is in use
        return target

    def _copy(self, file: Any, draft: IO[bytes]) -> None:
        left = self.size
        while left:
            with reading(self.path):
                content = file.read(min(left, _COPIED))
            if not content:
                raise SaganError(f"{self.path} is cut off; fetch it anew")
            draft.write(content)
            left -= len(content)
        with reading(self.path):
            if file.read(1):  # also compares the checksum, at the end
                raise SaganError(f"{self.path} holds more than it says; fetch it anew")


def size_in_gzip(path: Path) -> int:
    """The bytes that a gzip file unpacks to, modulo 2^32, as it states at its end."""
    with path.open("rb") as file:
        file.seek(-4, os.SEEK_END)
        return int.from_bytes(file.read(4), "little")


def require_possible(path: Path, size: int, packed_size: int) -> None:
    """Refuses a stated size that no compression reaches.

    Raises:
        SaganError: It is larger.
    """
    if size > _STRONGEST_DEFLATE * (packed_size + 64):
        raise SaganError(
            f"{path} is cut off or damaged: {readable(packed_size)} cannot hold the "
            f"{readable(size)} that it states; fetch it anew"
        )


class BlockReader:
    """Reads pictures from arrays that follow each other; opens each where it is first needed."""

    def __init__(self, blocks: Sequence[StoredArray], form: Form) -> None:
        self._blocks = tuple(blocks)
        self._form = form
        self._ends = list(accumulate(block.shape[0] for block in blocks))
        self._open: dict[tuple[int, int], Any] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open": {}}

    def __call__(self, index: int, name: str) -> np.ndarray:
        """Returns the pixels of one picture, counted over all blocks."""
        number = bisect_right(self._ends, index)
        key = os.getpid(), number  # a forked process opens its own
        if key not in self._open:
            self._open[key] = self._blocks[number].mapped()
        return self._form.pixels(np.asarray(self._open[key][index - self._ends[number]]))
