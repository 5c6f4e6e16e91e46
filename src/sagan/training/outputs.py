"""What a run leaves in its folder: its log, sample grids, checkpoints, measurements."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from sagan import images
from sagan.data.intact import PictureCheck
from sagan.errors import DivergedError
from sagan.runs import checkpoint as checkpoints
from sagan.runs.checkpoint import Checkpoint
from sagan.runs.digests import first_not_finite
from sagan.runs.folder import BEST
from sagan.sampling.generator import TrainedGenerator, logged_variety
from sagan.sampling.timelapse import sample_grid
from sagan.training.keeping import CheckpointWriter, best_mark, remove_old_checkpoints, require_best
from sagan.training.measuring import EvaluationSchedule
from sagan.training.preparation import Preparation
from sagan.training.state import TrainingState, refresh_average
from sagan.training.trackers import Trackers

if TYPE_CHECKING:
    from sagan.evaluation.periodic import Evaluate


class Outputs:
    """Writes for one run; reads its state and leaves it as it is, but for the fresh average.

    Of several processes only the first one writes.

    Args:
        preparation: Of the run.
        state: What is saved.
        schedule: How long measurements may take.
        evaluate: Measures an averaged generator; whatever it raises, training goes on.

    Attributes:
        writer: Writes the checkpoints, beside training.
        pictures: Reads all pictures once, beside training.

    Raises:
        SaganError: Nothing is measured that ``train.keep_best`` could compare.
    """

    def __init__(
        self,
        preparation: Preparation,
        state: TrainingState,
        schedule: EvaluationSchedule,
        evaluate: Evaluate | None,
    ) -> None:
        self.run = preparation.run
        self.config = preparation.config
        self.dataset = preparation.dataset
        self.label_frequencies = preparation.label_frequencies
        self.state = state
        self.schedule = schedule
        self.evaluate = evaluate
        self._ranks = preparation.ranks
        self._writes = preparation.ranks.is_first
        self.trackers = Trackers(self.run.folder, self.config)
        self.writer = CheckpointWriter(is_beside=False)
        self.pictures = PictureCheck(self.dataset)
        self._saved = -1  # step of the newest checkpoint
        require_best(self.config)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Writes beside what is within, and waits at its end until all is written.

        Raises:
            SaganError: The newest checkpoint could not be written.
        """
        self.writer.is_beside = True
        with closing(self.trackers), self.pictures.running(), self.writer.finished():
            yield

    def raise_failed(self) -> None:
        """Tells after a step what went wrong beside training.

        Raises:
            SaganError: A checkpoint could not be written, or a picture is damaged.
        """
        self.pictures.raise_failed()
        self.writer.raise_failed()

    def log(self, record: Mapping[str, object]) -> None:
        """Appends one line to the log, and tells the trackers."""
        if self._writes:
            self.run.log(record)
            self.trackers.record(record)

    def save(self, *, samples: bool, checkpoint: bool, evaluation: bool = False) -> None:
        """Makes the average fit for use and writes a sample grid or a checkpoint.

        Args:
            samples: Write a sample grid.
            checkpoint: Write a checkpoint.
            evaluation: :meth:`measure` follows, for which every process needs the average.

        Raises:
            DivergedError: A tensor is no longer finite.
            SaganError: The disk refuses.
        """
        if not (self._writes or evaluation):
            return
        refresh_average(self.state, self.label_frequencies, self.config.train.seed)
        if checkpoint:
            self.save_checkpoint()
        if samples and self._writes:
            self.save_samples(self._average)

    @property
    def _average(self) -> TrainedGenerator:
        return TrainedGenerator(self.state.generator_ema, self.dataset.class_names)

    def save_samples(self, generator: TrainedGenerator) -> None:
        """Writes the sample grid of this step, and logs how much its pictures differ."""
        step = self.state.step
        grid = sample_grid(generator)
        images.save_png(grid, self.run.sample_path(step))
        self.trackers.look(step, generator, grid)
        self.log({"step": step} | logged_variety(generator, self.dataset))

    def save_checkpoint(self) -> None:
        """Has the checkpoint of this step written and old ones removed; the average is as it is.

        Raises:
            DivergedError: A tensor is no longer finite.
            SaganError: The disk refuses this checkpoint, or refused the one before.
        """
        if not self._writes:
            return
        self.writer.save(self._checkpoint(), self._write)
        self._saved = self.state.step

    def last_good(self) -> str:
        """Where training could go on from, in words, when all is written."""
        self.writer.join()
        return self.run.last_good

    def _write(self, checkpoint: Checkpoint) -> None:
        if checkpoint.step:
            self.pictures.wait()  # no checkpoint has learned from a damaged one
        checkpoints.save(checkpoint, self.run.checkpoint_path(checkpoint.step))
        remove_old_checkpoints(self.run, checkpoint.step)

    def measure(self) -> None:
        """Measures the average as :meth:`save` left it, together with the other processes.

        Raises:
            DivergedError: A tensor of the best checkpoint is not finite.
            SaganError: The disk refuses.
            StoppedError: A signal came to one of them.
        """
        assert self.evaluate is not None
        step, train = self.state.step, self.config.train
        left = self.schedule.seconds_left()
        measure = partial(self.evaluate, self._average, self.dataset, left)
        samples = self.config.evaluation.samples
        command = f"sagan evaluate {self.run.folder} --samples {samples}"
        if record := self.schedule.measured(step, measure, command):
            self._ranks.together(partial(self._keep, record))
        if record and self.config.data.held_out and step == train.steps:
            sys.stderr.write(f"note: {command} --split held-out takes those held out\n")

    def _keep(self, record: dict[str, object]) -> None:
        """Logs a measurement, and saves what is the best by it."""
        if not self._writes:
            return
        step = self.state.step
        mark = best_mark(self.run, self.config.train.keep_best, step, record)
        if mark.get(BEST) == str(step) and self._saved != step:
            self.save_checkpoint()
        self.log(record | mark)

    def _checkpoint(self) -> Checkpoint:
        parts = self.state.parts()
        named = {f"{part}.{name}": t for part, of in parts.items() for name, t in of.items()}
        if name := first_not_finite(named):
            raise DivergedError(
                f"step {self.state.step}: {name} is no longer finite, so the state was not saved"
            )
        return Checkpoint(
            config=self.config,
            class_names=self.dataset.class_names,
            step=self.state.step,
            parts=parts,
            dataset_fingerprint=self.dataset.fingerprint,
        )
