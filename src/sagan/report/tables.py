"""Records of evaluations as tables, one for each protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sagan.errors import SaganError
from sagan.evaluation.record import Record, Value, differing_fields, read_record

_ABSENT = "-"


class Column(NamedTuple):
    """One record."""

    title: str
    record: Record


class Table(NamedTuple):
    """Records that may be compared."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    """Name of the number, a cell for each column, that of real against real, which is better."""
    protocol: tuple[tuple[str, str], ...]
    details: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]
    """Name, and rows of a class and a cell for each column, worst first."""


def read_records(folder: Path) -> tuple[list[Record], list[str]]:
    """Reads the records of a run folder, oldest step first, and says which cannot be read."""
    records, unreadable = [], []
    for path in sorted((folder / "evaluations").glob("*.json")):
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


def _table(group: Sequence[Record]) -> Table:
    first = group[0]
    return Table(
        columns=tuple(Column(_title(record), record) for record in group),
        rows=tuple(_row(name, group) for name in _names([record.values for record in group])),
        protocol=tuple(
            (name.replace("_", " "), str(value)[:16] if name.endswith("sha256") else str(value))
            for name, value in first.protocol.items()
            if value is not None
        ),
        details=tuple(
            (name, _by_class(name, group)) for name in _names([record.details for record in group])
        ),
    )


def _names(mappings: Sequence) -> list[str]:
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))


def _title(record: Record) -> str:
    step = record.subject.get("step")
    return str(record.subject.get("path")) if step is None else f"step {step:,}"


def _row(name: str, group: Sequence[Record]) -> tuple[str, ...]:
    values = [record.values.get(name) for record in group]
    present = [value for value in values if value is not None]
    floor = next((value.floor for value in present if value.floor is not None), None)
    cells = [_ABSENT if value is None else _shown(value) for value in values]
    return (name, *cells, _ABSENT if floor is None else _figure(floor), present[0].better)


def _by_class(name: str, group: Sequence[Record]) -> tuple[tuple[str, ...], ...]:
    details = [record.details.get(name, {}) for record in group]
    newest = details[-1]
    classes = sorted(_names(details), key=lambda label: -newest.get(label, 0.0))
    return tuple(
        (label, *(_figure(found[label]) if label in found else _ABSENT for found in details))
        for label in classes
    )


def _figure(number: float) -> str:
    return f"{number:,.1f}" if abs(number) >= 10 else f"{number:.3f}"


def _shown(value: Value) -> str:
    spread = value.within if value.spread is None else value.spread
    return _figure(value.mean) + ("" if spread is None else f" ± {_figure(spread)}")
