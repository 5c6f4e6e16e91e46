"""What the networks of another repository can and cannot express."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from sagan.config import DataConfig, DiscriminatorConfig, GeneratorConfig, NetworkConfig
from sagan.errors import SaganError
from sagan.interop.names import Layout, Role
from sagan.interop.recognition import final_resolution

UNIT = 1e-5
"""How far from 1 the largest singular value of a class table may be."""

# Channels in multiples of a width, from 4 x 4 pixels on or after each block; mmgeneration has
# any multiples of those next to the picture.
_WIDEST_FIRST = {128: (16, 16, 8, 4, 2, 1), 256: (16, 16, 8, 8, 4, 2, 1)}
_DEEPEST = {64: (1, 2, 4, 8, 16), 128: (1, 2, 4, 8, 16, 16), 256: (1, 2, 4, 8, 8, 16, 16)}
_PLANS: Mapping[tuple[str, Role], Mapping[int, tuple[int, ...]]] = {
    ("biggan", "generator"): {32: (4, 4, 4, 4), 64: (16, 16, 8, 4, 2), **_WIDEST_FIRST},
    ("biggan", "discriminator"): {32: (4, 4, 4, 4), **_DEEPEST},
    ("studiogan", "generator"): {32: (4, 4, 4, 4), 64: (16, 8, 4, 2, 1), **_WIDEST_FIRST},
    ("studiogan", "discriminator"): {32: (2, 2, 2, 2), **_DEEPEST},
    ("tensorflow", "generator"): {128: _WIDEST_FIRST[128]},
    ("tensorflow", "discriminator"): {128: _DEEPEST[128]},
}


_RESOLUTIONS = (32, 64, 128, 256)


def square_resolution(data: DataConfig, layout: Layout) -> int:
    """The side of the pictures.

    Raises:
        SaganError: They have a size or channels for which no other repository has networks.
    """
    channels, height, width = data.shape
    if channels != 3 or height != width or height not in _RESOLUTIONS:
        raise SaganError(
            f"{layout.repository} has no networks for pictures of {height} x {width} pixels with "
            f"{channels} channel{'s' * (channels != 1)}; its have 3 channels and are squares of "
            f"{', '.join(map(str, _RESOLUTIONS))} pixels"
        )
    return height


def require_expressible(
    layout: Layout,
    role: Role,
    config: NetworkConfig,
    resolution: int,
    num_classes: int,
    attention: set[int],
    tensors: Mapping[str, Tensor],
) -> None:
    """Checks that a repository has a network that computes the same as ours.

    ``attention`` holds the blocks, from 0, after which it stands; ``num_classes`` is 0 without
    classes.

    Raises:
        SaganError: It has none; says which choice it lacks.
    """

    def require(possible: bool, reason: str) -> None:
        if not possible:
            raise SaganError(f"{layout.repository} has no {reason}")

    require(config.architecture == "residual", "DCGAN-style networks")
    require(
        config.attention_form == "attention"
        and config.attention_value_divisor == 2
        and config.attention_pooling
        and config.attention_product == "plain",
        "attention but the released code's",
    )
    require(
        config.spectral_norm != "attention" or not attention or layout.name == "mmgen",
        "spectral norm on attention alone; it has it everywhere or nowhere",
    )
    original = layout.name == "tensorflow"
    has_classes = num_classes > 0 or not (original or layout.name == "biggan")
    require(has_classes, "networks without classes")
    require(not original or config.spectral_norm == "all", "networks without spectral norm")
    released = {2} if role == "generator" else {1}
    require(not original or attention <= released, "attention but after its block for 32 x 32")
    if isinstance(config, GeneratorConfig):
        require(config.upsampling == "nearest", f"{config.upsampling} upsampling")
        require(not config.latent_skips, "whole latents that act on every block")
    else:
        for possible, reason in _discriminator_checks(layout, config, resolution, attention):
            require(possible, reason)
    _require_plan(layout, role, resolution, tensors)


def _require_plan(
    layout: Layout, role: Role, resolution: int, tensors: Mapping[str, Tensor]
) -> None:
    """Checks that a repository has networks of these pictures and these widths."""
    plans, widths = _PLANS.get((layout.name, role)), _output_widths(tensors, role)
    if plans is None:
        unit = widths[-1 if role == "generator" else 0]
        if any(width % unit for width in widths):
            raise SaganError(
                f"{layout.repository} has no {role} with {', '.join(map(str, widths))} channels; "
                f"its own are multiples of those next to the picture, here {unit}"
            )
        return
    if resolution not in plans:
        raise SaganError(f"{layout.repository} has no networks for {resolution} pixels")
    plan = plans[resolution]
    multiples = {width / multiple for width, multiple in zip(widths, plan, strict=False)}
    if len(widths) != len(plan) or len(multiples) != 1:
        raise SaganError(
            f"{layout.repository} has no {role} of {resolution} pixels with "
            f"{', '.join(map(str, widths))} channels; its own are multiples of "
            f"{', '.join(map(str, plan))}"
        )


def _discriminator_checks(
    layout: Layout, config: DiscriminatorConfig, resolution: int, attention: set[int]
) -> Iterator[tuple[bool, str]]:
    """What must hold of a discriminator, and what its repository has not where it does not."""
    yield config.conditioning == "projection", "discriminator that names classes"
    yield config.hidden_channels == "out", "blocks as thin inside as before them"
    # Without it PyTorch-StudioGAN's has batch norms, and BigGAN-PyTorch's cannot be built.
    normalised = config.spectral_norm == "all" or layout.name == "mmgen"
    yield normalised, "discriminator without spectral norm"
    seen = "output of the ReLU" if config.shortcut_input == "relu" else "input before the ReLU"
    yield (
        config.shortcut_input == layout.shortcut_input or layout.name == "mmgen",
        f"shortcuts that see the {seen}",
    )
    yield (
        config.final_resolution == final_resolution(layout, resolution),
        f"discriminator of {resolution} pixels that goes down to {config.final_resolution} "
        "among its usual ones, and keys would not show it",
    )
    yield (
        layout.name != "biggan" or _by_resolution(attention, resolution),
        "attention after some but not all blocks of one entry in its table of resolutions",
    )


def _by_resolution(attention: set[int], resolution: int) -> bool:
    """Whether naming resolutions says where the attention stands, in BigGAN-PyTorch's table.

    At 32 pixels that table gives every block the resolution 16.
    """
    count = (resolution // 4).bit_length()
    sizes = [16 if resolution == 32 else max(resolution >> (n + 1), 4) for n in range(count)]
    named = {sizes[block] for block in attention}
    return attention == {block for block, size in enumerate(sizes) if size in named}


def _output_widths(tensors: Mapping[str, Tensor], role: Role) -> list[int]:
    blocks = sum(name.startswith("blocks.") and name.endswith("conv2.bias") for name in tensors)
    widths = [len(tensors[f"blocks.{i}.conv2.bias"]) for i in range(blocks)]
    return [len(tensors["linear.bias"]) // 16, *widths] if role == "generator" else widths


def require_unit_tables(table: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """The leading singular vectors of a class table whose largest singular value is 1.

    Raises:
        SaganError: It is not 1, so that a repository that divides by it changes the table.
    """
    u, values, v = torch.linalg.svd(table.double(), full_matrices=False)
    if abs(float(values[0]) - 1) > UNIT:
        raise SaganError(
            f"PyTorch-StudioGAN divides class tables by their largest singular value, which is "
            f"{float(values[0]):.3g} in {name}; only tables that come from there survive that"
        )
    return u[:, 0].float(), v[0].float()
