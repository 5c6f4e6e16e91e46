"""Arrays by name: which are the pictures, their labels and the names of the classes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sagan.config import DataConfig
from sagan.data.catalog import Catalog, stamp_of
from sagan.data.sources.blocks import Block, BlockReader, StoredArray, looked_at
from sagan.data.sources.forms import Form, form_of
from sagan.data.sources.layout import PARTS
from sagan.data.sources.portions import Portion, catalog_of_portions
from sagan.errors import SaganError

_PICTURE_WORDS = ("images", "image", "imgs", "img", "pictures", "x", "data", "arr_0", "samples")
_LABEL_WORDS = ("labels", "label", "y", "targets", "target", "arr_1")
_NAME_WORDS = ("class_names", "label_names", "classes", "names")
_NAMING = re.compile(
    "(?:({0})[_-]?)?({1})(?:[_-]?({0}))?".format(
        "|".join(PARTS), "|".join((*_PICTURE_WORDS, *_LABEL_WORDS, *_NAME_WORDS))
    )
)


class Named(NamedTuple):
    """Pictures and their labels among arrays, by the names of the arrays."""

    split: str
    images: str
    labels: str | None


def catalog_of_named(
    kind: str, path: Path, held: Mapping[str, StoredArray], config: DataConfig
) -> Catalog:
    """Lists the pictures among arrays that have names.

    Args:
        kind: In words.
        path: The folder or file.
        held: Arrays by name.
        config: Says whether classes are wanted.

    Raises:
        SaganError: There are no pictures, or labels that do not fit them.
    """
    parts, notes = _named_parts(path, {name: stored.shape for name, stored in held.items()}, config)
    chosen = tuple(held[part.images] for part in parts)
    first = chosen[0]
    if any((b.shape[1:], b.dtype) != (first.shape[1:], first.dtype) for b in chosen):
        raise SaganError(f"the parts of {path} hold pictures of several kinds; store them apart")
    form, told = form_of(
        f"{path}, {parts[0].images}",
        first.shape,
        np.dtype(first.dtype),
        lambda: looked_at(chosen),
        config,
    )
    portions = [
        Portion(
            part.split,
            stored.shape[0],
            stamp_of(stored.path.stat()),
            held[part.labels].whole() if part.labels and config.conditional else None,
        )
        for part, stored in zip(parts, chosen, strict=True)
    ]
    catalog = catalog_of_portions(
        kind,
        path,
        portions,
        BlockReader(chosen, form),
        config,
        class_names=_stated_names(path, held) if config.conditional else None,
        notes=[*notes, *told],
    )
    images = _as_they_lie(first, form) if len(chosen) == 1 else None
    return replace(catalog, images=images, range=form.range)


def _as_they_lie(stored: StoredArray, form: Form) -> np.ndarray | None:
    """uint8 (N, C, H, W), mapped, where the pictures lie so in a file."""
    is_plain = isinstance(stored, Block) and not stored.packing and stored.order == "C"
    if (
        not is_plain
        or stored.dtype != "|u1"
        or form.has_two_levels
        or form.axes not in ((0, 1), (1, 2, 0))
    ):
        return None
    images = stored.mapped()
    return images[:, None] if images.ndim == 3 else images


def _named_parts(
    path: Path, shapes: Mapping[str, tuple[int, ...]], config: DataConfig
) -> tuple[list[Named], list[str]]:
    """Finds pictures and labels among arrays by their names.

    Args:
        path: For messages.
        shapes: Of the arrays, by name.
        config: ``label`` may name the array of the labels.

    Returns:
        The parts, at least one, and what the user should know.

    Raises:
        SaganError: There are no pictures, or not the labels that are asked for.
    """
    images: dict[str, str] = {}
    labels: dict[str, str] = {}
    for name in shapes:
        split, stem = meaning(name)
        if stem in _PICTURE_WORDS:
            images.setdefault(split, name)
        elif stem in _LABEL_WORDS:
            labels.setdefault(split, name)
    notes = []
    if not images:
        many = [name for name, shape in shapes.items() if len(shape) in (3, 4)]
        if len(many) != 1:
            listed = ", ".join(f"{n} {s}" for n, s in islice(shapes.items(), 8)) or "no arrays"
            raise SaganError(
                f"{path} holds no pictures but {listed}; call the array of pictures images"
            )
        images[""] = many[0]
        notes.append(f"the only array that can hold pictures is {many[0]}")
    if len(images) > 1:
        images.pop("", None)
    stated = config.label if config.conditional and not config.label.isdecimal() else ""
    if stated:
        spellings = {s: (stated, f"{s}_{stated}", f"{stated}_{s}") for s in images}
        labels = {s: n for s, names in spellings.items() for n in names if n in shapes}
        if not labels:
            raise SaganError(
                f"{path} has no array {stated!r} for data.label; it has {', '.join(shapes)}"
            )
    return [Named(split, name, labels.get(split)) for split, name in images.items()], notes


def meaning(name: str) -> tuple[str, str]:
    """Part and kind that a name tells: "X_train" is ("train", "x"); empty where it tells none."""
    match = _NAMING.fullmatch(name.lower())
    if match is None:
        return "", ""
    return PARTS.get(match[1] or match[3] or "", ""), match[2]


def _stated_names(path: Path, held: Mapping[str, StoredArray]) -> list[str] | None:
    for name, stored in held.items():
        if meaning(name)[1] in _NAME_WORDS:
            if len(stored.shape) != 1 or np.dtype(stored.dtype).kind not in "USiu":
                raise SaganError(f"{path}: {name} must be a list of texts, one per class")
            return [
                t.decode("utf-8", "replace") if isinstance(t, bytes) else str(t)
                for t in stored.whole().tolist()
            ]
    return None
