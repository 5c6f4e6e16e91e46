"""The driver around the loop: the run folder, progress, samples, checkpoints, guards."""

from __future__ import annotations

import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor

from sagan import images
from sagan.config import Config
from sagan.data import Dataset, batch_indices, load_dataset
from sagan.errors import SaganError
from sagan.runs.checkpoint import Checkpoint
from sagan.runs.checkpoint import save as save_checkpoint
from sagan.runs.run import Run, checkpoint_files, load_checkpoint
from sagan.sampling.generator import TrainedGenerator, class_sheet, variety
from sagan.system.device import (
    autocast,
    computes_in_bfloat16,
    keep_freed_memory,
    pick_device,
    require_compiler,
)
from sagan.system.memory import is_out_of_memory, memory_of, readable
from sagan.system.progress import duration
from sagan.training.footprint import footprint, require_memory
from sagan.training.loop import train_steps
from sagan.training.progress import Progress
from sagan.training.schedule import EvaluationSchedule
from sagan.training.state import TrainingState, new_state, refresh_average
from sagan.training.terms import DivergedError, PendingTerms


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a call of :func:`train` ended."""

    steps: int
    """Steps done in all."""
    images_seen: int
    """Real pictures seen in all, each time one is seen."""
    seconds: float
    """Wall time of this call's loop, samples and checkpoints included."""
    images_per_second: float
    """Real pictures seen per second in this call."""


Evaluate = Callable[[TrainedGenerator, Dataset], dict[str, float]]
"""(averaged generator, real pictures) -> numbers by name."""


