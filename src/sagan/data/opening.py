"""The one door: from the name of a source to pictures that can be learned from."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from sagan.config import HUB, DataConfig, Part, nearest
from sagan.config.checks import require_choice
from sagan.data.avatars import load_avatars
from sagan.data.catalog import Catalog, in_split, part_taken
from sagan.data.dataset import Dataset, Rows, fingerprint
from sagan.data.draft import mark_of
from sagan.data.pack import found_grey, packed, place_of, stay_where_they_are
from sagan.data.packfile import SUFFIX, Pack, open_pack
from sagan.data.portable import portable_catalog
from sagan.data.rules import Rules, rules_of
from sagan.data.sources import RECOGNISERS
from sagan.data.survey import parts_of
from sagan.data.workers import decode_one
from sagan.errors import FaultError, SaganError
from sagan.system.spacing import with_both_ends

BUILT_IN = ("avatars",)
"""Sources that need no files."""

_LOOKED_AT = 64  # pictures that are looked at for colours
_LISTED = 10_000  # files of a folder that an error message counts
_OTHER_PARTS = ("val", "valid", "validation", "test")


@dataclass(frozen=True, kw_only=True, eq=False)
class Origin:
    """Where the pictures of a dataset come from."""

    catalog: Catalog
    """What was found."""
    pack: Pack
    """The pictures in one file; ``pack.entry`` are numbers in the catalog."""
    rows: np.ndarray
    """int64: which of the pack's pictures the dataset has."""
    parts: Mapping[str, int]
    """Pictures in each part of the source, if it is divided."""


def load_dataset(
    config: DataConfig, part: Part = "train", *, catalog: Catalog | None = None
) -> Dataset:
    """Opens the pictures to train on, or those to measure against.

    Args:
        config: Source, size and rules. A folder called like a built-in source is ``./avatars``.
        part: "held-out" gives what ``data.held_out`` keeps from training; without it what the
            source itself sets apart: its validation or test part where training takes "train", of
            avatars combinations of parts that "train" never shows.
        catalog: From :func:`catalog_of`, where the source was listed already.

    Raises:
        SaganError: There is no such source or part, or the pictures cannot be read or packed.
    """
    return _opened(config, config.size, part, catalog)


def held_out_of(dataset: Dataset, config: DataConfig) -> Dataset:
    """What ``data.held_out`` keeps from training; the source is not looked at again.

    Args:
        dataset: That of training.
        config: Its settings, with a share that is held out.

    Returns:
        Perhaps no pictures, where the share is small.
    """
    if (origin := dataset.origin) is None:
        return load_dataset(config, "held-out")
    pack = origin.pack
    rows = np.setdiff1d(np.arange(len(pack)), origin.rows)
    labels = origin.catalog.labels[pack.entry[rows]]
    return _dataset_of(replace(origin, rows=rows), labels, dataset.class_names)


def open_dataset(
    source: str | os.PathLike[str],
    resolution: int | None = None,
    *,
    part: Part = "train",
    **settings: Any,
) -> Dataset:
    """Opens pictures.

    Args:
        source: A path, "avatars", or hf:NAME of Hugging Face.
        resolution: Height of the pictures in pixels, and their width without a ``width``; None
            takes them as they are, if all are of one size.
        part: As for :func:`load_dataset`.
        settings: Fields of :class:`sagan.config.DataConfig`.

    Raises:
        SaganError: As for :func:`load_dataset`.
    """
    if resolution is not None:
        settings["resolution"] = resolution
    config = DataConfig(source=os.fspath(source), **settings)
    return _opened(config, None if resolution is None else config.size, part)


def is_one_place(source: str, other: str) -> bool:
    """Whether two sources are the same, however their paths are written."""
    if source in BUILT_IN or other in BUILT_IN:
        return source == other
    one, two = (os.path.realpath(os.path.expanduser(name)) for name in (source, other))
    return one == two


def catalog_of(config: DataConfig) -> Catalog:
    """Finds out what a source holds, in all its parts; decodes nothing.

    Raises:
        SaganError: There is no such source, or it is of no known kind.
    """
    if config.source.startswith(HUB):
        from sagan.data.sources.huggingface import hub_catalog

        catalog = hub_catalog(config.source.removeprefix(HUB), config)
    else:
        catalog = _catalog_of_path(config)
    if not config.conditional:
        catalog = replace(catalog, labels=np.zeros_like(catalog.labels), class_names=())
    return catalog


