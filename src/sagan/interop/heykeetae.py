"""heykeetae/Self-Attention-GAN's networks -> our settings and tensors."""

from __future__ import annotations

import math

from sagan.config import DiscriminatorConfig, GeneratorConfig
from sagan.errors import SaganError
from sagan.interop.foreign_files import ForeignNetwork
from sagan.interop.names import Layout, NormNames, Role
from sagan.interop.reader import Reader
from sagan.interop.recognition import names_of, numbers


def count_layers(layout: Layout, role: Role, network: ForeignNetwork) -> int:
    """How many layers there are before the last.

    Raises:
        SaganError: No resolution has so many.
    """
    names = names_of(layout, role)
    count = max(numbers(layout, names.block, names.convolutions[:1], network.tensors), default=0)
    if not 3 <= count <= 6:
        raise SaganError(
            f"{network.source} has {count} layers before the last; a {layout.title} {role} has "
            "3 to 6, for 32 to 256 pixels"
        )
    return count


def read_layers(reader: Reader, role: Role, count: int) -> None:
    """Takes the tensors; attention 1 and 2 stand after the last two layers."""
    layout, names = reader.layout, names_of(reader.layout, role)
    for number in range(count):
        path = names.block.format(n=number + 1)
        ours = f"layers.{number}.conv" if role == "generator" else f"layers.{number}"
        reader.weight(ours, layout.join(path, names.convolutions[0]), "convolution")
        if names.norm:
            theirs = layout.join(path, names.norm)
            reader.plain_norm(f"layers.{number}.norm", theirs, NormNames())
    for number, size in enumerate(attention_sizes(role, count), start=1):
        path, ours = names.attention.format(n=number), f"attention.{size}"
        for part, theirs in zip(("query", "key", "value"), names.projections, strict=False):
            reader.weight(f"{ours}.{part}", layout.join(path, theirs), "bare")
        reader.number(f"{ours}.gamma", layout.join(path, names.gamma))
    reader.weight("out", names.out, "bare")


def attention_sizes(role: Role, count: int) -> tuple[int, int]:
    """Sides of the maps after the last two layers."""
    return (1 << count, 2 << count) if role == "generator" else (8, 4)


def configure(reader: Reader, role: Role, count: int) -> GeneratorConfig | DiscriminatorConfig:
    """The settings, from the shapes."""
    inner = ".conv" if role == "generator" else ""
    widths = [reader.state[f"layers.{i}{inner}.bias"].numel() for i in range(count)]
    base_channels = max(math.gcd(*widths), 1)
    shared = {
        "architecture": "dcgan",
        "base_channels": base_channels,
        "channels": tuple(max(width // base_channels, 1) for width in widths),
        "attention": attention_sizes(role, count),
        "spectral_norm_eps": reader.layout.spectral_norm_eps,
    }
    if role == "discriminator":
        return DiscriminatorConfig(**shared)
    return GeneratorConfig(
        latent_dim=reader.state["layers.0.conv.weight"].shape[:1].numel(),
        batch_norm_eps=reader.layout.batch_norm_eps,
        batch_norm_momentum=reader.layout.batch_norm_momentum,
        **shared,
    )
