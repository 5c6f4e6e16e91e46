"""Records: numbers together with everything that they depend on."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_type_hints

import numpy as np

from sagan.config.checks import fits
from sagan.errors import SaganError, printable
from sagan.runs.folder import EVALUATIONS
from sagan.runs.named import run_of
from sagan.system.files import file_names, write_text
from sagan.system.tables import aligned

RECORD_FORMAT = 1
ABSENT = "-"
"""Stands where a record lacks a number."""

Better = Literal["lower", "higher", "near the floor"]
Setting = str | int | float | None


@dataclass(frozen=True, kw_only=True)
class Value:
    """One measured number."""

    each: tuple[float, ...]
    """One value per repeat."""
    mean: float
    """Mean over the repeats."""
    spread: float | None
    """Standard deviation over the repeats; None for a single one."""
    within: float | None
    """Standard deviation over the subsets or splits of a repeat, mean over the repeats; None where
    the number has none."""
    floor: float | None
    """The same number for two disjoint random sets of real pictures; None if not measured."""
    better: Better
    """Which direction is better."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What was measured, how, and what came out."""

    subject: Mapping[str, Setting]
    """Whose pictures: kind, path, step and fingerprint."""
    protocol: Mapping[str, Setting]
    """Everything that numbers depend on, apart from the subject; records that agree in it may be
    compared."""
    values: Mapping[str, Value]
    """The numbers by name."""
    details: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Numbers by class, by name."""
    neighbours: Sequence[Mapping[str, float | int | str]] = ()
    """Generated pictures, each with its nearest real one."""
    notes: Sequence[str] = ()
    """Remarks for the reader."""
    seeds: Sequence[str] = ()
    """Seeds of the pictures, a range per repeat."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of the libraries."""
    command: str = ""
    """The command as it was typed."""
    date: str = ""
    """ISO 8601 day."""
    seconds: float = 0.0
    """Time of this measurement; what was cached took none."""
    neighbour_sheet: np.ndarray | None = field(default=None, repr=False, compare=False)
    """The neighbours as pictures, the nearest real ones below, from the most to the least alike:
    uint8 (3, H, W). No part of the file."""

    def __str__(self) -> str:
        return summary(self)


def record_folder(subject: str) -> Path:
    """Where records of a subject go by default: in a run's folder, or here."""
    run = run_of(subject)
    return Path() if run is None else run / EVALUATIONS


def record_path(record: Record) -> Path:
    """Where a record goes by default: other subjects and protocols have other names."""
    subject = record.subject
    folder = Path() if subject["kind"] == "pictures" else record_folder(str(subject["path"]))
    [name] = file_names([Path(str(subject["path"])).stem])
    first = f"step-{subject['step']:08d}" if folder.name else f"evaluation-{name}"
    measured = {**record.protocol, "subject": subject["fingerprint"]}
    mark = hashlib.sha256(json.dumps(measured, sort_keys=True).encode()).hexdigest()[:8]
    return folder / f"{first}-{record.protocol['extractor']}-{mark}.json"


def write_record(record: Record, path: str | Path) -> Path:
    """Writes a record as JSON.

    Raises:
        SaganError: It cannot be written.
    """
    path = Path(path)
    content = {"format": RECORD_FORMAT, **asdict(record)}
    del content["neighbour_sheet"]
    try:
        write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise SaganError(
            f"cannot write the record {path}: {error.strerror or error}; choose another --output"
        ) from error
    return path


def read_record(path: str | Path) -> Record:
    """Reads a record.

    Raises:
        SaganError: The file is missing or is no record.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") > RECORD_FORMAT:
            raise SaganError(f"{path} was written by a newer version; upgrade sagan")
        values = {
            name: Value(**{**_of_its_kinds(value, Value), "each": tuple(value["each"])})
            for name, value in content.pop("values").items()
        }
        record = Record(values=values, **_of_its_kinds(content, Record))
        if {type(record.subject[name]) for name in ("kind", "path")} != {str}:
            raise TypeError("it does not say whose pictures they were")
        return record
    except SaganError:
        raise
    except FileNotFoundError as error:
        raise SaganError(f"there is no record {path}; run sagan evaluate first") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SaganError(
            f"{path} is no record of an evaluation; give a file that sagan evaluate wrote"
        ) from error


def _of_its_kinds(values: dict[str, Any], cls: type) -> dict[str, Any]:
    """The fields of a dataclass as they were read.

    Raises:
        TypeError: One is of another kind.
        KeyError: There is one that the class does not have.
    """
    kinds = get_type_hints(cls)
    for name, value in values.items():
        if not fits(value, kinds[name]):
            raise TypeError(f"{name} is of another kind")
    return values


def differing_fields(first: Record, second: Record) -> list[str]:
    """Names the fields in which two protocols differ, with both values."""
    names = {**first.protocol, **second.protocol}
    pairs = {name: (first.protocol.get(name), second.protocol.get(name)) for name in names}
    return [f"{name} ({a!r} and {b!r})" for name, (a, b) in pairs.items() if a != b]


def comparison(records: Sequence[Record]) -> str:
    """Sets records of one protocol side by side, a column each.

    Raises:
        SaganError: Two protocols differ; names the fields.
    """
    first = records[0]
    for other in records[1:]:
        if fields := differing_fields(first, other):
            raise SaganError(
                f"{_title(first)} and {_title(other)} were measured differently: "
                f"{', '.join(fields)}; measure both in the same way to compare them"
            )
    rows = [["", *map(_title, records), "real vs real", "better"], *value_rows(records)]
    lines = aligned(rows, "<" + ">" * (len(rows[0]) - 1))
    shown = {k: v[:16] if k.endswith("sha256") else v for k, v in first.protocol.items() if v}  # type: ignore[index]
    width = max(map(len, shown), default=0)
    told = [*lines, "", *(f"{name.ljust(width)}  {v}" for name, v in shown.items())]
    return "\n".join(map(printable, told))


def value_rows(records: Sequence[Record]) -> list[list[str]]:
    """The numbers of records of one protocol as text.

    Returns:
        Per number its name, a cell for each record, that of real against real, what is better.
    """
    rows = []
    for name in dict.fromkeys(name for record in records for name in record.values):
        values = [record.values.get(name) for record in records]
        present = [value for value in values if value is not None]
        floor = next((value.floor for value in present if value.floor is not None), None)
        cells = [ABSENT if value is None else _shown(value) for value in values]
        cells.append(ABSENT if floor is None else figure(floor))
        rows.append([name, *cells, present[0].better])
    return rows


def summary(record: Record) -> str:
    """The record as text for a terminal: the numbers, the protocol, the notes."""
    lines = [comparison([record])]
    for name, by_class in record.details.items():
        worst = sorted(by_class.items(), key=lambda item: -item[1])
        shown = ", ".join(f"{label} {figure(value)}" for label, value in worst[:16])
        lines += ["", printable(f"{name}: {shown}{', ...' if len(worst) > 16 else ''}")]
    lines += ["", *map(printable, record.notes)] if record.notes else []
    return "\n".join(lines)


def _title(record: Record) -> str:
    step = record.subject.get("step")
    return f"{record.subject['path']}" + (f" @ {step}" if step is not None else "")


def figure(number: float) -> str:
    """A number with the digits that a reader wants."""
    return f"{number:,.1f}" if abs(number) >= 10 else f"{number:.3f}"


def _shown(value: Value) -> str:
    spread = value.within if value.spread is None else value.spread
    return figure(value.mean) + ("" if spread is None else f" ± {figure(spread)}")
