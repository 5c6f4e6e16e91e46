"""Pictures: the only home of the uint8 <-> float conversion, image grids and PNG files.

Between rooms pictures travel as uint8 NCHW. Floats in [-1, 1] live inside models and training.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from sagan.system.files import replacing, writing

if TYPE_CHECKING:
    import torch

PADDING = 2
"""White pixels between the pictures of a grid and around it."""


def to_float(images: torch.Tensor) -> torch.Tensor:
    """Maps uint8 levels 0..255 linearly to float32 in [-1, 1].

    Source: the released code's ``dataset.py``, ``x * (2 / 255) - 1``.
    """
    return images.float().mul_(2 / 255).sub_(1)


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """Rounds floats in [-1, 1] to the nearest of the 256 levels; values outside are clipped."""
    import torch

    return images.add(1).mul_(255 / 2).round_().clamp_(0, 255).to(torch.uint8)


def grid(images: np.ndarray, columns: int, *, padding: int = PADDING) -> np.ndarray:
    """Lays pictures out row by row.

    Args:
        images: uint8 (N, C, H, W), N >= 1.
        columns: Pictures in a row; the last row may stay incomplete.
        padding: White pixels between pictures and around the grid.

    Returns:
        uint8 (C, rows * (H + padding) + padding, columns * (W + padding) + padding).
    """
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    size = rows * (height + padding) + padding, columns * (width + padding) + padding
    sheet = np.full((channels, *size), 255, dtype=np.uint8)
    for index, image in enumerate(images):
        top = padding + (index // columns) * (height + padding)
        left = padding + (index % columns) * (width + padding)
        sheet[:, top : top + height, left : left + width] = image
    return sheet


def pictures_of(sheet: np.ndarray, size: tuple[int, int], *, padding: int = PADDING) -> np.ndarray:
    """Cuts a grid into its pictures again: uint8 (C, H, W) -> (rows, columns, C, height, width)."""
    height, width = (side + padding for side in size)
    rows, columns = (
        (side - padding) // cell
        for side, cell in zip(sheet.shape[1:], (height, width), strict=True)
    )
    body = sheet[:, padding : padding + rows * height, padding : padding + columns * width]
    cells = body.reshape(len(sheet), rows, height, columns, width).transpose(1, 3, 0, 2, 4)
    return cells[..., : size[0], : size[1]]


def enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    """Repeats every pixel ``factor`` times in both directions: (..., H, W) -> (..., fH, fW)."""
    return image.repeat(factor, axis=-2).repeat(factor, axis=-1)


def as_rgb(images: np.ndarray) -> np.ndarray:
    """Pictures as they are seen: grey in three equal channels, transparent ones over white.

    Args:
        images: uint8 (..., C, H, W) with 1, 3 or 4 channels.

    Returns:
        uint8 (..., 3, H, W), the same array where it has these channels.
    """
    channels = images.shape[-3]
    if channels == 3:
        return images
    if channels == 1:
        return images.repeat(3, axis=-3)
    colours, opacity = images[..., :3, :, :].astype(np.uint16), images[..., 3:, :, :]
    return ((colours * opacity + 255 * (255 - opacity.astype(np.uint16)) + 127) // 255).astype(
        np.uint8
    )


def image_of(picture: np.ndarray) -> Image.Image:
    """Turns a uint8 (C, H, W) picture into one of Pillow's: L, RGB or RGBA."""
    pixels = picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0)
    return Image.fromarray(np.ascontiguousarray(pixels))


def png_bytes(image: np.ndarray) -> bytes:
    """Turns a uint8 (C, H, W) picture of 1, 3 or 4 channels into the contents of a PNG file."""
    file = io.BytesIO()
    image_of(image).save(file, format="PNG")
    return file.getvalue()


def save_png(image: np.ndarray, path: str | Path, *, flush: bool = True) -> Path:
    """Writes a uint8 (C, H, W) picture of 1, 3 or 4 channels as PNG and returns the path.

    Args:
        image: The picture.
        path: The file.
        flush: As for :func:`~sagan.system.files.replacing`.

    Raises:
        SaganError: The folder cannot be made or the file cannot be written.
    """
    path = Path(path)
    with writing(path), replacing(path, flush=flush) as draft:
        draft.write_bytes(png_bytes(image))
    return path
