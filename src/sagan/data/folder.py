"""A folder of pictures as a dataset: one sub-folder per class, or pictures without classes."""

from __future__ import annotations

import hashlib
import os
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from sagan.config import require_class_names
from sagan.data.dataset import (
    Dataset,
    cache_file,
    cache_folder,
    digests_of,
    fingerprint,
    in_parallel,
    read_cached,
)
from sagan.errors import SaganError
from sagan.system.memory import require_free

if TYPE_CHECKING:
    from PIL import Image

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")

_FORMAT = 1  # of the packed pictures; raise it when the same files give other pixels


def load_folder(path: str | Path, resolution: int, *, conditional: bool = True) -> Dataset:
    """Reads pictures, crops their centre square and resizes it.

    The result is packed into the cache folder; the next call with the same files maps it from
    there. Hidden files and folders, and files that are no pictures, are ignored.

    Args:
        path: The folder. Its sub-folders are the classes, sorted by name, or by value where all
            are whole numbers, whatever the depth of the pictures within. A folder of loose pictures
            has no classes.
        resolution: Side of the square pictures in pixels.
        conditional: Use the classes; otherwise all pictures at any depth form one set.

    Returns:
        A dataset whose pictures are a read-only memory map, in the order of their paths.

    Raises:
        SaganError: The folder or a picture cannot be read, a class or the whole is empty,
            sub-folders and loose pictures stand side by side, or the cache cannot be written.
    """
    root = Path(path).expanduser()
    try:
        files, labels, class_names = _scan(root, conditional)
        key = _key(root, files, resolution, class_names)
    except OSError as error:
        raise SaganError(
            f"cannot read {error.filename or root}: {error.strerror or error}; "
            "make it readable or remove it"
        ) from error
    packed = cache_folder() / f"folder-{key}.npy"
    images, mark = read_cached(
        packed, _read_pack, lambda: _pack(packed, files, labels, class_names, resolution)
    )
    return Dataset(images=images, labels=labels, class_names=class_names, fingerprint=mark)


def stored_resolution(path: str | Path) -> int:
    """The side in pixels of a folder's pictures, when all are squares of one size.

    Raises:
        SaganError: They are not (names two that differ), or cannot be read.
    """
    from PIL import Image

    root = Path(path).expanduser()
    sizes: dict[tuple[int, int], Path] = {}
    for file in _scan(root, conditional=False)[0]:
        try:
            with Image.open(file) as picture:
                sizes.setdefault(picture.size, file)
        except OSError as error:
            raise SaganError(f"cannot read the picture {file}; remove or repair it") from error
        if len(sizes) > 1 or picture.width != picture.height:
            shown = ", ".join(f"{file.name} is {w} x {h}" for (w, h), file in sizes.items())
            raise SaganError(
                f"the pictures in {root} are not squares of one size: {shown}; give a "
                "--resolution to crop and resize them to"
            )
    return next(iter(sizes))[0]


def _read_pack(packed: Path) -> tuple[np.ndarray, str]:
    images = np.load(packed, mmap_mode="r")
    with packed.open("rb") as file:
        file.seek(images.offset + images.nbytes)
        mark = file.read().decode()
    if len(mark) != 16:
        raise ValueError(f"{packed} is cut off")
    return np.asarray(images), mark


def _scan(root: Path, conditional: bool) -> tuple[list[Path], np.ndarray, tuple[str, ...]]:
    if not root.exists():
        raise SaganError(f"there is no folder {root}; check the path")
    if not root.is_dir():
        raise SaganError(f"{root} is not a folder; give a folder of pictures")
    pictures = _pictures(root)
    if not pictures:
        raise SaganError(
            f"there are no pictures in {root}; it must hold {', '.join(EXTENSIONS)} files, "
            "directly or in one sub-folder per class"
        )
    classes = sorted(name for name in next(os.walk(root))[1] if not name.startswith("."))
    if all(name.isdecimal() for name in classes):
        classes.sort(key=int)
    require_class_names(classes)
    if not conditional or not classes:
        return pictures, np.zeros(len(pictures), dtype=np.int64), ()
    homes = [file.relative_to(root).parts[0] for file in pictures]
    if loose := [file for file in pictures if file.parent == root]:
        raise SaganError(
            f"{root} holds both sub-folders ({classes[0]}) and loose pictures ({loose[0].name}); "
            "move the pictures into a sub-folder, or set data.labels to none"
        )
    if empty := sorted(set(classes) - set(homes)):
        raise SaganError(f"the class folder {root / empty[0]} has no pictures; fill or remove it")
    label_of = {name: label for label, name in enumerate(classes)}
    labels = np.array([label_of[name] for name in homes], dtype=np.int64)
    return pictures, labels, tuple(classes)


