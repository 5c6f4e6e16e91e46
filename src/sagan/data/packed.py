"""Packed sets: pictures in one NumPy file."""

import zipfile
from pathlib import Path

import numpy as np

from sagan.data.dataset import Dataset, dataset_of
from sagan.errors import SaganError
from sagan.system.memory import require_free

MOST_NUMBERED = 100_000
"""Classes of a file without names."""
_ARRAYS = ("images", "labels", "class_names", "arr_0", "arr_1")


def load_packed(path: str | Path, resolution: int | None, *, conditional: bool = True) -> Dataset:
    """Reads uint8 pictures of one size, channels first or last, from a NumPy file.

    A ``.npy`` file holds the pictures and is mapped, not read. A ``.npz`` file holds ``images``
    and, if there are classes, ``labels`` (whole numbers from 0) and ``class_names``; without names
    the classes are called by their numbers. The names ``arr_0`` and ``arr_1`` are understood for
    pictures and labels, as other projects write them.

    Args:
        path: The file.
        resolution: What the side of the pictures must be in pixels; None takes any.
        conditional: Use the classes, if there are some.

    Raises:
        SaganError: The file is damaged or holds something else, or the size is another.
    """
    path = Path(path).expanduser()
    try:
        arrays = _arrays(path)
        images = arrays.get("images", arrays.get("arr_0"))
        labels = arrays.get("labels", arrays.get("arr_1"))
    except SaganError:
        raise
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, MemoryError) as error:
        raise SaganError(f"cannot read {path} ({error}); give a .npy or .npz of arrays") from error
    if images is None or images.ndim != 4 or images.dtype != np.uint8 or not len(images):
        raise SaganError(f"{path} holds no pictures; it needs an array images, uint8 (N, 3, R, R)")
    if images.shape[1] != 3 and images.shape[3] == 3:
        images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    _require_square(path, images, resolution)
    if not conditional or labels is None:
        return dataset_of(images)
    return dataset_of(images, *_classes(path, labels, arrays.get("class_names"), len(images)))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise SaganError(f"{path} is no file; give a .npy or .npz of arrays")
    if path.suffix == ".npy":
        return {"images": np.load(path, mmap_mode="r", allow_pickle=False)}
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        members = [name for name in archive.namelist() if name.removesuffix(".npy") in _ARRAYS]
        size = sum(archive.getinfo(name).file_size for name in members)
        require_free(2 * size, f"{path}, unpacked,", "give fewer pictures, or a .npy")
        found = {}
        for name in members:
            with archive.open(name) as member:
                found[name.removesuffix(".npy")] = np.lib.format.read_array(member)
        return found


def _require_square(path: Path, images: np.ndarray, resolution: int | None) -> None:
    _, channels, height, width = images.shape
    if channels != 3 or height != width:
        raise SaganError(f"{path} holds arrays of shape {images.shape}; it must be (N, 3, R, R)")
    if resolution is not None and height != resolution:
        raise SaganError(
            f"the pictures in {path} are {height} x {height}, not {resolution} x {resolution}; "
            f"set the resolution to {height} or pack them anew"
        )


def _classes(
    path: Path, labels: np.ndarray, names: np.ndarray | None, count: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    if labels.shape != (count,) or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise SaganError(f"{path}: labels must be {count} whole numbers from 0, one per picture")
    highest = int(labels.max())
    if names is None and highest >= MOST_NUMBERED:
        raise SaganError(
            f"{path} has a label {highest:,}; without class_names they count from 0 to "
            f"{MOST_NUMBERED - 1:,} at most"
        )
    if names is not None and (names.ndim != 1 or names.dtype.kind not in "Uiu"):
        raise SaganError(f"{path}: class_names must be a list of texts, one per class")
    class_names = tuple(map(str, range(highest + 1) if names is None else names))
    if highest >= len(class_names):
        raise SaganError(f"{path} has a label {highest} but {len(class_names)} class names")
    return labels.astype(np.int64), class_names
