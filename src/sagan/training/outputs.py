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
        self._writes = preparation.ranks.is_first

    def log(self, record: Mapping[str, object]) -> None:
        """Appends one line to the log."""
        if self._writes:
            self.run.log(record)

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
        images.save_png(sample_grid(generator), self.run.sample_path(step))
        self.log({"step": step} | logged_variety(generator, self.dataset))

    def save_checkpoint(self) -> None:
        """Writes the checkpoint of this step and removes old ones; the average is as it stands.

        Raises:
            DivergedError: A tensor is no longer finite.
            SaganError: The disk refuses.
        """
        if not self._writes:
            return
        checkpoints.save(self._checkpoint(), self.run.checkpoint_path(self.state.step))
        self.run.remove_old_checkpoints(self.state.step)

    def measure(self) -> None:
        """Measures the average as :meth:`save` left it, together with the other processes."""
        assert self.evaluate is not None
        step = self.state.step
        left = self.schedule.seconds_left()
        measure = partial(self.evaluate, self._average, self.dataset, left)
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
