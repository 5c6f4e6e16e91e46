"""Pictures that show themselves in a notebook, and are an array like any other elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sagan.errors import SaganError
from sagan.images import enlarge, grid, png_bytes, save_png
from sagan.system.files import require_output

_SHOWN = 64  # of more pictures a notebook shows the first ones
_SHOWN_SIDE = 64  # smaller pictures are enlarged there


class Pictures(np.ndarray):
    """uint8 (N, C, H, W), C being 1, 3 or 4; a notebook shows the first 64 as a grid.

    What is cut out of pictures and has their form, such as ``pictures[:4]``, is pictures too;
    arithmetic and NumPy's functions give plain arrays.

    Args:
        pictures: uint8 (N, C, H, W), not copied.

    Raises:
        SaganError: It is no such array.
    """

    def __new__(cls, pictures: np.ndarray) -> Pictures:
        """Checks the array and views it as pictures."""
        if not _are_pictures(pictures):
            raise SaganError(
                f"{pictures.dtype} {pictures.shape} are no pictures; they are uint8 (N, C, H, W) "
                "with 1, 3 or 4 channels"
            )
        return pictures.view(cls)

    def grid(self, columns: int = 8) -> np.ndarray:
        """Lays the pictures out row by row: uint8 (C, H, W)."""
        if not len(self):
            raise SaganError("there is no picture to show")
        return grid(_as_array(self), max(1, min(columns, len(self))))

    def save(self, path: str | Path, columns: int = 8) -> Path:
        """Writes the grid as PNG and returns the path.

        Raises:
            SaganError: There is no picture, or nothing should be written there.
        """
        require_output(Path(path), ".png")
        return save_png(self.grid(columns), path)

    def _repr_png_(self) -> bytes | None:
        if not (_are_pictures(self) and len(self)):
            return None
        factor = -(-_SHOWN_SIDE // min(self.shape[2:]))
        return png_bytes(enlarge(self[:_SHOWN].grid(), factor))

    def __repr__(self) -> str:
        if not _are_pictures(self):
            return repr(_as_array(self))
        count, _, height, width = self.shape
        return f"<{count} picture{'s' * (count != 1)} of {height} x {width} pixels>"

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        return found if _are_pictures(found) else _as_array(found)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if "out" in options:
            options["out"] = tuple(map(_as_array, options["out"]))
        return getattr(ufunc, method)(*map(_as_array, inputs), **options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        found = super().__array_function__(function, types, args, kwargs)
        return _as_array(found)


def _are_pictures(value: Any) -> bool:
    return (
        isinstance(value, np.ndarray)
        and value.dtype == np.uint8
        and value.ndim == 4
        and value.shape[1] in (1, 3, 4)
    )


def _as_array(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, Pictures) else value
