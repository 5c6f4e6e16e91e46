"""The two updates of the game, mirror images of each other.

Each computes the terms of its loss, stops before the update if one of them is not finite, and
returns them for the log.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sagan import losses, spectral
from sagan.errors import SaganError


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
        autocast: Precision of the forward pass.

    Returns:
        The two hinge terms.

    Raises:
        DivergedError: One of them is not finite.
    """
    spectral.advance(discriminator)
    with autocast:
        logits = discriminator(
            torch.cat([real_images, fake_images]), torch.cat([real_labels, fake_labels])
        )
    real_term, fake_term = losses.hinge_discriminator(*logits.chunk(2))
    terms = {"discriminator_real": real_term.item(), "discriminator_fake": fake_term.item()}
    _update(optimizer, real_term + fake_term, terms)
    return terms


def generator_step(
    discriminator: nn.Module,
    optimizer: torch.optim.Optimizer,
    fake_images: Tensor,
    fake_labels: Tensor,
    *,
    autocast: torch.autocast,
) -> dict[str, float]:
    """One update of the generator; the discriminator's parameters are frozen meanwhile.

    Args:
        discriminator: Images in [-1, 1] and labels -> logits.
        optimizer: Of the generator's parameters.
        fake_images: (N, 3, R, R) in [-1, 1], with the graph of the generator.
        fake_labels: (N,).
        autocast: Precision of the forward pass.

    Returns:
        The hinge term.

    Raises:
        DivergedError: It is not finite.
    """
    discriminator.requires_grad_(False)
    with autocast:
        logits = discriminator(fake_images, fake_labels)
    discriminator.requires_grad_(True)
    term = losses.hinge_generator(logits)
    terms = {"generator": term.item()}
    _update(optimizer, term, terms)
    return terms


def _update(optimizer: torch.optim.Optimizer, loss: Tensor, terms: dict[str, float]) -> None:
    for name, value in terms.items():
        if not math.isfinite(value):
            raise DivergedError(name, value)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
