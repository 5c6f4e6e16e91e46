"""TensorFlow's checkpoints, ``model.ckpt-N.index`` and ``.data-*``, read without TensorFlow.

The index is a sorted table of LevelDB's format; its values are protocol buffers, one for each
variable, which say where in which shard its bytes lie. Nothing that they say is believed before it
has been compared with the sizes of the files.

Source: TensorFlow ``core/util/tensor_bundle/tensor_bundle.{h,cc}``, ``core/lib/io/format.cc``,
``core/protobuf/tensor_bundle.proto``; LevelDB ``doc/table_format.md``.
"""

import math
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import google_crc32c
import numpy as np
import torch
from torch import Tensor

from sagan.errors import SaganError
from sagan.system.memory import require_free

_TABLE_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_TRAILER = 5
_LARGEST_INDEX = 2**26
_MASK = 0xA282EAD8
_MOST_AXES = 254
"""As many as TensorFlow's shapes have."""
_DTYPES: Mapping[int, torch.dtype] = {
    1: torch.float32,
    2: torch.float64,
    3: torch.int32,
    9: torch.int64,
    14: torch.bfloat16,
    19: torch.float16,
}
"""Of ``core/framework/types.proto``."""
_FILE_NAMES = re.compile(r"(.+)\.(index|data-\d{5}-of-\d{5})")


class _IndexError(ValueError):
    """The index is cut off, garbled, or of a kind that TensorFlow does not write."""


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """Where the bytes of a variable lie."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int
    is_partitioned: bool


def bundle_prefix(path: Path) -> Path | None:
    """What the names of a checkpoint's files begin with; None where there is no checkpoint.

    Args:
        path: The prefix itself or one of the files; or their folder or its file ``checkpoint``,
            which both stand for the newest.

    Raises:
        SaganError: The folder holds several and does not say which is the newest.
    """
    if (match := _FILE_NAMES.fullmatch(path.name)) and path.is_file():
        return path.with_name(match[1])
    if path.is_dir() or (path.name == "checkpoint" and path.is_file()):
        return _newest(path if path.is_dir() else path.parent)
    return path if path.with_name(f"{path.name}.index").is_file() else None


def _newest(folder: Path) -> Path | None:
    record = folder / "checkpoint"
    if record.is_file():
        text = record.read_bytes()[: 2**16].decode(errors="replace")
        if found := re.search(r'^model_checkpoint_path: "(.*)"$', text, re.MULTILINE):
            name = re.split(r"[/\\]", found[1])[-1]
            if (folder / f"{name}.index").is_file():
                return folder / name
            raise SaganError(f"{record} names {name}, of which there is no .index in {folder}")
    found = sorted(folder.glob("*.index"))
    if len(found) > 1:
        raise SaganError(f"{folder} holds several checkpoints; name one, such as {found[-1]}")
    return found[0].with_suffix("") if found else None


def read_bundle(prefix: Path, wanted: Callable[[str], bool]) -> dict[str, Tensor]:
    """Reads the variables of a checkpoint that are wanted, with their own dtypes.

    Args:
        prefix: What the names of its files begin with.
        wanted: By name.

    Raises:
        SaganError: A file is missing, cut off, garbled or compressed, or a variable is partitioned
            or of a kind that no network has.
    """
    index = prefix.with_name(f"{prefix.name}.index")
    try:
        shards, entries = _index(index)
    except (_IndexError, IndexError, struct.error, UnicodeDecodeError) as error:
        raise SaganError(
            f"{index} is damaged or no index of a TensorFlow checkpoint ({error}); copy it again"
        ) from error
    chosen = {name: entry for name, entry in entries.items() if wanted(name)}
    require_free(sum(e.size for e in chosen.values()), str(prefix), "free memory")
    files: dict[int, np.ndarray] = {}
    for shard in {entry.shard for entry in chosen.values()}:
        path = prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{shards:05d}")
        if not path.is_file():
            raise SaganError(f"{path} is missing; copy all files of the checkpoint")
        size = path.stat().st_size
        files[shard] = np.memmap(path, np.uint8, "r") if size else np.zeros(0, np.uint8)
    return {
        name: _tensor(f"{prefix}: {name}", entry, files[entry.shard])
        for name, entry in chosen.items()
    }


def _tensor(what: str, entry: _Entry, shard: np.ndarray) -> Tensor:
    if entry.is_partitioned:
        raise SaganError(f"{what} is partitioned over several tensors; save it as one variable")
    dtype = _DTYPES.get(entry.dtype)
    if dtype is None:
        raise SaganError(f"{what} is of TensorFlow's type {entry.dtype}; known are floats and ints")
    if math.prod(entry.shape) * dtype.itemsize != entry.size:
        raise SaganError(f"{what} of shape {entry.shape} has {entry.size:,} bytes; copy it again")
    if entry.offset + entry.size > len(shard):
        raise SaganError(f"{what} lies beyond the end of its data file; copy the file again")
    data = shard[entry.offset : entry.offset + entry.size].tobytes()
    if entry.checksum != _masked_checksum(data):
        raise SaganError(f"{what} is damaged: its checksum differs; copy the data file again")
    flat = torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)
    return flat.view(entry.shape)


def _masked_checksum(data: bytes) -> int:
    found = google_crc32c.value(data)
    return ((found >> 15 | found << 17) + _MASK) & 0xFFFFFFFF


def _index(path: Path) -> tuple[int, dict[str, _Entry]]:
    """The number of shards, and every variable's entry."""
    if path.stat().st_size > _LARGEST_INDEX:
        raise _IndexError("it is too large")
    table = path.read_bytes()
    if len(table) < _FOOTER or struct.unpack("<Q", table[-8:]) != (_TABLE_MAGIC,):
        raise _IndexError("its end is missing")
    footer = table[-_FOOTER:]
    _, place = _handle(footer, 0)
    shards, entries = 0, {}
    for _, handle in _block(table, *_handle(footer, place)[0]):
        for key, value in _block(table, *_handle(handle, 0)[0]):
            if not key:
                shards = _shards(value)
            else:
                entries[key.decode()] = _entry_of(value)
    if any(entry.shard >= shards for entry in entries.values()):
        raise _IndexError(f"it names a data file beyond its {shards}")
    return shards, entries


