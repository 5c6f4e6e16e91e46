"""Files of other repositories -> one checkpoint of ours."""

from collections.abc import Sequence
from pathlib import Path

from sagan.config import UNKNOWN_SOURCE, Config, DataConfig, DiscriminatorConfig, GeneratorConfig
from sagan.errors import SaganError
from sagan.interop.foreign_files import read
from sagan.interop.reading import Choices, ConvertedNetwork, convert_network
from sagan.interop.recognition import recognise
from sagan.runs.checkpoint import Checkpoint
from sagan.runs.digests import first_not_finite

DEFAULTS = Choices()


def convert_files(
    paths: Sequence[str | Path], choices: Choices = DEFAULTS, class_names: Sequence[str] = ()
) -> tuple[Checkpoint, list[ConvertedNetwork]]:
    """Reads a generator, a discriminator or both, of one repository or of two.

    Args:
        paths: Files as the repositories write them, or .safetensors with their key names.
        choices: What keys do not show.
        class_names: One per class; by default their numbers.

    Returns:
        The checkpoint, and what was found, network by network.

    Raises:
        SaganError: A file is bad, its layout is unknown, tensors are missing, left over or of the
            wrong shape or not finite, or the networks do not belong together.
    """
    foreign = [network for path in paths for network in read(path)]
    networks = [convert_network(network, *recognise(network), choices) for network in foreign]
    _require_concerned(choices, networks)
    for network in networks:
        if name := first_not_finite(network.tensors):
            raise SaganError(
                f"{network.source} holds numbers that are not finite, in {name}; give another file"
            )
    parts = _parts(networks)
    resolution = _shared("resolution", networks)
    num_classes = _shared("num_classes", networks)
    if class_names and len(class_names) != num_classes:
        raise SaganError(f"{len(class_names)} names for {num_classes} classes; give one for each")
    checkpoint = Checkpoint(
        config=_config(parts, resolution, num_classes),
        class_names=tuple(class_names) or tuple(map(str, range(num_classes))),
        step=0,
        parts={part: network.tensors for part, network in parts.items()},
    )
    return checkpoint, networks


def _require_concerned(choices: Choices, networks: Sequence[ConvertedNetwork]) -> None:
    """Checks that there is a network that each choice of geometry is about."""
    roles = {network.role for network in networks}
    for name in ("generator_attention", "discriminator_attention", "final_resolution"):
        role = "generator" if name.startswith("generator") else "discriminator"
        if getattr(choices, name) is not None and role not in roles:
            flag = f"--{name.replace('_', '-')}"
            raise SaganError(f"there is no {role} among these files; leave {flag} out")


def _parts(networks: Sequence[ConvertedNetwork]) -> dict[str, ConvertedNetwork]:
    parts: dict[str, ConvertedNetwork] = {}
    for network in networks:
        part = "generator_ema" if network.averaged else network.role
        if part in parts:
            raise SaganError(
                f"two {network.role}s: {parts[part].source} and {network.source}; give one of them"
            )
        parts[part] = network
    if "generator_ema" in parts:
        parts.setdefault("generator", parts["generator_ema"])
    return parts


def _shared(attribute: str, networks: Sequence[ConvertedNetwork]) -> int:
    values = {getattr(network, attribute): network for network in networks}
    if len(values) > 1:
        what = {"resolution": "pixels", "num_classes": "classes"}[attribute]
        found = " but ".join(f"{n.source} has {value} {what}" for value, n in values.items())
        raise SaganError(f"{found}; give networks that belong together")
    return next(iter(values))


def _config(parts: dict[str, ConvertedNetwork], resolution: int, num_classes: int) -> Config:
    generator = GeneratorConfig(attention=())
    discriminator = DiscriminatorConfig(attention=(), final_resolution=8 if resolution == 32 else 4)
    for network in parts.values():
        if isinstance(network.config, GeneratorConfig):
            generator = network.config
        else:
            discriminator = network.config
    return Config(
        data=DataConfig(
            source=UNKNOWN_SOURCE,
            resolution=resolution,
            labels="found" if num_classes else "none",
            channels=3,
        ),
        generator=generator,
        discriminator=discriminator,
    )
