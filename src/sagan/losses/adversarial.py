"""Adversarial losses as pure functions of logits.

A discriminator's loss is the sum of two terms, one of real and one of generated pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from torch.nn import functional as F

from sagan.config import LossConfig, LossName
from sagan.errors import SaganError

if TYPE_CHECKING:
    from torch import Tensor


def hinge_discriminator(real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
    """Hinge loss of the discriminator, its two terms.

    Args:
        real_logits: (N,).
        fake_logits: (M,).

    Returns:
        mean(max(0, 1 - D(x))) and mean(max(0, 1 + D(G(z)))), scalars.

    Source: SAGAN paper, equation 4; released code ``model.py``, ``_get_d_real_loss``.

    Example:
        >>> real, fake = torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 0.0])
        >>> sagan.losses.hinge_discriminator(real, fake)
        (tensor(0.5000), tensor(0.5000))
    """
    return F.relu(1 - real_logits).mean(), F.relu(1 + fake_logits).mean()


def logistic_discriminator(real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the discriminator: -log of the probability that it gives to the truth.

    Args:
        real_logits: (N,).
        fake_logits: (M,).

    Returns:
        mean(softplus(-D(x))) and mean(softplus(D(G(z)))), scalars.

    Source: Goodfellow et al. 2014, equation 1; released code ``model.py``,
    ``_get_d_real_loss_KL``.

    Example:
        >>> sagan.losses.logistic_discriminator(torch.zeros(2), torch.zeros(2))
        (tensor(0.6931), tensor(0.6931))
    """
    return F.softplus(-real_logits).mean(), F.softplus(fake_logits).mean()


