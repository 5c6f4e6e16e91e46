"""Our networks -> files of another repository, where that is exact."""

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from sagan.config import GeneratorConfig, places, plan
from sagan.errors import SaganError
from sagan.interop.expressible import require_expressible, square_resolution
from sagan.interop.names import LAYOUTS, Layout, Role
from sagan.interop.reading import reverse_colours
from sagan.interop.recognition import Structure, structure_of
from sagan.interop.state_writer import StateWriter
from sagan.interop.variable_writer import VariableWriter, write_variables
from sagan.runs.checkpoint import Checkpoint
from sagan.sampling.generator import for_inference
from sagan.system.files import replacing

State = Mapping[str, Tensor]


def write(checkpoint: Checkpoint, target: str, folder: Path) -> tuple[list[Path], list[str]]:
    """Writes the (averaged) generator and the discriminator as another repository would.

    ``target`` is "biggan", "studiogan", "mmgen" or "tensorflow"; files have the repository's own
    names, but TensorFlow's variables come as one .npz.

    Returns:
        The files, and for each network that cannot be written exactly, why.

    Raises:
        SaganError: None can be written exactly.
    """
    layout = next(layout for layout in LAYOUTS if layout.name == target)
    checkpoint = for_inference(checkpoint)
    states: dict[Role, dict[str, Tensor]] = {}
    reasons = []
    roles: tuple[Role, ...] = ("generator", "discriminator")
    for role in roles:
        if role in checkpoint.parts:
            try:
                states[role] = foreign_state(checkpoint, layout, role)
            except SaganError as error:
                reasons.append(f"{role} left out: {error}")
    if not states:
        raise SaganError(f"nothing can be written exactly for {layout.title}: {'; '.join(reasons)}")
    if layout.name == "tensorflow":
        return [write_variables(states, checkpoint.step, folder)], reasons
    paths = []
    for name, content in _files(layout, states, checkpoint.step).items():
        paths.append(folder / name)
        written = io.BytesIO()  # on a full disk PyTorch's own writer fails without a reason
        torch.save(content, written)
        with replacing(folder / name) as draft:
            draft.write_bytes(written.getbuffer())
    return paths, reasons


def _files(
    layout: Layout, states: Mapping[Role, dict[str, Tensor]], step: int
) -> dict[str, dict[str, object]]:
    """File name -> content, as the repository nests it."""
    if layout.name == "mmgen":
        joined = {f"{role}.{k}": v for role, state in states.items() for k, v in state.items()}
        return {f"iter_{step}.pth": {"meta": {"iter": step}, "state_dict": joined}}
    letters = {role: role[0].upper() for role in states}
    if layout.name == "biggan":
        return {f"{letters[role]}.pth": dict(state) for role, state in states.items()}
    return {
        f"model={letters[role]}-current-weights-step={step}.pth": {"state_dict": state}
        for role, state in states.items()
    }


def foreign_state(checkpoint: Checkpoint, layout: Layout, role: Role) -> dict[str, Tensor]:
    """One network's tensors under another repository's names.

    Raises:
        SaganError: The repository has no network that computes the same; says why.
    """
    resolution = square_resolution(checkpoint.config.data, layout)
    config = getattr(checkpoint.config, role)
    tensors = _with_plain_tables(checkpoint.parts[role])
    classes = len(checkpoint.class_names)
    stages = plan(config, resolution)
    if isinstance(config, GeneratorConfig):
        stages = stages[1:]
    attention = {block: place.name for block, place in places(stages).items()}
    require_expressible(layout, role, config, resolution, classes, set(attention), tensors)
    if layout.bgr:
        reverse_colours(tensors, role)
    eps = layout.batch_norm_eps_of(
        normalised="linear.spectral_norm.u" in tensors, plain_tables=classes > 0
    )
    layout = replace(layout, batch_norm_eps=eps)
    writer = (VariableWriter if layout.name == "tensorflow" else StateWriter)(layout, tensors)
    structure = structure_of(layout.names(role), len(stages), attention)
    _write_network(writer, structure, role, [attention[block] for block, _ in structure.attention])
    if isinstance(config, GeneratorConfig):
        _write_norms(writer, structure, config.batch_norm_eps)
    return writer.state


def _with_plain_tables(tensors: State) -> dict[str, Tensor]:
    """Class tables that are spectrally normalised become gains and biases as used."""
    plain = dict(tensors)
    for name, table in tensors.items():
        if name.endswith((".gain.weight", ".bias.weight")):
            ours = name.removesuffix(".weight")
            u, v = (plain.pop(f"{ours}.spectral_norm.{vector}") for vector in "uv")
            offset = 1 if ours.endswith("gain") else 0
            plain[ours] = offset + plain.pop(name) / u.dot(table.mv(v))
    return plain


def _write_network(writer: StateWriter, found: Structure, role: Role, places: list[str]) -> None:
    layout, names = writer.layout, writer.layout.names(role)
    for number, path in enumerate(found.blocks):
        for ours, theirs in zip(("conv1", "conv2", "shortcut"), names.convolutions, strict=True):
            if f"blocks.{number}.{ours}.weight" in writer.tensors:
                writer.weight(f"blocks.{number}.{ours}", layout.join(path, theirs))
    for place, (block, path) in zip(places, found.attention, strict=True):
        # mmgeneration, SNGANDiscriminator: its setting for the flavour does not reach these layers.
        u0 = layout.name == "mmgen" and role == "discriminator" and block > 0
        for ours, theirs in zip(("query", "key", "value", "out"), names.projections, strict=True):
            writer.weight(f"attention.{place}.{ours}", layout.join(path, theirs), u0=u0)
        gamma = writer.tensors[f"attention.{place}.gamma"]
        writer.put(path, names.gamma, gamma.view((1,) if layout.name == "studiogan" else ()))
    writer.weight("linear", names.linear)
    if role == "generator":
        writer.weight("out", names.out)
    elif "embedding.weight" in writer.tensors:
        writer.weight("embedding", names.embedding)


def _write_norms(writer: StateWriter, found: Structure, eps: float) -> None:
    layout, names = writer.layout, writer.layout.generator
    parts = names.norm_parts
    for number, path in enumerate(found.blocks):
        for k in (1, 2):
            ours = f"blocks.{number}.norm{k}"
            gain = writer.tensors[f"{ours}.gain"]
            if len(gain) == 1 and names.plain_norm:
                writer.plain_norm(ours, layout.join(path, names.plain_norm.format(k=k)), eps)
                continue
            theirs = layout.join(path, names.norm.format(k=k, j=k - 1))
            writer.table(layout.join(theirs, parts.gain), gain - layout.gain_offset)
            writer.table(layout.join(theirs, parts.bias), writer.tensors[f"{ours}.bias"])
            writer.statistics(ours, theirs, parts, eps)
    writer.plain_norm("norm", names.last_norm, eps)
