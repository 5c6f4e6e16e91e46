"""The loop: mathematics only. It touches no file and prints nothing."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from sagan import spectral
from sagan.augmentation import augment
from sagan.config import Config, OptimizerConfig, TrainConfig
from sagan.data import Dataset, batch_indices
from sagan.images import to_float
from sagan.training.randomness import Purpose, draw_latents_and_labels, generator_at
from sagan.training.regularizers import Regularizers
from sagan.training.state import TrainingState, update_average
from sagan.training.steps import discriminator_step, generator_step


def train_steps(
    state: TrainingState,
    dataset: Dataset,
    config: Config,
    *,
    label_frequencies: Tensor,
    device: torch.device,
    autocast: torch.autocast,
) -> Iterator[dict[str, float]]:
    """Runs from ``state.step`` to the configured end; yields the loss terms after every step.

    All random numbers of step k are functions of (seed, k).

    Raises:
        DivergedError: A loss term is not finite; the weights are those before the failed update.
    """
    train = config.train
    state.generator.train()
    state.discriminator.train()
    regularizers = Regularizers(config.loss, train.seed, state.logit_averages, autocast)

    def draw_fakes(update: int, purpose: Purpose, *, gradient: bool) -> tuple[Tensor, Tensor]:
        latents, labels = draw_latents_and_labels(
            train.batch_size,
            config.generator.latent_dim,
            label_frequencies,
            generator_at(train.seed, update, purpose),
        )
        labels = labels.to(device)
        with torch.set_grad_enabled(gradient), autocast:
            return state.generator(latents.to(device), labels), labels

    while state.step < train.steps:
        set_learning_rates(state, config.optimizer, state.step / train.steps)
        spectral.advance(state.generator)
        terms: dict[str, float] = {}
        updates = discriminator_updates(state.step, train)
        for update in updates:
            real_images, real_labels = real_batch(dataset, config, update, device)
            real_images = shown(real_images, config, update, Purpose.AUGMENTATION_REAL)
            is_reused = train.reuse_fakes and update == updates[-1]
            fake_images, fake_labels = draw_fakes(update, Purpose.DISCRIMINATOR, gradient=is_reused)
            terms |= discriminator_step(
                state.discriminator,
                state.discriminator_optimizer,
                real_images,
                real_labels,
                shown(fake_images.detach(), config, update, Purpose.AUGMENTATION_FAKE),
                fake_labels,
                loss=config.loss,
                regularize=partial(regularizers.terms, update),
                autocast=autocast,
            )
        if not train.reuse_fakes:
            fake_images, fake_labels = draw_fakes(state.step, Purpose.GENERATOR, gradient=True)
        terms |= generator_step(
            state.discriminator,
            state.generator_optimizer,
            real_images,  # pyright: ignore[reportPossiblyUnboundVariable]
            real_labels,  # pyright: ignore[reportPossiblyUnboundVariable]
            shown(fake_images, config, state.step, Purpose.AUGMENTATION_GENERATOR),  # pyright: ignore[reportPossiblyUnboundVariable]
            fake_labels,  # pyright: ignore[reportPossiblyUnboundVariable]
            loss=config.loss,
            autocast=autocast,
        )
        state.step += 1
        decay = average_decay(train, state.step)
        update_average(state.generator_ema, state.generator, decay)
        yield terms


def discriminator_updates(step: int, config: TrainConfig) -> range:
    """The numbers of the discriminator's updates in one step, counted over the whole run."""
    return range(step * config.discriminator_steps, (step + 1) * config.discriminator_steps)


def real_batch(
    dataset: Dataset, config: Config, update: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The real pictures of one discriminator update: float (N, 3, R, R) in [-1, 1] and (N,)."""
    train = config.train
    indices = batch_indices(len(dataset), train.batch_size, update, train.seed)
    images = torch.from_numpy(dataset.images[indices]).to(device)
    labels = torch.from_numpy(dataset.labels[indices]).to(device)
    images = to_float(images)
    if config.data.horizontal_flip:
        random = generator_at(train.seed, update, Purpose.FLIP)
        flipped = torch.rand(len(indices), 1, 1, 1, generator=random).to(device) < 0.5
        images = torch.where(flipped, images.flip(3), images)
    return images, labels


def shown(images: Tensor, config: Config, update: int, purpose: Purpose) -> Tensor:
    """The pictures of one update as the discriminator sees them, after augmentation."""
    return augment(images, config.data.augment, generator_at(config.train.seed, update, purpose))


def set_learning_rates(state: TrainingState, config: OptimizerConfig, progress: float) -> None:
    """Sets both learning rates for a point of the run, ``progress`` in [0, 1)."""
    factor = 1.0
    if progress > config.decay_start:
        factor = (1 - progress) / (1 - config.decay_start)
    for optimizer, rate in (
        (state.generator_optimizer, config.generator_lr),
        (state.discriminator_optimizer, config.discriminator_lr),
    ):
        for group in optimizer.param_groups:
            group["lr"] = rate * factor


def average_decay(config: TrainConfig, step: int) -> float:
    """The decay of the average after ``step`` steps, smaller at the start of a run.

    Source: TensorFlow's ``ExponentialMovingAverage`` with ``num_updates``; with ``ema_start``
    BigGAN-PyTorch, ``utils.py``, ``ema``.
    """
    if config.ema_start:
        return config.ema_decay if step >= config.ema_start else 0.0
    return min(config.ema_decay, (1 + step) / (10 + step))
