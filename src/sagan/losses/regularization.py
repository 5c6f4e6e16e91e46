"""Regularisers of the discriminator as pure functions; a config weighs them.

The gradient penalties differentiate a gradient. Fused attention kernels have no second
derivative, so their passes take the explicit formula, in full precision.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from sagan.system.transfer import send

Judge = Callable[[Tensor, Tensor], Tensor]
"""Images (N, 3, R, R) and labels (N,) -> logits (N,), each of its own picture alone."""


def image_gradients(discriminator: Judge, images: Tensor, labels: Tensor) -> Tensor:
    """The gradient of every picture's logit by its pixels, itself differentiable.

    Args:
        discriminator: Images and labels -> logits.
        images: (N, 3, R, R).
        labels: (N,).

    Returns:
        (N, 3 R R).
    """
    images = images.detach().requires_grad_()
    with sdpa_kernel(SDPBackend.MATH):
        logits = discriminator(images, labels)
    (gradients,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradients.flatten(1)


def zero_centred_penalty(discriminator: Judge, images: Tensor, labels: Tensor) -> Tensor:
    """Half the mean squared norm of the gradients: R1 of real pictures, R2 of generated ones.

    Args:
        discriminator: Images and labels -> logits.
        images: (N, 3, R, R).
        labels: (N,).

    Returns:
        mean(|grad D|^2) / 2, a scalar.

    Source: Mescheder et al. 2018, equations 9 and 10.
    """
    return image_gradients(discriminator, images, labels).square().sum(dim=1).mean() / 2


def gradient_penalty(
    discriminator: Judge,
    real_images: Tensor,
    fake_images: Tensor,
    labels: Tensor,
    random: torch.Generator,
) -> Tensor:
    """How far slopes are from 1 at random points between real and generated pictures.

    Args:
        discriminator: Images and labels -> logits.
        real_images: (N, 3, R, R).
        fake_images: (N, 3, R, R).
        labels: Of the real pictures, (N,); the points between take them too.
        random: On the CPU.

    Returns:
        mean((|grad D| - 1)^2), a scalar.

    Source: Gulrajani et al. 2017, equation 3.
    """
    share = torch.rand(len(real_images), 1, 1, 1, generator=random)
    share = send(share, real_images.device).to(real_images.dtype)
    between = torch.lerp(fake_images, real_images, share)
    slopes = image_gradients(discriminator, between, labels).norm(dim=1)
    return (slopes - 1).square().mean()


def lecam(
    real_logits: Tensor, fake_logits: Tensor, real_average: Tensor, fake_average: Tensor
) -> Tensor:
    """Holds the logits of either side back from moving away from the other side's average.

    Args:
        real_logits: (N,).
        fake_logits: (M,).
        real_average: Moving average of the real logits, a scalar without gradient.
        fake_average: Moving average of the generated pictures' logits, likewise.

    Returns:
        mean(max(0, D(x) - fake average)^2) + mean(max(0, real average - D(G(z)))^2), a scalar.

    Source: Tseng et al. 2021, equation 2. The maximum with 0 is that of the authors' code
    (``lecam_loss.py``); the paper's text has plain squares.
    """
    return (real_logits - fake_average).relu().square().mean() + (
        real_average - fake_logits
    ).relu().square().mean()


def consistency(logits: Tensor, transformed_logits: Tensor) -> Tensor:
    """Mean squared change of the logits when the pictures are transformed.

    Args:
        logits: (N,).
        transformed_logits: Of the same pictures, transformed, (N,).

    Returns:
        A scalar.

    Source: Zhang et al. 2020 (CR), equation 3, on real pictures; Zhao et al. 2021 (bCR), on both.
    """
    return (logits - transformed_logits).square().mean()
