"""What a training step takes, by formula: operations and memory.

Rough and at once, so that many settings can be compared.
"""

import math
from itertools import pairwise
from typing import Literal

from sagan.config.networks import DiscriminatorConfig, GeneratorConfig, NetworkConfig
from sagan.config.plan import Size, Stage, both_sides, plan
from sagan.config.whole import Config


def operations(config: Config) -> float:
    """Operations of training for each real picture, a multiplication and its addition as two.

    Those of convolutions, linear layers and attention. A pass backwards counts as two passes, or as
    one where only the pictures need a gradient. The generator is passed through once, forwards and
    backwards; the discriminator by both pictures, forwards and backwards, by the generated one
    again for the generator, and by the real one where the loss is relativistic. Penalties take
    about ten passes more, at their interval.
    """
    train, loss, channels = config.train, config.loss, config.data.shape[0]
    generator = _of_generator(config.generator, config.data.size, channels)
    discriminator = _of_discriminator(config.discriminator, config.data.size, channels)
    penalties = 10 / loss.penalty_interval if loss.penalizes_gradients else 0
    draws = 3 + train.discriminator_steps - train.reuse_fakes
    passes = train.discriminator_steps * (6 + penalties) + 2 + loss.relativistic
    return 2 * (draws * generator + passes * discriminator) / train.discriminator_steps


def _of_generator(network: GeneratorConfig, size: Size, channels: int) -> float:
    """Multiplications of a pass of one picture, as folded (docs/design.md)."""
    first, *_ = stages = plan(network, size)
    is_dcgan = network.architecture == "dcgan"
    count = network.latent_dim * first.cells * first.channels
    count += sum(_of_attention(network, stage) for stage in stages)
    doubling = 36 if network.upsampling == "bilinear" else 16
    for before, after in pairwise(stages):
        count += doubling * before.cells * before.channels * after.channels
        if not is_dcgan:
            count += before.cells * after.channels * (before.channels + 36 * after.channels)
        if network.latent_skips:
            count += 2 * network.latent_dim * (before.channels + after.channels)
    last = 4 if is_dcgan else 9
    return count + last * channels * stages[-1].channels * math.prod(both_sides(size))


def _of_discriminator(network: DiscriminatorConfig, size: Size, channels: int) -> float:
    count, wide, cells = 0.0, channels, math.prod(both_sides(size))
    for number, stage in enumerate(plan(network, size)):
        after, out = stage.cells, stage.channels
        halved = 16 if after < cells else 9
        if network.architecture == "dcgan":
            count += halved * after * wide * out
        else:
            hidden = wide if number and network.hidden_channels == "in" else out
            count += 9 * cells * wide * hidden + after * out * (halved * hidden + wide)
        count += _of_attention(network, stage)
        wide, cells = out, after
    return count


def _of_attention(network: NetworkConfig, stage: Stage) -> float:
    if stage.attention is None:
        return 0.0
    cells, channels = stage.cells, stage.channels
    if network.architecture == "dcgan":
        return cells * channels * (1.25 * channels + 1.125 * cells)
    value = 1 / network.attention_value_divisor
    projections = cells * channels**2 * (0.25 + 2 * value)
    if network.attention_form == "residual":  # with as many weights
        return projections
    keys = cells / 4 if network.attention_pooling else cells
    return projections + cells * keys * channels * (0.125 + value)


def memory_of_a_step(config: Config, kind: Literal["cpu", "gpu"] = "cpu") -> float:
    """Bytes of a step at its peak, roughly.

    The constants are fitted to ``training.footprint``, which takes seconds: at 32 to 128 pixels
    and widths 16 to 64 they give 0.95 to 1.05 times its estimate in float32, 1.4 to 1.8 times in
    bfloat16.
    GPUs keep the maps of attention where penalties differentiate a gradient, CPUs do not.
    """
    networks = [plan(net, config.data.size) for net in (config.generator, config.discriminator)]
    kernels = sum(18 * a.channels * b.channels for stages in networks for a, b in pairwise(stages))
    every = [stage for stages in networks for stage in stages]
    maps = sum(stage.cells * stage.channels for stage in every)
    pairs = sum(stage.cells**2 / 4 for stage in every if stage.attention)
    of_a_pair = 7 if kind == "cpu" else 44
    return 26 * kernels + config.train.batch_size * (62 * maps + of_a_pair * pairs)