def _catalog_of_path(config: DataConfig) -> Catalog:
    path = Path(config.source).expanduser()
    if not path.exists():
        raise SaganError(
            f"there is no folder or file {config.source}{nearest(config.source, BUILT_IN)}; give a "
            f"path, {HUB}NAME, or a built-in source: {', '.join(BUILT_IN)}"
        )
    try:
        if path.suffix == SUFFIX and path.is_file():
            return portable_catalog(path)
        for recognise in RECOGNISERS:
            if (catalog := recognise(path, config)) is not None:
                return catalog
    except OSError as error:
        what = Path(error.filename or path)
        if isinstance(error, PermissionError) and not os.access(what.parent, os.X_OK):
            what = what.parent  # of which nobody knows what is in it
        raise SaganError(
            f"cannot read {what}: {error.strerror or error}; make it readable or remove it"
        ) from error
    raise SaganError(
        f"{config.source} is {_described(path)}, which holds no pictures that can be read; give a "
        "folder, an archive or a list of pictures, arrays (.npy, .npz), or a data set as it is "
        "distributed (docs/data.md lists them)"
    )


def _described(path: Path) -> str:
    if not path.is_dir():
        size = path.stat().st_size
        return f"a file of {size:,} bytes" if path.is_file() else "a device or a pipe"
    found: Counter[str] = Counter()
    with os.scandir(path) as entries:
        for entry in islice(entries, _LISTED):
            suffix = Path(entry.name).suffix
            found["sub-folder" if entry.is_dir() else f"{suffix} file".strip()] += 1
    counts = [f"{n:,} {kind}{'s' if n > 1 else ''}" for kind, n in found.most_common(4)]
    return f"a folder with {', '.join(counts)}" if counts else "an empty folder"


def stored_pack(config: DataConfig) -> Pack | None:
    """The pack of the pictures to train on as it lies there; its pictures are not looked at.

    Args:
        config: With the channels decided.

    Returns:
        None where they are built in, not packed so far, or were changed since.

    Raises:
        FaultError: The pack is damaged; it is made again when the run goes on.
        SaganError: The source cannot be read.
    """
    if config.source in BUILT_IN:
        return None
    catalog = _part_of(catalog_of(config), config, "train")
    if _is_ready(catalog, config, config.size):
        return open_pack(catalog.root)
    rules = replace(rules_of(config, config.channels or 3, catalog.range), size=config.size)
    path = place_of(catalog, rules)
    if not path.exists():
        return None
    images = catalog.images if stay_where_they_are(catalog, rules) else None
    try:
        pack = open_pack(path, images)
    except SaganError as error:
        reason = str(error).rpartition("; ")[0]
        raise FaultError(f"{reason}; sagan train packs the pictures again") from error
    return pack if pack.about.get("catalog") == mark_of(catalog) else None


# --- from a catalog to a dataset


def _opened(
    config: DataConfig, size: tuple[int, int] | None, part: Part, whole: Catalog | None = None
) -> Dataset:
    require_choice("part", part, Part)
    if config.source in BUILT_IN:
        return _avatars(config, size, part)
    whole = catalog_of(config) if whole is None else whole
    catalog = _part_of(whole, config, part)
    if _is_ready(catalog, config, size):
        pack = open_pack(catalog.root)
        pack = replace(pack, entry=np.arange(len(pack)))
        labels = catalog.labels
        catalog = replace(catalog, notes=[*catalog.notes, *_without_effect(config)])
    else:
        pack = _packed(catalog, config, size)
        labels = catalog.labels[pack.entry]
        if catalog.contents is not None:
            facts = np.array(pack.facts)
            facts["content"] = catalog.contents[pack.entry]
            pack = replace(pack, facts=facts)
    class_names = catalog.class_names
    rows = _rows_of(pack, labels, config, part)
    origin = Origin(catalog=catalog, pack=pack, rows=rows, parts=parts_of(whole))
    return _dataset_of(origin, labels[rows], class_names)


def _dataset_of(origin: Origin, labels: np.ndarray, class_names: tuple[str, ...]) -> Dataset:
    """The rows of a pack, whose labels are given."""
    pack, rows = origin.pack, origin.rows
    images, digests = pack.images, pack.digests
    if len(rows) < len(pack):
        images, digests = Rows(images, rows), digests[rows]
    return Dataset(
        images=images,
        labels=labels,
        class_names=class_names,
        fingerprint=fingerprint(images.shape, digests, labels, class_names),
        origin=origin,
    )


