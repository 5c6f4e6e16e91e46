"""Pickles of arrays, read without running what they name."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from sagan.errors import SaganError
from sagan.system.memory import require_free

_TYPES = ("u1", "i1", "b1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")


class _Type:
    """Stands for ``numpy.dtype``."""

    def __init__(self, name: Any, *_: object) -> None:
        self.name = name.decode("ascii") if isinstance(name, bytes) else name
        if self.name not in _TYPES:
            raise pickle.UnpicklingError(f"an array of type {str(name)[:20]!r}")
        self.order = "|"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]


class _Array:
    """Stands for ``numpy.ndarray``, and for the function that makes an empty one."""

    def __init__(self, *_: object) -> None:
        self.values = np.empty(0, np.uint8)

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, is_fortran, content = state
        if not isinstance(kind, _Type) or not isinstance(content, bytes):
            raise pickle.UnpicklingError("an array of Python objects")
        values = np.frombuffer(content, np.dtype(kind.order + kind.name))
        self.values = values.reshape(shape, order="F" if is_fortran else "C")


class _Unpickler(pickle._Unpickler):  # pyright: ignore[reportAttributeAccessIssue]
    """The one written in Python: its memo is no array, whose size a pickle could choose."""

    dispatch = {  # noqa: RUF012
        code: load
        for code, load in pickle._Unpickler.dispatch.items()  # pyright: ignore
        if code != pickle.BYTEARRAY8[0]  # takes the memory that it states
    }

    def find_class(self, module: str, name: str) -> Any:
        known = {"_reconstruct": _Array, "ndarray": _Array, "dtype": _Type}
        if module.split(".")[0] == "numpy" and name in known:
            return known[name]
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def unpickled(path: Path, content: bytes) -> dict[str, Any]:
    """Reads a pickled dictionary of arrays, numbers and texts.

    Only NumPy's arrays of numbers can be rebuilt; whatever else a pickle names is refused before
    it is looked for.

    Args:
        path: For messages.
        content: Of the pickle.

    Returns:
        The dictionary; its keys and byte strings are decoded.

    Raises:
        SaganError: It is damaged, names something else, or is no dictionary.
    """
    require_free(4 * len(content), f"{path}, unpickled,", "free memory")
    try:
        found = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a pickle may raise anything
        reason = (str(error) or "it is cut off").splitlines()[0][:200]
        raise SaganError(f"cannot read {path} ({reason}); fetch it anew") from error
    if not isinstance(found, dict):
        raise SaganError(f"{path} holds no dictionary of arrays; fetch it anew")
    return {str(_text(key)): _text(value) for key, value in found.items()}


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in value]
    return value.values if isinstance(value, _Array) else value
