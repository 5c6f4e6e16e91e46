"""A portable file of packed pictures: made on one machine, learned from on another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from sagan.data.catalog import Catalog, Content, MadeNames
from sagan.data.dataset import Dataset, PictureArray, digests_of, fingerprint
from sagan.data.decoding import MODES
from sagan.data.facts import FACTS, difference_hashes
from sagan.data.packfile import Pack, PackWriter, is_intact, open_pack, text_of
from sagan.errors import SaganError
from sagan.system.files import replacing, writing
from sagan.system.memory import require_space

_BLOCK = 2**24  # bytes that are copied at once


def write_portable(dataset: Dataset, path: Path) -> None:
    """Writes a dataset with its labels and the names of its pictures into one file.

    It opens as any source does, and ``numpy.load`` reads it too.

    Args:
        dataset: Any dataset.
        path: The file, which should end in .sagan.

    Raises:
        SaganError: It cannot be written, or the disk has not the room.
    """
    images = dataset.images
    count, *shape = images.shape
    each = int(np.prod(shape))
    digests = []
    with writing(path), replacing(path) as draft:
        require_space(draft.parent, count * each, f"{count:,} packed pictures")
        with draft.open("w+b") as file:
            writer = PackWriter(file, tuple(shape))
            block = max(1, _BLOCK // each)
            for first in range(0, count, block):
                pictures = images[first : first + block]
                writer.append(pictures)
                digests.append(digests_of(pictures))
            known = _known_of(dataset, np.concatenate(digests))
            grey = bool(known["facts"]["grey"].all())
            mark = fingerprint(images.shape, known["digests"], dataset.labels, dataset.class_names)
            about = {"unreadable": [], "shape": images.shape, "grey": grey, "fingerprint": mark}
            if dataset.origin is not None:
                about["range"] = dataset.origin.pack.about.get("range", ())
            writer.finish(known, about)


def _known_of(dataset: Dataset, digests: np.ndarray) -> dict[str, np.ndarray]:
    """Everything but the pictures. Each is its own entry, and its digest the entry's stamp."""
    count, origin = len(dataset), dataset.origin
    names, facts = list(map(str, range(count))), np.zeros(count, FACTS)
    facts["content"] = digests
    if origin is not None:
        entries = origin.pack.entry[origin.rows].tolist()
        found = [str(origin.catalog.names[entry]) for entry in entries]
        if len(set(found)) == count:
            names = found
        else:  # frames of animated pictures
            names = [f"{name}#{row}" for row, name in enumerate(found)]
        facts = origin.pack.facts[origin.rows]
    else:
        _describe(facts, dataset.images)
    return {
        "labels": dataset.labels.astype(np.int64),
        "class_names": np.array(dataset.class_names, np.str_),
        "digests": digests,
        "facts": facts,
        "entry": np.arange(count),
        "stamps": digests,
        "names": text_of(names),
    }


def _describe(facts: np.ndarray, images: PictureArray) -> None:
    """Writes down what is known of pictures that were made in memory."""
    count, channels, height, width = images.shape
    facts["height"], facts["width"], facts["mode"] = height, width, MODES[channels]
    facts["frames"], facts["lowest"], facts["highest"] = 1, np.nan, np.nan
    block = max(1, _BLOCK // (channels * height * width))
    for first in range(0, count, block):
        some = images[first : first + block]
        facts["hash"][first : first + block] = difference_hashes(some)
        is_grey = (some[:, :3] == some[:, :1]).all(axis=(1, 2, 3))
        facts["grey"][first : first + block] = is_grey


class _Names(MadeNames):
    """The names of a pack's pictures, which are read when the first is asked for."""

    def __init__(self, pack: Pack) -> None:
        self._pack = pack

    def __len__(self) -> int:
        return len(self._pack)

    @cached_property
    def _names(self) -> list[str]:
        names = self._pack.names
        return names if len(names) == len(self) else list(map(str, range(len(self))))

    def name_of(self, number: int) -> str:
        return self._names[number]


@dataclass(frozen=True)
class _StoredRow:
    path: Path
    mark: str

    def __call__(self, index: int, name: str) -> Content:
        return _images_of(self.path, self.mark)[index].transpose(1, 2, 0)


@lru_cache(maxsize=1)
def _images_of(path: Path, mark: str) -> np.ndarray:
    return open_pack(path).images


def _range_of(pack: Pack) -> tuple[float, ...]:
    """Which values were black and white when the pictures were packed."""
    try:
        low, high = map(float, pack.about["range"])
    except (KeyError, TypeError, ValueError):
        return ()
    return (low, high) if low < high else ()


def portable_catalog(path: Path) -> Catalog:
    """Lists the pictures of a portable file, each under the name that it had.

    Raises:
        SaganError: It is damaged.
    """
    pack = open_pack(path)
    if not is_intact(pack):
        raise SaganError(
            f"{path} is damaged: its pictures are not those that were packed; get it anew"
        )
    return Catalog(
        kind="a packed set",
        root=path,
        names=_Names(pack),
        stamps=pack.digests,
        read=_StoredRow(path, pack.about["fingerprint"]),
        labels=pack.labels,
        class_names=pack.class_names,
        images=pack.images,
        contents=pack.facts["content"],
        range=_range_of(pack),
    )
