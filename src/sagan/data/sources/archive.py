"""A zip or tar archive of encoded pictures, and WebDataset's shards."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from sagan.config import DataConfig
from sagan.data.catalog import Catalog
from sagan.data.sources.assembly import catalog_of_files
from sagan.data.sources.judging import PICTURE_SUFFIXES, Files, ignored, suffix_of
from sagan.data.sources.layout import PARTS, WORDNET
from sagan.data.sources.listed import Listed
from sagan.data.sources.members import (
    Member,
    Packing,
    members_of,
    packing_of,
    reader_of,
)
from sagan.errors import SaganError

_ARCHIVE_KINDS: dict[Packing, str] = {"zip": "a zip archive", "tar": "a tar archive"}
_TAR_NAME = re.compile(r".*\.(tar|tgz|tar\.(gz|bz2|xz))", re.IGNORECASE)
_NUMBER = re.compile(r"[-_]?\d+([-_]of[-_]\d+)?$")
_BESIDE = (".cls", ".json", ".txt")
_LONGEST_LABEL = 2**16
_LABEL_KEYS = ("label", "class", "cls", "class_name", "category")


def picture_archive(path: Path, config: DataConfig) -> Catalog | None:
    """Recognises a zip or a tar, plain or compressed by gzip, bzip2 or xz.

    Inside, everything is as in a folder. A tar may also be a shard of WebDataset: the class of
    ``key.jpg`` is in ``key.cls``, a number or a text, or in ``key.json``. Nothing is unpacked.

    Raises:
        SaganError: It is damaged, encrypted, of a kind that cannot be read, or the pictures in it
            cannot be used.
    """
    if not path.is_file():
        return None
    packing = packing_of(path)
    if packing is None:
        return None
    passed_over: list[tuple[str, str]] = []
    members = members_of(path, packing, passed_over)
    if packing == "zip" and members and all(m.name.endswith(".npy") for m in members):
        return None  # NumPy's .npz
    what = _ARCHIVE_KINDS.get(packing, f"a tar archive compressed by {packing}")
    files = _files_of(path, what, [(path, packing, members)], passed_over)
    return catalog_of_files(
        files, config, _classes_beside(files, config) if packing != "zip" else None
    )


def picture_shards(path: Path, config: DataConfig) -> Catalog | None:
    """Recognises a folder of tar files, such as WebDataset's shards.

    Files called ``train-000000.tar`` and ``val-000000.tar`` are parts, as are folders of such
    names. Files whose names differ in more than a number, such as ``cat.tar`` and ``dog.tar``, are
    classes. A picture is called by its path with the name of its archive before its own name.

    Raises:
        SaganError: As for :func:`picture_archive`.
    """
    shards = _shards_in(path) if path.is_dir() else []
    if not shards:
        return None
    passed_over: list[tuple[str, str]] = []
    archives = []
    folders = _folders_for([shard.relative_to(path).as_posix() for shard in shards])
    for shard, folder in zip(shards, folders, strict=True):
        packing = packing_of(shard)
        name = shard.relative_to(path).as_posix().replace("/", ":")
        if packing is None:
            passed_over.append((name, "no tar archive"))
            continue
        inside: list[tuple[str, str]] = []
        members = [
            member._replace(name=_within_shard(member.name, name, folder))
            for member in members_of(shard, packing, inside)
        ]
        passed_over += [(_within_shard(member, name, folder), why) for member, why in inside]
        archives.append((shard, packing, members))
    files = _files_of(path, f"{len(archives)} tar archives", archives, passed_over)
    return catalog_of_files(files, config, _classes_beside(files, config))


def _shards_in(folder: Path) -> list[Path]:
    """The tar files of a folder that holds nothing else to learn from, in their order."""
    with os.scandir(folder) as found:
        names = [entry.name for entry in found if not ignored(entry.name)]
    if any(suffix_of(name) in PICTURE_SUFFIXES for name in names):
        return []
    entries = [folder / name for name in sorted(names)]
    subfolders = [entry for entry in entries if entry.is_dir()]
    if any(subfolder.name.casefold() not in PARTS for subfolder in subfolders):
        return []
    entries += [entry for subfolder in subfolders for entry in sorted(subfolder.iterdir())]
    names = [entry.name for entry in entries]
    if any(suffix_of(name) in PICTURE_SUFFIXES for name in names):
        return []
    return [entry for entry in entries if _TAR_NAME.fullmatch(entry.name) and entry.is_file()]


def _folders_for(names: Sequence[str]) -> list[str]:
    """What the names of shards say, as folders: parts, or classes."""
    parts = [_part_in(name) for name in names]
    if all(parts):
        return [f"{part}/" for part in parts]
    stems = [name.rpartition("/")[2].partition(".")[0] for name in names]
    if not all(map(WORDNET.fullmatch, stems)):
        stems = [_NUMBER.sub("", stem) for stem in stems]
    return [f"{stem}/" if len(set(stems)) > 1 else "" for stem in stems]


def _within_shard(name: str, shard: str, folder: str) -> str:
    inner, slash, base = name.rpartition("/")
    return f"{folder}{inner}{slash}{shard}:{base}"


def _part_in(name: str) -> str:
    words = re.split(r"[^a-z]+", name.casefold())
    return next((PARTS[word] for word in words if word in PARTS), "")


def _files_of(
    root: Path,
    what: str,
    archives: Sequence[tuple[Path, Packing, list[Member]]],
    passed_over: list[tuple[str, str]],
) -> Files:
    """Puts the files of several archives together.

    They are sorted by name, except in compressed tars, where only their own order reads well.
    """
    members, archive_of, names = [], [], []
    for number, (_, packing, inside) in enumerate(archives):
        if packing in ("zip", "tar"):
            inside.sort()
        members += inside
        names += [member.name for member in inside]
        archive_of += [number] * len(inside)
    places: list[tuple[str, Packing]] = [(str(path), packing) for path, packing, *_ in archives]
    reader = reader_of(places, archive_of, members)
    return Files(
        what=what,
        root=root,
        names=names,
        stamps=np.array([member.stamp for member in members], np.uint64),
        read=reader,
        begin=reader.begin,
        passed_over=passed_over,
    )


def _classes_beside(files: Files, config: DataConfig) -> Listed | None:
    """WebDataset's classes; None where there are none."""
    if config.labels == "none":
        return None
    beside: dict[str, dict[str, int]] = {suffix: {} for suffix in _BESIDE}
    pictures: dict[str, list[int]] = {}
    for number, name in enumerate(files.names):
        start = 1 + max(name.rfind("/"), name.rfind(":"))
        key = name[:start] + name[start:].partition(".")[0]
        suffix = suffix_of(name)
        if suffix in beside:
            beside[suffix][key] = number
        elif suffix in PICTURE_SUFFIXES:
            pictures.setdefault(key, []).append(number)
    class_of: dict[int, str] = {}
    suffix = ".cls"
    if config.label.casefold() in ("", "cls") and beside[suffix].keys() & pictures.keys():
        class_of = _texts(files, beside[suffix], pictures)
    elif config.label.casefold() == "txt":
        suffix = ".txt"
        class_of = _texts(files, beside[suffix], pictures)
    elif 2 * len(beside[".json"].keys() & pictures.keys()) >= max(1, len(pictures)):
        suffix = ".json"
        class_of = _of_json(files, beside[suffix], pictures, config.label)
    if not class_of:
        return None
    used = {n for numbers in beside.values() for key, n in numbers.items() if key in pictures}
    return Listed(class_of=class_of, lists=[f"the {suffix} file of each picture"], used=used)


