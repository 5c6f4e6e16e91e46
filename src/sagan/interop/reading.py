"""Another repository's network -> ours: settings and tensors.

Weights keep their spectral norm: the singular vectors with which the repository evaluates are
carried over, whether they have converged or not. Class tables are taken as the network uses them:
divided by sigma where they are normalised, with 1 added where the repository adds it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sagan.config import (
    DiscriminatorConfig,
    GeneratorConfig,
    NetworkConfig,
    NormalizedLayers,
    ShortcutInput,
)
from sagan.errors import SaganError
from sagan.interop.foreign_files import ForeignNetwork
from sagan.interop.heykeetae import read_dcgan
from sagan.interop.names import Layout, NormNames, Role
from sagan.interop.reader import TensorReader, channel_plan
from sagan.interop.recognition import Structure, place_names, structure
from sagan.nn.residual import make_discriminator, make_generator


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the keys of some repositories do not show; None for the repository's default."""

    bgr: bool | None = None
    shortcut_input: ShortcutInput | None = None
    gain_offset: float | None = None
    batch_norm_eps: float | None = None
    generator_attention: str | None = None
    """Name of the only attention layer, such as 32."""
    discriminator_attention: str | None = None
    final_resolution: int | None = None


@dataclass(frozen=True, kw_only=True)
class ConvertedNetwork:
    """One of our networks, from another repository's."""

    role: Role
    source: str
    averaged: bool
    layout: Layout
    config: NetworkConfig
    resolution: int
    num_classes: int
    tensors: Mapping[str, Tensor]
    origin: Mapping[str, str]
    """Name of each tensor -> its key in the file."""
    assumptions: tuple[str, ...]
    """What the keys did not show."""

    @property
    def summary(self) -> str:
        """What was found, and what was assumed, in one line."""
        role = "averaged generator" if self.averaged else self.role
        classes = f"{self.num_classes} classes" if self.num_classes else "no classes"
        origin = self.layout.title if self.role == "generator" else self.layout.repository
        assumed = f"; taken for granted: {', '.join(self.assumptions)}" if self.assumptions else ""
        return f"{self.source}: {role} of {origin}, {self.resolution} pixels, {classes}{assumed}"


def convert_network(
    network: ForeignNetwork, layout: Layout, role: Role, choices: Choices
) -> ConvertedNetwork:
    """Reads a network whose layout is known.

    Raises:
        SaganError: Tensors are missing, left over, or of the wrong shape; names them all.
    """
    layout = replace(layout, **{k: v for k, v in vars(choices).items() if v is not None})
    if choices.batch_norm_eps is not None:
        layout = replace(layout, batch_norm_eps_with_plain_tables=None)
    if layout.shows_places and layout.attention_of(role) is not None:
        raise SaganError(
            f"{network.source}: its keys show where attention stands; leave --{role}-attention out"
        )
    reader = TensorReader(layout, network)
    read = read_dcgan if layout.architecture == "dcgan" else _read_residual
    config, resolution = read(reader, role)
    config = _fit(reader, config, resolution)
    if layout.bgr:
        reverse_colours(reader.state, role)
    return ConvertedNetwork(
        role=role,
        source=network.source,
        averaged=network.averaged,
        layout=layout,
        config=config,
        resolution=resolution,
        num_classes=reader.num_classes,
        tensors=reader.state,
        origin=reader.origin,
        assumptions=_assumptions(layout, config),
    )


def _read_residual(reader: TensorReader, role: Role) -> tuple[NetworkConfig, int]:
    found = structure(reader.layout, role, reader.network)
    if role == "generator":
        return _read_generator(reader, found), 4 << len(found.blocks)
    resolution = 2 << len(found.blocks)
    return _read_discriminator(reader, found, resolution), resolution


def _finish(reader: TensorReader) -> None:
    """Checks that nothing is missing or left, and that each layer's bias fits its weight."""
    reader.finish()
    for name, bias in reader.state.items():
        weight = reader.state.get(name.removesuffix("bias") + "weight")
        if name.endswith(".bias") and weight is not None and bias.shape != weight.shape[:1]:
            raise SaganError(
                f"{reader.network.source}: {reader.origin[name]} has shape {tuple(bias.shape)}, "
                f"which does not fit {tuple(weight.shape)} of its weight"
            )


