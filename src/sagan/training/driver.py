"""The driver around the loop: the run folder, progress, outputs, guards, signals, ranks."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from sagan.config import Config
from sagan.errors import SaganError, StoppedError
from sagan.runs.events import FINISHED, STARTED, STOPPED, event
from sagan.runs.folder import checkpoint_files
from sagan.runs.locked import locked_run
from sagan.system.device import usual_modes
from sagan.system.progress import duration
from sagan.system.ranks import ALONE, Ranks
from sagan.system.signals import Interruption, interruption
from sagan.system.streams import outliving_readers
from sagan.training.agreement import (
    CHECK_INTERVAL,
    OwnFaults,
    require_same_start,
    require_same_state,
)
from sagan.training.ending import ends_told, stopped
from sagan.training.focus import AttentionWatch
from sagan.training.guards import Guards
from sagan.training.measuring import EvaluationSchedule, Outcome, measured_at, seconds_of_steps
from sagan.training.origin import Beginning
from sagan.training.outputs import Outputs
from sagan.training.preparation import prepare
from sagan.training.rollback import going_back
from sagan.training.starting import (
    first_state,
    is_finished,
    other_bits,
    rewind,
    still_due,
    tell_pictures,
    tell_settings,
    where_it_computes,
)
from sagan.training.watch import PendingTerms, Progress

if TYPE_CHECKING:
    from sagan.evaluation.periodic import Evaluate, Evaluated


class Driver:
    """One training run in its folder, begun or continued; :meth:`train` runs it.

    Until :meth:`begin` nothing is written.

    Args:
        config: The settings.
        folder: The run folder.
        evaluate: Called every ``evaluation.interval`` steps and at the end; whatever it raises,
            training goes on.
        start_from: The model whose weights a new run begins with.
        preset: As for :func:`sagan.training.run.open_run`.
        ranks: The processes that train together; each has a driver. ``evaluate`` is then called
            on all, and has to end on all alike, also where ``asked`` says so.
        asked: Takes note of signals while it trains.

    Attributes:
        beginning: What was taken of that model; None where nothing was.

    Raises:
        SaganError: The data, the folder, the model, the checkpoints or the device do not allow the
            run, or no batch of this size can fit into the memory there is.
    """

    @usual_modes()
    def __init__(
        self,
        config: Config,
        folder: str | Path,
        evaluate: Evaluate | None = None,
        start_from: str | Path | None = None,
        preset: str | None = None,
        ranks: Ranks = ALONE,
        asked: Interruption | None = None,
    ) -> None:
        self.ranks = ranks
        self.preparation = ranks.one_per_host_first(
            lambda: prepare(config, folder, start_from, preset, ranks)
        )
        self.config = self.preparation.config
        self.run = self.preparation.run
        self.dataset = self.preparation.dataset
        self.state = ranks.together(partial(first_state, self.preparation))
        self.schedule = EvaluationSchedule(config.evaluation, config.train.steps)
        self._asked = asked or Interruption()
        self._faults = OwnFaults(ranks)
        evaluate = evaluate and self._interruptible(evaluate)
        self.outputs = Outputs(self.preparation, self.state, self.schedule, evaluate)
        self.attention = AttentionWatch(self.state, self.preparation)
        self.guards = Guards(self.state, self.preparation, self.outputs.log)
        self.beginning: Beginning | None = None
        ranks.together(self._restore)
        require_same_start(self.preparation, self.state.step)
        if self.state.step > config.train.steps:
            raise ranks.of_all(
                SaganError(
                    f"{folder} is already at step {self.state.step}; "
                    f"give more than --train.steps {config.train.steps}"
                )
            )

    def _restore(self) -> None:
        """Takes over the run's newest checkpoint, or the model that it begins from."""
        if checkpoint := self.preparation.checkpoint():
            self.state.restore(checkpoint.parts, checkpoint.step)
        if origin := self.preparation.origin:
            self.beginning = origin.begin(self.state, self.dataset.class_names, self.config.data)
            self.preparation = replace(self.preparation, origin=None)  # whose tensors are many

    def _interruptible(self, evaluate: Evaluate) -> Evaluate:
        """A measurement that ends at a signal; it is made again when the run goes on.

        Many ranks must end it together, which is its own affair.
        """
        if self.ranks.are_many:
            return evaluate

        def measured(*arguments: Any) -> Evaluated:
            with self._asked.acting_at_once():
                return evaluate(*arguments)

        return measured

    def begin(self) -> None:
        """Makes or reopens the run folder, and prints remarks and what the pictures are.

        What a former sitting wrote after the step to go on from is moved aside: lines of the log,
        and its damaged checkpoints. A run that begins from a model has a checkpoint of step 0 and
        needs the model no more; one that may roll back has it too.
        """
        self.ranks.together(self._begin if self.ranks.is_first else lambda: None)

    def _begin(self) -> None:
        tell_settings(self.config, self.run, self.beginning)
        self.run.begin()
        tell_pictures(self.dataset, self.config, self.run)
        rewind(self.run, self.state.step)
        self.outputs.trackers.open(self.state.step)
        may_go_back = self.config.train.on_divergence == "rollback"
        if self.beginning or (may_go_back and not checkpoint_files(self.run.folder)):
            self.outputs.save_checkpoint()
            self.outputs.writer.wait()
        if not self._is_finished():
            where = where_it_computes(self.preparation)
            self.outputs.log(event(STARTED, self.state.step, where=where))
            sys.stderr.write(other_bits(self.run.records()))

    @usual_modes()
    def train(self) -> Outcome:
        """Runs to the configured end, or until a signal; in both cases the last state is saved.

        What was due at the step to go on from and is missing is made first. Another process is
        kept out of the folder meanwhile.

        Raises:
            DivergedError: A number is no longer finite, and the run may not go back any more.
            SaganError: Memory runs out, the disk refuses, another process trains here, or another
                rank has failed; names the last good checkpoint.
            StoppedError: Ctrl-C, a KeyboardInterrupt, or another signal (system/signals.py); the
                step was finished and saved.
        """
        with (
            outliving_readers(),
            locked_run(self.run.folder, self.ranks),
            self.outputs.at_work(),
            ends_told(self.preparation, self.outputs),
        ):
            self.begin()
            require_same_state(self.state, self.preparation)
            return self._train()

    def _train(self) -> Outcome:
        train, begin = self.config.train, time.perf_counter()
        per_step = train.pictures_per_step
        self.schedule.count_in(seconds_of_steps(self.run.records(), per_step))
        with interruption(self._asked):
            with Progress(train, self.state.step) as progress:
                if any((due := self.still_due()).values()):
                    self._save({"checkpoint": False, **due})
                if train.compile and self.state.step < train.steps:
                    sys.stderr.write("compiling: up to two minutes, seconds if done before\n")
                while self.state.step < train.steps:
                    if self.ranks.is_first:
                        self.guards.continue_from(self.run.records())
                    with going_back(self.preparation, self.outputs, progress):
                        self._take_steps(progress)
            self.ranks.together(self._finish)
        seconds = time.perf_counter() - begin
        return Outcome(
            steps=self.state.step,
            images_seen=self.state.step * per_step,
            seconds=seconds,
            images_per_second=progress.done * per_step / max(seconds - self.schedule.spent, 1e-9),
            numbers=measured_at(self.state.step, self.run.records()),
        )

    def _take_steps(self, progress: Progress) -> None:
        """Goes on to the configured end.

        Raises:
            DivergedError: A loss, a gradient or a weight is not finite.
            StoppedError: As for :meth:`train`.
        """
        begin, first, train = time.perf_counter(), self.state.step, self.config.train
        pending = PendingTerms(self.state)
        for terms in self._steps():
            with self._faults.kept():
                self.outputs.raise_failed()
                if self.ranks.is_first:
                    self.guards.after(terms)
            pending.add(self.state.step, terms)
            is_first = self.state.step == first + 1
            stops, reads, measures = self._decided(pending)
            self._report(pending, progress, reads=is_first or reads)
            stops |= self._asked.requested and not self.ranks.are_many
            if is_first and train.compile:
                warm_up = duration(time.perf_counter() - begin)
                sys.stderr.write(f"note: compiling, and the first step, took {warm_up}\n")
            outputs = self._outputs_due(stops=stops, measures=measures)
            if outputs["checkpoint"] or self.state.step % CHECK_INTERVAL == 0:
                require_same_state(self.state, self.preparation)
            if any(outputs.values()):
                progress.advance(pending.read())
                self._save(outputs)
            if stops and self.state.step < train.steps:
                raise stopped(self.preparation, self.outputs, self._asked)

    def _steps(self) -> Iterator[dict[str, Tensor]]:
        """The steps; the first may be cut off (it may compile for minutes): all before is saved."""
        steps = self.preparation.steps(self.state)
        if self.ranks.are_many:  # the others would wait for it
            yield from steps
            return
        saved = self.state.step
        try:
            with self._asked.acting_at_once():
                first = list(islice(steps, 1))
        except StoppedError:
            self.outputs.log(event(STOPPED, saved, by=self._asked.by))
            raise
        yield from chain(first, steps)

    def _decided(self, pending: PendingTerms) -> tuple[bool, ...]:
        """Whether to stop after this step, to read the terms, to measure; all ranks decide alike.

        Anybody may ask for the end; the clock is that of the first rank. What a rank has met since
        the last step, or one before, ends all of them here.
        """
        measures = self.outputs.evaluate is not None and self.schedule.is_due(self.state.step)
        own = (pending.is_due, measures) if self.ranks.is_first else (False, False)
        failed, *decided = self.ranks.any_of_all(
            self._faults.are_there, self._asked.requested, *own
        )
        if failed:
            self.ranks.together(self._faults.raise_kept)
        return tuple(decided)

    def _report(self, pending: PendingTerms, progress: Progress, *, reads: bool) -> None:
        """Reads the terms where the log or the bar wants them: reading waits for the device."""
        train, step = self.config.train, self.state.step
        logs = step == train.steps or step % train.log_interval == 0
        if not (logs or reads):
            return
        terms = pending.read()
        progress.advance(terms)
        if logs and self.ranks.is_first:
            with self._faults.kept():
                rates = {**progress.rate(), **self.state.learning_rates()}
                self.outputs.log({"step": step, **terms[-1], **self.attention.terms(), **rates})

    def _outputs_due(self, *, stops: bool, measures: bool) -> dict[str, bool]:
        """What :meth:`Outputs.save` has to write after a step.

        Whoever types Ctrl-C sees the newest samples; a scheduler does not wait for them. Nobody
        waits for a measurement, which is made when the run goes on.
        """
        train, step = self.config.train, self.state.step
        is_last, is_typed = step == train.steps, self._asked.by == "SIGINT"
        ends = stops or is_last
        return {
            "samples": is_last or (is_typed if stops else train.samples_after(step)),
            "checkpoint": ends or train.checkpoint_after(step),
            "evaluation": measures and (is_last or not stops),
        }

    def _save(self, outputs: dict[str, bool]) -> None:
        def save(**given: bool) -> None:
            self._faults.raise_kept()
            self.outputs.save(**given)

        self.ranks.together(partial(save, **outputs))
        if not outputs["evaluation"]:
            return
        try:
            self.outputs.measure()
        except StoppedError:
            if not outputs["checkpoint"]:
                self.ranks.together(partial(save, samples=False, checkpoint=True))
            raise stopped(self.preparation, self.outputs, self._asked) from None

    def _finish(self) -> None:
        self.outputs.writer.wait()
        if not self.ranks.is_first:
            return
        sys.stderr.writelines([*self.attention.remarks(), *self.guards.remarks()])
        if not is_finished(self.state.step, self.run.records()):
            self.outputs.log(event(FINISHED, self.state.step))

    @property
    def is_finished(self) -> bool:
        """Whether all steps are done, and nothing that was due at the last is missing."""
        return self.ranks.decided_by_first(self._is_finished)

    def _is_finished(self) -> bool:
        return self.state.step == self.config.train.steps and not any(self._still_due().values())

    def still_due(self) -> dict[str, bool]:
        """What should have been written at the step to go on from and was not."""
        return self.ranks.decided_by_first(self._still_due)

    def _still_due(self) -> dict[str, bool]:
        measures = self.outputs.evaluate is not None
        return still_due(self.run, self.schedule, self.state.step, measures=measures)
