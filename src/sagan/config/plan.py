"""The geometry of a network: the size and the width of every map, and where attention stands.

Whoever needs one of these numbers reads it from :func:`plan`: both architectures, the checks of
the config, converters, the estimate of memory.

A network begins with a small map and doubles it until the picture is reached, or the other way
round. The shorter side of the first map has 4 to 7 cells, so that the pictures' shorter side, 16 to
448 pixels, says how many doublings there are; the other side is at most 4 times as long. Pictures
of 32 x 32 begin with 4 x 4, those of 48 x 48 with 6 x 6, those of 64 x 96 with 4 x 6.

Channels by the number of doublings, in multiples of the base width: with 5, for 128 pixels, the
released code's ``generator.py`` and ``discriminator.py``; fewer leave out its widest stages, 6 have
one more (4, for 64 pixels, as in PyTorch-StudioGAN's ``resnet.py``, 6, for 256, as there and in
BigGAN-PyTorch).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypedDict

from sagan.config.checks import checking, require
from sagan.config.data import DataConfig
from sagan.config.networks import DiscriminatorConfig, GeneratorConfig, NetworkConfig
from sagan.errors import SaganError

Size = int | tuple[int, int]
"""Height and width of pictures in pixels; one number where they are the same."""

LEAST_CHANNELS = 8
"""Attention projects to an eighth of its channels, which must be one at least."""

_FIRST_SIDES = range(4, 8)
_LONGEST = 4
"""Times the shorter side."""

# By doublings. From the first map on: the linear layer's output, then after each block.
_GENERATOR_CHANNELS = {
    2: (4, 2, 1),
    3: (8, 4, 2, 1),
    4: (16, 8, 4, 2, 1),
    5: (16, 16, 8, 4, 2, 1),
    6: (16, 16, 8, 8, 4, 2, 1),
}
# After each block.
_DISCRIMINATOR_CHANNELS = {
    2: (1, 2, 4),
    3: (1, 2, 4, 8),
    4: (1, 2, 4, 8, 16),
    5: (1, 2, 4, 8, 16, 16),
    6: (1, 2, 4, 8, 8, 16, 16),
}


@dataclass(frozen=True, kw_only=True, order=True)
class Place:
    """Where an attention layer stands.

    Example:
        >>> sagan.nn.Place(height=8, width=8, nth=2).name
        '8-2'
    """

    height: int
    """Of its map, in cells."""
    width: int
    """Of its map, in cells."""
    nth: int = 1
    """Which of the blocks whose output has this size, from 1."""

    @property
    def name(self) -> str:
        """The layer's name in a state_dict: 16, the map's height, or 8-2 after the second block."""
        return str(self.height) if self.nth == 1 else f"{self.height}-{self.nth}"

    def __str__(self) -> str:
        return f"{self.height} x {self.width}" + (f", block {self.nth}" if self.nth > 1 else "")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The map that a layer or block of a network ends in.

    Example:
        >>> sagan.nn.plan(sagan.config.GeneratorConfig(), 128)[0]
        Stage(height=4, width=4, channels=1024, attention=None)
    """

    height: int
    """In cells."""
    width: int
    """In cells."""
    channels: int
    attention: Place | None = None
    """The attention that follows, if there is one."""

    @property
    def cells(self) -> int:
        """Of the map."""
        return self.height * self.width


class NetworkShape(TypedDict):
    """What a network must fit, as both architectures take it."""

    resolution: tuple[int, int]
    channels: int
    num_classes: int


def network_shape(data: DataConfig, num_classes: int) -> NetworkShape:
    """The shape of networks for the pictures of a config."""
    return {"resolution": data.size, "channels": data.shape[0], "num_classes": num_classes}


def both_sides(size: Size) -> tuple[int, int]:
    """Height and width."""
    return size if isinstance(size, tuple) else (size, size)


def _size_text(size: Size) -> str:
    """A size in words: 32, or 64 x 96."""
    height, width = both_sides(size)
    return str(height) if height == width else f"{height} x {width}"