class Driver:
    """One training run in its folder, begun or continued.

    Args:
        config: The settings.
        folder: The run folder.
        evaluate: Called every ``evaluation.interval`` steps; whatever it raises, training goes on.

    Raises:
        SaganError: The data, the folder, its checkpoints or the device do not allow the run, or no
            batch of this size can fit into the memory there is.
    """

    def __init__(
        self, config: Config, folder: str | Path, evaluate: Evaluate | None = None
    ) -> None:
        self.config = config
        self.schedule = EvaluationSchedule(config.evaluation, config.train.steps)
        self.evaluate = evaluate
        self.device = pick_device(config.train.device)
        keep_freed_memory()
        if config.train.compile:
            require_compiler(self.device)
        self.bfloat16 = computes_in_bfloat16(config.train.precision, self.device)
        self.run = Run(folder, config)
        self.dataset: Dataset = load_dataset(config.data)
        batch_indices(len(self.dataset), config.train.batch_size, 0, config.train.seed)
        self.memory = memory_of(self.device)
        self.state = self._new_state()
        self._require_memory()
        self.label_frequencies = self._label_frequencies()
        self._resume()
        if self.state.step > config.train.steps:
            raise SaganError(
                f"{folder} is already at step {self.state.step}; "
                f"give more than --train.steps {config.train.steps}"
            )
        for remark in config.remarks():
            sys.stderr.write(f"note: {remark}\n")
        self.run.begin()
        self.run.rewind_log(self.state.step)

    def _new_state(self) -> TrainingState:
        try:
            return new_state(self.config, len(self.dataset.class_names), self.device)
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
        num_classes = len(self.dataset.class_names)
        require_memory(self.config, num_classes, size, self.memory, bfloat16=self.bfloat16)

    def _label_frequencies(self) -> Tensor:
        frequencies = torch.from_numpy(self.dataset.label_frequencies)
        if self.config.train.fake_labels == "uniform":
            return torch.full_like(frequencies, 1 / len(frequencies))
        return frequencies

    def _resume(self) -> None:
        if not checkpoint_files(self.run.folder):
            return
        checkpoint, path = load_checkpoint(self.run.folder)
        self.run.require_same(checkpoint.config)
        if checkpoint.dataset_fingerprint != self.dataset.fingerprint:
            raise SaganError(
                f"{path} was trained on other pictures than {self.config.data.source} now holds; "
                "restore them or choose another --run"
            )
        self.state.restore(checkpoint.parts, checkpoint.step)

    def train(self) -> Outcome:
        """Runs to the configured end, or until Ctrl-C; in both cases the last state is saved.

        Raises:
            SaganError: A loss is not finite, memory runs out, or the disk refuses; names the last
                good checkpoint.
            KeyboardInterrupt: Ctrl-C; the step was finished and saved.
        """
        train = self.config.train
        state = self.state
        begin, first = time.perf_counter(), state.step
        with (
            self._memory_told(),
            _interruption() as interruption,
            Progress(train, state.step) as progress,
        ):
            pending = PendingTerms()
            for step_terms in self._steps():
                pending.add(state.step, step_terms)
                is_first, is_last = state.step == first + 1, state.step == train.steps
                logs = is_last or state.step % train.log_interval == 0
                if logs or is_first or pending.is_due:
                    terms = self._read(pending)
                    progress.advance(terms)
                    if logs:
                        numbers = {**terms[-1], **self._signals(), **progress.rate()}
                        self.run.log({"step": state.step, **numbers})
                if is_first and train.compile:
                    warm_up = duration(time.perf_counter() - begin)
                    sys.stderr.write(f"note: compiling, and the first step, took {warm_up}\n")
                outputs = self._outputs_due(ends=is_last or interruption.requested)
                if any(outputs.values()):
                    progress.advance(self._read(pending))
                    self.save(**outputs)
                if interruption.requested and not is_last:
                    raise KeyboardInterrupt(
                        f"stopped at step {state.step} and saved; the same command continues"
                    )
        seconds = time.perf_counter() - begin
        per_step = train.batch_size * train.discriminator_steps
        return Outcome(
            steps=state.step,
            images_seen=state.step * per_step,
            seconds=seconds,
            images_per_second=(state.step - first) * per_step / seconds,
        )

    def _outputs_due(self, *, ends: bool) -> dict[str, bool]:
        """What :meth:`save` has to write after a step."""
        train, step = self.config.train, self.state.step
        return {
            "samples": ends or step % train.sample_interval == 0,
            "checkpoint": ends or step % train.checkpoint_interval == 0,
            "evaluation": self.evaluate is not None and self.schedule.is_due(step),
        }

    def _steps(self) -> Iterator[dict[str, Tensor]]:
        return train_steps(
            self.state,
            self.dataset,
            self.config,
            label_frequencies=self.label_frequencies,
            device=self.device,
            autocast=autocast(self.config.train.precision, self.device),
        )

    def _read(self, pending: PendingTerms) -> list[dict[str, float]]:
        try:
            return pending.read()
        except DivergedError as error:
            raise SaganError(
                f"{error}, so the run stopped before the update; {self._last_good()}; "
                "lower the learning rates to get past it"
            ) from error

    @contextmanager
    def _memory_told(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise SaganError(self._out_of_memory()) from error

    def _out_of_memory(self) -> str:
        batch, classes = self.config.train.batch_size, len(self.dataset.class_names)
        need = footprint(self.config, classes, bfloat16=self.bfloat16)
        free, remedy = "", "begin another --run with a smaller --train.batch-size"
        if self.memory is not None:
            free = f" and {readable(self.memory.available)} were free at the start"
            if not need.fits(batch, self.memory.available):
                remedy = f"begin another --run: {need.remedy(self.memory.available)}"
        return (
            f"step {self.state.step + 1}: memory ran out with batches of {batch}, whose estimated "
            f"need is {readable(need.of(batch))}{free}; {self._last_good()}; "
            f"{remedy}, or free memory and give the same command again"
        )

    def _last_good(self) -> str:
        files = checkpoint_files(self.run.folder)
        return f"the last good checkpoint is {files[-1]}" if files else "there is no checkpoint yet"

    def _signals(self) -> dict[str, float]:
        """The scale gamma of every attention layer."""
        return {
            f"{network}_gamma_{place}": layer.gamma.item()
            for network in ("generator", "discriminator")
            for place, layer in getattr(self.state, network).attention.items()
        }

    def save(self, *, samples: bool, checkpoint: bool, evaluation: bool = False) -> None:
        """Writes what is asked for with a fresh average: a sample grid, a checkpoint, numbers.

        Raises:
            SaganError: A tensor is no longer finite, or the disk refuses.
        """
        refresh_average(self.state, self.label_frequencies, self.config.train.seed)
        step = self.state.step
        if checkpoint:
            save_checkpoint(self._checkpoint(), self.run.checkpoint_path(step))
            self.run.remove_old_checkpoints(step)
        if not (samples or evaluation):
            return
        generator = TrainedGenerator(self.state.generator_ema, self.dataset.class_names)
        if samples:
            images.save_png(class_sheet(generator, columns=8), self.run.sample_path(step))
            self.run.log({"step": step, "variety": round(variety(generator, self.dataset), 4)})
        if evaluation and self.evaluate is not None:
            self._measure(generator, self.evaluate)

    def _measure(self, generator: TrainedGenerator, evaluate: Evaluate) -> None:
        step = self.state.step
        try:
            with self.schedule.timed():
                measured = evaluate(generator, self.dataset)
        except Exception as error:
            warnings.warn(
                f"evaluation at step {step} failed, training goes on: {error}",
                RuntimeWarning,
                stacklevel=2,
            )
            self.run.log({"step": step, "evaluation_error": str(error)})
            return
        seconds = self.schedule.last_duration
        self.run.log(
            {"step": step, "evaluation": measured, "evaluation_seconds": round(seconds, 1)}
        )
        shown = ", ".join(f"{name} {value:.4g}" for name, value in measured.items())
        sys.stderr.write(f"step {step}: {shown} ({seconds:.0f} s)\n")

    def _checkpoint(self) -> Checkpoint:
        parts = self.state.parts()
        for part, tensors in parts.items():
            for name, tensor in tensors.items():
                if not tensor.isfinite().all():
                    raise SaganError(
                        f"step {self.state.step}: {part}.{name} is no longer finite; "
                        f"{self._last_good()}; lower the learning rates to get past it"
                    )
        return Checkpoint(
            config=self.config,
            class_names=self.dataset.class_names,
            step=self.state.step,
            parts=parts,
            dataset_fingerprint=self.dataset.fingerprint,
        )


class _Interruption:
    requested = False


@contextmanager
def _interruption() -> Iterator[_Interruption]:
    """Lets the first Ctrl-C finish the step; a second one acts at once."""
    interruption = _Interruption()
    previous = signal.getsignal(signal.SIGINT)

    def request(number: int, frame: FrameType | None) -> None:
        sys.stderr.write("\nfinishing this step, then saving; Ctrl-C again stops at once\n")
        interruption.requested = True
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, request)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, previous)
