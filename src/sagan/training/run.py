"""The driver around the loop: the run folder, progress, samples, checkpoints, guards."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sagan.config import Config
from sagan.data.looking import survey_of
from sagan.data.survey_text import survey_as_json, text
from sagan.errors import DivergedError, FaultError, SaganError, StoppedError
from sagan.system.memory import is_out_of_memory, readable
from sagan.system.progress import duration
from sagan.system.ranks import ALONE, Ranks, ranks_of_torchrun
from sagan.system.signals import Interruption, interruption
from sagan.training.agreement import CHECK_INTERVAL, require_same_start, require_same_state
from sagan.training.choice import settings_of_run
from sagan.training.focus import AttentionWatch
from sagan.training.footprint import footprint, require_memory
from sagan.training.measuring import EvaluationSchedule, Outcome, measured_at, seconds_of_steps
from sagan.training.origin import Beginning, recorded_origin
from sagan.training.outputs import Outputs
from sagan.training.preparation import device_of_rank, prepare
from sagan.training.state import TrainingState, new_state
from sagan.training.watch import PendingTerms, Progress

if TYPE_CHECKING:
    from sagan.evaluation.periodic import Evaluate


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
        StoppedError: Ctrl-C, a KeyboardInterrupt; the step was finished and saved.

    Example:
        >>> outcome = sagan.train(None, "runs/mine", source="path/to/pictures", minutes=30)
        >>> sagan.load_generator("runs/mine").sample(seeds=range(16), labels="cat")
    """
    preset = config if isinstance(config, str) and not other_pictures else None
    with ranks_of_torchrun() as ranks:
        settings = settings_of_run(config, folder, source, minutes, start_from, ranks)
        return open_run(settings, folder, start_from, preset=preset, ranks=ranks).train()


