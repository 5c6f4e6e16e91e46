"""The driver around the loop: the run folder, progress, samples, checkpoints, guards."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from sagan.config import Config
from sagan.errors import DivergedError, FaultError, SaganError, StoppedError
from sagan.runs.events import FINISHED, STARTED, STOPPED, event
from sagan.runs.run import locked_run
from sagan.system.memory import is_out_of_memory, readable
from sagan.system.progress import duration
from sagan.system.signals import Interruption, interruption
from sagan.system.streams import outliving_readers
from sagan.training.choice import settings_of_run
from sagan.training.focus import AttentionWatch
from sagan.training.footprint import footprint, require_memory
from sagan.training.measuring import EvaluationSchedule, Outcome, measured_at, seconds_of_steps
from sagan.training.origin import Beginning
from sagan.training.outputs import Outputs
from sagan.training.preparation import prepare
from sagan.training.starting import (
    is_finished,
    other_bits,
    rewind,
    still_due,
    tell_pictures,
    tell_settings,
    where_it_computes,
)
from sagan.training.state import TrainingState, new_state
from sagan.training.watch import PendingTerms, Progress

if TYPE_CHECKING:
    from sagan.evaluation.periodic import Evaluate, Evaluated


def train(
    config: Config | str | Path | None,
    folder: str | Path,
    *,
    source: str | None = None,
    minutes: float | None = None,
    start_from: str | Path | None = None,
    other_pictures: bool = False,
) -> Outcome:
    """Trains a model in a run folder; the same call again continues exactly.

    Args:
        config: Settings, the name of a preset or the path of a ``.toml`` file; None for those of
            the run or the model to start from, or that follow from the pictures and the time.
        folder: The run folder: settings, log, samples and checkpoints.
        source: The pictures to learn from instead of those that the settings name, as for
            :func:`sagan.open_dataset`.
        minutes: How long a new run without ``config`` may take; 30 where only pictures are named.
        start_from: A model, as for :func:`sagan.load_generator`, whose weights a new run begins
            with. Unless ``config`` are settings, the networks and the size of the pictures are the
            model's.
        other_pictures: Allow a preset other pictures than those that it is for.

    Raises:
        SaganError: As for :func:`open_run` and :meth:`Driver.train`.
        StoppedError: Ctrl-C, a KeyboardInterrupt, or another signal; the step was finished and
            saved.

    Example:
        >>> outcome = sagan.train(None, "runs/mine", source="path/to/pictures", minutes=30)
        >>> sagan.load_generator("runs/mine").sample(seeds=range(16), labels="cat")
    """
    with outliving_readers(), locked_run(folder):
        settings = settings_of_run(config, folder, source, minutes, start_from)
        preset = config if isinstance(config, str) and not other_pictures else None
        return open_run(settings, folder, start_from, preset=preset).train()


def open_run(
    config: Config,
    folder: str | Path,
    start_from: str | Path | None = None,
    *,
    preset: str | None = None,
) -> Driver:
    """Opens a run with the evaluations that its settings ask for, by default one at its end.

    Args:
        config: The settings.
        folder: The run folder.
        start_from: The model whose weights a new run begins with.
        preset: Name of the preset that they come from: a new run is refused other pictures than
            those that it is for.

    Raises:
        SaganError: As for :class:`Driver`, the pictures are others, or the evaluation lacks its
            feature network.
    """
    evaluate = None
    if config.evaluation.samples:
        from sagan.evaluation.periodic import PeriodicEvaluation, periodic_evaluation

        prepared = periodic_evaluation if config.evaluation.interval else PeriodicEvaluation
        evaluate = prepared(config.evaluation, config.train.device)
    return Driver(config, folder, evaluate, start_from, preset)


class Driver:
    """One training run in its folder, begun or continued; :meth:`train` runs it.

    Until :meth:`begin` nothing is written.

    Args:
        config: The settings.
        folder: The run folder.
        evaluate: Called every ``evaluation.interval`` steps and at the end; whatever it raises,
            training goes on.
        start_from: The model whose weights a new run begins with.
        preset: As for :func:`open_run`.

    Attributes:
        beginning: What was taken of that model; None where nothing was.

    Raises:
        SaganError: The data, the folder, the model, the checkpoints or the device do not allow the
            run, or no batch of this size can fit into the memory there is.
    """

    def __init__(
        self,
        config: Config,
        folder: str | Path,
        evaluate: Evaluate | None = None,
        start_from: str | Path | None = None,
        preset: str | None = None,
    ) -> None:
        self.preparation = prepare(config, folder, start_from, preset)
        self.config = self.preparation.config
        self.run = self.preparation.run
        self.dataset = self.preparation.dataset
        self.state = self._new_state()
        self._require_memory()
        self.schedule = EvaluationSchedule(config.evaluation, config.train.steps)
        self._asked = Interruption()
        evaluate = evaluate and self._interruptible(evaluate)
        self.outputs = Outputs(self.preparation, self.state, self.schedule, evaluate)
        self.attention = AttentionWatch(self.state, self.preparation)
        if checkpoint := self.preparation.checkpoint():
            self.state.restore(checkpoint.parts, checkpoint.step)
        self.beginning: Beginning | None = None
        if origin := self.preparation.origin:
            self.beginning = origin.begin(self.state, self.dataset.class_names, config.data)
            self.preparation = replace(self.preparation, origin=None)  # whose tensors are many
        if self.state.step > config.train.steps:
            raise SaganError(
                f"{folder} is already at step {self.state.step}; "
                f"give more than --train.steps {config.train.steps}"
            )

    def begin(self) -> None:
        """Makes or reopens the run folder, and prints remarks and what the pictures are.

        What a former sitting wrote after the step to go on from is moved aside: lines of the log,
        and its damaged checkpoints. A run that begins from a model has a checkpoint of step 0 and
        needs the model no more.
        """
        tell_settings(self.config, self.run, self.beginning)
        self.run.begin()
        tell_pictures(self.dataset, self.config, self.run)
        rewind(self.run, self.state.step)
        if self.beginning is not None:
            self.outputs.save_checkpoint()
        if not self.is_finished:
            where = where_it_computes(self.preparation)
            self.outputs.log(event(STARTED, self.state.step, where=where))
            sys.stderr.write(other_bits(self.run.records()))

    def _new_state(self) -> TrainingState:
        try:
            return new_state(self.config, self.preparation.num_classes, self.preparation.device)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise SaganError(
                "memory ran out while the networks were made; choose smaller channels, or free "
                "memory and give the same command again"
            ) from error

    def _require_memory(self) -> None:
        parts = self.state.parts().values()
        size = sum(tensor.nbytes for tensors in parts for tensor in tensors.values())
        there = self.preparation
        require_memory(self.config, there.num_classes, size, there.memory, bfloat16=there.bfloat16)

    def train(self) -> Outcome:
        """Runs to the configured end, or until a signal; in both cases the last state is saved.

        What was due at the step to go on from and is missing is made first. Another process is
        kept out of the folder meanwhile.

        Raises:
            SaganError: A loss is not finite, memory runs out, the disk refuses, or another process
                trains here; names the last good checkpoint.
            StoppedError: Ctrl-C, a KeyboardInterrupt, or another signal (system/signals.py); the
                step was finished and saved.
        """
        with outliving_readers(), locked_run(self.run.folder), self._memory_told():
            self.begin()
            return self._train()

    def _train(self) -> Outcome:
        train, first = self.config.train, self.state.step
        begin = time.perf_counter()
        self.schedule.count_in(seconds_of_steps(self.run.records(), train.pictures_per_step))
        with interruption() as self._asked, Progress(train, first) as progress:
            if any((due := self.still_due()).values()):
                self.outputs.save(checkpoint=False, **due)
            pending = PendingTerms()
            for terms in self._steps():
                pending.add(self.state.step, terms)
                is_first = self.state.step == first + 1
                self._report(pending, progress, is_first=is_first)
                stops = self._asked.requested
                if is_first and train.compile:
                    warm_up = duration(time.perf_counter() - begin)
                    sys.stderr.write(f"note: compiling, and the first step, took {warm_up}\n")
                outputs = self._outputs_due(stops=stops)
                if any(outputs.values()):
                    progress.advance(self._read(pending))
                    self._save(outputs)
                if stops and self.state.step < train.steps:
                    raise self._stopped()
        self._finish()
        seconds = time.perf_counter() - begin
        pictures = (self.state.step - first) * train.pictures_per_step
        return Outcome(
            steps=self.state.step,
            images_seen=self.state.step * train.pictures_per_step,
            seconds=seconds,
            images_per_second=pictures / max(seconds - self.schedule.spent, 1e-9),
            numbers=measured_at(self.state.step, self.run.records()),
        )

    def _steps(self) -> Iterator[dict[str, Tensor]]:
        """The steps; the first may be cut off (it may compile for minutes): all before is saved."""
        steps = self.preparation.steps(self.state)
        with self._asked.acting_at_once():
            first = list(islice(steps, 1))
        yield from chain(first, steps)

    def _save(self, outputs: dict[str, bool]) -> None:
        try:
            self.outputs.save(**outputs)
        except StoppedError:  # while it was measured, which comes last
            if not outputs["checkpoint"]:
                self.outputs.save(samples=False, checkpoint=True)
            raise self._stopped() from None

    def _stopped(self) -> StoppedError:
        step, by = self.state.step, self._asked.by
        self.outputs.log(event(STOPPED, step, by=by))
        return StoppedError(f"stopped at step {step} by {by} and saved; the same command continues")

    def _finish(self) -> None:
        sys.stderr.writelines(self.attention.remarks())
        if not is_finished(self.state.step, self.run.records()):
            self.outputs.log(event(FINISHED, self.state.step))

    def _interruptible(self, evaluate: Evaluate) -> Evaluate:
        """A measurement that ends at a signal; it is made again when the run goes on."""

        def measured(*arguments: Any) -> Evaluated:
            with self._asked.acting_at_once():
                return evaluate(*arguments)

        return measured

    @property
    def is_finished(self) -> bool:
        """Whether all steps are done, and nothing that was due at the last is missing."""
        return self.state.step == self.config.train.steps and not any(self.still_due().values())

    def still_due(self) -> dict[str, bool]:
        """What should have been written at the step to go on from and was not."""
        measures = self.outputs.evaluate is not None
        return still_due(self.run, self.schedule, self.state.step, measures=measures)

    def _report(self, pending: PendingTerms, progress: Progress, *, is_first: bool) -> None:
        """Reads the terms where the log or the bar wants them: reading waits for the device."""
        train, step = self.config.train, self.state.step
        logs = step == train.steps or step % train.log_interval == 0
        if not (logs or is_first or pending.is_due):
            return
        terms = self._read(pending)
        progress.advance(terms)
        if logs:
            self.outputs.log(
                {"step": step, **terms[-1], **self.attention.terms(), **progress.rate()}
            )

    def _outputs_due(self, *, stops: bool) -> dict[str, bool]:
        """What :meth:`Outputs.save` has to write after a step.

        Whoever types Ctrl-C sees the newest samples; a scheduler does not wait for them.
        """
        train, step = self.config.train, self.state.step
        is_last, is_typed = step == train.steps, self._asked.by == "SIGINT"
        return {
            "samples": is_last or (is_typed if stops else train.samples_after(step)),
            "checkpoint": is_last or stops or step % train.checkpoint_interval == 0,
            "evaluation": self.outputs.evaluate is not None and self.schedule.is_due(step),
        }

    def _read(self, pending: PendingTerms) -> list[dict[str, float]]:
        try:
            return pending.read()
        except DivergedError as error:
            raise DivergedError(
                f"{error}, so the run stopped before the update; {self.run.last_good}; "
                f"{self.outputs.lower_rates}"
            ) from error

    @contextmanager
    def _memory_told(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise FaultError(self._out_of_memory()) from error

    def _out_of_memory(self) -> str:
        batch, there = self.config.train.batch_size, self.preparation
        need = footprint(self.config, there.num_classes, bfloat16=there.bfloat16)
        free, remedy = "", f"begin {self.run.another} with a smaller --train.batch-size"
        if there.memory is not None:
            free = f" and {readable(there.memory.available)} were free at the start"
            if not need.fits(batch, there.memory.available):
                remedy = f"begin {self.run.another}: {need.remedy(there.memory.available)}"
        return (
            f"step {self.state.step + 1}: memory ran out with batches of {batch}, whose estimated "
            f"need is {readable(need.of(batch))}{free}; {self.run.last_good}; "
            f"{remedy}, or free memory and give the same command again"
        )
