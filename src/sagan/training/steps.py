"""The two updates of the game, mirror images of each other.

Each computes the terms of its loss, stops before the update if one of them is not finite, and
returns them for the log.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sagan import losses, spectral
from sagan.config import LossConfig
from sagan.errors import SaganError
from sagan.training.regularizers import Regularize


class DivergedError(SaganError):
    """A term of the loss is not finite; nothing was updated."""

    def __init__(self, term: str, value: float) -> None:
        super().__init__(f"{term} is {value}")
        self.term = term


def discriminator_step(
    discriminator: nn.Module,
    optimizer: torch.optim.Optimizer,
    real_images: Tensor,
    real_labels: Tensor,
    fake_images: Tensor,
    fake_labels: Tensor,
    *,
    loss: LossConfig,
    regularize: Regularize,
    autocast: torch.autocast,
) -> dict[str, float]:
    """One update of the discriminator; real and fake pictures pass together.

    Args:
        discriminator: Images in [-1, 1] and labels -> logits.
        optimizer: Of the discriminator's parameters.
        real_images: (N, 3, R, R) in [-1, 1].
        real_labels: (N,).
        fake_images: (N, 3, R, R) in [-1, 1], without gradient.
        fake_labels: (N,).
        loss: The adversarial loss.
        regularize: Gives the terms beside it.
        autocast: Precision of the forward pass.

    Returns:
        The terms of the loss, which is their sum.

    Raises:
        DivergedError: One of them is not finite.
    """
    spectral.advance(discriminator)
    images, labels = torch.cat([real_images, fake_images]), torch.cat([real_labels, fake_labels])
    with autocast:
        logits = discriminator(images, labels)
    real_term, fake_term = losses.discriminator_terms(loss, *logits.chunk(2))
    terms = {"discriminator_real": real_term, "discriminator_fake": fake_term}
    return _update(optimizer, terms | regularize(discriminator, images, labels, logits))


def generator_step(
    discriminator: nn.Module,
    optimizer: torch.optim.Optimizer,
    real_images: Tensor,
    real_labels: Tensor,
    fake_images: Tensor,
    fake_labels: Tensor,
    *,
    loss: LossConfig,
    autocast: torch.autocast,
) -> dict[str, float]:
    """One update of the generator; the discriminator's parameters are frozen meanwhile.

    Args:
        discriminator: Images in [-1, 1] and labels -> logits.
        optimizer: Of the generator's parameters.
        real_images: (N, 3, R, R) in [-1, 1], judged in relativistic pairing only.
        real_labels: (N,).
        fake_images: (N, 3, R, R) in [-1, 1], with the graph of the generator.
        fake_labels: (N,).
        loss: The adversarial loss.
        autocast: Precision of the forward pass.

    Returns:
        The term of the loss.

    Raises:
        DivergedError: It is not finite.
    """
    discriminator.requires_grad_(False)
    with autocast:
        real_logits = discriminator(real_images, real_labels) if loss.relativistic else None
        fake_logits = discriminator(fake_images, fake_labels)
    discriminator.requires_grad_(True)
    return _update(optimizer, {"generator": losses.generator_term(loss, real_logits, fake_logits)})


def _update(optimizer: torch.optim.Optimizer, terms: dict[str, Tensor]) -> dict[str, float]:
    loss = torch.stack(list(terms.values()))
    values = dict(zip(terms, loss.tolist(), strict=True))
    for name, value in values.items():
        if not math.isfinite(value):
            raise DivergedError(name, value)
    optimizer.zero_grad()
    loss.sum().backward()
    optimizer.step()
    return values
