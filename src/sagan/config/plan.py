"""The geometry of a network: the side and the width of every map, and where attention stands.

Whoever needs one of these numbers reads it from :func:`plan`: both architectures, the checks of
the config, converters, the estimate of memory.

Channels by resolution, in multiples of the base width: at 128 the released code's ``generator.py``
and ``discriminator.py``; 64 and 32 leave out its widest stages, 256 has one more (64 as in
PyTorch-StudioGAN's ``resnet.py``, 256 as there and in BigGAN-PyTorch).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sagan.config.checks import checking, require
from sagan.config.data import RESOLUTIONS
from sagan.config.networks import DiscriminatorConfig, GeneratorConfig

LEAST_CHANNELS = 8
"""Attention projects to an eighth of its channels, which must be one at least."""

# From 4 x 4 pixels on: the linear layer's output, then after each block.
_GENERATOR_CHANNELS = {
    32: (8, 4, 2, 1),
    64: (16, 8, 4, 2, 1),
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
}
# After each block.
_DISCRIMINATOR_CHANNELS = {
    32: (1, 2, 4, 8),
    64: (1, 2, 4, 8, 16),
    128: (1, 2, 4, 8, 16, 16),
    256: (1, 2, 4, 8, 8, 16, 16),
}


@dataclass(frozen=True, kw_only=True, order=True)
class Place:
    """Where an attention layer stands.

    Example:
        >>> sagan.nn.Place(side=8, nth=2).name
        '8-2'
    """

    side: int
    """Of its map, in cells."""
    nth: int = 1
    """Which of the blocks whose output has this side, from 1."""

    @property
    def name(self) -> str:
        """The layer's name in a state_dict: 16, or 8-2 after the second block of side 8."""
        return str(self.side) if self.nth == 1 else f"{self.side}-{self.nth}"

    def __str__(self) -> str:
        return f"{self.side} x {self.side}" + (f", block {self.nth}" if self.nth > 1 else "")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The map that a layer or block of a network ends in.

    Example:
        >>> sagan.nn.plan(sagan.config.GeneratorConfig(), 128)[0]
        Stage(side=4, channels=1024, attention=None)
    """

    side: int
    """Height and width in cells."""
    channels: int
    attention: Place | None = None
    """The attention that follows, if there is one."""


def plan(config: GeneratorConfig | DiscriminatorConfig, resolution: int) -> tuple[Stage, ...]:
    """The maps of a network, in the order in which it computes them.

    A residual generator begins with the map of its linear layer, 4 x 4, then has one per block; a
    residual discriminator has one per block. The dcgan ones have one per layer but the last.

    Args:
        config: Of the network.
        resolution: Side of the pictures in pixels.

    Raises:
        SaganError: No such network can be built; names the setting.

    Example:
        >>> stages = sagan.nn.plan(sagan.config.DiscriminatorConfig(), 128)
        >>> [(stage.side, stage.channels) for stage in stages]
        [(64, 64), (32, 128), (16, 256), (8, 512), (4, 1024), (4, 1024)]
    """
    known = ", ".join(map(str, RESOLUTIONS))
    require(resolution in RESOLUTIONS, "the resolution", resolution, f"one of {known}")
    if isinstance(config, GeneratorConfig):
        return _generator_plan(config, resolution)
    return _discriminator_plan(config, resolution)


def _generator_plan(config: GeneratorConfig, resolution: int) -> tuple[Stage, ...]:
    is_residual = config.architecture == "residual"
    sides = _doublings(4, resolution if is_residual else resolution // 2)
    checking("generator", config)(
        "channels",
        len(config.channels) in (0, len(sides)),
        f"{len(sides)} numbers at {resolution} pixels: for 4 x 4 and after every block",
    )
    default = (
        _GENERATOR_CHANNELS[resolution] if is_residual else [s // sides[0] for s in reversed(sides)]
    )
    _require_sides("generator", config.attention, sides[1:] if is_residual else sides)
    return _stages("generator", config, sides, config.channels or default)


def _discriminator_plan(config: DiscriminatorConfig, resolution: int) -> tuple[Stage, ...]:
    check = checking("discriminator", config)
    final = config.final_resolution
    is_possible = final in (4, 8, 16) and final < resolution
    check("final_resolution", is_possible, f"4, 8 or 16 and below {resolution}")
    halved = _doublings(final, resolution // 2)[::-1]
    default: Sequence[int] = _DISCRIMINATOR_CHANNELS[resolution]
    if config.architecture == "dcgan":
        check("final_resolution", final == 4, "4 with dcgan")
        check(
            "channels",
            len(config.channels) in (0, len(halved)),
            f"{len(halved)} numbers at {resolution} pixels: after every layer",
        )
        default = [halved[0] // side for side in halved]
    multiples = config.channels or default
    check(
        "channels",
        len(multiples) >= len(halved),
        f"at least {len(halved)} numbers, one per block, to get from {resolution} to {final}",
    )
    blocks = config.attention_blocks
    check(
        "attention_blocks",
        set(blocks) <= set(range(1, len(multiples) + 1)) and len(set(blocks)) == len(blocks),
        f"different numbers from 1 to {len(multiples)}",
    )
    _require_sides("discriminator", config.attention, sorted(halved))
    sides = [*halved, *[final] * (len(multiples) - len(halved))]
    return _stages("discriminator", config, sides, multiples, blocks)


def _stages(
    network: str,
    config: GeneratorConfig | DiscriminatorConfig,
    sides: Sequence[int],
    multiples: Sequence[int],
    attention_blocks: Iterable[int] = (),
) -> tuple[Stage, ...]:
    stages = []
    for number, (side, multiple) in enumerate(zip(sides, multiples, strict=True), 1):
        channels, nth = config.base_channels * multiple, sides[:number].count(side)
        attends = number in attention_blocks or (nth == 1 and side in config.attention)
        checking(network, config)(
            "base_channels",
            channels >= LEAST_CHANNELS or not attends,
            f"at least {-(-LEAST_CHANNELS // multiple)}, since attention at {side} x {side} needs "
            f"{LEAST_CHANNELS} channels",
        )
        place = Place(side=side, nth=nth) if attends else None
        stages.append(Stage(side=side, channels=channels, attention=place))
    return tuple(stages)


def least_weights(
    config: GeneratorConfig | DiscriminatorConfig, resolution: int, num_classes: int
) -> int:
    """A number that the weights of a network certainly exceed: kernels and class tables alone."""
    channels = [stage.channels for stage in plan(config, resolution)]
    kernels = sum(9 * first * second for first, second in pairwise(channels))
    if isinstance(config, DiscriminatorConfig):
        return kernels + num_classes * channels[-1]
    return kernels + 16 * config.latent_dim * channels[0] + 2 * num_classes * sum(channels[1:])


def places(stages: Iterable[Stage]) -> Mapping[int, Place]:
    """Where attention stands: number of the stage, from 0 -> place."""
    return {i: stage.attention for i, stage in enumerate(stages) if stage.attention is not None}


def _doublings(first: int, last: int) -> list[int]:
    """From ``first`` to ``last``, each twice the one before."""
    return [first << n for n in range((last // first).bit_length())]


def _require_sides(network: str, attention: tuple[int, ...], possible: Sequence[int]) -> None:
    for side in attention:
        require(
            side in possible,
            f"{network}.attention",
            side,
            f"among {', '.join(map(str, possible))}, where a block ends in a map that attention"
            " can pool",
        )
