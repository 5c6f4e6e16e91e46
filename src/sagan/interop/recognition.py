"""Which repository wrote a network, and what its keys show of the architecture."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from sagan.config import DiscriminatorConfig, places, plan
from sagan.errors import SaganError
from sagan.interop.foreign_files import ForeignNetwork
from sagan.interop.names import LAYOUTS, Layout, NetworkNames, NormNames, Role

_LEAVES = r"(weight(_orig|_u|_v|_bar)?|u0|u|w|bias|biases|Matrix|embedding_map|[uv]_used)"
_NAMES_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Structure:
    """The blocks of a network and where its attention layers stand."""

    blocks: tuple[str, ...]
    """Their paths, in order."""
    attention: tuple[tuple[int, str], ...]
    """(block after which it stands, from 0; its path), in order."""
    last: int
    """The number after the last block."""


def recognise(network: ForeignNetwork) -> tuple[Layout, Role]:
    """Finds the layout whose names fit most of a network's keys.

    Raises:
        SaganError: None fits half of them; lists the layouts known and the first foreign keys.
    """
    if "shared.weight" in network.tensors:
        raise SaganError(f"{network.source} is a BigGAN (it has shared.weight), no SAGAN")
    roles: tuple[Role, ...] = ("discriminator", "generator")  # whose names may be among the other's
    candidates: list[tuple[Layout, Role, list[str]]] = [
        (layout, role, [key for key in network.tensors if not pattern.fullmatch(key)])
        for layout in LAYOUTS
        for role in roles
        for pattern in [_pattern(layout, role)]
    ]
    layout, role, foreign = min(candidates, key=lambda candidate: len(candidate[2]))
    if 2 * len(foreign) > len(network.tensors):
        more = len(foreign) - _NAMES_SHOWN
        raise SaganError(
            f"{network.source} has no known layout; known are "
            f"{', '.join(layout.title for layout in LAYOUTS)}; keys that fit none: "
            f"{', '.join(foreign[:_NAMES_SHOWN])}{f' and {more} more' if more > 0 else ''}"
        )
    return layout, role


def structure(layout: Layout, role: Role, network: ForeignNetwork) -> Structure:
    """Reads the order of blocks and attention layers from the keys.

    Raises:
        SaganError: There are more or fewer blocks than any resolution has, nothing shows where the
            attention stands, or it cannot stand where it is said to.
    """
    names, keys = layout.names(role), network.tensors
    inside = [*names.convolutions, *filter(None, [names.norm])]
    blocks = numbers(layout, names.block, inside, keys)
    attention = numbers(layout, names.attention, [*names.projections, names.gamma], keys)
    if names.attention == names.block:
        count, places = _counted_together(names, blocks, attention)
    else:
        count = max(blocks, default=-1) + 1 - names.offset
        places = sorted(n - names.offset for n in attention)
    smallest = 3 if role == "generator" else 4
    if not smallest <= count <= smallest + 3:
        raise SaganError(
            f"{network.source} has {count} residual blocks; a {layout.title} {role} has "
            f"{smallest} to {smallest + 3}, for 32 to 256 pixels"
        )
    if attention and not layout.shows_places:
        places = [_only_place(layout, role, count, network)]
    elif layout.attention_of(role) is not None:
        raise SaganError(f"{network.source} has no attention layer; leave --{role}-attention out")
    return structure_of(names, count, places)


def structure_of(names: NetworkNames, count: int, places: Iterable[int]) -> Structure:
    """The structure of a network of so many blocks with attention after some of them."""
    blocks, attention, places = [], [], list(places)
    number = names.offset
    for block in range(count):
        first = block == 0 and names.first_block
        blocks.append(names.first_block if first else names.block.format(n=number))
        if block in places:
            number += names.attention == names.block
            attention.append((block, names.attention.format(n=number)))
        number += 1
    return Structure(blocks=tuple(blocks), attention=tuple(attention), last=names.offset + count)


def _counted_together(
    names: NetworkNames, blocks: set[int], attention: set[int]
) -> tuple[int, list[int]]:
    """Residual blocks and attention layers share one count: tells them apart."""
    count, places = 0, []
    for number in range(names.offset, max(blocks | attention, default=names.offset - 1) + 1):
        if number in attention and number not in blocks:
            places.append(count - 1)
        else:
            count += 1
    return count, places


def _only_place(layout: Layout, role: Role, count: int, network: ForeignNetwork) -> int:
    """Where the only attention layer stands: as wished or released, as far as its width allows."""
    names = layout.names(role)
    out = layout.join(names.attention, names.projections[3])
    width = _channels(layout, out, network.tensors)
    fitting = []
    for number, block in enumerate(structure_of(names, count, []).blocks):
        path = layout.join(block, names.convolutions[1])
        if 0 in (width, channels := _channels(layout, path, network.tensors)) or width == channels:
            fitting.append(number)
    sides = [str(8 << block) for block in range(count)]
    if role == "discriminator":
        sides = place_names(layout, 2 << count, range(count))[1]
    possible = {sides[block]: block for block in fitting}
    usual = sides[1 if role == "discriminator" or count == 3 else 2]
    wanted = layout.attention_of(role)
    if wanted is None and (usual in possible or len(possible) == 1):
        wanted = usual if usual in possible else next(iter(possible))
    if wanted not in possible:
        fault = "" if wanted is None else f", and {wanted!r} does not fit"
        choice = " or ".join(possible)
        remedy = f"choose --{role}-attention {choice}" if possible else "no map has so many"
        raise SaganError(
            f"{network.source}: its keys do not show where {names.attention} of {width} channels "
            f"stands{fault}; {remedy}"
        )
    return possible[wanted]


def _channels(layout: Layout, path: str, tensors: Mapping[str, Tensor]) -> int:
    for form in layout.forms_of("convolution"):
        tensor = tensors.get(layout.join(path, form.weight))
        if tensor is not None and tensor.ndim == 4:
            return tensor.shape[form.axes[0] if form.axes else 0]
    return 0


def place_names(
    layout: Layout, resolution: int, blocks: Iterable[int]
) -> tuple[DiscriminatorConfig, list[str]]:
    """The attention settings of a discriminator, and our names of the attention layers."""
    final = final_resolution(layout, resolution)
    blocks = list(blocks)
    sizes = [resolution >> (block + 1) for block in blocks]
    by_resolution = all(size >= final for size in sizes)
    config = DiscriminatorConfig(
        final_resolution=final,
        attention=tuple(sizes) if by_resolution else (),
        attention_blocks=() if by_resolution else tuple(block + 1 for block in blocks),
    )
    found = places(plan(config, resolution))
    return config, [found[block].name for block in blocks]


def final_resolution(layout: Layout, resolution: int) -> int:
    """Down to how many pixels a repository's discriminator goes.

    mmgeneration's halves at each of its blocks at 64 pixels, and at all but the last at 128.
    """
    if layout.final_resolution is not None:
        return layout.final_resolution
    if layout.name == "mmgen" and resolution == 64:
        return 2
    return 8 if resolution == 32 else 4


def numbers(layout: Layout, path: str, inside: Iterable[str], keys: Iterable[str]) -> set[int]:
    """The numbers {n} that occur in a path, before one of the parts; 0 where it has none."""
    parts = "|".join(_regex(part) for part in inside)
    start = _regex(path).replace(r"\d+", r"(\d{1,3})", 1)
    pattern = re.compile(f"{start}{re.escape(layout.separator)}({parts})(?!\\w).*")
    matches = [match for key in keys if (match := pattern.fullmatch(key))]
    return {int(match[1]) if "{n}" in path else 0 for match in matches}


def _regex(template: str) -> str:
    return re.sub(r"\\\{\w+\\\}", r"\\d+", re.escape(template))


def _pattern(layout: Layout, role: Role) -> re.Pattern[str]:
    """Matches the names that a network of this layout may hold."""
    names = layout.names(role)
    blocks = [names.block, *filter(None, [names.first_block])]
    modules = [names.linear, names.embedding, names.out]
    modules += [layout.join(block, part) for block in blocks for part in names.convolutions]
    modules += [layout.join(names.attention, part) for part in names.projections]
    singles = [layout.join(names.attention, names.gamma)]
    for norm, parts in (
        (names.norm and layout.join(names.block, names.norm), names.norm_parts),
        (names.plain_norm and layout.join(names.block, names.plain_norm), NormNames()),
        (names.last_norm, names.last_norm_parts),
    ):
        if norm:
            modules += [layout.join(norm, part) for part in (parts.gain, parts.bias)]
            singles += [layout.join(norm, part) for part in vars(parts).values()]
    separator = re.escape(layout.separator)
    known = [_regex(module) + separator + _LEAVES for module in modules if module]
    return re.compile("|".join(known + [_regex(single) for single in singles]))
