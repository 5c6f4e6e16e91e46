"""From files to a catalog: which are pictures, and which part and class each belongs to."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sagan.config import DataConfig
from sagan.data.catalog import Catalog, counted, gaps_told, labelled, part_taken
from sagan.data.sources.judging import Files, judged, no_picture, no_pictures_in
from sagan.data.sources.layout import WORDNET, FolderLayout, folders_above, homes_of, layout_of
from sagan.data.sources.listed import Listed, read_lists
from sagan.data.sources.tables import MOST_BYTES, require_within_bounds
from sagan.errors import SaganError

_WORDS = ("loc_synset_mapping.txt", "synset_words.txt", "words.txt")
_COVERED = 0.5


@dataclass
class _Placed:
    """The pictures, their parts and classes, while they are put together."""

    pictures: list[int]
    part: np.ndarray  # (N,), -1: outside the parts
    parts: tuple[str, ...]
    classes: list[str | None]
    reasons: dict[int, str]  # of positions among the pictures that are passed over


def catalog_of_files(
    files: Files, config: DataConfig, beside: Listed | None = None, only: str = ""
) -> Catalog:
    """Makes a catalog of the pictures among files.

    Their parts and classes come from the folders around them, see
    :func:`sagan.data.sources.layout.layout_of`, and from lists beside them, see
    :func:`sagan.data.sources.listed.read_lists`. In a part of which a list names at least half of
    the pictures, or where there are no folders of classes, or ``label`` is given, the list counts;
    elsewhere the folders.
    A part without classes, such as ImageNet's val, has none when it is chosen itself, and is left
    out when all parts are taken together.

    Args:
        files: All that is there.
        config: ``split``, ``labels`` and ``label`` are used.
        beside: Classes that are known already.
        only: Name of the one list that counts, in the root, if the user named it: pictures that it
            does not name are left out.

    Raises:
        SaganError: There are no pictures, folders and loose pictures stand side by side, or a list
            cannot be used.
    """
    pictures, others = judged(files)
    if not pictures:
        raise no_pictures_in(files, others)
    homes, home_of = homes_of(files.names[number] for number in pictures)
    layout = layout_of(homes, _name_of(files))
    found = beside or read_lists(files, pictures, others, layout.outer, config, only)
    placed = _placed(pictures, homes, home_of, layout, found)
    if only:
        absent = (i for i, number in enumerate(pictures) if number not in found.named)
        placed.reasons.update(dict.fromkeys(absent, f"not in {only}"))
    wanted = _wanted(placed.parts, config.split)
    notes = [*found.notes]
    if config.labels == "found":
        is_chosen = bool(config.label or only)
        notes += _choose_classes(placed, files, layout, found, wanted, is_chosen=is_chosen)
        _leave_out_unlabelled(placed, config, wanted)
    else:
        placed.classes = [None] * len(pictures)
    if layout.outer[1:] and not placed.parts:
        notes.append(f"the pictures are in {layout.outer[-1]}")
    order = found.order or _named_by_wordnet(placed, files, others, notes)
    unread = _no_pictures((files.names[n] for n in others if n not in found.used), homes)
    catalog = _catalog(files, placed, order, found, [*files.passed_over, *unread], notes, only)
    return replace(catalog, chosen_by=only)


def _name_of(files: Files) -> str:
    """The name of the source without suffixes such as .tar.gz."""
    name = files.root.absolute().name
    return name if files.root.is_dir() else name.split(".")[0]


def _no_pictures(names: Iterable[str], homes: Iterable[str]) -> list[tuple[str, str]]:
    """Files that are no pictures; folders with a thousand of them and no picture in one line."""
    around = {above for home in homes for above in folders_above(home)}
    by_folder: dict[str, list[str]] = defaultdict(list)
    for name in names:
        above = folders_above(name.rpartition("/")[0])
        by_folder[next((place for place in above if place not in around), "")].append(name)
    passed_over = []
    for folder, within in by_folder.items():
        if folder and len(within) > 1000:
            passed_over.append((folder, f"a folder of {len(within):,} files and no picture"))
        else:
            passed_over += [(name, no_picture(name)) for name in within]
    return passed_over


def _placed(
    pictures: list[int],
    homes: Sequence[str],
    home_of: np.ndarray,
    layout: FolderLayout,
    found: Listed,
) -> _Placed:
    part = np.array([layout.part_of[home] for home in homes], np.int64)[home_of]
    class_of = [layout.class_of[home] for home in homes]
    classes = [class_of[home] for home in home_of.tolist()]
    parts = layout.parts
    reasons: dict[int, str] = {}
    if not parts and found.part_of:
        named = set(found.part_of.values())
        parts = tuple(name for name in ("train", "val", "test") if name in named)
        part = np.array(
            [parts.index(found.part_of[n]) if n in found.part_of else -1 for n in pictures]
        )
    if parts:
        where = f"outside the parts {', '.join(parts)}"
        reasons = dict.fromkeys(np.flatnonzero(part < 0).tolist(), where)
    return _Placed(pictures, part, parts, classes, reasons)


def _wanted(parts: tuple[str, ...], split: str) -> set[int]:
    """Numbers of the parts that the user takes; 0 stands for all where nothing is divided."""
    taken = part_taken(parts, split)
    if not parts or taken == "all":
        return set(range(max(1, len(parts))))
    return {number for number, part in enumerate(parts) if part == taken}


def _choose_classes(
    placed: _Placed,
    files: Files,
    layout: FolderLayout,
    found: Listed,
    wanted: set[int],
    *,
    is_chosen: bool,
) -> list[str]:
    """Sets the classes of every part by its list or its folders."""
    notes = []
    listed = [found.class_of.get(number) for number in placed.pictures]
    is_listed = np.array([name is not None for name in listed])
    used = False
    for part in range(max(1, len(placed.parts))):
        within = np.flatnonzero(placed.part == part).tolist()
        share = is_listed[within].mean() if within else 0.0
        has_folders = any(placed.classes[i] is not None for i in within)
        lists = ", ".join(dict.fromkeys(found.lists))
        if found.no_classes and not share:
            for i in within:
                placed.classes[i] = None
        elif share >= _COVERED or (share and (is_chosen or not has_folders)):
            used = True
            for i in within:
                placed.classes[i] = listed[i]
                if listed[i] is None:
                    placed.reasons.setdefault(i, f"without a label in {lists}")
            if has_folders:
                notes.append(f"classes are those of {lists}, not the folders")
        else:
            if share:
                notes.append(
                    f"{lists} names {share:.1%} of the pictures, so that the folders count"
                )
            if part in wanted and part in layout.mixed:
                raise _mixed(files, placed.pictures, *layout.mixed[part])
    if not used:
        found.passed_over.clear()
    return list(dict.fromkeys(notes))


def _mixed(files: Files, pictures: Sequence[int], folder: str, base: str) -> SaganError:
    names = (files.names[number] for number in pictures)
    loose = next(name for name in names if name.rpartition("/")[0] == base)
    place = files.root / base if base else files.root
    return SaganError(
        f"{place} holds both sub-folders ({folder}) and loose pictures "
        f"({loose.rpartition('/')[2]}); move the pictures into a sub-folder, or take all as one "
        "set with --data.labels none"
    )


def _leave_out_unlabelled(placed: _Placed, config: DataConfig, wanted: set[int]) -> None:
    """Sees to it that no picture counts to a class which it was not given."""
    classes_of: list[set[str]] = [set() for _ in range(max(1, len(placed.parts)))]
    for i, (part, name) in enumerate(zip(placed.part.tolist(), placed.classes, strict=True)):
        if part >= 0 and name is not None and i not in placed.reasons:
            classes_of[part].add(name)
    if "train" in placed.parts:
        trained = classes_of[placed.parts.index("train")]
        for part, names in enumerate(classes_of):
            if trained and part not in wanted and not names & trained:
                names.clear()  # such as test/unknown
    known = set().union(*(classes_of[part] for part in wanted)) if wanted else set()
    for i, part in enumerate(placed.part.tolist()):
        if part < 0:
            continue
        if not known or not classes_of[part]:
            if known and part in wanted:
                placed.reasons.setdefault(i, f"{placed.parts[part]} has no classes")
            placed.classes[i] = None


def _named_by_wordnet(
    placed: _Placed, files: Files, others: Sequence[int], notes: list[str]
) -> list[str]:
    """Puts words for ImageNet's classes, where a list of them is there; keeps their order."""
    identities = sorted({name for name in placed.classes if name is not None})
    if not identities or not all(WORDNET.fullmatch(name) for name in identities):
        return []
    by_name = {files.names[number].rpartition("/")[2].casefold(): number for number in others}
    number = next((by_name[name] for name in _WORDS if name in by_name), None)
    if number is None:
        return []
    content = files.begin(number, MOST_BYTES + 1)
    require_within_bounds(files.names[number], content)
    lines = (line.split(None, 1) for line in content.decode(errors="replace").splitlines())
    words = {line[0]: line[1].split(",")[0].strip() for line in lines if len(line) == 2}
    uses = Counter(words.get(name) for name in identities)
    title = {
        name: words[name] if uses[words[name]] == 1 else f"{words[name]} ({name})"
        for name in identities
        if words.get(name)
    }
    placed.classes = [title.get(name, name) if name else None for name in placed.classes]
    notes.append(f"names of classes are from {files.names[number]}")
    return [title.get(name, name) for name in identities]


