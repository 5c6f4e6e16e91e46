"""What a run leaves in its folder: its log, sample grids, checkpoints, measurements."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from sagan import images
from sagan.errors import DivergedError
from sagan.runs import checkpoint as checkpoints
from sagan.runs.checkpoint import Checkpoint
from sagan.sampling.generator import TrainedGenerator, logged_variety
from sagan.sampling.timelapse import sample_grid
from sagan.training.measuring import EvaluationSchedule
from sagan.training.preparation import Preparation
from sagan.training.state import TrainingState, refresh_average
from sagan.training.trackers import Trackers

if TYPE_CHECKING:
    from sagan.evaluation.periodic import Evaluate


class Outputs:
    """Writes for one run; reads its state and leaves it as it is, but for the fresh average.

    Args:
        preparation: Of the run.
        state: What is saved.
        schedule: How long measurements may take.
        evaluate: Measures an averaged generator; whatever it raises, training goes on.
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
        self.trackers = Trackers(self.run.folder, self.config)

    def log(self, record: Mapping[str, object]) -> None:
        """Appends one line to the log, and tells the trackers."""
        self.run.log(record)
        self.trackers.record(record)

    def save(self, *, samples: bool, checkpoint: bool, evaluation: bool = False) -> None:
        """Writes what is asked for with a fresh average: a sample grid, a checkpoint, numbers.

        Raises:
            DivergedError: A tensor is no longer finite.
            SaganError: The disk refuses.
        """
        refresh_average(self.state, self.label_frequencies, self.config.train.seed)
        if checkpoint:
            self.save_checkpoint()
        generator = TrainedGenerator(self.state.generator_ema, self.dataset.class_names)
        if samples:
            self.save_samples(generator)
        if evaluation and self.evaluate is not None:
            self._measure(generator)

    def save_samples(self, generator: TrainedGenerator) -> None:
        """Writes the sample grid of this step, and logs how much its pictures differ."""
        step = self.state.step
        grid = sample_grid(generator)
        images.save_png(grid, self.run.sample_path(step))
        self.trackers.look(step, generator, grid)
        self.log({"step": step} | logged_variety(generator, self.dataset))

    def save_checkpoint(self) -> None:
        """Writes the checkpoint of this step and removes old ones; the average is as it stands.

        Raises:
            DivergedError: A tensor is no longer finite.
            SaganError: The disk refuses.
        """
        checkpoints.save(self._checkpoint(), self.run.checkpoint_path(self.state.step))
        self.run.remove_old_checkpoints(self.state.step)

    def _measure(self, generator: TrainedGenerator) -> None:
        assert self.evaluate is not None
        step = self.state.step
        left = self.schedule.seconds_left()
        measure = partial(self.evaluate, generator, self.dataset, left)
        command = f"sagan evaluate {self.run.folder}"
        if record := self.schedule.measured(step, measure, command):
            self.log(record)
        if record and self.config.data.held_out and step == self.config.train.steps:
            sys.stderr.write(f"note: {command} --split held-out takes those held out\n")

    def _checkpoint(self) -> Checkpoint:
        parts = self.state.parts()
        for part, tensors in parts.items():
            for name, tensor in tensors.items():
                if not tensor.isfinite().all():
                    raise DivergedError(
                        f"step {self.state.step}: {part}.{name} is no longer finite; "
                        f"{self.run.last_good}; {self.lower_rates}"
                    )
        return Checkpoint(
            config=self.config,
            class_names=self.dataset.class_names,
            step=self.state.step,
            parts=parts,
            dataset_fingerprint=self.dataset.fingerprint,
        )

    @property
    def lower_rates(self) -> str:
        """In words: the way past a divergence."""
        return f"to get past it, lower the learning rates in {self.run.another}"
