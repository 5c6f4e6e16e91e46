"""What a run costs, in pictures and operations, counted without computing anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sagan.config import Config, network_shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def real_pictures(config: Config) -> int:
    """Pictures of the dataset that the discriminator sees in a run, repetitions included."""
    train = config.train
    return train.steps * train.discriminator_steps * train.batch_size


def parameters(config: Config, num_classes: int) -> tuple[int, int]:
    """Counts the parameters of generator and discriminator; 0 classes mean unconditional."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    from sagan.nn.residual import make_discriminator, make_generator

    shape = network_shape(config.data, num_classes)
    with FakeTensorMode(), torch.random.fork_rng(devices=[]):
        generator = make_generator(config.generator, **shape)
        discriminator = make_discriminator(config.discriminator, **shape)
    return (
        sum(parameter.numel() for parameter in generator.parameters()),
        sum(parameter.numel() for parameter in discriminator.parameters()),
    )


def multiply_accumulates(config: Config) -> int:
    """Counts the multiplications of a run's convolutions and matrix products.

    Both networks pass forwards and backwards over pictures that exist as shapes only, in the way
    that training uses them; attention is counted by its explicit formula. Sampling, evaluation and
    what is added to the loss are left out. Takes a second or two.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from sagan.nn.residual import make_discriminator, make_generator

    train, batch = config.train, config.train.batch_size
    # Two classes stand for any number: a lookup multiplies nothing.
    shape = network_shape(config.data, 2 if config.data.conditional else 0)
    with FakeTensorMode(allow_non_fake_inputs=True), sdpa_kernel(SDPBackend.MATH):
        generator = make_generator(config.generator, **shape)
        discriminator = make_discriminator(config.discriminator, **shape)
        latents = torch.empty(batch, config.generator.latent_dim)
        labels = torch.zeros(batch, dtype=torch.int64)
        with torch.no_grad():
            fakes = _count(lambda: generator(latents, labels))
            images = generator(latents, labels)
        both = torch.cat([images, images]), torch.cat([labels, labels])
        judgement = _count(lambda: discriminator(*both).sum().backward())
        discriminator.requires_grad_(False)
        drawing = _count(lambda: discriminator(generator(latents, labels), labels).sum().backward())
    draws = train.discriminator_steps - train.reuse_fakes
    return train.steps * (draws * fakes + train.discriminator_steps * judgement + drawing)


def _count(function: Callable[[], Tensor | None]) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops() // 2  # it counts a multiplication and an addition as two