def _read_blocks(reader: TensorReader, found: Structure, role: Role, places: list[str]) -> None:
    layout, names = reader.layout, reader.layout.names(role)
    for number, path in enumerate(found.blocks):
        for ours, theirs in zip(("conv1", "conv2", "shortcut"), names.convolutions, strict=True):
            key = layout.join(path, theirs)
            start = key + layout.separator
            required = role == "generator" or ours != "shortcut" or number == 0
            if required or any(name.startswith(start) for name in reader.network.tensors):
                reader.weight(f"blocks.{number}.{ours}", key, "convolution")
    for place, (_, path) in zip(places, found.attention, strict=True):
        for ours, theirs in zip(("query", "key", "value", "out"), names.projections, strict=True):
            key = layout.join(path, theirs)
            reader.weight(f"attention.{place}.{ours}", key, "projection", bias=False)
        reader.number(f"attention.{place}.gamma", layout.join(path, names.gamma))


def _read_generator(reader: TensorReader, found: Structure) -> GeneratorConfig:
    layout, names, state = reader.layout, reader.layout.generator, reader.state
    reader.weight("linear", names.linear.format(last=found.last), "linear")
    if layout.name == "tensorflow":
        _channels_first(state)
    sides = tuple(8 << block for block, _ in found.attention)
    _read_blocks(reader, found, "generator", list(map(str, sides)))
    for number, path in enumerate(found.blocks):
        for k in (1, 2):
            ours = f"blocks.{number}.norm{k}"
            plain = layout.join(path, names.plain_norm.format(k=k)) if names.plain_norm else ""
            if plain and layout.join(plain, "weight") in reader.network.tensors:
                reader.plain_norm(ours, plain, NormNames())
            else:
                theirs = layout.join(path, names.norm.format(k=k, j=k - 1))
                reader.norm(ours, theirs, names.norm_parts)
    reader.plain_norm("norm", names.last_norm.format(last=found.last), names.last_norm_parts)
    reader.weight("out", names.out.format(last=found.last), "convolution")
    _finish(reader)
    eps = layout.batch_norm_eps_of(
        normalised="linear.spectral_norm.u" in state,
        plain_tables=bool(reader.num_classes) and not reader.tables_normalised,
    )
    if layout.last_batch_norm_eps is not None:
        state["norm.running_var"] = state["norm.running_var"] + (layout.last_batch_norm_eps - eps)
    first = state["linear.bias"].numel() // 16
    base_channels, channels = channel_plan([first, *_widths(reader, found, "conv2")])
    return GeneratorConfig(
        base_channels=base_channels,
        channels=channels,
        latent_dim=state["linear.weight"].shape[-1:].numel(),
        attention=sides,
        upsampling=layout.upsampling,
        batch_norm_eps=eps,
        batch_norm_momentum=layout.batch_norm_momentum,
        last_batch_norm_momentum=layout.last_batch_norm_momentum or layout.batch_norm_momentum,
        spectral_norm_eps=layout.spectral_norm_eps,
    )


def _read_discriminator(
    reader: TensorReader, found: Structure, resolution: int
) -> DiscriminatorConfig:
    layout, names = reader.layout, reader.layout.discriminator
    attention, places = place_names(layout, resolution, [block for block, _ in found.attention])
    _read_blocks(reader, found, "discriminator", places)
    reader.weight("linear", names.linear.format(last=found.last), "linear")
    if any(key.startswith(names.embedding + layout.separator) for key in reader.network.tensors):
        reader.weight("embedding", names.embedding, "embedding", bias=False)
    _finish(reader)
    widths = _widths(reader, found, "conv2")
    base_channels, channels = channel_plan(widths)
    if "embedding.weight" in reader.state:
        reader.num_classes = reader.state["embedding.weight"].shape[:1].numel()
    return replace(
        attention,
        base_channels=base_channels,
        channels=channels,
        hidden_channels="out" if _widths(reader, found, "conv1") == widths else "in",
        shortcut_input=layout.shortcut_input,
        spectral_norm_eps=layout.spectral_norm_eps,
    )


def _widths(reader: TensorReader, found: Structure, part: str) -> list[int]:
    return [reader.state[f"blocks.{i}.{part}.bias"].numel() for i in range(len(found.blocks))]


