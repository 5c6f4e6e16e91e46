"""The driver around the loop: the run folder, progress, samples, checkpoints, guards."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from torch import Tensor

from sagan import images
from sagan.checkpoint import Checkpoint
from sagan.checkpoint import save as save_checkpoint
from sagan.config import Config
from sagan.data import Dataset, batch_indices, load_dataset
from sagan.device import autocast, pick_device
from sagan.errors import SaganError
from sagan.runs import Run, checkpoint_files, load_checkpoint
from sagan.sampling import TrainedGenerator
from sagan.training.loop import train_steps
from sagan.training.progress import Progress
from sagan.training.state import new_state, refresh_average
from sagan.training.steps import DivergedError


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a call of :func:`train` ended."""

    steps: int
    """Steps done in all."""
    seconds: float
    """Wall time of this call's loop, samples and checkpoints included."""
    images_per_second: float
    """Real pictures seen per second in this call."""
    interrupted: bool
    """Ctrl-C stopped it before its end."""


class Driver:
    """One training run in its folder, begun or continued.

    Args:
        config: The settings.
        folder: The run folder.

    Raises:
        SaganError: The data, the folder or its checkpoints do not allow the run.
    """

    def __init__(self, config: Config, folder: str | Path) -> None:
        self.config = config
        self.device = pick_device(config.train.device)
        self.run = Run(folder, config)
        self.dataset: Dataset = load_dataset(config.data)
        batch_indices(len(self.dataset), config.train.batch_size, 0, config.train.seed)
        self.run.begin()
        self.state = new_state(config, len(self.dataset.class_names), self.device)
        self.label_frequencies = self._label_frequencies()
        self._resume()

    def _label_frequencies(self) -> Tensor:
        frequencies = torch.from_numpy(self.dataset.label_frequencies)
        if self.config.train.fake_labels == "uniform":
            return torch.full_like(frequencies, 1 / len(frequencies))
        return frequencies

    def _resume(self) -> None:
        if not checkpoint_files(self.run.folder):
            self.run.rewind_log(0)
            return
        checkpoint, path = load_checkpoint(self.run.folder)
        self.run.require_same(checkpoint.config)
        if checkpoint.dataset_fingerprint != self.dataset.fingerprint:
            raise SaganError(
                f"{path} was trained on other pictures than {self.config.data.source} now holds; "
                "restore them or choose another --run"
            )
        self.state.restore(checkpoint.parts, checkpoint.step)
        self.run.rewind_log(checkpoint.step)

    def train(self) -> Outcome:
        """Runs to the configured end, or until Ctrl-C; in both cases the last state is saved.

        Raises:
            SaganError: A loss is not finite, or the disk refuses; names the last good checkpoint.
        """
        train = self.config.train
        state = self.state
        begin, first = time.perf_counter(), state.step
        interrupted = False
        with _interruption() as interruption, Progress(train, state.step) as progress:
            for terms in self._guarded_steps():
                progress.advance(terms)
                is_last = state.step == train.steps
                if state.step % train.log_interval == 0 or is_last:
                    self.run.log(
                        {"step": state.step, **terms, **self._signals(), **progress.rate()}
                    )
                interrupted = interruption.requested and not is_last
                if state.step % train.sample_interval == 0 or is_last:
                    self.save_samples()
                if state.step % train.checkpoint_interval == 0 or is_last or interrupted:
                    self.save_checkpoint()
                if interrupted:
                    break
        seconds = time.perf_counter() - begin
        seen = (state.step - first) * train.batch_size * train.discriminator_steps
        return Outcome(
            steps=state.step,
            seconds=seconds,
            images_per_second=seen / seconds,
            interrupted=interrupted,
        )

    def _guarded_steps(self) -> Iterator[dict[str, float]]:
        steps = train_steps(
            self.state,
            self.dataset,
            self.config,
            label_frequencies=self.label_frequencies,
            device=self.device,
            autocast=autocast(self.config.train.precision, self.device),
        )
        try:
            yield from steps
        except DivergedError as error:
            raise SaganError(
                f"step {self.state.step + 1}: {error}, so the run stopped before the update; "
                f"{self._last_good()}; lower the learning rates to get past it"
            ) from error

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

    def save_samples(self) -> None:
        """Draws the fixed seeds with the averaged generator, one row per class."""
        refresh_average(self.state, self.label_frequencies, self.config.train.seed)
        generator = TrainedGenerator(self.state.generator_ema, self.dataset.class_names)
        images.save_png(class_sheet(generator, columns=8), self.run.sample_path(self.state.step))

    def save_checkpoint(self) -> None:
        """Writes everything needed to go on, after a look that it is finite."""
        refresh_average(self.state, self.label_frequencies, self.config.train.seed)
        parts = self.state.parts()
        for part, tensors in parts.items():
            for name, tensor in tensors.items():
                if not math.isfinite(tensor.sum(dtype=torch.float32).item()):
                    raise SaganError(
                        f"step {self.state.step}: {part}.{name} is no longer finite; "
                        f"{self._last_good()}; lower the learning rates to get past it"
                    )
        save_checkpoint(
            Checkpoint(
                config=self.config,
                class_names=self.dataset.class_names,
                step=self.state.step,
                parts=parts,
                dataset_fingerprint=self.dataset.fingerprint,
            ),
            self.run.checkpoint_path(self.state.step),
        )
        self.run.remove_old_checkpoints()


def class_sheet(generator: TrainedGenerator, columns: int) -> np.ndarray:
    """A grid of pictures, one row per class, the same seeds in every row: uint8 (3, H, W).

    Without classes it is a square of different seeds.
    """
    if not generator.class_names:
        return images.grid(generator.sample(range(columns * columns)), columns)
    seeds = list(range(columns)) * len(generator.class_names)
    labels = [name for name in generator.class_names for _ in range(columns)]
    return images.grid(generator.sample(seeds, labels), columns)


class _Interruption:
    requested = False


@contextmanager
def _interruption() -> Iterator[_Interruption]:
    """Lets the first Ctrl-C finish the step; a second one acts at once."""
    interruption = _Interruption()
    previous = signal.getsignal(signal.SIGINT)

    def request(number: int, frame: FrameType | None) -> None:
        interruption.requested = True
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, request)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, previous)
