"""The built-in source: robots, monsters, cats and people composed from the parts of Robohash.

The parts are pictures with transparency that lie in the installed ``robohash`` package. They were
drawn by Zikri Kader (set1, robots, CC-BY 3.0 or 4.0), Hrvoje Novakovic (set2, monsters, CC-BY
3.0), Julian Peter Arias (set3, robot heads, CC-BY 3.0), David Revoy (set4, cats, CC-BY 4.0,
https://www.peppercarrot.com) and Pablo Stanley (set5, people, https://avataaars.com, "free for
personal and commercial use"), and were assembled by Robohash, https://robohash.org.

A picture is one part per layer over white. Of all combinations of parts a tenth never occurs in
the training split; the held-out split is drawn from that tenth, so that the two share none.
A mouth under a scarf still lets two combinations look the same: of 50,000 held-out pictures at
32 x 32, 105 (all cats) equal one of 50,000 training pictures.
"""

import importlib.metadata
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from sagan.config import Part
from sagan.data.dataset import (
    Dataset,
    cache_file,
    cache_folder,
    dataset_of,
    read_cached,
)
from sagan.system.memory import require_free
from sagan.system.progress import progress

CREDITS = (
    "Art: robots Zikri Kader (CC-BY), monsters Hrvoje Novakovic (CC-BY 3.0), robot heads Julian"
    " Peter Arias (CC-BY 3.0), cats David Revoy (CC-BY 4.0, peppercarrot.com), people Pablo Stanley"
    " (avataaars.com); assembled by Robohash"
)

_COLOURS = "blue brown green grey orange pink purple red white yellow"

# Families of equal share; each names its classes and their folders in the package.
FAMILIES: tuple[dict[str, str], ...] = (
    {f"{colour} robot": f"set1/{colour}" for colour in _COLOURS.split()},
    {"monster": "set2"},
    {"robot head": "set3"},
    {"cat": "set4"},
    {"person": "set5"},
)
CLASS_NAMES = tuple(name for family in FAMILIES for name in family)

_CLASSES = np.array([len(family) for family in FAMILIES])
_FIRST_LABEL = np.cumsum(_CLASSES) - _CLASSES

Atlas = list[list[np.ndarray]]
"""atlas[family][layer]: uint8 (parts, 4, R, R) RGBA, colours premultiplied by alpha; bottom first.

The parts of a family with several classes stand class by class, equally many of each.
"""


