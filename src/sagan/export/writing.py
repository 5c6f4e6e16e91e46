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
from sagan.export.parity import (
    COMPARED,
    LIMITS,
    Compute,
    Differences,
    greatest_differences,
    limits_of,
)
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
    widened: Mapping[str, Differences]
    """What was allowed where PyTorch itself is further from float64 than ``LIMITS``, for each such
    network and output; see :func:`~sagan.export.parity.limits_of`."""

    def __str__(self) -> str:
        lines = [
            f"{name}: {_in_words(found)} from PyTorch's, on {COMPARED} pictures"
            + "".join(_why_more(*one) for one in self.widened.get(name, {}).items())
            for name, found in self.differences.items()
        ]
        lines += [
            f"{name}: {_in_words(found)} from those of the weights before rounding to 16 bits"
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
    is_exact: bool
    """The same numbers come back, not only nearly the same."""


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
    _judge_choices(suffix, network, shares)
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
    with progress(f"exporting {output.name}", COMPARED * len(names) * (1 + half) + 2) as advance:
        made = route(plain, half)
        rounding = {
            name: greatest_differences(plain[name], _here(made.networks[name]), advance)
            for name in (names if half else ())
        }
        found, widened = _written(output, made, advance)
    return Exported(file=output, differences=found, rounding=rounding, widened=widened)


def _written(
    output: Path, made: _Route, advance: Callable[[int], object]
) -> tuple[Mapping[str, Differences], Mapping[str, Differences]]:
    """Writes aside, compares, and puts in place; gives differences and widened limits."""
    found: dict[str, Differences] = {}
    widened: dict[str, Differences] = {}
    with writing(output), replacing(output) as draft:
        made.write(draft)
        advance(2)
        for name, compute in made.open(draft).items():
            portable = made.networks[name]
            found[name] = greatest_differences(portable, compute, advance)
            allowed = dict.fromkeys(LIMITS, 0.0) if made.is_exact else LIMITS
            if _excess(found[name], allowed) and not made.is_exact:
                allowed = limits_of(portable)
                widened[name] = {k: most for k, most in allowed.items() if most > LIMITS[k]}
            if excess := _excess(found[name], allowed):
                raise SaganError(
                    f"{output} was not written: of its {name} {excess}; write another form, or "
                    "update torch and onnxruntime"
                )
    return found, widened


def _excess(found: Differences, allowed: Differences) -> str:
    for kind, difference in found.items():
        if not difference <= allowed[kind]:
            return (
                f"{kind} differ from PyTorch's by {difference:.2g}, more than {allowed[kind]:.2g}"
            )
    return ""


def _judge_choices(suffix: str, network: NetworkName | None, shares: bool) -> None:
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
        is_exact=False,
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
        is_exact=True,
    )


def _why_more(kind: str, allowed: float) -> str:
    return (
        f"; PyTorch's own {kind} lie {allowed / 2:.1e} from those in 64 bits, so that "
        f"{allowed:.1e} is allowed instead of {LIMITS[kind]:.0e}"
    )


def _in_words(found: Differences) -> str:
    return ", ".join(f"{kind} at most {difference:.1e}" for kind, difference in found.items())
