"""Regularisers of the discriminator: pure functions, and those of a run weighed as configured.

The gradient penalties differentiate a gradient. Fused attention kernels and compiled networks have
no second derivative, so their passes take chunks on CPUs and the explicit formula elsewhere, and
the network as it is written.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from sagan.config import LossConfig
from sagan.losses.adversarial import require_pairs
from sagan.losses.augmentation import flip_and_translate
from sagan.nn.second_derivatives import differentiated_twice
from sagan.nn.singular import no_autocast
from sagan.system.randomness import Purpose, generator_at, uniform
from sagan.system.ranks import ALONE, Ranks
from sagan.system.transfer import send

LogitFunction = Callable[[Tensor, Tensor], Tensor]
"""Images (N, C, H, W) and labels (N,) -> logits (N,), each of its own picture alone."""


def image_gradients(discriminator: LogitFunction, images: Tensor, labels: Tensor) -> Tensor:
    """The gradient of every picture's logit by its pixels, itself differentiable.

    Under autocast the network computes in its precision, and the gradient is float32.

    Args:
        discriminator: Images and labels -> logits. A compiled network is called as it is written.
        images: (N, C, H, W).
        labels: (N,).

    Returns:
        (N, C H W).
    """
    discriminator = getattr(discriminator, "_orig_mod", discriminator)  # of torch.compile
    as_written: LogitFunction = discriminator
    if isinstance(discriminator, nn.Module):
        as_written = cast(LogitFunction, discriminator._call_impl)
    images = images.detach().requires_grad_()
    with sdpa_kernel(SDPBackend.MATH), differentiated_twice():
        logits = as_written(images, labels)
    with no_autocast(images):
        (gradients,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradients.flatten(1)


def zero_centred_penalty(discriminator: LogitFunction, images: Tensor, labels: Tensor) -> Tensor:
    """Half the mean squared norm of the gradients: R1 of real pictures, R2 of generated ones.

    Args:
        discriminator: Images and labels -> logits.
        images: (N, C, H, W).
        labels: (N,).

    Returns:
        mean(|grad D|^2) / 2, a scalar.

    Source: Mescheder et al. 2018, equations 9 and 10.

    Example:
        >>> def discriminator(images, labels):
        ...     return images.mean(dim=(1, 2, 3))
        >>> images, labels = torch.zeros(2, 3, 8, 8), torch.zeros(2, dtype=torch.int64)
        >>> sagan.losses.zero_centred_penalty(discriminator, images, labels).item() < 0.01
        True
    """
    return _half_squares(discriminator, images, labels).mean()


def _half_squares(discriminator: LogitFunction, images: Tensor, labels: Tensor) -> Tensor:
    return image_gradients(discriminator, images, labels).square().sum(dim=1) / 2


def gradient_penalty(
    discriminator: LogitFunction,
    real_images: Tensor,
    fake_images: Tensor,
    labels: Tensor,
    random: torch.Generator,
) -> Tensor:
    """How far slopes are from 1 at random points between real and generated pictures.

    Args:
        discriminator: Images and labels -> logits.
        real_images: (N, C, H, W).
        fake_images: (N, C, H, W).
        labels: Of the real pictures, (N,); the points between take them too.
        random: On the CPU.

    Returns:
        mean((|grad D| - 1)^2), a scalar.

    Raises:
        SaganError: There are not as many of both pictures.

    Source: Gulrajani et al. 2017, equation 3.

    Example:
        >>> def discriminator(images, labels):
        ...     return images.sum(dim=(1, 2, 3)) / 192**0.5  # of slope 1
        >>> images, labels = torch.rand(2, 2, 3, 8, 8), torch.zeros(2, dtype=torch.int64)
        >>> random = torch.Generator().manual_seed(0)
        >>> penalty = sagan.losses.gradient_penalty(discriminator, *images, labels, random)
        >>> round(penalty.item(), 6)
        0.0
    """
    require_pairs(real_images, fake_images)
    share = uniform(len(real_images), 1, 1, 1, random=random)
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

    Example:
        >>> real, fake = torch.ones(2), -torch.ones(2)
        >>> sagan.losses.lecam(real, fake, real.mean(), fake.mean())
        tensor(8.)
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

    Raises:
        SaganError: They are no pairs.

    Source: Zhang et al. 2020 (CR), equation 3, on real pictures; Zhao et al. 2021 (bCR), on both.

    Example:
        >>> sagan.losses.consistency(torch.zeros(2), torch.ones(2))
        tensor(1.)
    """
    require_pairs(logits, transformed_logits)
    return (logits - transformed_logits).square().mean()