def _in_archive_order(
    numbers: dict[str, int], pictures: dict[str, list[int]]
) -> Iterable[tuple[str, int]]:
    return sorted(
        ((key, number) for key, number in numbers.items() if key in pictures),
        key=lambda pair: pair[1],
    )


def _texts(files: Files, numbers: dict[str, int], pictures: dict[str, list[int]]) -> dict[int, str]:
    found = {}
    for key, number in _in_archive_order(numbers, pictures):
        text = files.begin(number, _LONGEST_LABEL).decode("utf-8-sig", "replace").strip()
        if text:
            found.update(dict.fromkeys(pictures[key], text))
    return found


def _of_json(
    files: Files, numbers: dict[str, int], pictures: dict[str, list[int]], wanted: str
) -> dict[int, str]:
    keys = (wanted,) if wanted else _LABEL_KEYS
    found = {}
    seen: dict[str, None] = {}
    for key, number in _in_archive_order(numbers, pictures):
        try:
            content = json.loads(files.begin(number, _LONGEST_LABEL))
        except (ValueError, RecursionError):
            continue
        entry = content if isinstance(content, dict) else {}
        seen.update(dict.fromkeys(list(entry)[:20]))
        value = next((entry[name] for name in keys if entry.get(name) is not None), None)
        if isinstance(value, str | int):
            found.update(dict.fromkeys(pictures[key], str(value).strip()))
    if wanted and not found:
        raise SaganError(
            f"the JSON files in {files.root} have no whole number or text {wanted!r}; they have "
            f"{', '.join(seen)}; choose another --data.label or leave it out"
        )
    return found
