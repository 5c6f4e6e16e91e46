"""Adversarial losses as pure functions of logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Tensor


def hinge_discriminator(real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
    """Hinge loss of the discriminator, its two terms; the loss is their sum.

    Args:
        real_logits: (N,).
        fake_logits: (M,).

    Returns:
        mean(max(0, 1 - D(x))) and mean(max(0, 1 + D(G(z)))), scalars.

    Source: SAGAN paper, equation 4; released code ``model.py``, ``hinge_loss``.
    """
    return F.relu(1 - real_logits).mean(), F.relu(1 + fake_logits).mean()


def hinge_generator(fake_logits: Tensor) -> Tensor:
    """Hinge loss of the generator: -mean(D(G(z))), a scalar.

    Source: SAGAN paper, equation 4.
    """
    return -fake_logits.mean()
