"""The loop: mathematics only. It touches no file and prints nothing."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from sagan.config import Config, OptimizerConfig, TrainConfig
from sagan.data import Dataset
from sagan.losses.augmentation import augment
from sagan.losses.regularizers import Regularizers
from sagan.nn import spectral
from sagan.nn.averaging import update_average
from sagan.system.device import require_compiler
from sagan.system.randomness import Purpose, generator_at
from sagan.training.inputs import Draws, Reals, StepInputs, discriminator_updates, step_inputs
from sagan.training.state import TrainingState, update
from sagan.training.steps import Portion, discriminator_gradients, generator_gradients

Labelled = tuple[Tensor, Tensor]
"""Pictures and their labels."""


def train_steps(
    state: TrainingState,
    dataset: Dataset,
    config: Config,
    *,
    label_frequencies: Tensor,
    device: torch.device,
    autocast: torch.autocast,
) -> Iterator[dict[str, Tensor]]:
    """Runs from ``state.step`` to the configured end; yields the loss terms after every step.

    They stay on the device, and nothing here waits for it. Once a term is not finite, the weights
    of both networks stay as they were before (:func:`sagan.training.state.update`).

    All random numbers of step k are functions of (seed, k).

    Raises:
        SaganError: ``train.compile`` is asked for and there is no compiler.
    """
    state.generator.train()
    state.discriminator.train()
    regularizers = Regularizers(config.loss, config.train.seed, state.logit_averages, autocast)
    game = Game(state, config, device, autocast, regularizers)
    if config.train.compile:
        compile_networks(state, device)
    pinned = device.type == "cuda"
    for inputs in step_inputs(dataset, config, label_frequencies, first=state.step, pinned=pinned):
        set_learning_rates(state, config.optimizer, state.step / config.train.steps)
        terms = game.play(inputs)
        state.step += 1
        decay = average_decay(config.train, state.step)
        update_average(state.generator_ema, state.generator, decay)
        yield terms


def compile_networks(state: TrainingState, device: torch.device) -> None:
    """Compiles the passes of both networks, forwards and backwards, at their first call.

    Raises:
        SaganError: The compiler is absent.
    """
    require_compiler(device)
    # PyTorch's compiler looks at .grad of its inputs and is warned by PyTorch.
    warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor")
    mode = "reduce-overhead" if device.type == "cuda" else "default"  # with CUDA graphs
    for network in (state.generator, state.discriminator):
        if device.type == "cuda":
            spectral.reserve_kernels(network)
        network.compile(mode=mode, dynamic=False)


@dataclass(frozen=True)
class Game:
    """Plays the steps of a run: the updates of the discriminator, then that of the generator."""

    state: TrainingState
    config: Config
    device: torch.device
    autocast: torch.autocast
    regularizers: Regularizers

    def play(self, inputs: StepInputs) -> dict[str, Tensor]:
        """One step, but for the learning rates and the average; gives its loss terms."""
        state, train = self.state, self.config.train
        if train.compile:
            torch.compiler.cudagraph_mark_step_begin()
        if train.generator_power_iteration == "step":
            spectral.advance(state.generator)
        updates = discriminator_updates(state.step, train)
        terms: dict[str, Tensor] = {}
        with ExitStack() as kept:
            for number, reals, draws in zip(
                updates, inputs.reals, inputs.discriminator_draws, strict=True
            ):
                is_reused = train.reuse_fakes and number == updates[-1]
                self._prepare_generator(kept, gradient=is_reused)
                fakes = self._fakes(draws, gradient=is_reused)
                fakes = list(fakes) if is_reused else fakes
                shown_reals = self._reals(reals, number)
                terms = _merged(terms, self._update_discriminator(number, shown_reals, fakes))
            if not train.reuse_fakes:
                self._prepare_generator(kept, gradient=True)
                fakes = self._fakes(inputs.generator_draws, gradient=True)
            terms |= generator_gradients(
                state.discriminator,
                self._portions(shown_reals, fakes, state.step, Purpose.AUGMENTATION_GENERATOR),  # pyright: ignore[reportPossiblyUnboundVariable]
                share=1 / train.accumulate,
                loss=self.config.loss,
                autocast=self.autocast,
            )
        update(state, state.generator_optimizer, {"generator": terms["generator"]})
        return terms

    def _prepare_generator(self, kept: ExitStack, *, gradient: bool) -> None:
        """Makes the generator's kernels ready for the pass of one batch, as the policy asks."""
        every_pass = self.config.train.generator_power_iteration == "pass"
        if every_pass:
            spectral.advance(self.state.generator)
        if gradient or not every_pass:
            kept.enter_context(spectral.kept_kernels(self.state.generator))

    def _update_discriminator(
        self, number: int, reals: Labelled, fakes: Iterable[Labelled]
    ) -> dict[str, Tensor]:
        state = self.state
        spectral.advance(state.discriminator)
        terms = discriminator_gradients(
            state.discriminator,
            self._portions(reals, fakes, number, Purpose.AUGMENTATION_FAKE),
            share=1 / self.config.train.accumulate,
            loss=self.config.loss,
            regularize=partial(self.regularizers.terms, number),
            autocast=self.autocast,
        )
        update(state, state.discriminator_optimizer, terms)
        return terms

    def _reals(self, reals: Reals, number: int) -> Labelled:
        """The real pictures of one update, as the discriminator sees them."""
        images, labels = reals.on(self.device)
        random = generator_at(self.config.train.seed, number, Purpose.AUGMENTATION_REAL)
        return augment(images, self.config.data.augment, random), labels

    def _fakes(self, draws: Draws, *, gradient: bool) -> Iterator[Labelled]:
        """Draws a batch of fakes, one portion after the other."""
        count = self.config.train.accumulate
        for latents, labels in zip(*(x.chunk(count) for x in draws.on(self.device)), strict=True):
            with torch.set_grad_enabled(gradient), self.autocast:
                images = self.state.generator(latents, labels)
            yield images, labels

    def _portions(
        self, reals: Labelled, fakes: Iterable[Labelled], number: int, purpose: Purpose
    ) -> Iterator[Portion]:
        """Pairs real pictures with fakes, as the discriminator sees them."""
        train = self.config.train
        real_portions = zip(*(x.chunk(train.accumulate) for x in reals), strict=True)
        for portion, ((real_images, real_labels), (images, labels)) in enumerate(
            zip(real_portions, fakes, strict=True)
        ):
            random = generator_at(train.seed, number, purpose, portion)
            images = augment(images, self.config.data.augment, random)
            yield Portion(real_images, real_labels, images, labels)


def _merged(before: dict[str, Tensor], now: dict[str, Tensor]) -> dict[str, Tensor]:
    """The newest terms of several updates, but of one that is not finite the first."""
    return before | {
        name: torch.where(before[name].isfinite(), term, before[name]) if name in before else term
        for name, term in now.items()
    }


def set_learning_rates(state: TrainingState, config: OptimizerConfig, progress: float) -> None:
    """Sets both learning rates for a point of the run, ``progress`` in [0, 1)."""
    factor = 1.0
    if progress > config.decay_start:
        factor = (1 - progress) / (1 - config.decay_start)
    state.generator_optimizer.learning_rate = factor * config.generator_lr
    state.discriminator_optimizer.learning_rate = factor * config.discriminator_lr


def average_decay(config: TrainConfig, step: int) -> float:
    """The decay of the average after ``step`` steps, smaller at the start of a run.

    Source: TensorFlow's ``ExponentialMovingAverage`` with ``num_updates``; with ``ema_start``
    BigGAN-PyTorch, ``utils.py``, ``ema``.
    """
    if config.ema_start:
        return config.ema_decay if step >= config.ema_start else 0.0
    return min(config.ema_decay, (1 + step) / (10 + step))
