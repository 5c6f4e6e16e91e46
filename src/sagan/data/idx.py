"""IDX files, the format of MNIST and its kin: grey pictures in one file, labels in another."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from sagan.config import Part
from sagan.data.dataset import Dataset, dataset_of, in_parallel
from sagan.data.folder import centre_square
from sagan.errors import SaganError
from sagan.system.memory import require_free

_FASHION = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"
FASHION_NAMES = tuple(_FASHION.split(","))
_PREFIX: dict[Part, str] = {"train": "train", "held-out": "t10k"}
_IMAGES: dict[Part, str] = {split: f"{word}-images-idx3-ubyte" for split, word in _PREFIX.items()}


def is_idx(folder: str | Path) -> bool:
    """Tells whether a folder holds pictures as IDX files."""
    return any(_find(Path(folder).expanduser(), name) for name in _IMAGES.values())


def load_idx(
    folder: str | Path, resolution: int | None, *, conditional: bool = True, split: Part = "train"
) -> Dataset:
    """Reads grey pictures and labels from IDX files, plain or compressed with gzip.

    The files are called ``train-images-idx3-ubyte`` and ``train-labels-idx1-ubyte``, and ``t10k-``
    instead of ``train-`` for the held-out split; ``.gz`` may follow. The classes are called by
    their numbers, or as Fashion-MNIST's where the name of the folder, or of the one around it,
    contains "fashion".

    Args:
        folder: Where the files are.
        resolution: Side of the square pictures in pixels. Stored pictures are padded with black to
            the next power of two, 28 x 28 to 32 x 32, and resized if that is another; None leaves
            them as they are.
        conditional: Use the labels.
        split: Which files to read.

    Returns:
        A dataset of pictures with three equal channels, in the order of the file.

    Raises:
        SaganError: A file is missing, damaged or no IDX file, there are more labels than pictures
            or fewer, or the pictures are no squares and there is no resolution.
    """
    root = Path(folder).expanduser()
    name = _IMAGES[split]
    path = _find(root, name)
    if path is None:
        raise SaganError(
            f"there is no {name} (or {name}.gz) in {root}, which the {split} split needs; "
            "put it there"
        )
    grey = _read(path, dimensions=3)
    if not grey.size:
        raise SaganError(f"{path} holds no pictures; fetch it anew")
    if not conditional:
        return dataset_of(_colour(path, grey, resolution))
    labels, class_names = _read_labels(root, split, path, len(grey))
    return dataset_of(_colour(path, grey, resolution), labels, class_names)


def _find(root: Path, name: str) -> Path | None:
    return next((p for p in (root / name, root / f"{name}.gz") if p.is_file()), None)


def _read(path: Path, *, dimensions: int) -> np.ndarray:
    """The array in an IDX file: a magic number, the sizes big-endian, then a byte per value."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            shape = _shape(path, file.read(4 + 4 * dimensions), dimensions)
            # No compression is stronger than 1 to 1032; one byte more than there should be shows.
            size = math.prod(shape)
            if size <= 1032 * path.stat().st_size:
                require_free(5 * size, f"{path}, by its header,", "give fewer pictures")
                content = file.read(size + 1)
            else:
                content = b""
    except (OSError, EOFError, zlib.error) as error:
        raise SaganError(f"cannot read {path} ({error}); fetch it anew") from error
    if len(content) != size:
        sizes = " x ".join(map(str, shape))
        held = "more" if len(content) > size else "less"
        raise SaganError(
            f"{path} is cut off or damaged: it must hold {sizes} bytes and holds {held}; "
            "fetch it anew"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def _shape(path: Path, header: bytes, dimensions: int) -> tuple[int, ...]:
    magic = bytes((0, 0, 8, dimensions))  # 8 stands for unsigned bytes
    if header[:4] != magic:
        raise SaganError(
            f"{path} is no IDX file of bytes in {dimensions} dimensions: it begins with "
            f"{header[:4].hex(' ') or 'nothing'}, not {magic.hex(' ')}; fetch it anew"
        )
    if len(header) < 4 + 4 * dimensions:
        raise SaganError(f"{path} is cut off within its header; fetch it anew")
    return struct.unpack(f">{dimensions}I", header[4:])


def _read_labels(
    root: Path, split: Part, images: Path, count: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    name = f"{_PREFIX[split]}-labels-idx1-ubyte"
    path = _find(root, name)
    if path is None:
        raise SaganError(
            f"there are no labels {name} (or {name}.gz) beside {images}; put them there, or turn "
            "data.labels none"
        )
    labels = _read(path, dimensions=1)
    if len(labels) != count:
        raise SaganError(
            f"{images} holds {count:,} pictures but {path} {len(labels):,} labels; "
            "take both from one set"
        )
    highest = int(labels.max())
    fashion = any("fashion" in part.lower() for part in root.absolute().parts[-2:])
    if fashion and highest < len(FASHION_NAMES):
        return labels.astype(np.int64), FASHION_NAMES
    return labels.astype(np.int64), tuple(map(str, range(highest + 1)))


def _colour(path: Path, grey: np.ndarray, resolution: int | None) -> np.ndarray:
    """uint8 (N, H, W) -> (N, 3, R, R) with three equal channels."""
    height, width = grey.shape[1:]
    if resolution is None:
        if height != width:
            raise SaganError(
                f"the pictures in {path} are {height} x {width}, no squares; give a --resolution"
            )
        return np.repeat(grey[:, None], 3, axis=1)
    side = 1 << (max(height, width) - 1).bit_length()
    margins = [((side - size) // 2, side - size - (side - size) // 2) for size in (height, width)]
    squares = np.pad(grey, [(0, 0), *margins])
    return np.repeat(_resized(squares, resolution)[:, None], 3, axis=1)


def _resized(squares: np.ndarray, resolution: int) -> np.ndarray:
    if squares.shape[1] == resolution:
        return squares
    from PIL import Image

    def resize(square: np.ndarray) -> np.ndarray:
        return np.asarray(centre_square(Image.fromarray(square), resolution))

    resized = np.empty((len(squares), resolution, resolution), np.uint8)
    title = f"Resizing pictures to {resolution} x {resolution}"
    for row, square in zip(resized, in_parallel(resize, list(squares), title), strict=True):
        row[:] = square
    return resized
