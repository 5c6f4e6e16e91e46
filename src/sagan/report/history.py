"""The log of a run as curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sagan.evaluation.measures import numbers_of
from sagan.runs.alarms import WATCHED, Alarm, Alarms
from sagan.runs.events import ALARM, CLEARED
from sagan.runs.log import finite_numbers, log_records, measured_alike


class Series(NamedTuple):
    """One number over the steps."""

    steps: np.ndarray
    """(N,), ascending."""
    values: np.ndarray
    """float64 (N,), finite."""


class AlarmChange(NamedTuple):
    """An alarm that was raised or cleared."""

    step: int
    name: str
    words: str
    """What was found and what helps, or that it is over."""


@dataclass(frozen=True, kw_only=True)
class History:
    """What a run has logged so far."""

    step: int = 0
    """The newest logged step."""
    curves: Mapping[str, Series] = field(default_factory=dict)
    """Losses, gammas, speed and variety by the names they have in the log."""
    metrics: Mapping[str, Series] = field(default_factory=dict)
    """What evaluations during training measured, by name."""
    varieties: Mapping[str, float] = field(default_factory=dict)
    """The newest variety of every class."""
    evaluations: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """The records of the metrics, by step."""
    by_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """What the newest evaluation during training measured of every class, by name."""
    watched: bool = False
    """Whether checks looked for alarms."""
    alarms: Mapping[str, Alarm] = field(default_factory=dict)
    """Those that stand at the end of the log, by name."""
    alarm_changes: Sequence[AlarmChange] = ()
    """In their order."""

    def comparable(self, key: str) -> np.ndarray:
        """A metric's numbers, oldest first, that were measured as its newest was.

        By the same features, with as many pictures: (N,), empty where it was not measured.
        """
        found = numbers_of(key, self.metrics).values()
        if not found:
            return np.empty(0)
        series = max(found, key=lambda one: one.steps[-1])
        records = [self.evaluations.get(step, {}) for step in series.steps]
        return series.values[[measured_alike(record, records[-1]) for record in records]]

    def newest(self, name: str, share: float = 0.0) -> float | None:
        """Mean of a curve over its last ``share``, at least its last value; None without one."""
        if name not in self.curves:
            return None
        values = self.curves[name].values
        return float(values[-max(1, round(share * len(values))) :].mean())


def read_history(folder: Path) -> History:
    """Reads the log of a run folder.

    Raises:
        OSError: It exists and cannot be read.
    """
    curves: dict[str, dict[int, float]] = {}
    metrics: dict[str, dict[int, float]] = {}
    varieties: dict[str, float] = {}
    evaluations: dict[int, dict[str, Any]] = {}
    by_class: dict[str, dict[str, float]] = {}
    newest = 0
    records = log_records(folder)
    watched = any(name.startswith(WATCHED) for record in records for name in record)
    standing = Alarms(records).standing
    changes = [
        AlarmChange(record["step"], str(record.get("alarm")), str(record.get("detail", "is over")))
        for record in records
        if record.get("event") in (ALARM, CLEARED)
    ]
    for record in records:
        step = record.pop("step")
        newest = max(newest, step)
        if found := finite_numbers(record.pop("variety_by_class", {})):
            varieties = found
            record["variety_least"] = min(found.values())
        if "evaluation" in record:
            evaluations[step] = dict(record)
            measured = record.pop("evaluation_by_class", {})
            named = measured.items() if isinstance(measured, dict) else ()
            by_class = {name: finite_numbers(of) for name, of in named}
        for target, numbers in ((metrics, record.pop("evaluation", {})), (curves, record)):
            for name, value in finite_numbers(numbers).items():
                target.setdefault(name, {})[step] = value
    return History(
        step=newest,
        curves=_sorted(curves),
        metrics=_sorted(metrics),
        varieties=varieties,
        evaluations=evaluations,
        by_class=by_class,
        watched=watched,
        alarms=standing,
        alarm_changes=changes,
    )


def _sorted(curves: Mapping[str, Mapping[int, float]]) -> dict[str, Series]:
    return {
        name: Series(np.array(sorted(points)), np.array([points[step] for step in sorted(points)]))
        for name, points in curves.items()
    }