def load_avatars(
    resolution: int, count: int, *, split: Part = "train", seed: int = 0, conditional: bool = True
) -> Dataset:
    """Composes pictures in memory; a function of the arguments alone.

    Every family (robots, monsters, robot heads, cats, people) gets a fifth of the pictures and
    every colour a tenth of the robots, as exactly as whole numbers allow.

    Args:
        resolution: Side in pixels.
        count: Number of pictures.
        split: Which of the two disjoint sets of part combinations to draw from.
        seed: Chooses the draw; at least 0.
        conditional: Keep the 14 classes.

    Raises:
        SaganError: The shrunk parts cannot be written to the cache folder, or the pictures would
            not fit into memory.
    """
    size = count * (3 * resolution**2 + 200)
    require_free(size, f"{count:,} avatars", "choose fewer --data.generated-images")
    atlas = load_atlas(resolution)
    labels, parts = draw(layer_sizes(atlas), count, split=split, seed=seed)
    images = np.empty((count, 3, resolution, resolution), dtype=np.uint8)
    families = family_of(labels)
    portion = max(1, 2**17 // resolution**2)  # a canvas of 1.5 MB stays in the processor's cache
    with progress("Composing avatars", -(-count // portion)) as advance:
        for family, layers in enumerate(atlas):
            rows = np.flatnonzero(families == family)
            for chosen in np.split(rows, range(portion, len(rows), portion)):
                variant = labels[chosen] - _FIRST_LABEL[family]
                images[chosen] = compose(layers, parts[chosen], variant, len(FAMILIES[family]))
                advance()
    return dataset_of(images, labels, CLASS_NAMES) if conditional else dataset_of(images)


def family_of(labels: np.ndarray) -> np.ndarray:
    """Maps labels to indices into :data:`FAMILIES`."""
    return np.repeat(np.arange(len(FAMILIES)), _CLASSES)[labels]


def layer_sizes(atlas: Atlas) -> list[list[int]]:
    """Counts the parts to choose from in each layer of each family, one class taken alone."""
    return [
        [len(layer) // len(family) for layer in layers]
        for family, layers in zip(FAMILIES, atlas, strict=True)
    ]


def draw(
    sizes: Sequence[Sequence[int]], count: int, *, split: Part, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Chooses the class and the parts of each picture.

    Args:
        sizes: Parts in each layer of each family, from :func:`layer_sizes`.
        count: Number of pictures.
        split: Combinations of the other split are drawn anew.
        seed: At least 0.

    Returns:
        Labels int64 (count,) and parts int64 (count, most layers of a family), where columns
        beyond the layers of a family are 0.
    """
    # The 14 keeps this stream apart from that of the batches, [seed, epoch].
    rng = np.random.default_rng([seed, ("train", "held-out").index(split), 14])
    position = np.arange(count)
    family = position % len(FAMILIES)
    labels = _FIRST_LABEL[family] + position // len(FAMILIES) % _CLASSES[family]
    rng.shuffle(labels)
    families = family_of(labels)
    parts = np.zeros((count, max(map(len, sizes))), dtype=np.int64)
    for index, layers in enumerate(sizes):
        rows = np.flatnonzero(families == index)
        while len(rows):
            parts[rows, : len(layers)] = rng.integers(layers, size=(len(rows), len(layers)))
            is_wrong = is_held_out(families[rows], parts[rows]) != (split == "held-out")
            rows = rows[is_wrong]
    return labels, parts


def is_held_out(families: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Tells which combinations are kept from training: about one in ten.

    A robot's colour does not count: the same parts are held out in all ten colours.

    Args:
        families: (N,), indices into :data:`FAMILIES`.
        parts: (N, most layers of a family), padded with 0 as :func:`draw` returns them.

    Returns:
        bool (N,), a fixed function of each row.
    """
    mixed = families.astype(np.uint64)
    for column in parts.T.astype(np.uint64):
        mixed = (mixed + column + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(32)
    return mixed % np.uint64(10) == 0


def compose(
    layers: Sequence[np.ndarray], parts: np.ndarray, variant: np.ndarray, variants: int
) -> np.ndarray:
    """Lays the chosen parts over white, whole batches at a time.

    Args:
        layers: One family of an :data:`Atlas`.
        parts: (N, at least len(layers)), the part in each layer.
        variant: (N,), which of the family's classes to take the parts from.
        variants: Number of classes in the family.

    Returns:
        uint8 (N, 3, R, R).
    """
    resolution = layers[0].shape[-1]
    canvas = np.full((len(parts), 3, resolution, resolution), 255, dtype=np.float32)
    for index, layer in enumerate(layers):
        part = layer[variant * (len(layer) // variants) + parts[:, index]]  # (N, 4, R, R)
        canvas *= (255 - part[:, 3:]) * np.float32(1 / 255)
        canvas += part[:, :3]
    return canvas.round().astype(np.uint8)


def load_atlas(resolution: int) -> Atlas:
    """Reads the parts shrunk to one resolution; the first call makes and caches them.

    Raises:
        SaganError: The cache folder cannot be written.
    """
    version = importlib.metadata.version("robohash")
    path = cache_folder() / f"avatars-1-robohash-{version}-{resolution}.npz"
    return read_cached(path, _read_atlas, lambda: _write_atlas(path, resolution))


def _read_atlas(path: Path) -> Atlas:
    atlas: Atlas = [[] for _ in FAMILIES]
    with path.open("rb") as file, np.load(file) as archive:
        for name in archive.files:
            atlas[int(name.partition(".")[0])].append(archive[name])
    return atlas


def _write_atlas(path: Path, resolution: int) -> None:
    from PIL import Image

    def shrink(file: Path) -> np.ndarray:
        # Averaging straight colours would let those of invisible pixels bleed into the edges.
        with Image.open(file) as image:
            part = image.convert("RGBA").convert("RGBa")
        part = part.resize((resolution, resolution), Image.Resampling.BOX)
        return np.asarray(part).transpose(2, 0, 1)

    layers = {
        f"{family}.{layer}": files
        for family, folders in enumerate(FAMILIES)
        for layer, files in enumerate(_layer_files(folders.values()))
    }
    with cache_file(path) as file:  # first, so that a folder without permission fails at once
        parts = [part for files in layers.values() for part in files]
        shrunk = []
        with (
            progress("Shrinking avatar parts (once)", len(parts)) as advance,
            ThreadPoolExecutor() as pool,
        ):
            for part in pool.map(shrink, parts):
                shrunk.append(part)
                advance()
        arrays = np.split(
            np.stack(shrunk), np.cumsum([len(files) for files in layers.values()])[:-1]
        )
        named: dict[str, Any] = dict(zip(layers, arrays, strict=True))
        np.savez_compressed(file, **named)


def _layer_files(folders: Iterable[str]) -> list[list[Path]]:
    sets = Path(str(importlib.metadata.distribution("robohash").locate_file("robohash/sets")))
    layers: defaultdict[int, list[Path]] = defaultdict(list)
    for folder in folders:
        for depth, layer in enumerate(sorted((sets / folder).glob("*#*"), key=_layer_depth)):
            # "004#red_mouth-07.png": only the last number means the same shape in every colour.
            order = sorted(
                layer.glob("*.png"), key=lambda file: (file.stem.rpartition("-")[2], file.name)
            )
            layers[depth] += order
    return list(layers.values())


def _layer_depth(folder: Path) -> tuple[float, int]:
    # "003#01Body" is layer 1; "000#Mouth" lies above all numbered layers, in the first order.
    match = re.fullmatch(r"(\d+)#(\d*).*", folder.name)
    assert match is not None, folder
    return int(match[2]) if match[2] else math.inf, int(match[1])