def _channels_first(state: dict[str, Tensor]) -> None:
    """Reorders the first layer's outputs from (4, 4, C) to (C, 4, 4)."""
    for name in ("linear.weight", "linear.bias", "linear.spectral_norm.u"):
        if name in state and len(state[name]) % 16 == 0:
            rows = state[name].unflatten(0, (4, 4, -1))
            state[name] = rows.movedim(2, 0).flatten(0, 2).contiguous()


def _fit(reader: TensorReader, config: NetworkConfig, resolution: int) -> NetworkConfig:
    """Compares names and shapes with our network's, and finds which weights have vectors."""
    state = reader.state
    bare = replace(config, spectral_norm="none")
    make = make_generator if isinstance(config, GeneratorConfig) else make_discriminator
    with torch.device("meta"):
        network = make(bare, resolution=resolution, num_classes=reader.num_classes)  # type: ignore[arg-type]
    vectors = {name for name in state if ".spectral_norm." in name}
    expected = {name: tensor.shape for name, tensor in network.state_dict().items()}
    weights = {name.removesuffix(".weight") for name in expected if name.endswith(".weight")}
    for name in vectors:
        layer, _, end = name.rpartition(".spectral_norm.")
        weight = expected.get(f"{layer}.weight", torch.Size([0, 0]))
        expected[name] = weight[:1] if end == "u" else torch.Size([math.prod(weight[1:])])
    wrong = [
        f"{reader.origin[name]} has shape {tuple(state[name].shape)} instead of {tuple(shape)}"
        for name, shape in expected.items()
        if name in state and state[name].shape != shape
    ]
    alone = sorted(expected.keys() ^ state.keys())
    wrong += [f"{reader.origin.get(name, name)} has no counterpart" for name in alone]
    if wrong:
        if isinstance(config, DiscriminatorConfig) and reader.layout.final_resolution is not None:
            wrong.append(f"perhaps it does not end at {reader.layout.final_resolution} pixels")
        raise SaganError(f"{reader.network.source} does not fit together: {'; '.join(wrong)}")
    if config.architecture == "dcgan":
        return config if vectors else bare
    normalised = {name.partition(".spectral_norm.")[0] for name in vectors}
    return replace(config, spectral_norm=_normalised_layers(reader, weights, normalised))


def _normalised_layers(
    reader: TensorReader, weights: set[str], normalised: set[str]
) -> NormalizedLayers:
    """Which of the weights are spectrally normalised, by the names of their layers."""
    if normalised in (weights, set()):
        return "all" if normalised else "none"
    if normalised == {layer for layer in weights if layer.startswith("attention.")}:
        return "attention"
    lacking = ", ".join(reader.origin[f"{layer}.weight"] for layer in sorted(weights - normalised))
    raise SaganError(
        f"{reader.network.source} does not fit together: without singular vectors, which other "
        f"weights have, are {lacking}"
    )


def reverse_colours(state: dict[str, Tensor], role: Role) -> None:
    """Blue, green, red -> red, green, blue, at the pictures' end of a network."""
    if role == "generator":
        for name in ("out.weight", "out.bias", "out.spectral_norm.u"):
            if name in state:
                state[name] = state[name].flip(0)
    else:
        for layer in ("blocks.0.conv1", "blocks.0.shortcut"):
            state[f"{layer}.weight"] = state[f"{layer}.weight"].flip(1)
            if (name := f"{layer}.spectral_norm.v") in state:
                state[name] = state[name].unflatten(0, (3, -1)).flip(0).flatten()


def _assumptions(layout: Layout, config: NetworkConfig) -> tuple[str, ...]:
    """What the keys did not show and what was taken instead."""
    found = []
    if not layout.shows_places:
        found += [f"attention at {side} x {side}" for side in config.attention]
        if isinstance(config, DiscriminatorConfig):
            found += [f"attention after block {number}" for number in config.attention_blocks]
    if isinstance(config, GeneratorConfig):
        found.append(f"batch norm eps {config.batch_norm_eps:g}")
        if not layout.keys_tell_all:
            found.append("gains of class tables " + ("1 + w" if layout.gain_offset else "w"))
    elif not layout.keys_tell_all:
        found.append(f"a last map of {config.final_resolution} x {config.final_resolution}")
        how, end = ("", "output") if config.shortcut_input == "relu" else ("not ", "input")
        found.append(f"ReLU {how}in place, so that the shortcut sees its {end}")
    if not layout.keys_tell_all:
        found.append(f"colours {'blue, green, red' if layout.bgr else 'red, green, blue'}")
    return tuple(found)
