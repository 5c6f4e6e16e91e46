"""Classes and parts that a list beside the pictures states."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial

from sagan.config import DataConfig, nearest
from sagan.data.sources.finding import PictureFinder
from sagan.data.sources.judging import Files, suffix_of
from sagan.data.sources.layout import PARTS
from sagan.data.sources.tables import MOST_BYTES, PictureList, read_table
from sagan.errors import SaganError

_LABEL_COLUMNS = (
    *("label", "labels", "class", "classes", "class_name", "category", "target", "label_name"),
    *("class_id", "category_name"),
)
_PART_COLUMNS = ("split", "partition", "subset", "set", "data set", "dataset")
_CELEBA_PARTS = {"0": "train", "1": "val", "2": "test"}
TABLES = (".csv", ".tsv", ".txt", ".jsonl")
"""How lists of pictures are called."""
_BY_NAME = (
    *("dataset.json", "metadata.jsonl", "metadata.csv", "val_annotations.txt"),
    *("list_attr_celeba", "list_eval_partition", "loc_val_solution.csv"),
)
_MEANT = ("dataset", "metadata", "label", "class", "annotation", "train")
_IGNORED_LISTS = (
    "loc_train_solution",
    "list_bbox",
    "list_landmarks",
    "identity_celeba",
    "readme",
    "sample_submission",
)
_DEEPEST_LIST = 4
_MOST_BYTES_OF_OTHERS = 2**28  # of tables whose names do not tell that they are lists
_MOST_LISTS = 50
_SAMPLE = 200


@dataclass(kw_only=True)
class Listed:
    """What lists say of pictures, by their numbers."""

    class_of: dict[int, str] = field(default_factory=dict)
    part_of: dict[int, str] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    """Of the classes, where the list has one."""
    lists: list[str] = field(default_factory=list)
    """Names of the lists that state classes."""
    named: set[int] = field(default_factory=set)
    """Numbers of the pictures that are in a list."""
    used: set[int] = field(default_factory=set)
    """Numbers of the files that were read as lists."""
    passed_over: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    no_classes: bool = False
    """The list says that there are none, whatever the folders."""
    columns: dict[str, None] = field(default_factory=dict)
    """All that --data.label could name."""


def read_lists(
    files: Files,
    pictures: Sequence[int],
    others: Iterable[int],
    outer: Sequence[str],
    config: DataConfig,
    only: str = "",
) -> Listed:
    """Reads the lists among files that are no pictures.

    Lists of StyleGAN, Hugging Face, CelebA and ImageNet are known by their names; any other table
    counts where it stands beside the pictures or their folders of classes and speaks mostly of
    them, and not of a few. A column of 1 and -1 becomes the classes "not NAME" and "NAME".

    Args:
        files: All files.
        pictures: The numbers of the pictures.
        others: Those of the other files.
        outer: Folders in which any table may be a list.
        config: ``labels`` and ``label`` are used.
        only: Name of the one list that is read, whatever it speaks of.

    Raises:
        SaganError: A list cannot be read, does not tell which column is the class, or has labels
            that are no classes.
    """
    found = Listed()
    finder_in = cache(partial(PictureFinder, files.names, pictures))
    meant = [files.names.index(only)] if only else _candidates(files, others, outer)
    for number in meant:
        name = files.names[number]
        folder, _, base = name.rpartition("/")
        is_meant = only != "" or base.casefold().startswith((*_BY_NAME, *_MEANT))
        table = _table_in(files, number, is_meant=is_meant, is_needed=config.labels == "found")
        if table is None:
            continue
        is_taken = any(
            _take_list(found, table, finder_in(place), number, config, is_meant=is_meant)
            for place in dict.fromkeys((folder, ""))
        )
        if not is_taken and is_meant and config.labels == "found" and table.rows:
            found.notes.append(f"{name} names none of the pictures")
    if only and not found.named:
        raise SaganError(
            f"{files.root / only} names none of the {len(pictures):,} pictures in its folder; give "
            "one that does, or the folder itself"
        )
    if config.label and config.labels == "found" and not found.class_of:
        raise _no_such_labels(files, found, config.label)
    return found


def _no_such_labels(files: Files, found: Listed, wanted: str) -> SaganError:
    known = ", ".join(found.columns)
    there = f"the lists there have {known}" if known else "no list of labels is there"
    return SaganError(
        f"{files.root} has no labels called {wanted!r}{nearest(wanted, found.columns)}; "
        f"{there}; choose another --data.label or leave it out"
    )


def _table_in(files: Files, number: int, *, is_meant: bool, is_needed: bool) -> PictureList | None:
    most = MOST_BYTES if is_meant else _MOST_BYTES_OF_OTHERS
    try:
        content = files.begin(number, most + 1)
        if is_meant or len(content) <= most:
            return read_table(files.names[number], content)
    except (OSError, SaganError) as error:
        if is_meant and is_needed:
            raise SaganError(f"{error}; or set --data.labels none") from error
    return None


def _candidates(files: Files, others: Iterable[int], outer: Sequence[str]) -> list[int]:
    places = set(outer)
    ranked = []
    for number in others:
        folder, _, base = files.names[number].rpartition("/")
        base = base.casefold()
        rank = next(
            (i for i, start in enumerate(_BY_NAME) if base.startswith(start)), len(_BY_NAME)
        )
        is_known = rank < len(_BY_NAME) and folder.count("/") < _DEEPEST_LIST
        is_table = suffix_of(base) in TABLES and folder in places
        if is_known or (is_table and not base.startswith(_IGNORED_LISTS)):
            ranked.append((rank, number))
    return [number for _, number in sorted(ranked)[:_MOST_LISTS]]


def _take_list(
    found: Listed,
    table: PictureList,
    finder: PictureFinder,
    number: int,
    config: DataConfig,
    *,
    is_meant: bool,
) -> bool:
    """Adds what a list says; False if it does not speak of the pictures."""
    base = table.name.rpartition("/")[2].casefold()
    if base == "dataset.json" and table.columns and not table.rows:
        found.used.add(number)
        found.no_classes = True
        return True
    home = _column_of_files(table, finder)
    if home is None:
        return False
    columns, rows = _without_heading(table, home, finder)
    numbers = [finder.find(_cell_at(row, home)) for row in rows]
    named = len(set(numbers) - {None})
    is_about_others = 2 * named < len(rows) or 10 * named < len(finder)
    if is_about_others and not is_meant and not config.label:
        return False
    found.used.add(number)
    found.named.update(number for number in numbers if number is not None)
    part = next((i for i, c in enumerate(columns) if c.casefold() in _PART_COLUMNS), None)
    if base.startswith("list_eval_partition"):
        part = 1
    if part is not None:
        _take_parts(found, numbers, [_cell_at(row, part) for row in rows])
    if config.labels == "found" and not base.startswith("list_eval_partition"):
        others = [i for i, c in enumerate(columns) if i not in (home, part) and _is_name(c)]
        if base.startswith(("val_annotations", "loc_val_solution")):
            others = others[:1]
        label = _column_of_labels(found, table.name, columns, others, config.label)
        if label is not None:
            values = [_cell_at(row, label) for row in rows]
            if base.startswith("loc_val_solution"):  # class, box, class, box, ...
                values = [str(value).partition(" ")[0] for value in values]
            names = [str(_cell_at(row, home)) for row in rows]
            _take_classes(found, table.name, columns[label], names, numbers, values, config.label)
    return True


def _column_of_files(table: PictureList, finder: PictureFinder) -> int | None:
    rows = table.rows[:: max(1, len(table.rows) // _SAMPLE)]
    width = max((len(row) for row in rows), default=0)
    hits = [
        len({finder.find(_cell_at(row, column)) for row in rows} - {None})
        for column in range(width)
    ]
    return hits.index(max(hits)) if hits and max(hits) else None


def _without_heading(
    table: PictureList, home: int, finder: PictureFinder
) -> tuple[tuple[str, ...], Sequence[Sequence[object]]]:
    """Names of the columns, numbers where there is no heading, and the rows below it."""
    if table.columns is not None:
        return table.columns, table.rows
    if finder.find(_cell_at(table.rows[0], home)) is None:
        return tuple(map(str, table.rows[0])), table.rows[1:]
    width = max(len(row) for row in table.rows[:_SAMPLE])
    return tuple(map(str, range(1, width + 1))), table.rows


def _column_of_labels(
    found: Listed, name: str, columns: Sequence[str], others: Sequence[int], wanted: str
) -> int | None:
    found.columns.update(dict.fromkeys(columns[i] for i in others))
    if wanted:
        return next((i for i in others if columns[i].casefold() == wanted.casefold()), None)
    called = [i for i in others if columns[i].casefold() in _LABEL_COLUMNS]
    if len(called) == 1 or len(others) == 1:
        return (called or list(others))[0]
    if not others:
        return None
    listed = ", ".join(columns[i] for i in others)
    base = name.rpartition("/")[2].casefold()
    if not base.startswith(_MEANT):
        found.notes.append(
            f"{name} has {len(others)} columns that may be classes ({listed}); choose one with "
            "--data.label"
        )
        found.no_classes = found.no_classes or base.startswith("list_attr")
        return None
    raise SaganError(
        f"{name} has several columns ({listed}) and each picture needs one class; choose one with "
        "--data.label, or set --data.labels none"
    )


def _take_parts(found: Listed, numbers: Sequence[int | None], values: Sequence[object]) -> None:
    named = {**PARTS, **_CELEBA_PARTS}
    for number, value in zip(numbers, values, strict=True):
        part = named.get(str(value).casefold())
        if number is not None and part is not None:
            found.part_of[number] = part


def _take_classes(
    found: Listed,
    name: str,
    column: str,
    texts: Sequence[str],
    numbers: Sequence[int | None],
    values: Sequence[object],
    wanted: str,
) -> None:
    classes = _class_names(name, column, values)
    different = set(classes) - {""}
    if different and different <= {"1", "-1"}:
        found.order = [f"not {column}", column]
        classes = [found.order[value == "1"] if value else "" for value in classes]
    elif not wanted and len(classes) >= 20 and len(different) > len(classes) / 2:
        found.notes.append(
            f"the column {column} of {name} differs for most pictures and is not taken for "
            f"classes; --data.label {column} takes it"
        )
        return
    found.lists.append(name)
    twice = 0
    for text, number, value in zip(texts, numbers, classes, strict=True):
        if number is None:
            found.passed_over.append((text, f"listed in {name}, but absent"))
        elif value:
            twice += found.class_of.get(number, value) != value
            found.class_of[number] = value
    if twice:
        found.notes.append(
            f"{twice:,} pictures have two classes in {', '.join(found.lists)}; the last one counts"
        )


def _class_names(name: str, column: str, values: Sequence[object]) -> list[str]:
    """Labels as texts, whole numbers without a decimal point; "" where there is none."""
    texts = []
    fraction = None
    are_numbers = True
    for value in values:
        if isinstance(value, list | dict | tuple):
            raise SaganError(
                f"the column {column} of {name} holds lists such as {str(value)[:60]}, and each "
                "picture needs one class; set --data.labels none"
            )
        text = "" if value is None else str(value).strip()
        if text and are_numbers:
            try:
                amount = float(text)
            except ValueError:
                are_numbers = False
            else:
                if not amount.is_integer():
                    fraction = text
        texts.append(text)
    if not are_numbers:
        return texts
    if fraction is not None:
        raise SaganError(
            f"the column {column} of {name} holds fractions such as {fraction}, which are no "
            "classes; choose another one with --data.label, or set --data.labels none"
        )
    return [str(int(text if text.isdecimal() else float(text))) if text else "" for text in texts]


def _cell_at(row: Sequence[object], column: int) -> object:
    return row[column] if column < len(row) else None


def _is_name(column: str) -> bool:
    return column != "" and not column.startswith("Unnamed:")
