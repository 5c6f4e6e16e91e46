"""The file of a packed set: pictures, labels and what is known of them, all to be mapped.

It is an ``.npz`` without compression, which ``numpy.load`` reads; ``images.npy`` comes first, so
that it can be written before the number of pictures is known.
"""

from __future__ import annotations

import json
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sagan.data.dataset import digests_of, fingerprint
from sagan.data.facts import FACTS
from sagan.errors import SaganError
from sagan.system.npy import read_header, uint8_header, zip_header_size

SUFFIX = ".sagan"
DAMAGED = ".damaged"
"""Ends the name of a mark beside a pack that was found damaged."""
PACK_FORMAT = 1
_FIRST = "images.npy"
_ABOUT = "about.json"
_CHECKED_TOGETHER = 2**22  # bytes of pictures
_CHECKED = 64  # such stretches that are checked at each opening: 256 MiB
_DAMAGES = (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, struct.error)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pack:
    """Pictures of one shape in a file, as memory maps: opening it reads almost nothing.

    N pictures come from M entries of a catalog, of which some gave none and some several.
    """

    path: Path
    images: np.ndarray
    """uint8 (N, C, H, W)."""
    entry: np.ndarray
    """int64 (N,), ascending: number of each picture's entry."""
    digests: np.ndarray
    """uint64 (N,), as :func:`sagan.data.dataset.digests_of` gives them."""
    facts: np.ndarray
    """``FACTS`` (N,): what each picture was before."""
    labels: np.ndarray
    """int64 (N,); all 0 in the cache, where the catalog knows better."""
    class_names: tuple[str, ...] = ()
    stamps: np.ndarray
    """uint64 (M,), of the entries; see :func:`sagan.data.catalog.stamp_of`."""
    text: np.ndarray
    """uint8: the names of the entries in UTF-8 with zeros between; see :attr:`names`."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """Format, kind, root, rules, mark of the catalog, whether all is grey, shape, fingerprint,
    versions of the decoders, and the seconds that packing took."""
    unreadable: Sequence[tuple[str, str]] = ()
    """Name and reason of the entries without a picture."""
    is_whole: bool = True
    """Whether the file has the pictures too; otherwise they are where they came from."""

    def __len__(self) -> int:
        return len(self.images)

    @property
    def names(self) -> list[str]:
        """Of the M entries."""
        return self.text.tobytes().decode(errors="surrogatepass").split("\0")

    @property
    def is_grey(self) -> bool:
        """Whether no picture had a colour."""
        return bool(self.about.get("grey"))


class PackWriter:
    """Writes a pack; nothing can be read from it before :meth:`finish`."""

    def __init__(self, file: BinaryIO, shape: tuple[int, ...], expected: int = 0) -> None:
        """Begins a pack of pictures of one shape (C, H, W) in an empty file, open to read too.

        If there will be as many as expected, they need not be read again for the checksum.
        """
        self._file, self._shape, self._count, self._expected = file, shape, 0, expected
        self._crc = zlib.crc32(uint8_header((expected, *shape)))
        file.write(bytes(header_size(shape)))

    def append(self, pictures: np.ndarray) -> None:
        """Adds uint8 (n, C, H, W)."""
        data = np.ascontiguousarray(pictures).data.cast("B")
        self._crc = zlib.crc32(data, self._crc)
        self._file.write(data)
        self._count += len(pictures)

    def finish(self, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
        """Adds everything else and the table of contents."""
        numpy_header = uint8_header((self._count, *self._shape))
        crc = self._crc
        if self._count != self._expected:
            crc = zlib.crc32(numpy_header)
            self._file.seek(header_size(self._shape))
            while block := self._file.read(2**22):
                crc = zlib.crc32(block, crc)
        info = _member(len(numpy_header) + self._count * math.prod(self._shape), crc)
        self._file.seek(0)
        self._file.write(info.FileHeader(zip64=True) + numpy_header)
        self._file.seek(0, 2)
        with zipfile.ZipFile(self._file, "w") as archive:  # begins where the file stands
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
            archive.writestr(_ABOUT, json.dumps({**about, "format": PACK_FORMAT}))
            archive.infolist().insert(0, info)
        self._file.flush()


def header_size(shape: tuple[int, ...]) -> int:
    """Bytes before the first picture, however many pictures of a shape (C, H, W) there are."""
    return len(_member(0, 0).FileHeader(zip64=True) + uint8_header((0, *shape)))


def _member(size: int, crc: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(_FIRST)
    info.file_size = info.compress_size = size
    info.CRC, info.header_offset = crc, 0
    return info


def text_of(names: Sequence[str]) -> np.ndarray:
    """Names as one array of bytes, as :attr:`Pack.text` has them."""
    return np.frombuffer("\0".join(names).encode(errors="surrogatepass"), np.uint8)


def open_pack(path: Path, images: np.ndarray | None = None) -> Pack:
    """Maps a pack.

    Args:
        path: The file.
        images: The pictures, where the file leaves them where they came from.

    Raises:
        SaganError: It is none, or damaged where that shows at once.
    """
    try:
        pack = _mapped(path, images)
        _require_sound(pack)
    except _DAMAGES as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise SaganError(
            f"{path} is damaged or no packed set ({reason}); pack the pictures again"
        ) from error
    return pack


def about_pack(path: Path) -> Mapping[str, Any]:
    """Reads :attr:`Pack.about` alone; {} where there is no pack of this version."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            about = json.loads(archive.read(_ABOUT))
        return about if about["format"] == PACK_FORMAT else {}
    except _DAMAGES:
        return {}


