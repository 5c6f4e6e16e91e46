"""Lists of pictures as they lie beside them: CSV, text, JSON, JSON lines."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sagan.data.sources.judging import suffix_of
from sagan.errors import SaganError
from sagan.system.memory import require_free

MOST_BYTES = 2**30
"""Of a list; longer ones are refused."""


@dataclass(frozen=True, kw_only=True)
class PictureList:
    """Rows of a list; whether its first row is a heading is for the reader to see."""

    name: str
    columns: tuple[str, ...] | None
    """None where the first row may be a heading."""
    rows: Sequence[Sequence[object]]


def read_table(name: str, content: bytes) -> PictureList:
    """Reads a list.

    Text may be UTF-8 or UTF-16 with a mark, otherwise it is taken for Latin-1; lines may end as on
    Windows. A table is separated by the most frequent of ``,``, ``;`` and tab in its first line,
    where there is none by spaces.

    Args:
        name: Path of the list; its suffix tells the format.
        content: At most MOST_BYTES.

    Raises:
        SaganError: It is too long, or no table.
    """
    require_within_bounds(name, content)
    try:
        text = _decoded(content)
        suffix = suffix_of(name)
        if suffix in (".jsonl", ".ndjson"):
            return _of_json_lines(name, text)
        if suffix == ".json":
            return _of_pairs(name, json.loads(text))
        return _of_text(name, text)
    except (ValueError, RecursionError, csv.Error) as error:
        raise SaganError(f"cannot read the list {name} ({error}); mend or remove it") from error


def require_within_bounds(name: str, content: bytes) -> None:
    """Judges the size of a list before it is taken apart.

    Raises:
        SaganError: It is too long.
    """
    if len(content) > MOST_BYTES:
        raise SaganError(f"the list {name} is longer than 1 GiB; make it shorter or remove it")
    require_free(20 * len(content), f"the list {name}", "make it shorter")


def _decoded(content: bytes) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _of_text(name: str, text: str) -> PictureList:
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return PictureList(name=name, columns=(), rows=())
    # CelebA's lists begin with the number of their rows.
    if len(lines) > 1 and lines[0].strip().isdecimal():
        del lines[0]
    counts = Counter(character for character in lines[0] if character in ",;\t")
    if counts:
        separator = counts.most_common(1)[0][0]
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=separator)]
        return PictureList(name=name, columns=None, rows=rows)
    rows = [line.split() for line in lines]
    if len(rows) > 1 and len(rows[0]) == len(rows[1]) - 1 > 1:
        return PictureList(name=name, columns=("file_name", *rows[0]), rows=rows[1:])
    return PictureList(name=name, columns=None, rows=rows)


def _of_json_lines(name: str, text: str) -> PictureList:
    entries = [json.loads(line) for line in text.splitlines() if line.strip()]
    if not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("a line of it is no JSON object")
    columns = tuple(dict.fromkeys(key for entry in entries for key in entry))
    return PictureList(
        name=name, columns=columns, rows=[[e.get(key) for key in columns] for e in entries]
    )


def _of_pairs(name: str, content: object) -> PictureList:
    """StyleGAN's {"labels": [["00000/img.png", 3], ...]}; its labels may be null."""
    if not isinstance(content, dict) or "labels" not in content:
        return PictureList(name=name, columns=(), rows=())
    pairs = content["labels"] or []
    if isinstance(pairs, dict):
        pairs = list(pairs.items())
    is_list = isinstance(pairs, list)
    if not is_list or not all(isinstance(p, list | tuple) and len(p) == 2 for p in pairs):
        raise ValueError('its "labels" are no list of pairs, file name and label')
    return PictureList(name=name, columns=("file_name", "label"), rows=pairs)
