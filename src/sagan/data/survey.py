"""What a source of pictures holds and what will be done to it, before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sagan.config import DataConfig
from sagan.data.catalog import Catalog, counted, part_taken
from sagan.data.dataset import PictureArray, Rows
from sagan.data.likeness import copies, lookalikes
from sagan.data.rules import Rules

SMALL_SHARE = 1 / 8
"""Below this share of the range of its type, a set of deep pictures would come out nearly black."""


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why some entries of a source are not used."""

    reason: str
    pictures: int
    example: str
    """Name of one of them."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes as the pictures are shown, each (width, height) in pixels."""

    smallest: tuple[int, int]
    """By area."""
    largest: tuple[int, int]
    most_common: tuple[int, int]
    most_common_count: int
    different: int
    narrowest: float
    """Least width over height."""
    widest: float
    """Greatest width over height."""


@dataclass(frozen=True, kw_only=True)
class Enlarged:
    """Pictures that are smaller than wanted."""

    pictures: int
    most: float
    """How many times the smallest of them is enlarged."""


@dataclass(frozen=True, kw_only=True)
class Values:
    """Values of pictures with 16 bits or fractions."""

    pictures: int
    lowest: float
    highest: float
    top: float
    """What is shown white: 65,535, or the second number of data.range."""
    outside: int
    """Pictures with values outside what is shown from black to white."""


@dataclass(frozen=True, kw_only=True)
class Alike:
    """Pictures that are like an earlier one."""

    pictures: int
    """How many could be left out."""
    in_other_classes: int
    """How many of them are of another class than the one that they are like."""
    example: tuple[str, str]
    """Names of two pictures; of other classes where there are such."""


@dataclass(frozen=True, kw_only=True)
class Special:
    """Pictures to which something more is done."""

    profiles: int
    """With a colour profile other than sRGB."""
    broken_profiles: int
    """With one that cannot be used and is ignored."""
    rotated: int
    """By their EXIF orientation."""
    transparent: int
    animated: int


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What was found; counts are of pictures unless they say otherwise."""

    kind: str
    """Of the source, in words."""
    source: str
    parts: Mapping[str, int]
    """The parts that the source is divided into; empty if it is not."""
    part: str
    """Which of them is taken, or "all"; empty if the source is not divided."""
    found: int
    """Listed in the part that is taken."""
    used: int
    """What there is to learn from, held-out ones included; an animated file may give several."""
    held_out: int
    sampled: int
    """Only so many were looked at; 0 if all were. Classes are counted over all."""
    classes: Mapping[str, int]
    """In the order of the labels; empty where none are learned."""
    has_labels_off: bool
    """Whether classes are left out on purpose, by data.labels."""
    sizes: Sizes | None
    """None where no picture could be read; so are the counts 0."""
    modes: Mapping[str, int]
    """How the pixels are stored, in Pillow's words, such as RGB; most first."""
    special: Special
    enlarged: Enlarged
    reduced: int
    """Pictures that are larger than wanted."""
    made_grey: int
    """Pictures with colours that the rules take away."""
    values: Values | None
    """None where all pictures have 8 bits."""
    copies: Alike
    """Equal pixel by pixel after the rule."""
    lookalikes: Alike
    """Nearly equal ones, copies not counted."""
    skipped: tuple[Reason, ...]
    """Pictures that cannot be read."""
    passed_over: tuple[Reason, ...]
    """What is no picture."""
    notes: tuple[str, ...]
    """Of the reader of the source."""
    rules: Rules
    size: int
    """Of the packed pictures in bytes."""
    seconds: float | None
    """What packing took, or will take where only some were looked at; None if not known."""
    fingerprint: str
    """Of the dataset, as in its checkpoints; empty if it is not known."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What is known of the M pictures of a catalog that were read."""

    entry: np.ndarray
    """int64 (M,): their numbers in the catalog, ascending; a number is there several times where a
    file gave several pictures."""
    facts: np.ndarray
    """``sagan.data.facts.FACTS`` (M,)."""
    size: tuple[int, int]
    """Their height and width after the rules."""
    digests: np.ndarray | None = None
    """uint64 (M,) of their pixels; None if they are not known."""
    images: PictureArray | None = None
    """uint8 (M, C, H, W) after the rules; None if lookalikes are to be found by hashes alone."""
    unreadable: Sequence[tuple[str, str]] = ()
    """Name and reason of those that cannot be read."""
    seconds: float | None = None
    """What packing took or will take."""
    is_sample: bool = False
    """Only some pictures of the catalog were looked at."""
    held_out: int = 0
    """How many are kept out of training."""
    fingerprint: str = ""
    """Of the dataset."""


def survey(
    catalog: Catalog,
    config: DataConfig,
    rules: Rules,
    seen: Seen,
    parts: Mapping[str, int],
) -> Survey:
    """Sums up what is known of a source.

    Args:
        catalog: Of the part that is taken.
        config: Says which part that is.
        rules: What is done to every picture.
        seen: The pictures that were read.
        parts: Pictures in each part of the source, as :func:`parts_of` counts them.
    """
    first = np.unique(seen.entry, return_index=True)[1]  # facts of a file: of its first picture
    facts = seen.facts[first]
    used = len(catalog) if seen.is_sample else len(seen.entry)
    labels = catalog.labels if seen.is_sample else catalog.labels[seen.entry]
    equal, alike = _alike(seen, first, catalog)
    return Survey(
        kind=catalog.kind,
        source=config.source,
        parts=dict(parts),
        part=part_taken(catalog.splits, config.split) if catalog.splits else "",
        found=len(catalog),
        used=used,
        held_out=seen.held_out,
        sampled=len(facts) + len(seen.unreadable) if seen.is_sample else 0,
        classes=_counts(catalog.class_names, labels) if config.conditional else {},
        has_labels_off=not config.conditional,
        sizes=_sizes(facts),
        modes=_modes(facts["mode"]),
        special=_special(facts),
        enlarged=_enlarged_by(facts, rules),
        reduced=int((enlargement(facts, rules) < 1).sum()),
        made_grey=int((~facts["grey"]).sum()) if rules.channels == 1 else 0,
        values=_deep_values(facts, rules),
        copies=equal,
        lookalikes=alike,
        skipped=_reasons(seen.unreadable),
        passed_over=_reasons(catalog.passed_over),
        notes=tuple(catalog.notes),
        rules=rules,
        size=used * rules.channels * math.prod(seen.size),
        seconds=seen.seconds,
        fingerprint=seen.fingerprint,
    )


