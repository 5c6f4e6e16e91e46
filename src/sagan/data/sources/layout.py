"""What the folders around pictures mean: outer folders, parts such as train and val, classes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

PARTS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""Names of folders, in lower case, that are no classes, and the names of the parts they hold."""

WORDNET = re.compile(r"n\d{8}")
"""A class of ImageNet."""

_NAMELESS = frozenset(
    (
        *("data", "dataset", "images", "image", "imgs", "img", "pictures", "photos", "pics"),
        *("files", "jpg", "jpeg", "png"),
    )
)
_PART_WITHIN = re.compile(
    r"(.*?)(?:(?<![^\W\d_])|(?<=[a-z])(?=[A-Z]))"
    r"((?i:training|train|validation|valid|val|testing|test))(?![a-z])(.*)"
)
"""A name of which a part is one of the words: "seg_train", "train2017", "trainA"; no "trainers"."""


@dataclass(kw_only=True)
class FolderLayout:
    """What each of the folders that hold pictures means."""

    outer: list[str] = field(default_factory=list)
    """Folders that stand around all classes of the source or of a part, the root "" among them."""
    parts: tuple[str, ...] = ()
    """Such as ("train", "val"); () if the pictures are not divided."""
    part_of: dict[str, int]
    """Number of the part; -1: outside the parts; all 0 where the pictures are not divided."""
    class_of: dict[str, str | None]
    """Name of the class, or None where there are no folders of classes."""
    mixed: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Of the parts where folders and loose pictures stand side by side: one of these folders, and
    the folder that holds both."""


def homes_of(names: Iterable[str]) -> tuple[list[str], np.ndarray]:
    """Finds the folders that hold pictures.

    Args:
        names: Paths with "/".

    Returns:
        Paths of the folders, "" for the root, and of each picture the number of its folder.
    """
    number_of: dict[str, int] = {}
    numbers = [number_of.setdefault(name.rpartition("/")[0], len(number_of)) for name in names]
    return list(number_of), np.array(numbers, np.int64)


def layout_of(homes: Sequence[str], root_name: str) -> FolderLayout:
    """Works out what folders mean from their names and from what is within what.

    - A folder that stands alone and holds folders, or that has a name without meaning such as
      "images", or that of the folder around it, is an outer one.
    - Folders called as in :data:`PARTS` are parts where all are called so, or where train and
      another one stand among others; "seg_train" and "seg_test" count too.
    - Below those, the first folder is the class, whatever is further inside, unless all classes
      are divided into parts themselves.

    Args:
        homes: Folders that hold pictures: paths with "/", "" for the root.
        root_name: Name of the source without its suffix.
    """
    base = _unwrapped("", homes, root_name)
    outer = folders_above(base)
    part_names = _parts_at(base, homes)
    if not part_names:
        return _undivided(base, homes, outer)
    parts = tuple(sorted(set(part_names.values()), key=_part_rank))
    layout = FolderLayout(outer=outer, parts=parts, part_of={}, class_of={})
    inside: dict[str, list[str]] = defaultdict(list)
    for home in homes:
        inside[_first(base, home)].append(home)
    for folder, within in inside.items():
        part = parts.index(part_names[folder]) if folder in part_names else -1
        layout.part_of.update(dict.fromkeys(within, part))
        if part < 0:
            layout.class_of.update(dict.fromkeys(within))
            continue
        top = _inside(base, folder)
        part_base = _unwrapped(top, within, folder)
        layout.outer += [above for above in folders_above(part_base) if above not in outer]
        _classify(layout, part, part_base, within)
    return layout


def _undivided(base: str, homes: Sequence[str], outer: list[str]) -> FolderLayout:
    layout = FolderLayout(outer=outer, part_of=dict.fromkeys(homes, 0), class_of={})
    _classify(layout, 0, base, homes)
    seconds = {_second(base, home) for home in homes}
    if len(seconds) > 1 and all(second.casefold() in PARTS for second in seconds):
        layout.parts = tuple(sorted({PARTS[s.casefold()] for s in seconds}, key=_part_rank))
        for home in homes:
            part = PARTS[_second(base, home).casefold()]
            layout.part_of[home] = layout.parts.index(part)
    return layout


def _classify(layout: FolderLayout, part: int, base: str, homes: Sequence[str]) -> None:
    firsts = {home: _first(base, home) for home in homes}
    folders = sorted(set(firsts.values()) - {""})
    if folders and "" in firsts.values():
        layout.mixed[part] = (folders[0], base)
    for home, first in firsts.items():
        layout.class_of[home] = first or None


def _unwrapped(base: str, homes: Sequence[str], around: str) -> str:
    """Steps into folders that stand alone, until one means something."""
    while True:
        firsts = {_first(base, home) for home in homes}
        if len(firsts) != 1 or firsts == {""}:
            return base
        (only,) = firsts
        inner = _inside(base, only)
        if only.casefold() != around.casefold() and only.casefold() not in _NAMELESS:
            is_class = inner in homes or WORDNET.fullmatch(only)
            if is_class or only.casefold() in PARTS:
                return base
        base, around = inner, only


def _parts_at(base: str, homes: Sequence[str]) -> dict[str, str]:
    """The parts by the folders that hold them; empty if these are no parts."""
    folders = sorted({_first(base, home) for home in homes} - {""})
    families: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for folder in folders:
        if match := _PART_WITHIN.fullmatch(folder.lower() if folder.isupper() else folder):
            rest = (match[1].casefold(), match[3].casefold().rstrip("0123456789"))
            families[rest][folder] = PARTS[match[2].casefold()]
    for rest, family in families.items():
        all_plain = rest == ("", "") and len(family) == len(folders)
        if all_plain or ("train" in family.values() and len(set(family.values())) > 1):
            return {folder: family.get(folder, folder.casefold()) for folder in folders}
    return {}


def _part_rank(part: str) -> tuple[int, str]:
    known = ("train", "val", "test")
    return (known.index(part) if part in known else len(known)), part


def folders_above(folder: str) -> list[str]:
    """A folder and those around it, from the root "" inwards."""
    pieces = folder.split("/") if folder else []
    return ["/".join(pieces[:depth]) for depth in range(len(pieces) + 1)]


def _first(base: str, home: str) -> str:
    """The first folder below ``base`` on the way to ``home``, which is within it; "" if none."""
    return home[len(base) :].lstrip("/").partition("/")[0]


def _second(base: str, home: str) -> str:
    return _first(_inside(base, _first(base, home)), home)


def _inside(base: str, folder: str) -> str:
    return f"{base}/{folder}" if base else folder
