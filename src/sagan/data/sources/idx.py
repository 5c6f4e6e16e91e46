"""IDX files: MNIST and its kin. Grey pictures in one file, labels in another."""

from __future__ import annotations

import gzip
import math
import re
import struct
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sagan.config import DataConfig
from sagan.data.catalog import Catalog, stamp_of
from sagan.data.sources.blocks import Block, BlockReader, require_possible, size_in_gzip
from sagan.data.sources.bundles import few
from sagan.data.sources.forms import Form
from sagan.data.sources.portions import Portion, catalog_of_portions
from sagan.errors import SaganError
from sagan.system.damage import reading

_FASHION = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"
FASHION_NAMES = tuple(_FASHION.split(","))
_KUZUSHIJI_NAMES = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
_IMAGES = re.compile(
    r"(?P<prefix>(?:emnist-)?(?:(?P<set>\w+)-)?(?P<split>train|t10k|test))-images[-.]idx3-ubyte"
    r"(?:\.gz)?"
)


class _Pair(NamedTuple):
    """Files of one part of a set."""

    images: Path
    prefix: str
    name: str
    """Of the set, where files of several may lie in one folder: "letters"; otherwise ""."""
    split: str
    is_emnist: bool


def idx(path: Path, config: DataConfig) -> Catalog | None:
    """Recognises MNIST, EMNIST, Fashion-MNIST, KMNIST and what is stored like them.

    The files are called ``train-images-idx3-ubyte`` and ``train-labels-idx1-ubyte``, and ``t10k-``
    or ``test-`` for the part "test"; a dot may stand before "idx", ``.gz`` may follow, and
    ``emnist-letters-`` may go before. They lie in the folder, in its ``raw``, or in the ``raw`` of
    the set's folder in it, as torchvision lays them; one file of pictures can be named as well.

    Pictures are padded with black to the next power of two, 28 x 28 to 32 x 32, unless the config
    asks for just their size. EMNIST's are stored transposed and are set right. Class names are
    those of the mapping beside the files, Fashion-MNIST's or KMNIST's where the name of the
    folder, or of the one around it, says so, and otherwise the numbers.

    Raises:
        SaganError: A file is missing or damaged, or several sets lie there and none is chosen.
    """
    pairs = _chosen(path, list(_image_files(path)), config)
    if not pairs:
        return None
    blocks = tuple(_idx_block(pair.images, dimensions=3) for pair in pairs)
    stored = blocks[0].shape[1:]
    if any(block.shape[1:] != stored for block in blocks):
        raise SaganError(f"the parts of {path} hold pictures of two sizes; fetch them anew")
    axes = (1, 0) if pairs[0].is_emnist else (0, 1)
    height, width = (stored[axis] for axis in axes)
    side = 1 << (max(height, width) - 1).bit_length()
    notes = []
    if config.size == (height, width) or side == height == width:
        side = 0
    else:
        notes.append(f"pictures of {height} x {width} are padded with black to {side} x {side}")
    portions = [
        Portion(
            "" if path.is_file() else pair.split,
            block.shape[0],
            stamp_of(pair.images.stat()),
            _idx_labels(pair, block) if config.conditional else None,
        )
        for pair, block in zip(pairs, blocks, strict=True)
    ]
    return catalog_of_portions(
        "IDX files",
        path,
        portions,
        BlockReader(blocks, Form(axes=axes, side=side)),
        config,
        class_names=_known_names(pairs[0], portions),
        notes=notes,
    )


def _image_files(path: Path) -> Iterator[_Pair]:
    """Every file of pictures; of one that is there twice, the uncompressed one."""
    if path.is_file():
        files = [path]
    elif path.is_dir():
        folders = [path, path / "raw", *(path / name / "raw" for name in _TORCHVISION)]
        files = [file for folder in folders if folder.is_dir() for file in few(folder)]
    else:
        return
    seen = set()
    for file in sorted(files):
        match = _IMAGES.fullmatch(file.name)
        if match and file.is_file() and (key := (file.parent, match["prefix"])) not in seen:
            seen.add(key)
            yield _Pair(
                file,
                match["prefix"],
                match["set"] or "",
                "train" if match["split"] == "train" else "test",
                file.name.startswith("emnist-"),
            )


_TORCHVISION = ("MNIST", "FashionMNIST", "KMNIST", "EMNIST", "QMNIST")


