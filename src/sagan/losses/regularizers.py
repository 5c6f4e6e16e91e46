"""What the discriminator's loss holds besides its adversarial terms, weighed as configured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sagan.config import LossConfig
from sagan.losses import regularization
from sagan.losses.augmentation import flip_and_translate
from sagan.system.randomness import Purpose, generator_at

Judge = regularization.Judge
Regularize = Callable[[int, Judge, Tensor, Tensor, Tensor], dict[str, Tensor]]
"""(portion, discriminator, images, labels, logits), real pictures first -> terms by name."""


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
        autocast: Precision of the passes without second derivatives.
    """

    config: LossConfig
    seed: int
    logit_averages: dict[str, Tensor]
    autocast: torch.autocast

    def terms(
        self,
        update: int,
        portion: int,
        discriminator: Judge,
        images: Tensor,
        labels: Tensor,
        logits: Tensor,
    ) -> dict[str, Tensor]:
        """The terms of one update of the discriminator, or of a portion of its batch.

        Args:
            update: Number of the update, from 0.
            portion: Of its batch, from 0.
            discriminator: Images and labels -> logits.
            images: As the discriminator sees them, real ones first, (2N, 3, R, R).
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
        self, update: int, portion: int, discriminator: Judge, images: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        config = self.config
        if (update + 1) % config.penalty_interval:
            return {}
        (real_images, fake_images), (real_labels, fake_labels) = images.chunk(2), labels.chunk(2)
        terms = {}
        if config.gradient_penalty:
            random = generator_at(self.seed, update, Purpose.INTERPOLATION, portion)
            terms["gradient_penalty"] = config.gradient_penalty * regularization.gradient_penalty(
                discriminator, real_images, fake_images, real_labels, random
            )
        if config.r1:
            terms["r1"] = config.r1 * regularization.zero_centred_penalty(
                discriminator, real_images, real_labels
            )
        if config.r2:
            terms["r2"] = config.r2 * regularization.zero_centred_penalty(
                discriminator, fake_images, fake_labels
            )
        return {name: config.penalty_interval * term for name, term in terms.items()}

    def _lecam(self, update: int, logits: Tensor) -> dict[str, Tensor]:
        if not self.config.lecam:
            return {}
        decay = self.config.lecam_decay
        real_logits, fake_logits = logits.chunk(2)
        for name, side in (("real", real_logits), ("fake", fake_logits)):
            self.logit_averages[name].lerp_(side.detach().mean(), 1 - decay)
        unbiased = 1 - decay ** (update + 1)  # they start at 0, as the moments of Adam
        term = regularization.lecam(
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
        discriminator: Judge,
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
                terms[name] = weight * regularization.consistency(side_logits, transformed)
        return terms
