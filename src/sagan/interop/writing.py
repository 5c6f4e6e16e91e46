"""Our networks -> files of another repository, where that is exact."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from sagan.config import GeneratorConfig, places, plan
from sagan.errors import SaganError
from sagan.interop.expressible import require_expressible, require_unit_tables
from sagan.interop.names import AJBROCK, HOOK, LAYOUTS, Layout, Role
from sagan.interop.reading import reverse_colours
from sagan.interop.recognition import Structure, structure_of
from sagan.runs.checkpoint import Checkpoint
from sagan.sampling.generator import for_inference
from sagan.system.files import replacing

SAME_SIGMA = 1e-6  # relative

State = Mapping[str, Tensor]


def write(checkpoint: Checkpoint, target: str, folder: Path) -> tuple[list[Path], list[str]]:
    """Writes the (averaged) generator and the discriminator as another repository would.

    Args:
        checkpoint: One of ours.
        target: "biggan", "studiogan" or "mmgen".
        folder: Where the files go, under the repository's own names.

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
    paths = []
    for name, content in _files(layout, states, checkpoint.step).items():
        paths.append(folder / name)
        with replacing(folder / name) as draft:
            torch.save(content, draft)
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
    resolution = checkpoint.config.data.resolution
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
    writer = _Writer(layout, tensors)
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


class _Writer:
    def __init__(self, layout: Layout, tensors: State) -> None:
        self.layout = layout
        self.tensors = tensors
        self.state: dict[str, Tensor] = {}

    def weight(self, ours: str, theirs: str, *, u0: bool = False) -> None:
        """A layer, with its singular vectors as the repository keeps them."""
        tensors, join = self.tensors, self.layout.join
        weight, u = tensors[f"{ours}.weight"], tensors.get(f"{ours}.spectral_norm.u")
        if f"{ours}.bias" in tensors:
            self.state[join(theirs, "bias")] = tensors[f"{ours}.bias"].clone()
        if u is None:
            self.state[join(theirs, "weight")] = weight.clone()
            return
        v = tensors[f"{ours}.spectral_norm.v"]
        if u0 or self.layout.forms[0] is AJBROCK:
            self.state[join(theirs, AJBROCK.weight)] = weight.clone()
            self.state[join(theirs, AJBROCK.u)] = _u_before(weight, u, v, ours)[None]
            self.state[join(theirs, "sv0")] = u.dot(weight.flatten(1).mv(v))[None]
        else:
            for name, tensor in ((HOOK.weight, weight), (HOOK.u, u), (HOOK.v, v)):
                self.state[join(theirs, name)] = tensor.clone()


def _u_before(weight: Tensor, u: Tensor, v: Tensor, layer: str) -> Tensor:
    """The vector from which one power iteration leads to sigma = u^T W v.

    Raises:
        SaganError: None was found, since u and v do not belong to one iteration.
    """
    matrix = weight.flatten(1).double()
    sigma = u.double() @ matrix @ v.double()
    attempts: tuple[Callable[[], Tensor], ...] = (
        lambda: u.double(),
        lambda: torch.linalg.lstsq(matrix.T, v.double()[:, None], driver="gelsd").solution[:, 0],
    )
    difference = torch.inf
    for attempt in attempts:
        before = F.normalize(attempt(), dim=0)
        found = matrix.mv(F.normalize(matrix.T.mv(before), dim=0)).norm()
        difference = min(difference, float((found / sigma - 1).abs()))
        if difference <= SAME_SIGMA:
            return before.float()
    raise SaganError(
        f"one power iteration more, which it runs at every use, changes sigma of {layer} by "
        f"{difference:.0e}; PyTorch-StudioGAN and mmgeneration keep both vectors"
    )


def _write_network(writer: _Writer, found: Structure, role: Role, places: list[str]) -> None:
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
        shape = (1,) if layout.name == "studiogan" else ()
        gamma = writer.tensors[f"attention.{place}.gamma"]
        writer.state[layout.join(path, names.gamma)] = gamma.clone().view(shape)
    writer.weight("linear", names.linear)
    if role == "generator":
        writer.weight("out", names.out)
    elif "embedding.weight" in writer.tensors:
        writer.weight("embedding", names.embedding)


def _write_norms(writer: _Writer, found: Structure, eps: float) -> None:
    layout, names = writer.layout, writer.layout.generator
    for number, path in enumerate(found.blocks):
        for k in (1, 2):
            ours = f"blocks.{number}.norm{k}"
            theirs = layout.join(path, names.norm.format(k=k))
            if len(writer.tensors[f"{ours}.gain"]) == 1 and names.plain_norm:
                _write_plain_norm(
                    writer, ours, layout.join(path, names.plain_norm.format(k=k)), eps
                )
                continue
            parts = names.norm_parts
            gain = writer.tensors[f"{ours}.gain"] - layout.gain_offset
            tables = {parts.gain: gain, parts.bias: writer.tensors[f"{ours}.bias"]}
            for part, table in tables.items():
                _write_table(writer, layout.join(theirs, part), table)
            _write_statistics(writer, ours, theirs, (parts.mean, parts.variance), eps)
    _write_plain_norm(writer, "norm", names.last_norm, eps)


def _write_table(writer: _Writer, path: str, table: Tensor) -> None:
    if writer.layout.name != "studiogan":
        writer.state[writer.layout.join(path, "weight")] = table.clone()
        return
    u, v = require_unit_tables(table.T, path)
    for name, tensor in ((HOOK.weight, table.T), (HOOK.u, u), (HOOK.v, v)):
        writer.state[writer.layout.join(path, name)] = tensor.contiguous().clone()


def _write_plain_norm(writer: _Writer, ours: str, theirs: str, eps: float) -> None:
    parts = writer.layout.generator.last_norm_parts
    for name, part in (("gain", parts.gain), ("bias", parts.bias)):
        writer.state[writer.layout.join(theirs, part)] = writer.tensors[f"{ours}.{name}"][0].clone()
    _write_statistics(writer, ours, theirs, (parts.mean, parts.variance), eps)


def _write_statistics(
    writer: _Writer, ours: str, theirs: str, parts: tuple[str, str], eps: float
) -> None:
    """Mean and variance; the variance makes up for another eps."""
    join, layout = writer.layout.join, writer.layout
    mean, variance = (writer.tensors[f"{ours}.running_{end}"] for end in ("mean", "var"))
    writer.state[join(theirs, parts[0])] = mean.clone()
    writer.state[join(theirs, parts[1])] = variance + (eps - layout.batch_norm_eps)
    if parts[0].endswith("running_mean"):
        counter = join(theirs, parts[0]).removesuffix("running_mean") + "num_batches_tracked"
        writer.state[counter] = torch.zeros((), dtype=torch.int64)
