"""What stands before the numbers of an array: headers of NumPy's files, and of zip's members."""

import struct
from io import BytesIO
from typing import IO

import numpy as np


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Reads a header, and leaves the file at the first number.

    Returns:
        The shape, whether the first axis runs fastest (Fortran's order), and the kind of numbers.

    Raises:
        ValueError: It is no such header.
    """
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        header = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        header = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"format {version} of NumPy files")
    if min(header[0], default=0) < 0:
        raise ValueError("a negative size")
    return header


def uint8_header(shape: tuple[int, ...]) -> bytes:
    """The header of an array of uint8, whose last axis runs fastest."""
    stream = BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue()


def zip_header_size(header: bytes) -> int:
    """Bytes from the header of a file in a zip to its content, by the first 30 of them.

    Raises:
        ValueError: It is no such header.
    """
    if len(header) < 30 or not header.startswith(b"PK\3\4"):
        raise ValueError("there is no file at its place")
    return 30 + sum(struct.unpack("<HH", header[26:]))
