"""When a run is measured, and how it ended."""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagan.config import EvaluationConfig
from sagan.errors import SaganError
from sagan.runs.log import finite_number

if TYPE_CHECKING:
    from sagan.evaluation.periodic import Evaluated


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a call of :func:`train` ended."""

    steps: int
    """Steps done in all."""
    images_seen: int
    """Real pictures seen in all, each time one is seen."""
    seconds: float
    """Wall time of this call's loop, samples and checkpoints included."""
    images_per_second: float
    """Real pictures seen per second in this call, time for measuring aside."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """What was measured at this step, by name; {} where nothing was (docs/evaluation.md)."""

    def lines(self) -> list[str]:
        """What was measured, for a terminal: a line, or none."""
        words = numbers_in_words(self.numbers)
        return [f"measured against training pictures: {words}"] if words else []


class EvaluationSchedule:
    """When to evaluate: at an interval, within a share of the time, and at the end of the run.

    Args:
        config: Interval and share.
        last_step: Where the run ends.

    Attributes:
        spent: Seconds of all evaluations so far.
        last_duration: Seconds of the last one.
    """

    def __init__(self, config: EvaluationConfig, last_step: int) -> None:
        self._config = config
        self._last_step = last_step
        self._begin = time.monotonic()
        self._before = 0.0
        self.spent = 0.0
        self.last_duration = 0.0
        self._is_waiting = False
        self._told: set[str] = set()  # notes, which a run tells once

    def count_in(self, seconds: float) -> None:
        """Adds what earlier sittings of the run took."""
        self._before += seconds

    def due_since(self, step: int) -> int | None:
        """The step from which on a run that goes on at ``step`` should have been measured.

        None if no measurement was due so far.
        """
        if not self._config.samples:
            return None
        if step == self._last_step or not self._config.interval:
            return step if step == self._last_step else None
        return step // self._config.interval * self._config.interval or None

    def is_due(self, step: int) -> bool:
        """Whether to evaluate after a step; one that would take too much of the time is put off."""
        if not self._config.samples:
            return False
        if step == self._last_step or not self._config.interval:
            return step == self._last_step
        self._is_waiting |= step % self._config.interval == 0
        elapsed = time.monotonic() - self._begin
        fits = self.spent + self.last_duration <= self._config.time_share * elapsed
        return self._is_waiting and fits

    def seconds_left(self) -> float:
        """How long an evaluation may take; any time where the run asked for an interval."""
        if self._config.interval:
            return math.inf
        elapsed = self._before + time.monotonic() - self._begin
        return max(0.0, self._config.time_share * elapsed - self.spent)

    def measured(self, step: int, measure: Callable[[], Evaluated], command: str) -> dict[str, Any]:
        """Evaluates and tells the numbers, or what kept it from doing so.

        A failure is told as a warning; at an end that nobody asked to be measured, a known obstacle
        only as a line with the command that measures.

        Returns:
            The record for the log; {} where there is nothing to keep.
        """
        try:
            with self.timed():
                found = measure()
        except Exception as error:
            if isinstance(error, SaganError) and not self._config.interval:
                sys.stderr.write(f"not measured: {error}; {command} measures the model\n")
                return {}
            outlook = "training goes on" if step < self._last_step else "the model is saved"
            told = f"evaluation at step {step} failed, {outlook}: {error}"
            warnings.warn(told, RuntimeWarning, stacklevel=3)
            return {"step": step, "evaluation_error": str(error)}
        seconds = self.last_duration
        words = numbers_in_words(found.numbers)
        sys.stderr.write(f"step {step}, against training pictures: {words} ({seconds:.0f} s)\n")
        new = [note for note in found.notes if note not in self._told]
        sys.stderr.writelines(f"note: {note}\n" for note in new)
        self._told.update(new)
        record = {"step": step, "evaluation": dict(found.numbers)}
        if found.by_class:
            record["evaluation_by_class"] = {name: dict(of) for name, of in found.by_class.items()}
        return {
            **record,
            "evaluation_pictures": found.pictures,
            "evaluation_protocol": found.protocol,
            "evaluation_seconds": round(seconds, 1),
        }

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Times an evaluation, also one that fails."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.last_duration = time.monotonic() - begin
            self.spent += self.last_duration
            self._is_waiting = False


def numbers_in_words(numbers: Mapping[str, float]) -> str:
    """Measured numbers in one line."""
    return ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())


def seconds_of_steps(records: Iterable[Mapping[str, Any]], pictures_per_step: int) -> float:
    """What the steps in a log took, by the speeds that it states; 0 where it states none."""
    seconds, before = 0.0, 0
    for record in records:
        if (rate := finite_number(record.get("images_per_second"))) and rate > 0:
            seconds += max(0, record["step"] - before) * pictures_per_step / rate
            before = record["step"]
    return seconds


def measured_at(step: int, records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The numbers that a log holds of a step; {} where there are none."""
    found = [record.get("evaluation") for record in records if record["step"] == step]
    return next((numbers for numbers in reversed(found) if isinstance(numbers, dict)), {})
