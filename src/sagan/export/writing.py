"""From a model to a file for elsewhere, which is checked before it has its name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from sagan.errors import SaganError
from sagan.export import FORMATS
from sagan.export.description import description
from sagan.export.onnx import graph_of, opened_graph, require_onnx
from sagan.export.parity import LIMITS, PICTURES, Compute, Differences, differences
from sagan.export.portable import (
    PortableDiscriminator,
    PortableGenerator,
    PortableNetwork,
    stored_in_half,
)
from sagan.export.program import opened_program, write_program
from sagan.nn.exposed import ExposedDiscriminator, ExposedGenerator
from sagan.runs.checkpoint import Checkpoint, halved, load, save
from sagan.runs.run import load_checkpoint
from sagan.sampling.generator import discriminator_of, for_inference, generator_of
from sagan.system.files import replacing, require_output, writing
from sagan.system.progress import progress

NetworkName = Literal["generator", "discriminator"]


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A file that was written, and how it was checked."""

    file: Path
    """The file."""
    differences: Mapping[str, Differences]
    """Of what the file computes from what PyTorch does, for each network: see :mod:`.parity`."""
    rounding: Mapping[str, Differences]
    """What 16 bits changed, for each network; empty without."""

    def __str__(self) -> str:
        lines = [
            f"{name}: {_told(found)} from PyTorch's, on {PICTURES} pictures"
            for name, found in self.differences.items()
        ]
        lines += [
            f"{name}: {_told(found)} from those of the weights before rounding to 16 bits"
            for name, found in self.rounding.items()
        ]
        return "\n".join([*lines, str(self.file)])


@dataclass(frozen=True, kw_only=True)
class _Route:
    """How a file of one kind is written and read."""

    networks: Mapping[str, PortableNetwork]
    """What should be in it."""
    write: Callable[[Path], object]
    open: Callable[[Path], Mapping[str, Compute]]
    limits: Differences


def export_model(
    model: str | Path,
    output: str | Path,
    *,
    network: NetworkName | None = None,
    shares: bool = False,
    half: bool = False,
) -> Exported:
    """Writes a model for use elsewhere, and compares it with PyTorch on 64 pictures.

    Args:
        model: A run folder, a checkpoint, an exported file, or a name: :func:`sagan.models`.
        output: model.onnx, for onnxruntime and others; model.pt2, a program of ``torch.export``;
            or model.safetensors, both networks for this program.
        network: The one that is written; the generator by default, and both in .safetensors.
        shares: The generator takes the share of every class, (N, classes), in place of numbers.
        half: Store kernels and tables in 16 bits; they are computed with in 32.

    Returns:
        The file and the differences found.

    Raises:
        SaganError: The name ends in none of these, a library is missing, there is no such network,
            or the file cannot be written or computes something else; it is not left then.
    """
    output = Path(output)
    require_output(output, *FORMATS, inputs=[Path(model)])
    suffix = output.suffix.lower()
    _require_sense(suffix, network, shares)
    checkpoint = for_inference(load_checkpoint(model)[0])
    if shares and not checkpoint.class_names:
        raise SaganError("this model has no classes to share; leave --shares out")
    facts = description(model, checkpoint)
    if suffix == ".safetensors":
        names, route = tuple(checkpoint.parts), partial(_as_weights, checkpoint, facts)
    else:
        names = (network or "generator",)
        route = partial(_as_graph, suffix, facts)
    plain = {name: _portable(checkpoint, name, shares) for name in names}
    with progress(f"exporting {output.name}", PICTURES * len(names) * (1 + half) + 2) as advance:
        made = route(plain, half)
        rounding = {
            name: differences(plain[name], _here(made.networks[name]), advance)
            for name in (names if half else ())
        }
        with writing(output), replacing(output) as draft:
            made.write(draft)
            advance(2)
            found = {
                name: differences(made.networks[name], compute, advance)
                for name, compute in made.open(draft).items()
            }
            _require_same(output, found, made.limits)
    return Exported(file=output, differences=found, rounding=rounding)


def _require_sense(suffix: str, network: NetworkName | None, shares: bool) -> None:
    if suffix == ".onnx":
        require_onnx()
    if suffix == ".safetensors" and (network or shares):
        flag = "--network" if network else "--shares"
        raise SaganError(f"a .safetensors file is for every use; leave {flag} out")
    if network == "discriminator" and shares:
        raise SaganError("a discriminator judges for every class at once; leave --shares out")


def _portable(checkpoint: Checkpoint, name: str, shares: bool = False) -> PortableNetwork:
    if name == "discriminator":
        return PortableDiscriminator(ExposedDiscriminator(discriminator_of(checkpoint).network))
    return PortableGenerator(ExposedGenerator(generator_of(checkpoint).network), shares=shares)


def _here(portable: PortableNetwork) -> Compute:
    return lambda inputs: portable(**inputs)


def _as_graph(
    suffix: str, facts: Mapping[str, str], plain: Mapping[str, PortableNetwork], half: bool
) -> _Route:
    [(name, portable)] = plain.items()
    portable = stored_in_half(portable) if half else portable

    def write(draft: Path) -> None:
        if suffix == ".onnx":
            draft.write_bytes(graph_of(portable, facts))
        else:
            write_program(portable, draft, facts)

    opened = opened_graph if suffix == ".onnx" else opened_program
    return _Route(
        networks={name: portable},
        write=write,
        open=lambda draft: {name: opened(draft)},
        limits=LIMITS,
    )


def _as_weights(
    checkpoint: Checkpoint,
    facts: Mapping[str, str],
    plain: Mapping[str, PortableNetwork],
    half: bool,
) -> _Route:
    kept = halved(checkpoint) if half else checkpoint
    networks = {name: _portable(kept, name) for name in plain} if half else plain

    def opened(draft: Path) -> dict[str, Compute]:
        return {name: _here(_portable(load(draft), name)) for name in plain}

    return _Route(
        networks=networks,
        write=lambda draft: save(kept, draft, notes=facts),
        open=opened,
        limits=dict.fromkeys(LIMITS, 0.0),
    )


def _require_same(output: Path, found: Mapping[str, Differences], limits: Differences) -> None:
    for name, differing in found.items():
        for kind, difference in differing.items():
            if not difference <= limits[kind]:
                raise SaganError(
                    f"{output} was not written: {kind} of its {name} differ from PyTorch's by "
                    f"{difference:.2g}, more than {limits[kind]:g}; write another form, or update "
                    "torch and onnxruntime"
                )


def _told(found: Differences) -> str:
    return ", ".join(f"{kind} at most {difference:.1e}" for kind, difference in found.items())