def _chosen(path: Path, pairs: list[_Pair], config: DataConfig) -> list[_Pair]:
    """The parts of one set, train first."""
    if len({pair.images.parent for pair in pairs}) > 1:
        places = sorted({str(pair.images.parent) for pair in pairs})
        raise SaganError(f"several data sets lie in {path}; name one: {', '.join(places)}")
    sets: defaultdict[str, list[_Pair]] = defaultdict(list)
    for pair in sorted(pairs, key=lambda pair: pair.split != "train"):
        sets[pair.name].append(pair)
    if len(sets) <= 1:
        return [pair for several in sets.values() for pair in several]
    name, _, split = config.split.partition("-")
    if name not in sets:
        raise SaganError(
            f"several data sets lie in {path}; choose one with --data.split "
            f"{', '.join(sorted(sets))}, or {sorted(sets)[0]}-test for its other part"
        )
    wanted = split or "train"
    found = [pair for pair in sets[name] if pair.split == wanted]
    if not found:
        raise SaganError(f"{path} has no part {config.split!r}; fetch its files")
    return [pair._replace(split=config.split) for pair in found]


def _idx_block(path: Path, *, dimensions: int) -> Block:
    """Where the array of an IDX file lies: a magic number, the sizes big-endian, then the bytes."""
    is_packed = path.suffix == ".gz"
    with reading(path):
        with (gzip.open if is_packed else open)(path, "rb") as file:
            shape = _shape(path, file.read(4 + 4 * dimensions), dimensions)
        offset = 4 + 4 * dimensions
        expected, size = offset + math.prod(shape), path.stat().st_size
        if is_packed:
            require_possible(path, expected, size)
            size = size_in_gzip(path)
            expected %= 2**32
    if size != expected:
        sizes = " x ".join(map(str, shape))
        held = "more" if size > expected else "less"
        raise SaganError(
            f"{path} is cut off or damaged: it must hold {sizes} bytes and holds {held}; "
            "fetch it anew"
        )
    if 0 in shape:
        raise SaganError(f"{path} holds no pictures; fetch it anew")
    return Block(
        path=path, shape=shape, dtype="|u1", offset=offset, packing="gzip" if is_packed else ""
    )


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


def _idx_labels(pair: _Pair, images: Block) -> np.ndarray:
    folder = pair.images.parent
    stem = f"{pair.prefix}-labels"
    names = [f"{stem}{mark}idx1-ubyte{end}" for end in ("", ".gz") for mark in "-."]
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        raise SaganError(
            f"there are no labels {names[0]} (or {names[2]}) beside {pair.images}; put them there, "
            "or set --data.labels none"
        )
    block = _idx_block(path, dimensions=1)
    if block.shape[0] != images.shape[0]:
        raise SaganError(
            f"{pair.images} holds {images.shape[0]:,} pictures but {path} {block.shape[0]:,} "
            "labels; take both from one set"
        )
    return block.whole()


def _known_names(pair: _Pair, portions: list[Portion]) -> list[str] | None:
    """By label; None where numbers are the names."""
    highest = max((int(p.labels.max()) for p in portions if p.labels is not None), default=-1)
    if pair.is_emnist and (names := _mapped_names(pair)):
        return names
    if pair.is_emnist and pair.name == "letters" and highest <= 26:
        return ["", *"abcdefghijklmnopqrstuvwxyz"]
    for word, names in (("fashion", FASHION_NAMES), ("kmnist", _KUZUSHIJI_NAMES)):
        places = (*pair.images.absolute().parts[-3:-1], pair.name)
        if any(word in place.lower() for place in places) and highest < len(names):
            return list(names)
    return None


def _mapped_names(pair: _Pair) -> list[str]:
    """EMNIST's own list, "1 65 97": label, and the codes of its characters, small letter last."""
    path = pair.images.parent / f"emnist-{pair.name}-mapping.txt"
    if not path.is_file() or path.stat().st_size > 2**16:
        return []
    rows = re.findall(r"^(\d{1,3})((?: \d{1,3})+)\s*$", path.read_text("ascii", "replace"), re.M)
    named = {int(label): chr(int(codes.split()[-1])) for label, codes in rows}
    return [named.get(label, "") for label in range(max(named, default=-1) + 1)]
