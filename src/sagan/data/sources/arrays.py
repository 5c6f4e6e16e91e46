"""NumPy files: pictures and labels as arrays, under the names that people give them."""

from __future__ import annotations

import struct
import tokenize
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np

from sagan.config import DataConfig
from sagan.data.catalog import Catalog
from sagan.data.sources.blocks import Block, require_possible
from sagan.data.sources.bundles import few
from sagan.data.sources.named import catalog_of_named, meaning
from sagan.errors import SaganError
from sagan.system.damage import reading
from sagan.system.npy import read_header, zip_header_size

_NPY_MAGIC = b"\x93NUMPY"
_MOST_ARRAYS = 1000
_MOST_FILES = 64
_REMEDY = "give a .npy or .npz of arrays"


def arrays(path: Path, config: DataConfig) -> Catalog | None:
    """Recognises ``.npy`` and ``.npz`` files, and folders of a few ``.npy`` files.

    Pictures are ``images``, ``x``, ``data``, ``arr_0`` or the like, labels ``labels``, ``y``,
    ``targets``, ``arr_1``, class names ``class_names``; "train", "val" or "test" before or after
    them names a part. What is not compressed is mapped, never read as a whole.

    Raises:
        SaganError: It is damaged, or holds something else.
    """
    blocks = _blocks(path)
    if blocks is None:
        return None
    kind = "a folder of NumPy files" if path.is_dir() else "a NumPy file"
    return catalog_of_named(kind, path, blocks, config)


def _blocks(path: Path) -> dict[str, Block] | None:
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        return None
    with reading(path, SyntaxError, tokenize.TokenError, remedy=_REMEDY):
        with path.open("rb") as file:
            start = file.read(30)
            name = file.read(struct.unpack("<H", start[26:28])[0]) if len(start) == 30 else b""
        if start.startswith(_NPY_MAGIC):
            return {"images": npy_block(path)}
        if start.startswith(b"PK") and (path.suffix == ".npz" or name.endswith(b".npy")):
            return _npz(path)
    if path.suffix in (".npy", ".npz"):
        raise SaganError(f"cannot read {path}: it is no NumPy file; {_REMEDY}")
    return None


def _folder(path: Path) -> dict[str, Block] | None:
    entries = few(path)
    if len(entries) > _MOST_FILES or any(p.suffix not in (".npy", ".npz") for p in entries):
        return None
    found: dict[str, Block] = {}
    for file in entries:
        stem = file.stem if meaning(file.stem)[1] else file.stem.partition("-")[2]  # k49-...
        if meaning(stem)[1]:
            held = list((_blocks(file) or {}).values())
            found.update(zip([stem], held, strict=False))
    return found or None


def npy_block(path: Path) -> Block:
    """Reads the header of a ``.npy`` file.

    Raises:
        SaganError: It is cut off.
    """
    with path.open("rb") as file:
        block = _npy_header(path, file)
    if block.offset + block.size > path.stat().st_size:
        raise SaganError(f"{path} is cut off; fetch it anew")
    return block


def _npy_header(path: Path, file: IO[bytes], **where: str) -> Block:
    shape, is_fortran, dtype = read_header(file)
    return Block(
        path=path,
        shape=shape,
        dtype=dtype.str,
        offset=file.tell(),
        order="F" if is_fortran else "C",
        **where,  # pyright: ignore[reportArgumentType]
    )


def _npz(path: Path) -> dict[str, Block]:
    found: dict[str, Block] = {}
    with zipfile.ZipFile(path) as archive:
        members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        if len(members) > _MOST_ARRAYS:
            raise SaganError(f"{path} holds {len(members):,} arrays; give pictures as one array")
        for info in members:
            if info.flag_bits & 1 or info.compress_type not in (
                zipfile.ZIP_STORED,
                zipfile.ZIP_DEFLATED,
            ):
                raise SaganError(
                    f"{path} is encrypted or compressed in an unusual way; save it anew"
                )
            name = info.filename.removesuffix(".npy")
            with archive.open(info) as member:
                block = _npy_header(path, member, packing="zip", member=info.filename)
            if np.dtype(block.dtype).hasobject:
                found[name] = block  # refused where it is used
                continue
            if block.offset + block.size != info.file_size:
                raise SaganError(f"{path} is cut off or damaged in {name}; fetch it anew")
            require_possible(path, info.file_size, info.compress_size)
            found[name] = block if info.compress_type else _stored(block, info)
    return found


def _stored(block: Block, info: zipfile.ZipInfo) -> Block:
    """The same array where it lies in the file itself."""
    with block.path.open("rb") as file:
        file.seek(info.header_offset)
        offset = info.header_offset + zip_header_size(file.read(30)) + block.offset
    if offset + block.size > block.path.stat().st_size:
        raise SaganError(f"{block.path} is cut off; fetch it anew")
    return replace(block, offset=offset, packing="", member="")