def _pictures(folder: Path) -> list[Path]:
    found = []
    visited = set()
    for parent, subfolders, names in os.walk(folder, onerror=_reraise, followlinks=True):
        status = os.stat(parent)
        if (status.st_dev, status.st_ino) in visited:  # a link back to where we have been
            subfolders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found += [
            Path(parent, name)
            for name in names
            if name.lower().endswith(EXTENSIONS) and not name.startswith(".")
            if os.path.isfile(os.path.join(parent, name))  # no pipe, which would never end
        ]
    return sorted(found)


def _reraise(error: OSError) -> NoReturn:
    raise error


def _key(root: Path, files: list[Path], resolution: int, class_names: tuple[str, ...]) -> str:
    digest = hashlib.sha256(repr((_FORMAT, resolution, class_names)).encode())
    for file in files:
        status = file.stat()
        entry = (file.relative_to(root).as_posix(), status.st_size, status.st_mtime_ns)
        digest.update(repr(entry).encode())
    return digest.hexdigest()[:32]


def _pack(
    packed: Path,
    files: list[Path],
    labels: np.ndarray,
    class_names: tuple[str, ...],
    resolution: int,
) -> None:
    shape = (len(files), 3, resolution, resolution)
    with cache_file(packed) as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # remarks on readable pictures
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": shape}
        )
        read = partial(read_picture, resolution=resolution)
        title = f"Packing pictures at {resolution} x {resolution} (once)"
        for picture in in_parallel(read, files, title):
            file.write(picture.data)
        file.flush()
        images = np.asarray(np.load(file.name, mmap_mode="r"))
        mark = fingerprint(images.shape, digests_of(images), labels, class_names)
        file.write(mark.encode())


def read_picture(path: Path, resolution: int) -> np.ndarray:
    """Reads the centre square of a picture of any kind as uint8 (3, resolution, resolution).

    Raises:
        SaganError: The file is damaged, too large, of unknown range, or may not be read.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if path.exists() and not path.is_file():
        raise SaganError(f"{path} is no file; give a picture")
    try:
        with Image.open(path) as file:
            # A large JPEG decodes at 1/2, 1/4 or 1/8, still at least thrice the wanted size.
            file.draft(None, (3 * resolution, 3 * resolution))
            pixels = file.width * file.height
            require_free(16 * pixels, f"{path}, {pixels:,} pixels,", "make it smaller")
            image = _to_rgb(ImageOps.exif_transpose(file))
    except SaganError:
        raise
    except PermissionError as error:
        raise SaganError(f"cannot read {path}: no permission; make it readable") from error
    except UnidentifiedImageError as error:
        raise SaganError(f"{path} is not a picture; remove or repair it") from error
    except Exception as error:  # each of Pillow's decoders raises other kinds
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise SaganError(
            f"cannot read the picture {path} ({reason}); remove or repair it"
        ) from error
    pixels = np.asarray(centre_square(image, resolution))  # (R, R, 3)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _to_rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode.startswith("I;16"):
        levels = (np.asarray(image).astype(np.uint32) + 128) // 257  # 65535 -> 255, rounded
        image = Image.fromarray(levels.astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("32-bit values of unknown range, save it with 8 or 16 bits")
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return image.convert("RGB")


def centre_square(image: Image.Image, resolution: int) -> Image.Image:
    """Crops the centre square of a picture and resizes it to a side in pixels."""
    from PIL import Image

    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    # Cropped first: a filter of resize(box=...) would reach beyond the box.
    image = image.crop((left, top, left + side, top + side))
    shrinks = side > resolution
    method = Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC
    return image.resize((resolution, resolution), method)