def _handle(data: bytes, place: int) -> tuple[tuple[int, int], int]:
    """(offset, size) of a block, and the place after them."""
    offset, place = _varint(data, place)
    size, place = _varint(data, place)
    return (offset, size), place


def _block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a block."""
    end = offset + size
    if end + _TRAILER > len(table):
        raise _IndexError("a block lies beyond its end")
    compression, checksum = struct.unpack_from("<BI", table, end)
    if checksum != _masked_checksum(table[offset : end + 1]):
        raise _IndexError("the checksum of a block differs")
    if compression:
        raise _IndexError("it is compressed, which TensorFlow's are not")
    block = table[offset:end]
    (restarts,) = struct.unpack("<I", block[-4:])
    end, place, key = len(block) - 4 - 4 * restarts, 0, b""
    while place < end:
        shared, place = _varint(block, place)
        own, place = _varint(block, place)
        length, place = _varint(block, place)
        if shared > len(key) or place + own + length > end:
            raise _IndexError("an entry is longer than its block")
        key = key[:shared] + block[place : place + own]
        place += own
        yield key, block[place : place + length]
        place += length


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """A number of up to 64 bits, and the place after it."""
    value = 0
    for shift in range(0, 64, 7):
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise _IndexError("a number has more than 64 bits")


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and contents of a protocol buffer's fields."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, place = _varint(message, place)
            yield number, value
            continue
        size, place = {1: (8, place), 5: (4, place)}.get(kind) or _varint(message, place)
        if kind not in (1, 2, 5) or place + size > len(message):
            raise _IndexError("a message is garbled")
        content, place = message[place : place + size], place + size
        yield number, content if kind == 2 else int.from_bytes(content, "little")


def _shards(message: bytes) -> int:
    found = dict(_fields(message))
    if found.get(2):
        raise _IndexError("its bytes are in the order of another processor")
    shards = found.get(1, 0)
    if not isinstance(shards, int) or not 1 <= shards < 100_000:
        raise _IndexError(f"it has {shards!r} data files")
    return shards


def _entry_of(message: bytes) -> _Entry:
    numbers, shape, is_partitioned = dict.fromkeys((1, 3, 4, 5, 6), 0), (), False
    for number, value in _fields(message):
        if number == 2 and isinstance(value, bytes):
            shape = tuple(
                _dimension(axis) for n, axis in islice(_fields(value), _MOST_AXES + 1) if n == 2
            )
            if len(shape) > _MOST_AXES:
                raise _IndexError(f"a variable has more than {_MOST_AXES} axes")
        elif number in numbers and isinstance(value, int):
            numbers[number] = value
        is_partitioned |= number == 7
    dtype, shard, offset, size, checksum = numbers.values()
    return _Entry(
        dtype=dtype,
        shape=shape,
        shard=shard,
        offset=offset,
        size=size,
        checksum=checksum,
        is_partitioned=is_partitioned,
    )


def _dimension(dimension: int | bytes) -> int:
    size = dict(_fields(dimension)).get(1, 0) if isinstance(dimension, bytes) else -1
    if not isinstance(size, int) or not 0 <= size < 2**40:
        raise _IndexError(f"a dimension is {size!r}")
    return size
