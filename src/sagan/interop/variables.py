"""Variables in an ``.npz``, name -> array, of which nothing is believed before it is compared."""

import math
import tokenize
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from sagan.errors import SaganError
from sagan.system.damage import reading
from sagan.system.memory import require_free
from sagan.system.npy import read_header

_KINDS_OF_NUMBERS = "fiub"
"""Of NumPy's types: floats, integers, booleans."""


def read_variables(path: Path, wanted: Callable[[str], bool]) -> dict[str, Tensor]:
    """Reads the arrays of a file that are wanted, with their own dtypes.

    Args:
        path: As ``numpy.savez`` and ``numpy.savez_compressed`` write it.
        wanted: By name.

    Raises:
        SaganError: The file is cut off, garbled, needs more memory than there is, or has arrays of
            objects or of a kind that PyTorch does not know.
    """
    with (
        reading(path, SyntaxError, tokenize.TokenError, remedy="give an .npz of plain arrays"),
        zipfile.ZipFile(path) as archive,
    ):
        chosen = [
            (name, info)
            for info in archive.infolist()
            if wanted(name := info.filename.removesuffix(".npy").removesuffix(":0"))
        ]
        size = sum(info.file_size for _, info in chosen)
        require_free(2 * size, str(path), "give a smaller file")
        found: dict[str, Tensor] = {}
        for name, info in chosen:
            if name in found:
                raise SaganError(f"{path} holds {name} twice; leave one of them out")
            with archive.open(info) as file:
                found[name] = _one_array(f"{path}: {name}", file, info.file_size)
        return found


def _one_array(what: str, file: IO[bytes], size: int) -> Tensor:
    """Reads one array, if its header fits the size of its file."""
    shape, is_transposed, dtype = read_header(file)
    if dtype.kind not in _KINDS_OF_NUMBERS or (dtype.kind == "f" and dtype.itemsize > 8):
        raise SaganError(f"{what} is an array of {dtype}; give plain numbers of at most 64 bits")
    if math.prod(shape) * dtype.itemsize != size - file.tell():
        raise SaganError(f"{what} of shape {shape} has another size; give the file once more")
    flat = np.frombuffer(bytearray(file.read()), dtype)
    array = flat.reshape(shape, order="F" if is_transposed else "C")
    return torch.from_numpy(np.ascontiguousarray(array, dtype.newbyteorder("=")))