def map_sizes(size: Size) -> list[tuple[int, int]]:
    """Height and width of every map from the first to the picture, each twice the one before.

    Raises:
        SaganError: No network has such pictures; names the nearest sizes that are possible.

    Example:
        >>> sagan.config.map_sizes((64, 96))
        [(4, 6), (8, 12), (16, 24), (32, 48), (64, 96)]
    """
    height, width = both_sides(size)
    doublings = min(height, width).bit_length() - _FIRST_SIDES[0].bit_length()
    if (
        doublings not in _GENERATOR_CHANNELS
        or max(height, width) > _LONGEST * min(height, width)
        or height % 2**doublings
        or width % 2**doublings
    ):
        nearest = " or ".join(f"{h} x {w}" for h, w in _nearest_sizes(height, width))
        *some, last = [str(2**n) for n in _GENERATOR_CHANNELS]
        raise SaganError(
            f"no network has pictures of {height} x {width} pixels (data.resolution, data.width): "
            f"their shorter side must be {_FIRST_SIDES[0]} to {_FIRST_SIDES[-1]} times "
            f"{', '.join(some)} or {last}, the other a multiple of the same number and at most "
            f"{_LONGEST} times as long; the nearest are {nearest}"
        )
    return [(height >> n, width >> n) for n in range(doublings, -1, -1)]


