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
    newest = 0
    for record in log_records(folder):
        step = record.pop("step")
        newest = max(newest, step)
        measured = record.pop("evaluation", {})
        for target, numbers in ((metrics, measured), (curves, record)):
            for name, value in numbers.items() if isinstance(numbers, dict) else ():
                if isinstance(value, int | float) and abs(value) <= sys.float_info.max:
                    target.setdefault(name, {})[step] = float(value)
    return History(step=newest, curves=_sorted(curves), metrics=_sorted(metrics))


def _sorted(curves: Mapping[str, Mapping[int, float]]) -> dict[str, Series]:
    return {
        name: Series(np.array(sorted(points)), np.array([points[step] for step in sorted(points)]))
        for name, points in curves.items()
    }
