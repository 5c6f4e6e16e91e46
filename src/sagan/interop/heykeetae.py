"""heykeetae/Self-Attention-GAN's networks -> our settings and tensors."""

from sagan.config import DiscriminatorConfig, GeneratorConfig, NetworkConfig
from sagan.errors import SaganError
from sagan.interop.names import NormNames, Role
from sagan.interop.reader import TensorReader, channel_plan
from sagan.interop.recognition import numbers


def read_dcgan(reader: TensorReader, role: Role) -> tuple[NetworkConfig, int]:
    """Takes the tensors, and finds the settings and the resolution.

    Raises:
        SaganError: No resolution has so many layers, or tensors are missing or left over.
    """
    layout, network = reader.layout, reader.network
    names = layout.names(role)
    count = max(numbers(layout, names.block, names.convolutions[:1], network.tensors), default=0)
    if not 3 <= count <= 6:
        raise SaganError(
            f"{network.source} has {count} layers before the last; a {layout.title} {role} has "
            "3 to 6, for 32 to 256 pixels"
        )
    # Attention 1 and 2 stand after the last two layers.
    sides = (1 << count, 2 << count) if role == "generator" else (8, 4)
    _read_layers(reader, role, count, sides)
    reader.finish()
    return _configure(reader, role, count, sides), 4 << count


def _read_layers(reader: TensorReader, role: Role, count: int, sides: tuple[int, int]) -> None:
    layout, names = reader.layout, reader.layout.names(role)
    for number in range(count):
        path = names.block.format(n=number + 1)
        ours = f"layers.{number}.conv" if role == "generator" else f"layers.{number}"
        reader.weight(ours, layout.join(path, names.convolutions[0]), "convolution")
        if names.norm:
            reader.plain_norm(f"layers.{number}.norm", layout.join(path, names.norm), NormNames())
    for number, side in enumerate(sides, start=1):
        path, ours = names.attention.format(n=number), f"attention.{side}"
        for part, theirs in zip(("query", "key", "value"), names.projections, strict=False):
            reader.weight(f"{ours}.{part}", layout.join(path, theirs), "bare")
        reader.number(f"{ours}.gamma", layout.join(path, names.gamma))
    reader.weight("out", names.out, "bare")


def _configure(
    reader: TensorReader, role: Role, count: int, sides: tuple[int, int]
) -> NetworkConfig:
    inner = ".conv" if role == "generator" else ""
    widths = [reader.state[f"layers.{i}{inner}.bias"].numel() for i in range(count)]
    base_channels, channels = channel_plan(widths)
    shared = {
        "architecture": "dcgan",
        "base_channels": base_channels,
        "channels": channels,
        "attention": sides,
        "spectral_norm_eps": reader.layout.spectral_norm_eps,
    }
    if role == "discriminator":
        final = reader.layout.final_resolution
        return DiscriminatorConfig(final_resolution=sides[-1] if final is None else final, **shared)
    return GeneratorConfig(
        latent_dim=reader.state["layers.0.conv.weight"].shape[:1].numel(),
        batch_norm_eps=reader.layout.batch_norm_eps,
        batch_norm_momentum=reader.layout.batch_norm_momentum,
        **shared,
    )
