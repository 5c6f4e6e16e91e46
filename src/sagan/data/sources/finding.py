"""Finds pictures by what lists call them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import cached_property

from sagan.data.sources.judging import PICTURE_SUFFIXES, suffix_of


class PictureFinder:
    """Knows the pictures in a folder and below by their paths, and by what of these is unique."""

    def __init__(self, names: Sequence[str], pictures: Sequence[int], folder: str) -> None:
        prefix = f"{folder}/" if folder else ""
        self._by_path = {
            unicodedata.normalize("NFC", names[number][len(prefix) :]): number
            for number in pictures
            if names[number].startswith(prefix)
        }

    def __len__(self) -> int:
        return len(self._by_path)

    @cached_property
    def _by_other_names(self) -> dict[str, int | None]:
        """By last name, and both without suffix; None where several pictures are called so."""
        found: dict[str, int | None] = {}
        for path, number in self._by_path.items():
            base = path.rpartition("/")[2]
            for name in (_without_suffix(path), base, _without_suffix(base)):
                found[name] = None if found.get(name, number) != number else number
        return found

    def find(self, text: object) -> int | None:
        """The number of the picture that a cell of a list names; None if there is none."""
        path = unicodedata.normalize("NFC", "" if text is None else str(text).strip())
        path = path.replace("\\", "/").removeprefix("./").lstrip("/")
        if ".." in path.split("/"):
            return None
        number = self._by_path.get(path)
        names = _other_names(path)
        while number is None and (name := next(names, None)) is not None:
            number = self._by_other_names.get(name)
        return number


def _other_names(path: str) -> Iterator[str]:
    base = path.rpartition("/")[2]
    yield base
    yield path
    yield _without_suffix(path)
    yield _without_suffix(base)


def _without_suffix(path: str) -> str:
    suffix = suffix_of(path)
    return path[: -len(suffix)] if suffix in PICTURE_SUFFIXES else path
