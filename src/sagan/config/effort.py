"""What a training step takes, by formula: operations and memory.

Rough and at once, so that many settings can be compared; ``training.cost`` and
``training.footprint`` count what is really computed.
"""

import math
from itertools import pairwise

from sagan.config.networks import DiscriminatorConfig, GeneratorConfig
from sagan.config.plan import Size, Stage, both_sides, plan
from sagan.config.whole import Config


def pictures_of_a_step(config: Config) -> int:
    """Real pictures that the discriminator sees in a step."""
    return config.train.discriminator_steps * config.train.batch_size


def operations(config: Config) -> float:
    """Operations of training for each real picture, a multiplication and its addition as two.

    A pass backwards counts as two passes, or as one where only the pictures need a gradient.
    The generator is passed through once, forwards and backwards; the discriminator by both
    pictures, forwards and backwards, by the generated one again for the generator, and by the real
    one where the loss is relativistic. Penalties take about ten passes more, at their interval.
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
    count = network.latent_dim * first.height * first.width * first.channels
    for before, after in pairwise(stages):
        cells = before.height * before.width
        count += 17 * cells * before.channels * after.channels
        count += 36 * cells * after.channels**2 + _of_attention(after)
    return count + 9 * channels * stages[-1].channels * math.prod(both_sides(size))


def _of_discriminator(network: DiscriminatorConfig, size: Size, channels: int) -> float:
    count, wide, cells = 0.0, channels, math.prod(both_sides(size))
    for stage in plan(network, size):
        after, out = stage.height * stage.width, stage.channels
        halved = 16 if after < cells else 9
        count += 9 * cells * wide * out + after * out * (halved * out + wide) + _of_attention(stage)
        wide, cells = out, after
    return count


def _of_attention(stage: Stage) -> float:
    if stage.attention is None:
        return 0.0
    cells, channels = stage.height * stage.width, stage.channels
    return 1.25 * cells * channels**2 + cells**2 * channels * 5 / 32


def memory_of_a_step(config: Config) -> float:
    """Bytes of a step at its peak, roughly.

    The constants are fitted to ``training.footprint``, which takes seconds: at 32 to 128 pixels
    and widths 16 to 64 they give 0.9 to 1.4 times its estimate.
    """
    networks = [plan(net, config.data.size) for net in (config.generator, config.discriminator)]
    kernels = sum(18 * a.channels * b.channels for stages in networks for a, b in pairwise(stages))
    every = [stage for stages in networks for stage in stages]
    maps = sum(stage.height * stage.width * stage.channels for stage in every)
    pairs = sum((s.height * s.width) ** 2 / 4 for s in every if s.attention)
    return 32 * kernels + config.train.batch_size * (52 * maps + 44 * pairs)
