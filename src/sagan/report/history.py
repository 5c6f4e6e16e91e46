"""The log of a run as curves."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sagan.runs.run import log_records


class Series(NamedTuple):
    """One number over the steps."""

    steps: np.ndarray
    """(N,), ascending."""
    values: np.ndarray
    """float64 (N,), finite."""


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
    by_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """What the newest evaluation during training measured of every class, by name."""

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
    by_class: dict[str, dict[str, float]] = {}
    newest = 0
    for record in log_records(folder):
        step = record.pop("step")
        newest = max(newest, step)
        if found := _numbers(record.pop("variety_by_class", {})):
            varieties = found
            record["variety_least"] = min(found.values())
        if "evaluation" in record:
            measured = record.pop("evaluation_by_class", {})
            named = measured.items() if isinstance(measured, dict) else ()
            by_class = {name: _numbers(of) for name, of in named}
        for target, numbers in ((metrics, record.pop("evaluation", {})), (curves, record)):
            for name, value in _numbers(numbers).items():
                target.setdefault(name, {})[step] = value
    return History(
        step=newest,
        curves=_sorted(curves),
        metrics=_sorted(metrics),
        varieties=varieties,
        by_class=by_class,
    )


def _numbers(given: object) -> dict[str, float]:
    """The finite numbers of what a log holds by name."""
    return {
        name: float(value)
        for name, value in (given.items() if isinstance(given, dict) else ())
        if isinstance(value, int | float) and abs(value) <= sys.float_info.max
    }


def _sorted(curves: Mapping[str, Mapping[int, float]]) -> dict[str, Series]:
    return {
        name: Series(np.array(sorted(points)), np.array([points[step] for step in sorted(points)]))
        for name, points in curves.items()
    }