def _nearest_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Two possible sizes; squares for a square."""
    possible = {
        pair
        for doublings in _GENERATOR_CHANNELS
        for short in _FIRST_SIDES
        for long in range(short, short + 1 if height == width else _LONGEST * short + 1)
        for pair in (
            (short << doublings, long << doublings),
            (long << doublings, short << doublings),
        )
    }
    return sorted(possible, key=lambda pair: (abs(pair[0] - height) + abs(pair[1] - width), pair))[
        :2
    ]


def plan(config: NetworkConfig, resolution: Size) -> tuple[Stage, ...]:
    """The maps of a network, in the order in which it computes them.

    A residual generator begins with the map of its linear layer, 4 x 4 for 128 pixels, then has one
    per block; a residual discriminator has one per block. The dcgan ones have one per layer but the
    last.

    Args:
        config: Of the network.
        resolution: Height and width of the pictures in pixels, or one number for both.

    Raises:
        SaganError: No such network can be built; names the setting.

    Example:
        >>> stages = sagan.nn.plan(sagan.config.DiscriminatorConfig(), 128)
        >>> [(stage.height, stage.width, stage.channels) for stage in stages]
        [(64, 64, 64), (32, 32, 128), (16, 16, 256), (8, 8, 512), (4, 4, 1024), (4, 4, 1024)]
    """
    if isinstance(config, GeneratorConfig):
        return _generator_plan(config, resolution)
    return _discriminator_plan(config, resolution)


def _generator_plan(config: GeneratorConfig, resolution: Size) -> tuple[Stage, ...]:
    is_residual = config.architecture == "residual"
    maps = map_sizes(resolution)
    default: Sequence[int] = _GENERATOR_CHANNELS[len(maps) - 1]
    if not is_residual:
        maps = maps[:-1]
        default = [2**n for n in reversed(range(len(maps)))]
    height, width = maps[0]
    checking("generator", config)(
        "channels",
        len(config.channels) in (0, len(maps)),
        f"{len(maps)} numbers at {_size_text(resolution)} pixels: for {height} x {width} and after "
        "every block",
    )
    possible = _attendable(config, maps[1:] if is_residual else maps)
    heights = _attended_heights("generator", config.attention, possible, height)
    return _stages("generator", config, maps, config.channels or default, heights)


def _discriminator_plan(config: DiscriminatorConfig, resolution: Size) -> tuple[Stage, ...]:
    check = checking("discriminator", config)
    maps, pixels = map_sizes(resolution), _size_text(resolution)
    default: Sequence[int] = _DISCRIMINATOR_CHANNELS[len(maps) - 1]
    first, final = maps[0], config.final_resolution
    kept = final.bit_length() - 3  # doublings of the first map, whatever its sides
    if kept < 0 and first[0] % 2 == first[1] % 2 == 0:
        maps, kept = [(first[0] // 2, first[1] // 2), *maps], 0
    check(
        "final_resolution",
        final in (2, 4, 8, 16) and 0 <= kept < len(maps) - 1,
        f"4, 8 or 16 and below {2 ** (len(maps) + 1)}; or 2, if the map of 4 has even sides",
    )
    halved = maps[kept:-1][::-1]
    if config.architecture == "dcgan":
        check(
            "channels",
            len(config.channels) in (0, len(halved)),
            f"{len(halved)} numbers at {pixels} pixels: after every layer",
        )
        default = [2**n for n in range(len(halved))]
    multiples = config.channels or default
    check(
        "channels",
        len(multiples) >= len(halved),
        f"at least {len(halved)} numbers, one per block, to get from {pixels} to "
        f"{_size_text(halved[-1])}",
    )
    maps = [*halved, *[halved[-1]] * (len(multiples) - len(halved))]
    numbers = [n for n, size in enumerate(maps, 1) if size in _attendable(config, maps)]
    blocks = config.attention_blocks
    check(
        "attention_blocks",
        set(blocks) <= set(numbers) and len(set(blocks)) == len(blocks),
        f"different numbers from 1 to {len(multiples)}"
        if len(numbers) == len(maps)
        else f"different numbers among {', '.join(map(str, numbers))}, whose maps can be pooled",
    )
    possible = _attendable(config, halved[::-1])
    heights = _attended_heights("discriminator", config.attention, possible, first[0])
    return _stages("discriminator", config, maps, multiples, heights, blocks)


def _stages(
    network: str,
    config: NetworkConfig,
    maps: Sequence[tuple[int, int]],
    multiples: Sequence[int],
    attended_heights: set[int],
    attention_blocks: Iterable[int] = (),
) -> tuple[Stage, ...]:
    stages = []
    for number, (size, multiple) in enumerate(zip(maps, multiples, strict=True), 1):
        height, width = size
        channels, nth = config.base_channels * multiple, maps[:number].count(size)
        attends = number in attention_blocks or (nth == 1 and height in attended_heights)
        checking(network, config)(
            "base_channels",
            channels >= LEAST_CHANNELS or not attends,
            f"at least {-(-LEAST_CHANNELS // multiple)}, since attention at {height} x {width} "
            f"needs {LEAST_CHANNELS} channels",
        )
        place = Place(height=height, width=width, nth=nth) if attends else None
        stages.append(Stage(height=height, width=width, channels=channels, attention=place))
    return tuple(stages)


def least_weights(config: NetworkConfig, resolution: Size, num_classes: int) -> int:
    """A number that the weights of a network certainly exceed: kernels and class tables alone."""
    stages = plan(config, resolution)
    channels = [stage.channels for stage in stages]
    kernels = sum(9 * first * second for first, second in pairwise(channels))
    if isinstance(config, DiscriminatorConfig):
        return kernels + num_classes * channels[-1]
    first = stages[0].height * stages[0].width * config.latent_dim * channels[0]
    return kernels + first + 2 * num_classes * sum(channels[1:])


def places(stages: Iterable[Stage]) -> Mapping[int, Place]:
    """Where attention stands: number of the stage, from 0 -> place."""
    return {i: stage.attention for i, stage in enumerate(stages) if stage.attention is not None}


def _attendable(config: NetworkConfig, maps: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Those over which attention can stand: where keys are pooled, to more than one of them."""
    pools = (
        config.architecture == "residual"
        and config.attention_form == "attention"
        and config.attention_pooling
    )
    return [(h, w) for h, w in maps if not (pools and (h % 2 or w % 2 or h * w == 4))]


def _attended_heights(
    network: str, attention: Iterable[int], possible: Sequence[tuple[int, int]], first: int
) -> set[int]:
    """The heights of the maps that a setting names.

    It names them by their heights, or by those that they have where the first map is 4 high: 16
    names the map of 24 cells where pictures of 48 pixels begin with 6 x 6. So the same settings fit
    pictures of every size.
    """
    heights = {height: height for height, _ in possible}
    alike = {4 * height // first: height for height in heights}
    names = [
        str(height) if height == name else f"{name} ({height} x {width})"
        for name, (height, width) in zip(alike, possible, strict=True)
    ]
    for name in attention:
        require(
            name in heights or name in alike,
            f"{network}.attention",
            name,
            f"among {', '.join(names)}, where a block ends in a map that attention can pool "
            f"(--{network}.attention)",
        )
    return {heights.get(name, alike.get(name, name)) for name in attention}