def parts_of(whole: Catalog) -> dict[str, int]:
    """Counts the pictures in each part of a source that is divided."""
    return _counts(whole.splits, whole.split_of)


def _counts(names: Sequence[str], numbers: np.ndarray | None) -> dict[str, int]:
    if numbers is None or not names:
        return {}
    found = np.bincount(numbers, minlength=len(names)).tolist()
    return dict(zip(names, found, strict=True))


def _reasons(pairs: Sequence[tuple[str, str]]) -> tuple[Reason, ...]:
    return tuple(
        Reason(reason=reason, pictures=count, example=name)
        for reason, count, name in counted(pairs)
    )


def _modes(modes: np.ndarray) -> dict[str, int]:
    names, found = np.unique(modes, return_counts=True)
    order = np.argsort(-found, kind="stable")
    return {str(names[place]): int(found[place]) for place in order}


def _special(facts: np.ndarray) -> Special:
    return Special(
        profiles=int(facts["profile"].sum()),
        broken_profiles=int(facts["broken_profile"].sum()),
        rotated=int(facts["rotated"].sum()),
        transparent=int(facts["transparent"].sum()),
        animated=int((facts["frames"] > 1).sum()),
    )


def _sizes(facts: np.ndarray) -> Sizes | None:
    facts = facts[(facts["width"] > 0) & (facts["height"] > 0)]
    if not len(facts):
        return None
    width, height = facts["width"].astype(np.int64), facts["height"].astype(np.int64)
    kinds, found = np.unique(width << 32 | height, return_counts=True)
    width, height = kinds >> 32, kinds & (1 << 32) - 1
    area, ratio = width * height, width / height
    smallest, largest, common = (
        (int(width[place]), int(height[place]))
        for place in (area.argmin(), area.argmax(), found.argmax())
    )
    return Sizes(
        smallest=smallest,
        largest=largest,
        most_common=common,
        most_common_count=int(found.max()),
        different=len(kinds),
        narrowest=round(float(ratio.min()), 3),
        widest=round(float(ratio.max()), 3),
    )


def enlargement(facts: np.ndarray, rules: Rules) -> np.ndarray:
    """By how much pictures grow where they grow most: float64 (N,); below 1 where they shrink."""
    if rules.size is None:
        return np.ones(len(facts))
    height, width = facts["height"].astype(np.float64), facts["width"].astype(np.float64)
    if rules.crop == "box":
        left, top, right, bottom = rules.box
        height, width = np.full(len(facts), bottom - top), np.full(len(facts), right - left)
    rows, columns = rules.size[0] / height, rules.size[1] / width
    return np.minimum(rows, columns) if rules.crop == "pad" else np.maximum(rows, columns)


def _enlarged_by(facts: np.ndarray, rules: Rules) -> Enlarged:
    growth = enlargement(facts, rules)
    count = int((growth > 1).sum())
    return Enlarged(pictures=count, most=round(float(growth.max()), 2) if count else 1.0)


def _deep_values(facts: np.ndarray, rules: Rules) -> Values | None:
    deep = facts[np.isfinite(facts["highest"])]
    if not len(deep):
        return None
    low, top = rules.range or (0, 65_535)
    outside = (deep["lowest"] < low) | (deep["highest"] > top)
    return Values(
        pictures=len(deep),
        lowest=float(deep["lowest"].min()),
        highest=float(deep["highest"].max()),
        top=float(top),
        outside=int(outside.sum()),
    )


def _alike(seen: Seen, first: np.ndarray, catalog: Catalog) -> tuple[Alike, Alike]:
    """Copies, and lookalikes among the files (their first pictures) that are no copies."""
    entry, places = seen.entry, np.arange(len(seen.entry))
    same = places if seen.digests is None else copies(seen.digests)
    originals = first[same[first] == first]
    pictures = None if seen.images is None else Rows(seen.images, originals)
    like = lookalikes(seen.facts["hash"][originals], pictures)
    return _counted_alike(same, entry, catalog), _counted_alike(like, entry[originals], catalog)


def _counted_alike(like: np.ndarray, entry: np.ndarray, catalog: Catalog) -> Alike:
    """Of pictures, places in ``entry``, each like the one whose place ``like`` gives."""
    later = np.flatnonzero(like != np.arange(len(like)))
    later = later[entry[later] != entry[like[later]]]  # pictures of one animated file may be equal
    if not len(later):
        return Alike(pictures=0, in_other_classes=0, example=("", ""))
    labels = catalog.labels[entry]
    across = later[labels[later] != labels[like[later]]]
    one = int((across if len(across) else later)[0])
    return Alike(
        pictures=len(later),
        in_other_classes=len(across),
        example=(catalog.names[int(entry[like[one]])], catalog.names[int(entry[one])]),
    )
