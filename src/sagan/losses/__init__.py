"""What the two networks minimise: pure functions of logits and pictures."""

from sagan.losses.adversarial import (
    class_terms,
    discriminator_terms,
    generator_term,
    hinge_discriminator,
    least_squares_discriminator,
    least_squares_generator,
    linear_generator,
    logistic_discriminator,
    logistic_generator,
    relativistic,
    wasserstein_discriminator,
)
from sagan.losses.augmentation import augment
from sagan.losses.regularization import (
    consistency,
    gradient_penalty,
    lecam,
    zero_centred_penalty,
)

__all__ = [
    "augment",
    "class_terms",
    "consistency",
    "discriminator_terms",
    "generator_term",
    "gradient_penalty",
    "hinge_discriminator",
    "least_squares_discriminator",
    "least_squares_generator",
    "lecam",
    "linear_generator",
    "logistic_discriminator",
    "logistic_generator",
    "relativistic",
    "wasserstein_discriminator",
    "zero_centred_penalty",
]
