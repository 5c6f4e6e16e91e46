"""Which checkpoints a run keeps, and how they are written while training goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sagan.config import Config, nearest
from sagan.errors import SaganError
from sagan.evaluation.measures import METRICS, numbers_of
from sagan.runs.checkpoint import Checkpoint, Parts
from sagan.runs.folder import BEST, best_step, checkpoint_files, step_of
from sagan.runs.log import finite_number, measured_alike
from sagan.runs.run import Run
from sagan.system.background import BackgroundWork
from sagan.system.memory import memory_of

_SPARE = 1.5
"""How many times the size of a copy must be free."""


class CheckpointWriter:
    """Writes checkpoints one after the other, beside training where a copy fits into memory.

    Args:
        is_beside: Whether to; otherwise each is written at once.

    Attributes:
        is_beside: The same.
    """

    def __init__(self, *, is_beside: bool) -> None:
        self.is_beside = is_beside
        self._writing: BackgroundWork | None = None

    def save(self, checkpoint: Checkpoint, write: Callable[[Checkpoint], object]) -> None:
        """Copies the tensors, which may change as soon as this returns, and has the copy written.

        It waits for the one before. Without memory for a copy it is written at once.

        Args:
            checkpoint: What is written.
            write: Writes it, in another thread.

        Raises:
            SaganError: As ``write``, of this checkpoint or of the one before.
        """
        self.wait()
        size = sum(t.nbytes for named in checkpoint.parts.values() for t in named.values())
        memory = memory_of(torch.device("cpu")) if self.is_beside else None
        if memory is None or _SPARE * size > memory.available:
            write(checkpoint)
            return
        copy = replace(checkpoint, parts=_copied(checkpoint.parts))
        self._writing = BackgroundWork(lambda: write(copy))

    def raise_failed(self) -> None:
        """Raises what kept the newest checkpoint from being written, if that is known by now."""
        if self._writing is not None:
            self._writing.raise_failed()

    def join(self) -> None:
        """Waits for the end of writing, however that ends."""
        if self._writing is not None:
            self._writing.join()

    def wait(self) -> None:
        """Waits until the newest checkpoint is in place.

        Raises:
            SaganError: It could not be written.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.wait()

    @contextmanager
    def finished(self) -> Iterator[None]:
        """Waits at the end of what is within, however that ends.

        Raises:
            SaganError: The newest checkpoint could not be written, unless another mistake or fault
                ended what is within.
        """
        try:
            yield
        except SaganError:
            self.join()
            raise
        except BaseException:
            self.wait()
            raise
        self.wait()


def _copied(parts: Parts) -> dict[str, dict[str, Tensor]]:
    """Copies in main memory, one after the other in memory order."""
    return {
        part: {
            name: torch.empty_like(
                tensor, device="cpu", memory_format=torch.contiguous_format
            ).copy_(tensor.detach())
            for name, tensor in named.items()
        }
        for part, named in parts.items()
    }


def require_best(config: Config) -> None:
    """Refuses a ``train.keep_best`` by which checkpoints cannot be compared.

    Raises:
        SaganError: There is no such metric, it has no better side, or it is not measured on the
            way.
    """
    key, evaluation = config.train.keep_best, config.evaluation
    if not key:
        return
    known = [metric.key for metric in METRICS.values() if metric.better in ("lower", "higher")]
    if key not in known:
        raise SaganError(
            f"train.keep_best = {key!r} is no metric by which models can be ranked"
            f"{nearest(key, known)}; there are {', '.join(known)}"
        )
    is_measured = not evaluation.metrics or {key, "all"} & set(evaluation.metrics)
    if not (evaluation.samples and evaluation.interval and is_measured):
        raise SaganError(
            f"train.keep_best = {key!r} needs measurements on the way; give --evaluation.interval, "
            f"--evaluation.samples and {key} among --evaluation.metrics, or leave it out"
        )


def best_mark(run: Run, key: str, step: int, record: Mapping[str, Any]) -> dict[str, str]:
    """What the record of a measurement says of the best by then: ``{"best": "12000"}``.

    It is compared with those of other steps in the log whose checkpoints are there and that were
    measured alike: by the same features, with as many pictures. The first number of a metric
    counts, such as the precision of "pr"; of equal ones the earliest is the best.

    Args:
        run: Whose log is read.
        key: The metric; empty for none.
        step: Of the measurement.
        record: It, as it goes into the log.
    """
    name, _ = measured = _first_number(record, key) if key else ("", math.nan)
    if not name:
        return {}
    there = {step_of(file) for file in checkpoint_files(run.folder)} - {step}
    numbers = {
        other["step"]: _first_number(other, key)
        for other in run.records()
        if other["step"] in there and measured_alike(other, record)
    } | {step: measured}
    alike = {at: number for at, (of, number) in sorted(numbers.items()) if of == name}
    best = max if METRICS[key].better == "higher" else min
    return {BEST: str(best(alike, key=lambda at: alike[at]))}


def _first_number(record: Mapping[str, Any], key: str) -> tuple[str, float]:
    """Name and value of the first number of a metric in a record of the log, or ("", NaN)."""
    numbers = record.get("evaluation")
    found = numbers_of(key, numbers) if isinstance(numbers, dict) else {}
    name, number = next(iter(found.items()), ("", math.nan))
    return ("", math.nan) if finite_number(number) is None else (name, number)


def remove_old_checkpoints(run: Run, newest: int) -> None:
    """Removes what ``train.keep_checkpoints``, ``keep_every`` and ``keep_best`` do not keep.

    Args:
        run: The run.
        newest: The step whose checkpoint was just put in place; later ones are let be.
    """
    train = run.config.train
    best = best_step(run.folder) if train.keep_best else None
    files = [file for file in checkpoint_files(run.folder) if step_of(file) <= newest]
    for file in files[: -train.keep_checkpoints]:
        step = step_of(file)
        if step != best and not train.is_kept(step):
            file.unlink(missing_ok=True)
