"""When a training run is evaluated."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from sagan.config import EvaluationConfig


class EvaluationSchedule:
    """Every so many steps, within a share of the time of this call; and at the end of the run.

    Args:
        config: Interval and share.
        last_step: Where the run ends.
    """

    def __init__(self, config: EvaluationConfig, last_step: int) -> None:
        self._config = config
        self._last_step = last_step
        self._begin = time.monotonic()
        self._spent = 0.0
        self.last_duration = 0.0
        self._is_waiting = False

    def is_due(self, step: int) -> bool:
        """Tells whether to evaluate after a step; one that came too early waits for its time."""
        if not self._config.interval:
            return False
        self._is_waiting |= step % self._config.interval == 0
        elapsed = time.monotonic() - self._begin
        fits = self._spent + self.last_duration <= self._config.time_share * elapsed
        return step == self._last_step or (self._is_waiting and fits)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Times an evaluation, also one that fails."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.last_duration = time.monotonic() - begin
            self._spent += self.last_duration
            self._is_waiting = False
