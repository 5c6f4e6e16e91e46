"""The gradients of the game's two updates, mirror images of each other.

A batch may come in portions, whose gradients add up to those of the whole. Nothing here waits for
the device: the terms of the loss stay there as tensors until somebody reads them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sagan.config import LossConfig
from sagan.losses import adversarial as losses
from sagan.losses.regularizers import Regularize
from sagan.nn import spectral


class Portion(NamedTuple):
    """Pictures to be judged together, as the discriminator sees them."""

    real_images: Tensor
    """(N, 3, R, R) in [-1, 1]."""
    real_labels: Tensor
    """(N,)."""
    fake_images: Tensor
    """(N, 3, R, R) in [-1, 1], with the graph of the generator where its gradients are wanted."""
    fake_labels: Tensor
    """(N,)."""


def discriminator_gradients(
    discriminator: nn.Module,
    portions: Iterable[Portion],
    *,
    share: float,
    loss: LossConfig,
    regularize: Regularize,
    autocast: torch.autocast,
) -> dict[str, Tensor]:
    """Adds the gradients of the discriminator's loss; real and fake pictures pass together.

    Args:
        discriminator: Images in [-1, 1] and labels -> logits.
        portions: Of one batch, equally large.
        share: Of a portion in the batch.
        loss: The adversarial loss.
        regularize: Gives the terms beside it.
        autocast: Precision of the forward pass.

    Returns:
        The terms of the loss, which is their sum, on the device.
    """
    totals: dict[str, Tensor] = {}
    with spectral.kept_kernels(discriminator):
        for number, portion in enumerate(portions):
            images = torch.cat([portion.real_images, portion.fake_images.detach()])
            labels = torch.cat([portion.real_labels, portion.fake_labels])
            with autocast:
                logits = discriminator(images, labels)
            real_term, fake_term = losses.discriminator_terms(loss, *logits.chunk(2))
            terms = {"discriminator_real": real_term, "discriminator_fake": fake_term}
            _add(totals, terms | regularize(number, discriminator, images, labels, logits), share)
    return totals


def generator_gradients(
    discriminator: nn.Module,
    portions: Iterable[Portion],
    *,
    share: float,
    loss: LossConfig,
    autocast: torch.autocast,
) -> dict[str, Tensor]:
    """Adds the gradients of the generator's loss; the discriminator's parameters are frozen.

    Args:
        discriminator: Images in [-1, 1] and labels -> logits.
        portions: Of one batch, equally large; the real pictures are judged in relativistic
            pairing only.
        share: Of a portion in the batch.
        loss: The adversarial loss.
        autocast: Precision of the forward pass.

    Returns:
        The term of the loss, on the device.
    """
    totals: dict[str, Tensor] = {}
    discriminator.requires_grad_(False)
    try:
        with spectral.kept_kernels(discriminator):
            for real_images, real_labels, fake_images, fake_labels in portions:
                real_logits = None
                with autocast:
                    if loss.relativistic:
                        real_logits = discriminator(real_images, real_labels)
                    fake_logits = discriminator(fake_images, fake_labels)
                term = losses.generator_term(loss, real_logits, fake_logits)
                _add(totals, {"generator": term}, share)
    finally:
        discriminator.requires_grad_(True)
    return totals


def _add(totals: dict[str, Tensor], terms: dict[str, Tensor], share: float) -> None:
    """Adds a portion's terms to those of the batch, and their gradients to the parameters'."""
    weighed = {name: share * term for name, term in terms.items()}
    torch.stack(list(weighed.values())).sum().backward()
    for name, term in weighed.items():
        totals[name] = totals.get(name, 0) + term.detach()