def is_intact(pack: Pack) -> bool:
    """Tells whether a pack holds what was written.

    Everything but the pictures is compared as a whole. Up to 256 MiB of pictures are all compared;
    of more, the first, the last and 256 MiB of others, drawn anew each time.
    """
    if pack.about["fingerprint"] != fingerprint(
        pack.images.shape, pack.digests, pack.labels, pack.class_names
    ):
        return False
    stretches = _stretches(pack)
    if len(stretches) > _CHECKED:
        places = np.random.default_rng().choice(len(stretches) - 2, _CHECKED - 2, replace=False)
        between = [stretches[1 + place] for place in sorted(places.tolist())]
        stretches = [stretches[0], *between, stretches[-1]]
    return all(_is_as_written(pack, rows) for rows in stretches)


def is_small(pack: Pack) -> bool:
    """Whether :func:`is_intact` compares all pictures."""
    return len(_stretches(pack)) <= _CHECKED


def damaged_stretch(pack: Pack, is_ended: Callable[[], bool]) -> slice | None:
    """Compares all pictures with their digests, about 0.9 GB/s.

    Args:
        pack: The pack.
        is_ended: Asked between stretches of 4 MiB; once it is true the rest is let be.

    Returns:
        The first stretch with a picture that is not what was written; None where there is none.
    """
    for rows in _stretches(pack):
        if is_ended():
            return None
        if not _is_as_written(pack, rows):
            return rows
    return None


def mark_damaged(pack: Pack) -> None:
    """Leaves word for the next opening of a pack in the cache that it is to be made anew."""
    with suppress(OSError):
        pack.path.with_suffix(DAMAGED).touch()


def _stretches(pack: Pack) -> list[slice]:
    step = max(1, _CHECKED_TOGETHER // max(1, math.prod(pack.images.shape[1:])))
    return [slice(n, min(n + step, len(pack))) for n in range(0, len(pack), step)]


def _is_as_written(pack: Pack, rows: slice) -> bool:
    return np.array_equal(digests_of(_without_map(pack, rows)), pack.digests[rows])


def _without_map(pack: Pack, rows: slice) -> np.ndarray:
    """Pictures without the map, around each page of which the system would keep many others."""
    if not pack.is_whole:
        return pack.images[rows]
    shape = pack.images.shape[1:]
    size = math.prod(shape)
    with pack.path.open("rb") as file:
        file.seek(header_size(shape) + rows.start * size)
        content = file.read((rows.stop - rows.start) * size)
    return np.frombuffer(content, np.uint8).reshape(-1, *shape)


def _mapped(path: Path, images: np.ndarray | None) -> Pack:
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        members = {info.filename: info for info in archive.infolist()}
        if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
            raise ValueError("it is compressed")
        about = json.loads(archive.read(_ABOUT))
        arrays = {
            name.removesuffix(".npy"): _array(path, file, info)
            for name, info in members.items()
            if name.endswith(".npy")
        }
    if about["format"] != PACK_FORMAT:
        raise ValueError(f"it has format {about['format']}, this version reads {PACK_FORMAT}")
    return Pack(
        path=path,
        images=arrays["images"] if images is None else images,
        is_whole=images is None,
        entry=arrays["entry"],
        digests=arrays["digests"],
        facts=arrays["facts"],
        labels=arrays["labels"],
        class_names=tuple(map(str, arrays["class_names"])),
        stamps=arrays["stamps"],
        text=arrays["names"],
        unreadable=[(str(name), str(reason)) for name, reason in about["unreadable"]],
        about=about,
    )


def _array(path: Path, file: BinaryIO, info: zipfile.ZipInfo) -> np.ndarray:
    """The array in a member of a zip file, mapped."""
    file.seek(info.header_offset)
    begin = info.header_offset + zip_header_size(file.read(30))
    file.seek(begin)
    shape, fortran_order, dtype = read_header(file)
    offset, size = file.tell(), math.prod(shape) * dtype.itemsize
    if fortran_order or dtype.hasobject or offset - begin + size != info.file_size:
        raise ValueError(f"{info.filename} is no plain array of its size")
    if not size:
        return np.empty(shape, dtype)
    return np.asarray(np.memmap(path, dtype, "r", offset, shape))


def _require_sound(pack: Pack) -> None:
    """Refuses arrays that do not fit together; their content is judged by :func:`is_intact`."""
    count, entries = len(pack), len(pack.stamps)
    wanted: dict[str, tuple[np.dtype, tuple[int, ...]]] = {
        "images": (np.dtype(np.uint8), pack.images.shape[:1] + pack.images.shape[-3:]),
        "entry": (np.dtype(np.int64), (count,)),
        "digests": (np.dtype(np.uint64), (count,)),
        "facts": (FACTS, (count,)),
        "labels": (np.dtype(np.int64), (count,)),
        "stamps": (np.dtype(np.uint64), (entries,)),
        "text": (np.dtype(np.uint8), pack.text.shape[:1]),
    }
    for name, (dtype, shape) in wanted.items():
        array = getattr(pack, name)
        if array.dtype != dtype or array.shape != shape:
            raise ValueError(f"{name} has shape {array.shape} of {array.dtype}")
    if not count or not 0 <= pack.entry.min() <= pack.entry.max() < entries:
        raise ValueError("it holds no pictures, or more than it names")
    if not 0 <= pack.labels.min() <= pack.labels.max() < max(1, len(pack.class_names)):
        raise ValueError("it has a label without a class")
    if not isinstance(pack.about["fingerprint"], str):
        raise ValueError("it has no fingerprint")
