"""Reading the log of a run, ``log.jsonl``: an object per line, each with its ``step``."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

LOG = "log.jsonl"
LOSSES: Final = ("discriminator_real", "discriminator_fake", "generator")
"""Terms of the loss that every run logs."""
_NEWEST: Final = 2**23
"""Bytes at the end of a log that :func:`newest_records` looks at: about 16,000 lines."""
_EVERY: Final = 200
"""Lines at its end of which it takes every one."""


def log_records(folder: str | Path) -> list[dict[str, Any]]:
    """What a run has logged so far; nothing where it has no log.

    Lines that are cut off, are no UTF-8 or hold no object with a whole ``step`` are passed over.

    Returns:
        A dictionary per line, each with its ``step``.

    Raises:
        OSError: The log exists and cannot be read.
    """
    path = Path(folder) / LOG
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [record for line in lines if (record := record_in(line))]


def newest_records(folder: str | Path, *keys: str) -> list[dict[str, Any]]:
    """The same of the newest lines, in a moment however long the log is.

    Args:
        folder: The run folder.
        keys: Of the last 200 lines all are taken, of those before, within 8 MiB, only those that
            have one of these keys.

    Raises:
        OSError: The log exists and cannot be read.
    """
    path = Path(folder) / LOG
    if not path.is_file():
        return []
    with path.open("rb") as file:
        size = file.seek(0, 2)
        begin = max(0, size - _NEWEST)
        file.seek(begin)
        lines = file.read(_NEWEST).splitlines()
    if begin:
        del lines[:1]  # which begins before
    words = [f'"{key}"'.encode() for key in keys]
    older = [line for line in lines[:-_EVERY] if any(word in line for word in words)]
    return [record for line in (*older, *lines[-_EVERY:]) if (record := record_in(line))]


def record_in(line: bytes) -> dict[str, Any] | None:
    """The record in a line of a log; None where there is none."""
    try:
        record = json.loads(line.decode())
    except (ValueError, RecursionError):  # brackets by the thousand recurse too deeply
        return None
    step = record.get("step") if isinstance(record, dict) else None
    return record if type(step) is int and 0 <= step < 2**53 else None


def finite_number(value: object) -> float | None:
    """A finite number that a log holds; None for anything else."""
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:  # an integer of hundreds of digits
        return None
    return number if math.isfinite(number) else None


def finite_numbers(given: object) -> dict[str, float]:
    """The finite numbers of what a log holds by name."""
    found = given.items() if isinstance(given, dict) else ()
    return {name: float(value) for name, value in found if finite_number(value) is not None}


def measured_alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the numbers of two records may be compared: by the same features, as many pictures.

    Earlier logs do not state the features; there the number of pictures and the names decide.
    """
    stated = {record.get("evaluation_protocol") for record in (one, other)} - {None, ""}
    return len(stated) < 2 and one.get("evaluation_pictures") == other.get("evaluation_pictures")
