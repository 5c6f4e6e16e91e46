"""Records of evaluations as tables, one for each protocol."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sagan.errors import SaganError
from sagan.evaluation.record import (
    ABSENT,
    Record,
    differing_fields,
    figure,
    read_record,
    value_rows,
)
from sagan.runs.folder import EVALUATIONS


class Column(NamedTuple):
    """One record."""

    title: str
    record: Record


class Table(NamedTuple):
    """Records that may be compared."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    """Name of the number, a cell for each column, that of real against real, which is better."""
    against: str
    """Which pictures they were compared with."""
    protocol: tuple[tuple[str, str], ...]
    details: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]
    """Name, and rows of a class and a cell for each column, worst first."""


def read_records(folder: Path) -> tuple[list[Record], list[str]]:
    """Reads the records of a run folder, oldest step first, and says which cannot be read."""
    records, unreadable = [], []
    for path in sorted((folder / EVALUATIONS).glob("*.json")):
        try:
            records.append(read_record(path))
        except SaganError as error:
            unreadable.append(str(error))
    return sorted(records, key=lambda record: int(record.subject.get("step") or 0)), unreadable


def tables_of(records: Sequence[Record]) -> list[Table]:
    """Groups records by protocol, a table each."""
    groups: list[list[Record]] = []
    for record in records:
        for group in groups:
            if not differing_fields(group[0], record):
                group.append(record)
                break
        else:
            groups.append([record])
    return [_table(group) for group in groups]


_AGAINST = {"train": "training pictures", "held-out": "held-out pictures, none learned from"}


def _table(group: Sequence[Record]) -> Table:
    part = str(group[0].protocol.get("real_split"))
    return Table(
        against=_AGAINST.get(part, "other pictures"),
        columns=tuple(map(_column, group)),
        rows=tuple(tuple(row) for row in value_rows(group)),
        protocol=tuple(
            (name.replace("_", " "), str(value)[:16] if name.endswith("sha256") else str(value))
            for name, value in group[0].protocol.items()
            if value is not None
        ),
        details=tuple(
            (name, _by_class(name, group)) for name in _names([record.details for record in group])
        ),
    )


def _names(mappings: Sequence) -> list[str]:
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))


def _column(record: Record) -> Column:
    step = record.subject.get("step")
    return Column(str(record.subject.get("path")) if step is None else f"step {step:,}", record)


def _by_class(name: str, group: Sequence[Record]) -> tuple[tuple[str, ...], ...]:
    details = [record.details.get(name, {}) for record in group]
    classes = sorted(_names(details), key=lambda label: -details[-1].get(label, 0.0))
    return tuple(
        (label, *(figure(found[label]) if label in found else ABSENT for found in details))
        for label in classes
    )