def new_logit_averages(config: LossConfig, device: torch.device) -> dict[str, Tensor]:
    """The moving averages that LeCam needs, for step 0; without it none."""
    names = ("real", "fake") if config.lecam else ()
    return {name: torch.zeros((), device=device) for name in names}


@dataclass(frozen=True)
class Regularizers:
    """The regularisers of a run; those of weight 0 cost nothing and are no terms.

    Attributes:
        config: Their weights.
        seed: Of the run.
        logit_averages: Part of the training state, moved in place.
        autocast: Precision of the passes.
        ranks: Over whose logits the averages are.
    """

    config: LossConfig
    seed: int
    logit_averages: dict[str, Tensor]
    autocast: torch.autocast
    ranks: Ranks = ALONE

    def terms(
        self,
        update: int,
        portion: int,
        discriminator: LogitFunction,
        images: Tensor,
        labels: Tensor,
        logits: Tensor,
    ) -> dict[str, Tensor]:
        """The terms of one update of the discriminator, or of a portion of its batch.

        Args:
            update: Number of the update, from 0.
            portion: Of its batch, from 0.
            discriminator: Images and labels -> logits.
            images: As the discriminator sees them, real ones first, (2N, C, H, W).
            labels: (2N,).
            logits: (2N,), with their graph.

        Returns:
            Scalars by name, multiplied by their weights.
        """
        return {
            **self._penalties(update, portion, discriminator, images, labels),
            **self._lecam(update, logits),
            **self._consistency(update, portion, discriminator, images, labels, logits),
        }

    def _penalties(
        self,
        update: int,
        portion: int,
        discriminator: LogitFunction,
        images: Tensor,
        labels: Tensor,
    ) -> dict[str, Tensor]:
        config = self.config
        if (update + 1) % config.penalty_interval:
            return {}
        with self.autocast:
            terms = self._zero_centred(discriminator, images, labels)
            if config.gradient_penalty:
                (real_images, fake_images), (real_labels, _) = images.chunk(2), labels.chunk(2)
                random = generator_at(self.seed, update, Purpose.INTERPOLATION, portion)
                terms["gradient_penalty"] = config.gradient_penalty * gradient_penalty(
                    discriminator, real_images, fake_images, real_labels, random
                )
        return {name: config.penalty_interval * term for name, term in terms.items()}

    def _zero_centred(
        self, discriminator: LogitFunction, images: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        """R1 and R2 of all pictures in one pass, or one of them of its half."""
        halves = zip(("r1", "r2"), images.chunk(2), labels.chunk(2), strict=True)
        chosen = {name: half for name, *half in halves if getattr(self.config, name)}
        if not chosen:
            return {}
        together = (torch.cat(parts) for parts in zip(*chosen.values(), strict=True))
        penalties = _half_squares(discriminator, *together).chunk(len(chosen))
        return {
            name: getattr(self.config, name) * penalty.mean()
            for name, penalty in zip(chosen, penalties, strict=True)
        }

    def _lecam(self, update: int, logits: Tensor) -> dict[str, Tensor]:
        if not self.config.lecam:
            return {}
        decay = self.config.lecam_decay
        real_logits, fake_logits = logits.chunk(2)
        means = [side.detach().mean() for side in (real_logits, fake_logits)]
        self.ranks.average(means)
        for name, mean in zip(("real", "fake"), means, strict=True):
            self.logit_averages[name].lerp_(mean, 1 - decay)
        unbiased = 1 - decay ** (update + 1)  # they start at 0, as the moments of Adam
        term = lecam(
            real_logits,
            fake_logits,
            self.logit_averages["real"] / unbiased,
            self.logit_averages["fake"] / unbiased,
        )
        return {"lecam": self.config.lecam * term}

    def _consistency(
        self,
        update: int,
        portion: int,
        discriminator: LogitFunction,
        images: Tensor,
        labels: Tensor,
        logits: Tensor,
    ) -> dict[str, Tensor]:
        sides = zip(
            ("consistency_real", "consistency_fake"),
            (Purpose.CONSISTENCY_REAL, Purpose.CONSISTENCY_FAKE),
            images.chunk(2),
            labels.chunk(2),
            logits.chunk(2),
            strict=True,
        )
        terms = {}
        for name, purpose, side_images, side_labels, side_logits in sides:
            if weight := getattr(self.config, name):
                random = generator_at(self.seed, update, purpose, portion)
                with self.autocast:
                    transformed = discriminator(
                        flip_and_translate(side_images, random), side_labels
                    )
                terms[name] = weight * consistency(side_logits, transformed)
        return terms