def open_run(
    config: Config,
    folder: str | Path,
    start_from: str | Path | None = None,
    *,
    preset: str | None = None,
    ranks: Ranks = ALONE,
) -> Driver:
    """Opens a run with the evaluations that its settings ask for, by default one at its end.

    Args:
        config: The settings.
        folder: The run folder.
        start_from: The model whose weights a new run begins with.
        preset: Name of the preset that they come from: a new run is refused other pictures than
            those that it is for.
        ranks: The processes that train together; each calls this.

    Raises:
        SaganError: As for :class:`Driver`, the pictures are others, or the evaluation lacks its
            feature network.
    """

    def evaluation() -> Evaluate | None:
        if not config.evaluation.samples:
            return None
        from sagan.evaluation.periodic import PeriodicEvaluation, periodic_evaluation

        prepared = periodic_evaluation if config.evaluation.interval else PeriodicEvaluation
        device = device_of_rank(config.train.device, ranks)
        return prepared(config.evaluation, str(device), ranks)

    evaluate = ranks.together(evaluation)
    return Driver(config, folder, evaluate, start_from, preset, ranks)


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
        ranks: As for :func:`open_run`.

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
        ranks: Ranks = ALONE,
    ) -> None:
        self.ranks = ranks
        self.preparation = ranks.one_per_host_first(
            lambda: prepare(config, folder, start_from, preset, ranks)
        )
        self.config = self.preparation.config
        self.run = self.preparation.run
        self.dataset = self.preparation.dataset
        self.state = ranks.together(self._first_state)
        self.schedule = EvaluationSchedule(config.evaluation, config.train.steps)
        self.outputs = Outputs(self.preparation, self.state, self.schedule, evaluate)
        self.attention = AttentionWatch(self.state, self.preparation)
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

    def begin(self) -> None:
        """Makes or reopens the run folder, and prints remarks and what the pictures are.

        What a former run wrote after the step to go on from is dropped from the log, and its
        damaged checkpoints are set aside. A run that begins from a model has a checkpoint of step 0
        and needs the model no more.
        """
        self.ranks.together(self._begin if self.ranks.is_first else lambda: None)

    def _begin(self) -> None:
        for remark in self.config.remarks():
            sys.stderr.write(f"note: {remark}\n")
        if self.beginning is not None:
            self.beginning.record(self.run)
            sys.stderr.writelines(f"{line}\n" for line in self.beginning.lines())
        elif self.config.train.freeze_discriminator and not recorded_origin(self.run.folder):
            sys.stderr.write(
                "note: train.freeze_discriminator is for runs that begin --from MODEL\n"
            )
        self.run.begin()
        self._tell_pictures()
        self.run.set_aside_after(self.state.step)
        self.run.rewind_log(self.state.step)
        if self.beginning is not None:
            self.outputs.save_checkpoint()

    def _tell_pictures(self) -> None:
        """Prints the survey and keeps it in the run folder, unless it is there already."""
        if self.dataset.origin and self.run.surveyed() != self.dataset.fingerprint:
            survey = survey_of(self.dataset, self.config.data)
            sys.stderr.write(f"{text(survey)}\n")
            self.run.keep_survey(survey_as_json(survey))

    def _first_state(self) -> TrainingState:
        try:
            state = new_state(self.config, self.preparation.num_classes, self.preparation.device)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise SaganError(
                "memory ran out while the networks were made; choose smaller channels, or free "
                "memory and give the same command again"
            ) from error
        parts = state.parts().values()
        size = sum(tensor.nbytes for tensors in parts for tensor in tensors.values())
        there = self.preparation
        given = {"bfloat16": there.bfloat16, "ranks": self.ranks.count}
        require_memory(self.config, there.num_classes, size, there.memory, **given)
        return state

    def _restore(self) -> None:
        """Takes over the run's newest checkpoint, or the model that it begins from."""
        if checkpoint := self.preparation.checkpoint():
            self.state.restore(checkpoint.parts, checkpoint.step)
        if origin := self.preparation.origin:
            self.beginning = origin.begin(self.state, self.dataset.class_names, self.config.data)
            self.preparation = replace(self.preparation, origin=None)  # whose tensors are many

    def train(self) -> Outcome:
        """Runs to the configured end, or until Ctrl-C; in both cases the last state is saved.

        Raises:
            SaganError: A loss is not finite, memory runs out, or the disk refuses; names the last
                good checkpoint.
            StoppedError: Ctrl-C, a KeyboardInterrupt; the step was finished and saved.
        """
        self.begin()
        require_same_state(self.state, self.preparation)
        train = self.config.train
        per_step = train.pictures_per_step
        self.schedule.count_in(seconds_of_steps(self.run.records(), per_step))
        begin, first = time.perf_counter(), self.state.step
        with (
            self._memory_told(),
            interruption() as asked,
            Progress(train, first) as progress,
        ):
            pending = PendingTerms()
            for terms in self.preparation.steps(self.state):
                pending.add(self.state.step, terms)
                is_first = self.state.step == first + 1
                stops, reads, measures = self._decided(asked, pending)
                self._report(pending, progress, reads=is_first or reads)
                stops |= asked.requested and not self.ranks.are_many
                if is_first and train.compile:
                    warm_up = duration(time.perf_counter() - begin)
                    sys.stderr.write(f"note: compiling, and the first step, took {warm_up}\n")
                is_last = self.state.step == train.steps
                outputs = self._outputs_due(ends=is_last or stops, measures=measures)
                if outputs["checkpoint"] or self.state.step % CHECK_INTERVAL == 0:
                    require_same_state(self.state, self.preparation)
                if any(outputs.values()):
                    progress.advance(self._read(pending))
                    self.ranks.together(partial(self.outputs.save, **outputs))
                if measures:
                    self.outputs.measure()
                if stops and not is_last:
                    raise StoppedError(
                        f"stopped at step {self.state.step} and saved; the same command continues"
                    )
        sys.stderr.writelines(self.attention.remarks())
        seconds = time.perf_counter() - begin
        pictures = (self.state.step - first) * per_step
        return Outcome(
            steps=self.state.step,
            images_seen=self.state.step * per_step,
            seconds=seconds,
            images_per_second=pictures / (seconds - self.schedule.spent),
            numbers=measured_at(self.state.step, self.run.records()),
        )

    def _decided(self, asked: Interruption, pending: PendingTerms) -> tuple[bool, ...]:
        """Whether to stop after this step, to read the terms, to measure; all ranks decide alike.

        Anybody may ask for the end; the clock is that of the first rank.
        """
        measures = self.outputs.evaluate is not None and self.schedule.is_due(self.state.step)
        own = (pending.is_due, measures) if self.ranks.is_first else (False, False)
        return self.ranks.any_of_all(asked.requested, *own)

    def _report(self, pending: PendingTerms, progress: Progress, *, reads: bool) -> None:
        """Reads the terms where the log or the bar wants them: reading waits for the device."""
        train, step = self.config.train, self.state.step
        logs = step == train.steps or step % train.log_interval == 0
        if not (logs or reads):
            return
        terms = self._read(pending)
        progress.advance(terms)
        if logs and self.ranks.is_first:
            self.outputs.log(
                {"step": step, **terms[-1], **self.attention.terms(), **progress.rate()}
            )

    def _outputs_due(self, *, ends: bool, measures: bool) -> dict[str, bool]:
        """What :meth:`Outputs.save` has to write after a step."""
        train, step = self.config.train, self.state.step
        return {
            "samples": ends or train.samples_after(step),
            "checkpoint": ends or step % train.checkpoint_interval == 0,
            "evaluation": measures,
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
        need = need.shared(self.ranks.count)
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
