"""How runs stand, live or ended, by nothing but reading their folders; needs no torch."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from sagan import config as settings
from sagan.config import Config
from sagan.errors import SaganError, printable
from sagan.runs.events import ALARM, CLEARED, DIVERGED, FINISHED, STARTED, STOPPED
from sagan.runs.folder import LOCK, SETTINGS, checkpoint_files, is_run
from sagan.runs.locked import require_kept_settings
from sagan.runs.log import LOG, LOSSES, finite_number, finite_numbers, newest_records
from sagan.system.locks import holder_of, is_locked

Condition = Literal["running", "stopped", "finished", "diverged", "died", "failed", "new"]
"""died: its process was killed, or its machine went down; failed: it ended by an error, such as a
full disk, which its output tells; new: not a step is logged."""

_ENDS: Final[dict[str, Condition]] = {
    STARTED: "failed",
    STOPPED: "stopped",
    DIVERGED: "diverged",
    FINISHED: "finished",
}
_LARGEST_SETTINGS: Final = 2**20  # bytes
_MOST_ENTRIES: Final = 100_000
"""Of a run folder, whose sizes are added up."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """How a run stands."""

    folder: str
    state: Condition
    step: int
    """Of the newest record."""
    steps: int
    """Where it ends."""
    images_per_second: float | None
    """Real pictures, at the newest record that says so."""
    seconds_left: float | None
    """Until its end, by that speed; None unless it runs."""
    losses: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Of the newest measurement."""
    metrics_step: int | None
    variety: float | None
    """Spread of generated pictures over that of real ones, at the newest sample grid."""
    alarms: Mapping[str, str]
    """Those that stand: name and what is wrong, in a line."""
    detail: str
    """Why it diverged, or who trains in it."""
    seconds_since: float | None
    """Since it last wrote to its log."""
    checkpoint: str | None
    """The newest one."""
    bytes: int
    """Of the whole folder on the disk."""


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """What is no run, or cannot be read."""

    folder: str
    problem: str
    """In a line."""


def statuses(places: Iterable[Path]) -> list[Status | Unreadable]:
    """How the runs in some places stand; a place is a run folder, or a folder of such.

    Nothing is raised: what cannot be read is told in its place.
    """
    return [_status_or_problem(folder) for place in places for folder in _runs_in(place)]


def status_as_json(found: Sequence[Status | Unreadable]) -> list[dict[str, Any]]:
    """The same as plain values for JSON."""
    return [asdict(one) for one in found]


def run_status(folder: Path) -> Status:
    """How one run stands.

    Raises:
        SaganError: It is no run, or its settings cannot be read.
        OSError: Its files cannot be read.
    """
    config = _settings_of(folder)
    steps = config.train.steps
    records = newest_records(folder, "event", "evaluation")
    step = records[-1]["step"] if records else 0
    newest = records[-1:] and [record for record in records if "event" not in record][::-1]
    speed = _newest_known(finite_number(record.get("images_per_second")) for record in newest)
    state, detail = _state(folder, records, steps)
    measured = next((r for r in newest if isinstance(r.get("evaluation"), dict)), None)
    left = None
    if state == "running" and speed:
        left = max(0, steps - step) * config.train.pictures_per_step / speed
    log, checkpoints = folder / LOG, checkpoint_files(folder)
    return Status(
        folder=str(folder),
        state=state,
        step=step,
        steps=steps,
        images_per_second=speed,
        seconds_left=left,
        losses=_losses(newest),
        metrics=_printable_numbers(measured["evaluation"]) if measured else {},
        metrics_step=measured["step"] if measured else None,
        variety=_newest_known(finite_number(record.get("variety")) for record in newest),
        alarms=_standing(records),
        detail=detail,
        seconds_since=max(0.0, time.time() - log.stat().st_mtime) if log.is_file() else None,
        checkpoint=checkpoints[-1].name if checkpoints else None,
        bytes=_bytes_on_disk(folder),
    )


def _runs_in(place: Path) -> list[Path]:
    try:
        if is_run(place) or not place.is_dir():
            return [place]
        within = sorted(path for path in place.iterdir() if is_run(path))
    except OSError:
        return [place]
    return within or [place]


def _status_or_problem(folder: Path) -> Status | Unreadable:
    try:
        return run_status(folder)
    except SaganError as error:
        problem = str(error)
    except OSError as error:
        problem = f"{error.strerror or error}"
    return Unreadable(folder=str(folder), problem=printable(problem))


def _settings_of(folder: Path) -> Config:
    path = folder / SETTINGS
    if not folder.exists():
        raise SaganError("there is no such folder")
    require_kept_settings(folder)
    if not path.exists():
        raise SaganError("no run folder, and none in it")
    if not path.is_file() or path.stat().st_size > _LARGEST_SETTINGS:
        raise SaganError(f"its {SETTINGS} is none")
    return settings.load_toml(path)


def _state(folder: Path, records: Sequence[Mapping[str, Any]], steps: int) -> tuple[Condition, str]:
    """The state, and what there is to say of it."""
    lock = folder / LOCK
    if is_locked(lock):
        return "running", str(holder_of(lock) or "")
    if lock.exists():
        return "died", str(holder_of(lock) or "")
    if not records:
        return "new", ""
    last = next((record for record in reversed(records) if record.get("event") in _ENDS), None)
    if last is not None:
        detail = last.get("detail")
        return _ENDS[last["event"]], printable(detail) if isinstance(detail, str) else ""
    return "finished" if records[-1]["step"] >= steps else "stopped", ""


def _standing(records: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The alarms that were raised and not cleared."""
    standing: dict[str, str] = {}
    for record in records:
        kind, name = record.get("event"), printable(str(record.get("alarm")))
        if kind == ALARM:
            standing[name] = printable(str(record.get("detail", "")))
        elif kind == CLEARED:
            standing.pop(name, None)
    return standing


def _losses(newest: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    logged = next((record for record in newest if LOSSES[0] in record), {})
    return _printable_numbers({name: logged.get(name) for name in LOSSES})


def _printable_numbers(given: object) -> dict[str, float]:
    return {printable(name): value for name, value in finite_numbers(given).items()}


def _newest_known(values: Iterable[float | None]) -> float | None:
    return next((value for value in values if value is not None), None)


def _bytes_on_disk(folder: Path) -> int:
    """Bytes of the files in a folder, without following links."""
    total, waiting, left = 0, [str(folder)], _MOST_ENTRIES
    while waiting and left > 0:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    left -= 1
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:  # gone meanwhile, or closed to us
            continue
    return total