def _is_ready(catalog: Catalog, config: DataConfig, size: tuple[int, int] | None) -> bool:
    """Whether a packed file holds the pictures as they are wanted."""
    if catalog.root.suffix != SUFFIX or catalog.images is None or config.crop == "box":
        return False
    _, channels, *shape = catalog.images.shape
    return config.channels in (0, channels) and size in (None, tuple(shape))


def _without_effect(config: DataConfig) -> list[str]:
    """Tells which settings cannot be applied to pictures that are packed already."""
    usual = DataConfig()
    names = [
        f"data.{name}"
        for name in ("crop", "background", "range", "frame")
        if getattr(config, name) != getattr(usual, name)
    ]
    have = "has" if len(names) == 1 else "have"
    told = f"the pictures are packed already, so that {', '.join(names)} {have} no effect"
    return [told] if names else []


def _part_of(catalog: Catalog, config: DataConfig, part: Part) -> Catalog:
    """The pictures from which a part is taken: those to train on, or the source's others."""
    if part == "train" or config.held_out:
        return in_split(catalog, config.split)
    others = [name for name in _OTHER_PARTS if name in catalog.splits]
    if others and part_taken(catalog.splits, config.split) == "train":
        return in_split(catalog_of(replace(config, split=others[0])), others[0])
    raise SaganError(
        f"{config.source} has no held-out part; keep one from training with --data.held-out 0.1, "
        "or give a second folder or file"
    )


def _packed(catalog: Catalog, config: DataConfig, size: tuple[int, int] | None) -> Pack:
    rules = replace(rules_of(config, config.channels or 3, catalog.range), size=size)
    if config.channels:
        return packed(catalog, rules, broken=config.broken)
    grey = replace(rules, channels=1)
    known = [found_grey(catalog, one) for one in (rules, grey)]
    is_grey = next((one for one in known if one is not None), None)
    if is_grey or (is_grey is None and _seems_grey(catalog, rules)):
        pack = packed(catalog, grey, broken=config.broken)
        if pack.is_grey:
            return pack
    return packed(catalog, rules, broken=config.broken)


def _seems_grey(catalog: Catalog, rules: Rules) -> bool:
    """Looks at some pictures, as far as the first with a colour."""
    chosen = with_both_ends(len(catalog), _LOOKED_AT).tolist()
    found = (decode_one(catalog, number, rules).facts for number in chosen)
    return all(facts["grey"].all() for facts in found)


def _rows_of(pack: Pack, labels: np.ndarray, config: DataConfig, part: Part) -> np.ndarray:
    """The pictures of one side of ``data.held_out``.

    A picture's side depends on what its source holds and the seed alone: it is the same at every
    size, copies of a file and the frames of an animation are on one side, and none changes sides
    when others come or go. Only the last picture of a class stays where it can be learned.
    """
    rows = np.arange(len(pack))
    if not config.held_out:
        return rows
    number = pack.facts["content"] ^ np.uint64(config.held_out_seed * 0x9E3779B97F4A7C15 % 2**64)
    for factor in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB):  # the mixing of SplitMix64
        number = (number ^ (number >> np.uint64(30))) * np.uint64(factor)
    is_held_out = (number ^ (number >> np.uint64(31))) < np.uint64(int(config.held_out * 2**64))
    kept = np.bincount(labels[~is_held_out], minlength=int(labels.max()) + 1)
    for label in np.flatnonzero(kept == 0):  # a class keeps one picture to learn from
        of_class = labels == label
        is_held_out &= ~(of_class & (number == number[of_class].max(initial=0)))
    rows = rows[is_held_out == (part == "held-out")]
    if not len(rows):
        raise SaganError(
            f"of {len(pack):,} pictures, a share of {config.held_out:g} leaves none for the part "
            f"{part}; choose another --data.held-out"
        )
    return rows


def _avatars(config: DataConfig, size: tuple[int, int] | None, part: Part) -> Dataset:
    if size is None:
        raise SaganError(f"{config.source} can be had at every resolution; give a --resolution")
    if size[0] != size[1] or config.channels not in (0, 3):
        raise SaganError(
            f"{config.source} are coloured squares; leave --data.width and --data.channels out, or "
            "choose another --data.source"
        )
    return load_avatars(
        size[0], config.generated_images, split=part, conditional=config.conditional
    )
