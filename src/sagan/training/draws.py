"""What a step takes in from outside the device: pictures, labels and random numbers.

It is put together while the step before computes, so that the device never waits.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from sagan.config import Config
from sagan.data import Dataset, batch_indices
from sagan.images import to_float
from sagan.system.randomness import Purpose, draw_latents_and_labels, generator_at, uniform
from sagan.system.ranks import ALONE, Ranks
from sagan.system.transfer import send


@dataclass(frozen=True, kw_only=True)
class Reals:
    """Real pictures of one discriminator update, as they are stored."""

    images: Tensor
    """uint8 (N, C, H, W)."""
    labels: Tensor
    """(N,)."""
    flipped: Tensor | None
    """Which to mirror, bool (N, 1, 1, 1)."""

    def on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Moves the batch, scales it to [-1, 1], mirrors: float (N, C, H, W) and (N,)."""
        images = to_float(send(self.images, device))
        if self.flipped is not None:
            images = torch.where(send(self.flipped, device), images.flip(3), images)
        return images, send(self.labels, device)


@dataclass(frozen=True, kw_only=True)
class Draws:
    """Latents and labels of one generated batch."""

    latents: Tensor
    """(N, latent_dim)."""
    labels: Tensor
    """(N,)."""

    def on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Moves them."""
        return send(self.latents, device), send(self.labels, device)


@dataclass(frozen=True, kw_only=True)
class Update:
    """Everything from outside for one update of the discriminator."""

    number: int
    """Counted over the whole run, from 0."""
    reals: Reals
    draws: Draws


@dataclass(frozen=True, kw_only=True)
class StepInputs:
    """Everything from outside for one step."""

    step: int
    """From 0."""
    updates: list[Update]
    """Of the discriminator."""
    draws: Draws
    """For the generator's update; those of the last discriminator update where its fakes are judged
    again."""


def own_share(batch: Tensor, portions: int, ranks: Ranks) -> Tensor:
    """A rank's part of a whole batch.

    Each portion of the batch is divided among the ranks, so that n ranks see together what one
    process sees; and what they see one by one is what it sees in n times as many portions.

    Args:
        batch: (N, ...), the same on all ranks.
        portions: In which the batch is computed, ``train.accumulate``.
        ranks: Take equal parts.

    Returns:
        (N / ranks, ...), its portions one after the other.
    """
    if not ranks.are_many:
        return batch
    return torch.cat(batch.chunk(portions * ranks.count)[ranks.rank :: ranks.count])


def draw_reals(
    dataset: Dataset, config: Config, update: int, *, pinned: bool = False, ranks: Ranks = ALONE
) -> Reals:
    """The real pictures of one discriminator update.

    Args:
        dataset: To draw from.
        config: Batch size, seed, order, mirroring.
        update: Its number, from 0.
        pinned: Put them where a GPU can fetch them by itself.
        ranks: Whose first, second and so on share is drawn.
    """
    train = config.train
    if config.data.order == "balanced":
        indices = dataset.balanced_indices(train.batch_size, update, train.seed)
    else:
        indices = batch_indices(len(dataset), train.batch_size, update, train.seed)
    flipped = None
    if config.data.horizontal_flip:
        random = generator_at(train.seed, update, Purpose.FLIP)
        flips = uniform(len(indices), 1, 1, 1, random=random) < 0.5
        flipped = _host(own_share(flips, train.accumulate, ranks), pinned)
    indices = own_share(torch.from_numpy(indices), train.accumulate, ranks).numpy()
    return Reals(
        images=_host(torch.from_numpy(dataset.images[indices]), pinned),
        labels=_host(torch.from_numpy(dataset.labels[indices]), pinned),
        flipped=flipped,
    )


def step_inputs(
    dataset: Dataset,
    config: Config,
    label_frequencies: Tensor,
    *,
    first: int,
    pinned: bool,
    ranks: Ranks = ALONE,
) -> Iterator[StepInputs]:
    """Inputs of every step from ``first`` on, each put together during the step before.

    All of it is a function of (seed, step).

    Args:
        dataset: The real pictures.
        config: Number of steps, batch size, seed and so on.
        label_frequencies: Of the fakes' labels.
        first: The first step, from 0.
        pinned: Put it where a GPU can fetch it by itself.
        ranks: Each draws the numbers of the whole batch and takes its share.
    """
    train = config.train

    def draws(number: int, purpose: Purpose) -> Draws:
        random = generator_at(train.seed, number, purpose)
        latents, labels = draw_latents_and_labels(
            train.batch_size, config.generator.latent_dim, label_frequencies, random
        )
        own = [own_share(drawn, train.accumulate, ranks) for drawn in (latents, labels)]
        return Draws(latents=_host(own[0], pinned), labels=_host(own[1], pinned))

    def inputs(step: int) -> StepInputs:
        count = train.discriminator_steps
        updates = [
            Update(
                number=number,
                reals=draw_reals(dataset, config, number, pinned=pinned, ranks=ranks),
                draws=draws(number, Purpose.DISCRIMINATOR),
            )
            for number in range(step * count, (step + 1) * count)
        ]
        own = updates[-1].draws if train.reuse_fakes else draws(step, Purpose.GENERATOR)
        return StepInputs(step=step, updates=updates, draws=own)

    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(inputs, first)
        for step in range(first, train.steps):
            current = coming.result()
            coming = pool.submit(inputs, step + 1)
            yield current


def _host(tensor: Tensor, pinned: bool) -> Tensor:
    return tensor.pin_memory() if pinned else tensor
