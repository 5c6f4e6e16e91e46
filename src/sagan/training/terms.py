"""Terms of the loss on their way from the device to the log."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from sagan.errors import SaganError

SECONDS_BETWEEN_READS = 0.5


class DivergedError(SaganError):
    """A term of the loss is not finite; from that update on nothing was updated."""

    def __init__(self, step: int, term: str, value: float) -> None:
        super().__init__(f"step {step}: {term} is {value}")
        self.step = step
        self.term = term


class PendingTerms:
    """Terms of steps done, waiting on the device: reading them waits for it, so seldom is best."""

    def __init__(self) -> None:
        self._pending: list[tuple[int, dict[str, Tensor]]] = []
        self._last_read = time.monotonic()

    def add(self, step: int, terms: dict[str, Tensor]) -> None:
        """Keeps the terms of a step, counted from 1, unread."""
        self._pending.append((step, terms))

    @property
    def is_due(self) -> bool:
        """Whether the last reading is so long ago that somebody may wait for the next."""
        return time.monotonic() - self._last_read > SECONDS_BETWEEN_READS

    def read(self) -> list[dict[str, float]]:
        """Hands over the terms of all steps since the last reading.

        Raises:
            DivergedError: One of them is not finite; names the first.
        """
        pending, self._pending = self._pending, []
        self._last_read = time.monotonic()
        if not pending:
            return []
        values = iter(torch.stack([t for _, terms in pending for t in terms.values()]).tolist())
        read = [(step, {name: next(values) for name in terms}) for step, terms in pending]
        for step, terms in read:
            for name, value in terms.items():
                if not math.isfinite(value):
                    raise DivergedError(step, name, value)
        return [terms for _, terms in read]
