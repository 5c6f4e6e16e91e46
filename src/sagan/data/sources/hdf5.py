"""HDF5 files, such as those of BigGAN-PyTorch and PyTorch-StudioGAN."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sagan.config import DataConfig
from sagan.data.catalog import Catalog
from sagan.data.sources.blocks import StoredArray
from sagan.data.sources.named import catalog_of_named
from sagan.errors import SaganError
from sagan.system.damage import reading
from sagan.system.extras import install
from sagan.system.memory import require_free

if TYPE_CHECKING:
    import h5py

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SIGNATURE_PLACES = (0, 512, 1024, 2048)
_MOST_NAMES = 1000
_SAMPLE_SIZE = 64
_CHUNKS_KEPT = 2


def hdf5(path: Path, config: DataConfig) -> Catalog | None:
    """Recognises HDF5 files with arrays of pictures at their top.

    BigGAN-PyTorch's and PyTorch-StudioGAN's hold ``imgs`` (N, 3, R, R) and ``labels``; other names
    are understood as in NumPy files. Links into other files are not followed.

    Raises:
        SaganError: The library is missing, or the file is damaged or holds something else.
    """
    if not path.is_file() or not _is_hdf5(path):
        return None
    try:
        import h5py
    except ImportError as error:
        raise SaganError(f"{path} is HDF5; to read it, {install('hdf5')}") from error
    with reading(path):
        with _hdf5_file(path) as file:
            if len(file) > _MOST_NAMES:
                raise SaganError(f"{path} holds {len(file):,} arrays; give pictures as one array")
            names = [
                name
                for name in map(str, file)
                if isinstance(file.get(name, getlink=True), h5py.HardLink)
                and isinstance(file[name], h5py.Dataset)
            ]
            held = {name: _array_in(path, name, file[name]) for name in names}
        return catalog_of_named("an HDF5 file", path, held, config)


def _is_hdf5(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(_SIGNATURE_PLACES[-1] + len(_SIGNATURE))
    return any(start.startswith(_SIGNATURE, place) for place in _SIGNATURE_PLACES)


def _hdf5_file(path: Path, cache: int = 2**20) -> h5py.File:
    import h5py

    return h5py.File(path, "r", locking=False, rdcc_nbytes=cache)


def _array_in(path: Path, name: str, stored: Any) -> Hdf5Array:
    import h5py

    if stored.external or stored.is_virtual:
        raise SaganError(f"{path}: {name} lies in other files; store it in this one")
    is_text = h5py.check_string_dtype(stored.dtype) is not None
    shape = stored.shape or ()
    chunk = math.prod(stored.chunks or ()) * stored.dtype.itemsize
    dtype = "<U0" if is_text else stored.dtype.str
    return Hdf5Array(path=path, name=name, shape=shape, dtype=dtype, chunk=chunk)


@dataclass(frozen=True, kw_only=True)
class Hdf5Array(StoredArray):
    """An array in an HDF5 file."""

    name: str
    chunk: int
    """Bytes that are read and unpacked together; 0 where pictures lie for themselves."""

    def mapped(self) -> Any:
        """Opens it; pictures that lie in one chunk are unpacked together.

        Raises:
            SaganError: A chunk does not fit into memory.
        """
        cache = _CHUNKS_KEPT * self.chunk
        require_free(cache, f"a part of {self.path}", "store the pictures in smaller chunks")
        return _hdf5_file(self.path, max(cache, 2**20))[self.name]

    def whole(self) -> np.ndarray:
        """Reads it into memory, which is judged first.

        Raises:
            SaganError: It is too large.
        """
        is_text = self.dtype == "<U0"
        size = math.prod(self.shape) * (64 if is_text else np.dtype(self.dtype).itemsize)
        require_free(2 * size, f"{self.path}, {self.name}", "give fewer pictures")
        with _hdf5_file(self.path) as file:
            stored: Any = file[self.name]
            return np.array(stored.asstr()[()], np.str_) if is_text else stored[()]

    def sample(self) -> np.ndarray:
        """Reads some pictures: the first where they lie in chunks, otherwise from everywhere."""
        count = self.shape[0]
        step = 1 if self.chunk else -(-count // _SAMPLE_SIZE)
        return self.mapped()[: step * _SAMPLE_SIZE : step]
