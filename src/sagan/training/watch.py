"""Watching a run: the terms of its loss and its progress."""

import math
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from sagan.config import TrainConfig
from sagan.errors import DivergedError
from sagan.nn.residual import AnyDiscriminator, AnyGenerator
from sagan.system.progress import duration
from sagan.training.state import TrainingState

_WEIGHT_OF_NEWEST = 0.02


class Progress:
    """Steps, speed, losses and time left, on stderr: a bar on a terminal, lines elsewhere.

    Args:
        config: Gives the number of steps and the batch size.
        step: Steps already done.

    Attributes:
        done: Steps that were done since then, also those that were in vain.
    """

    def __init__(self, config: TrainConfig, step: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        console = Console(stderr=True)
        self._config = config
        self._is_terminal = console.is_terminal
        self._bar = Bar(
            TextColumn("step {task.completed}/{task.total}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[rate]}  {task.fields[losses]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]} left"),
            console=console,
            disable=not self._is_terminal,
        )
        self._task = self._bar.add_task(
            "", total=config.steps, completed=step, rate="", losses="", left="?"
        )
        self._step = step
        self.done = 0
        self._losses: dict[str, float] = {}
        self._seconds_per_step = 0.0
        self._readings = 0
        self._last = time.perf_counter()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def go_back(self, step: int) -> None:
        """Counts on from an earlier step; the losses of the steps between are forgotten."""
        self._step, self._losses, self._last = step, {}, time.perf_counter()
        self._bar.update(self._task, completed=step)

    def advance(self, terms: Sequence[dict[str, float]]) -> None:
        """Counts finished steps, given the loss terms of each."""
        if not terms:
            return
        now = time.perf_counter()
        seconds = (now - self._last) / len(terms)
        self._last = now
        self._readings += 1
        for step_terms in terms:
            # The first reading is the first step's, in which much happens that never happens again.
            weight = _WEIGHT_OF_NEWEST if self._readings > 2 else 1.0
            self._seconds_per_step += weight * (seconds - self._seconds_per_step)
            weight = _WEIGHT_OF_NEWEST if self._losses else 1.0
            for name, value in step_terms.items():
                before = self._losses.get(name, value)
                self._losses[name] = before + weight * (value - before)
        self._step += len(terms)
        self.done += len(terms)
        if self._is_terminal:
            fields = self._fields()
            self._bar.update(
                self._task,
                completed=self._step,
                rate=fields["rate"],
                losses=fields["losses"],
                left=fields["left"],
            )
        elif self._step % self._config.log_interval == 0 or self._step == self._config.steps:
            fields = self._fields()
            sys.stderr.write(
                f"step {self._step}/{self._config.steps}  {fields['rate']}  {fields['losses']}  "
                f"{fields['left']} left\n"
            )

    def rate(self) -> dict[str, float]:
        """Pictures per second, averaged over the last steps, for the log."""
        return {"images_per_second": round(self._images_per_second(), 1)}

    def _images_per_second(self) -> float:
        return self._config.pictures_per_step / max(self._seconds_per_step, 1e-9)

    def _fields(self) -> dict[str, str]:
        left = (self._config.steps - self._step) * self._seconds_per_step
        real, fake = self._losses["discriminator_real"], self._losses["discriminator_fake"]
        return {
            "rate": f"{self._images_per_second():.0f} images/s",
            "losses": f"D {real + fake:.2f} G {self._losses['generator']:+.2f}",
            "left": duration(left),
        }


SECONDS_BETWEEN_READS = 0.5
_BLOCKS = ("blocks.", "layers.")
_NOT_MADE = ", so the update was not made"


class PendingTerms:
    """Loss terms that are still on the device. Reading them blocks; do it rarely.

    Args:
        state: Says after each step whether it diverged, and by which gradient.
    """

    def __init__(self, state: TrainingState) -> None:
        self._state = state
        self._pending: list[tuple[int, dict[str, Tensor], Tensor]] = []
        self._last_read = time.monotonic()

    def add(self, step: int, terms: dict[str, Tensor]) -> None:
        """Keeps the terms of a step, counted from 1, unread."""
        self._pending.append((step, terms, self._state.diverged.clone()))

    @property
    def is_due(self) -> bool:
        """Whether the last reading was more than half a second ago."""
        return time.monotonic() - self._last_read > SECONDS_BETWEEN_READS

    def read(self) -> list[dict[str, float]]:
        """Hands over the terms of all steps since the last reading.

        Raises:
            DivergedError: One of them, or a gradient, is not finite; names the first.
        """
        pending, self._pending = self._pending, []
        self._last_read = time.monotonic()
        if not pending:
            return []
        unread = [value for _, terms, flag in pending for value in (*terms.values(), flag)]
        values = iter(torch.stack(unread).tolist())
        read = []
        for step, terms, _ in pending:
            read.append({name: next(values) for name in terms})
            has_diverged = next(values)
            for name, value in read[-1].items():
                if not math.isfinite(value):
                    raise DivergedError(f"step {step}: {name} is {value}{_NOT_MADE}")
            if has_diverged:
                raise DivergedError(f"step {step}: {self._gradient()} is not finite{_NOT_MADE}")
        return read

    def _gradient(self) -> str:
        """In words: the gradient that was not finite first, nearest the loss."""
        state = self._state
        optimizers = state.discriminator_optimizer, state.generator_optimizer
        for network, optimizer in zip(("discriminator", "generator"), optimizers, strict=True):
            if names := optimizer.not_finite():
                last = max(names, key=_order_of_pass(getattr(state, network)).index)
                more = f" (and of {len(names) - 1} more)" if names[1:] else ""
                return f"the gradient of {network}.{last}{more}"
        return "a gradient"


def _order_of_pass(network: AnyGenerator | AnyDiscriminator) -> list[str]:
    """The parameters in the order in which a pass meets them: attention is between the blocks."""
    names = [name for name, _ in network.named_parameters()]
    first = next(i for i, name in enumerate(names) if name.startswith(_BLOCKS))
    after = {place.name: i for i, place in enumerate(network.attention.places) if place}

    def position(index: int) -> tuple[int, int, int]:
        name = names[index]
        if name.startswith((*_BLOCKS, "attention.")):
            number = name.split(".")[1]
            return 1, int(number) if name.startswith(_BLOCKS) else after[number], index
        return 0 if index < first else 2, 0, index

    return [names[index] for index in sorted(range(len(names)), key=position)]