def _catalog(
    files: Files,
    placed: _Placed,
    order: list[str],
    found: Listed,
    passed_over: list[tuple[str, str]],
    notes: list[str],
    only: str,
) -> Catalog:
    kept = [i for i in range(len(placed.pictures)) if i not in placed.reasons]
    left_out = [(files.names[placed.pictures[i]], why) for i, why in placed.reasons.items()]
    for reason, count, _ in counted(left_out):
        if not only:
            notes.append(f"{count:,} of {len(placed.pictures):,} pictures are left out: {reason}")
    size = len(files.names)
    numbers = np.array([placed.pictures[i] for i in kept], np.int64)
    if not len(numbers):
        name, reason = left_out[0]
        raise SaganError(
            f"none of the {len(left_out):,} pictures in {files.root} can be used: {name} is "
            f"{reason}; mend the list, or set --data.labels none"
        )
    labels, split_of = np.zeros(size, np.int64), np.zeros(size, np.int64)
    labels[numbers], class_names = _labels_of(placed, kept, order)
    if class_names and all(re.fullmatch(r"-?[0-9]{1,18}", name) for name in class_names):
        notes = [*notes, *gaps_told(sorted(map(int, class_names)))]
    split_of[numbers] = placed.part[kept]
    kind = files.what
    if class_names:
        kind += (
            f" with classes from {', '.join(dict.fromkeys(found.lists))}"
            if found.lists and (found.class_of)
            else " with one folder per class"
        )
    if placed.parts:
        kind += f", divided into {', '.join(placed.parts)}"
    whole = Catalog(
        kind=kind,
        root=files.root,
        names=files.names,
        stamps=files.stamps,
        read=files.read,
        labels=labels,
        class_names=class_names,
        splits=placed.parts,
        split_of=split_of if placed.parts else None,
        passed_over=[*passed_over, *left_out, *found.passed_over],
        notes=notes,
    )
    return whole.take(numbers) if len(numbers) < size else whole


def _labels_of(
    placed: _Placed, kept: Sequence[int], order: list[str]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels of the kept pictures; those of parts without classes get 0."""
    names = [placed.classes[i] for i in kept]
    has_class = np.array([name is not None for name in names])
    labels = np.zeros(len(names), np.int64)
    class_names: tuple[str, ...] = ()
    if has_class.any():
        labels[has_class], class_names = labelled([n for n in names if n is not None], order)
    return labels, class_names