def least_squares_discriminator(real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares of the discriminator, with target 1 for real and 0 for generated pictures.

    Args:
        real_logits: (N,).
        fake_logits: (M,).

    Returns:
        mean((D(x) - 1)^2) / 2 and mean(D(G(z))^2) / 2, scalars.

    Source: Mao et al. 2017, equation 9.

    Example:
        >>> real, fake = torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 0.0])
        >>> sagan.losses.least_squares_discriminator(real, fake)
        (tensor(0.5000), tensor(1.))
    """
    return (real_logits - 1).square().mean() / 2, fake_logits.square().mean() / 2


def wasserstein_discriminator(real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
    """Negated estimate of the Wasserstein distance, if the discriminator is 1-Lipschitz.

    Args:
        real_logits: (N,).
        fake_logits: (M,).

    Returns:
        -mean(D(x)) and mean(D(G(z))), scalars.

    Source: Arjovsky et al. 2017, equation 2.

    Example:
        >>> real, fake = torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 0.0])
        >>> sagan.losses.wasserstein_discriminator(real, fake)
        (tensor(-1.), tensor(-1.))
    """
    return -real_logits.mean(), fake_logits.mean()


def linear_generator(fake_logits: Tensor) -> Tensor:
    """The generator's loss beside hinge, Wasserstein and the released ``kl_loss``: -mean(D(G(z))).

    Args:
        fake_logits: (M,).

    Returns:
        A scalar.

    Source: SAGAN paper, equation 4; released code ``model.py``, ``_get_g_loss`` and
    ``_get_g_loss_KL``.

    Example:
        >>> sagan.losses.linear_generator(torch.tensor([-2.0, 0.0]))
        tensor(1.)
    """
    return -fake_logits.mean()


def logistic_generator(fake_logits: Tensor) -> Tensor:
    """The non-saturating loss of the generator: mean(softplus(-D(G(z)))), a scalar.

    Args:
        fake_logits: (M,).

    Source: Goodfellow et al. 2014, section 3.

    Example:
        >>> sagan.losses.logistic_generator(torch.zeros(2))
        tensor(0.6931)
    """
    return F.softplus(-fake_logits).mean()


def least_squares_generator(fake_logits: Tensor) -> Tensor:
    """Least squares of the generator, target 1: mean((D(G(z)) - 1)^2) / 2, a scalar.

    Args:
        fake_logits: (M,).

    Source: Mao et al. 2017, equation 9.

    Example:
        >>> sagan.losses.least_squares_generator(torch.zeros(2))
        tensor(0.5000)
    """
    return (fake_logits - 1).square().mean() / 2


DiscriminatorLoss = Callable[["Tensor", "Tensor"], tuple["Tensor", "Tensor"]]
GeneratorLoss = Callable[["Tensor"], "Tensor"]

_LOSSES: Final[dict[LossName, tuple[DiscriminatorLoss, GeneratorLoss]]] = {
    "hinge": (hinge_discriminator, linear_generator),
    "non-saturating": (logistic_discriminator, logistic_generator),
    "kl": (logistic_discriminator, linear_generator),
    "least-squares": (least_squares_discriminator, least_squares_generator),
    "wasserstein": (wasserstein_discriminator, linear_generator),
}


def relativistic(loss: DiscriminatorLoss, winners: Tensor, losers: Tensor) -> Tensor:
    """The real term of ``loss`` of the differences of paired logits, a scalar.

    Each player wants its own pictures to be judged more real than those they are paired with.
    Adding a number to all logits changes nothing.

    Args:
        loss: Of a discriminator.
        winners: Logits that should be the higher ones, (N,).
        losers: Logits of the pictures paired with them, (N,).

    Raises:
        SaganError: They are no pairs.

    Source: Jolicoeur-Martineau 2020 ("On relativistic f-divergences"), RpGAN; with the logistic
    loss Huang et al. 2024 (R3GAN), equation 2.

    Example:
        >>> real, fake = torch.tensor([3.0]), torch.tensor([3.0])
        >>> sagan.losses.relativistic(sagan.losses.logistic_discriminator, real, fake)
        tensor(0.6931)
    """
    require_pairs(winners, losers)
    term, _ = loss(winners - losers, losers - winners)
    return term


def require_pairs(one: Tensor, other: Tensor) -> None:
    """Refuses tensors of unlike shapes, which would be compared each with each.

    Raises:
        SaganError: Names both shapes.
    """
    if one.shape != other.shape:
        raise SaganError(
            f"{tuple(one.shape)} and {tuple(other.shape)} are no pairs; give as many of both, and "
            "of one form"
        )


def discriminator_terms(
    config: LossConfig, real_logits: Tensor, fake_logits: Tensor
) -> tuple[Tensor, Tensor]:
    """The two terms of the discriminator's loss; halves of one term in relativistic pairing.

    Args:
        config: Names the loss.
        real_logits: (N,).
        fake_logits: (N,).

    Returns:
        Two scalars, whose sum is the loss.

    Example:
        >>> config = sagan.config.LossConfig(name="hinge")
        >>> sagan.losses.discriminator_terms(config, torch.ones(2), torch.zeros(2))
        (tensor(0.), tensor(1.))
    """
    discriminator, _ = _LOSSES[config.name]
    if config.relativistic:
        half = relativistic(discriminator, real_logits, fake_logits) / 2
        return half, half
    return discriminator(real_logits, fake_logits)


def generator_term(config: LossConfig, real_logits: Tensor | None, fake_logits: Tensor) -> Tensor:
    """The loss of the generator.

    Args:
        config: Names the loss.
        real_logits: (N,), which only relativistic pairing asks for.
        fake_logits: (N,).

    Returns:
        A scalar.

    Raises:
        SaganError: It asks for logits of real pictures, and there are none.

    Example:
        >>> config = sagan.config.LossConfig(name="hinge")
        >>> sagan.losses.generator_term(config, None, torch.ones(2))
        tensor(-1.)
    """
    discriminator, generator = _LOSSES[config.name]
    if config.relativistic:
        if real_logits is None:
            raise SaganError("a relativistic loss compares with real pictures; give their logits")
        return relativistic(discriminator, fake_logits, real_logits)
    return generator(fake_logits)


def class_terms(class_logits: Tensor | None, labels: Tensor) -> dict[str, Tensor]:
    """What an auxiliary classifier adds to the discriminator's loss, by name.

    Args:
        class_logits: Of real pictures and as many generated ones, (2N, classes); None where the
            discriminator names no classes.
        labels: The true classes, and those that the generator was asked for, (2N,).

    Returns:
        The cross-entropies ``class_real`` and ``class_fake``, scalars; nothing without logits.

    Source: Odena et al. 2017, equation 3.

    Example:
        >>> terms = sagan.losses.class_terms(torch.zeros(4, 2), torch.tensor([0, 1, 0, 1]))
        >>> {name: round(term.item(), 4) for name, term in terms.items()}
        {'class_real': 0.6931, 'class_fake': 0.6931}
    """
    if class_logits is None:
        return {}
    sides = zip(class_logits.chunk(2), labels.chunk(2), strict=True)
    names = ("class_real", "class_fake")
    return {n: F.cross_entropy(*side) for n, side in zip(names, sides, strict=True)}
