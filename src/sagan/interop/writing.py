"""Our networks -> files of another repository, where that is exact."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from sagan.config import GeneratorConfig, places, plan
from sagan.errors import SaganError
from sagan.interop.expressible import (
    require_expressible,
    require_unit_tables,
    square_resolution,
)
from sagan.interop.names import AJBROCK, HOOK, LAYOUTS, Layout, NormNames, Role
from sagan.interop.reading import reverse_colours
from sagan.interop.recognition import Structure, structure_of
from sagan.runs.checkpoint import Checkpoint
from sagan.sampling.generator import for_inference
from sagan.system.files import replacing

SAME_SIGMA = 1e-6  # relative

State = Mapping[str, Tensor]


def write(checkpoint: Checkpoint, target: str, folder: Path) -> tuple[list[Path], list[str]]:
    """Writes the (averaged) generator and the discriminator as another repository would.

    ``target`` is "biggan", "studiogan" or "mmgen"; the files have the repository's own names.

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

    def put(self, path: str, part: str, tensor: Tensor) -> None:
        """Keeps a copy under the repository's name."""
        copy = tensor.clone(memory_format=torch.contiguous_format)
        self.state[self.layout.join(path, part)] = copy

    def weight(self, ours: str, theirs: str, *, u0: bool = False) -> None:
        """A layer, with its singular vectors as the repository keeps them."""
        weight, bias = self.tensors[f"{ours}.weight"], self.tensors.get(f"{ours}.bias")
        u, v = (self.tensors.get(f"{ours}.spectral_norm.{end}") for end in "uv")
        if bias is not None:
            self.put(theirs, "bias", bias)
        if u is None or v is None:
            self.put(theirs, "weight", weight)
        elif u0 or self.layout.forms[0] is AJBROCK:
            self.put(theirs, AJBROCK.weight, weight)
            self.put(theirs, AJBROCK.u, _u_before(weight, u, v, ours)[None])
            self.put(theirs, "sv0", u.dot(weight.flatten(1).mv(v))[None])
        else:
            self.hooked(theirs, weight, u, v)

    def hooked(self, path: str, weight: Tensor, u: Tensor, v: Tensor) -> None:
        """A weight and its vectors as torch.nn.utils.spectral_norm names them."""
        for name, tensor in ((HOOK.weight, weight), (HOOK.u, u), (HOOK.v, v)):
            self.put(path, name, tensor)

    def table(self, path: str, table: Tensor) -> None:
        """One row per class."""
        if self.layout.name == "studiogan":
            self.hooked(path, table.T, *require_unit_tables(table.T, path))
        else:
            self.put(path, "weight", table)

    def plain_norm(self, ours: str, theirs: str, eps: float) -> None:
        """A batch norm without classes."""
        parts = self.layout.generator.last_norm_parts
        self.put(theirs, parts.gain, self.tensors[f"{ours}.gain"][0])
        self.put(theirs, parts.bias, self.tensors[f"{ours}.bias"][0])
        self.statistics(ours, theirs, parts, eps)

    def statistics(self, ours: str, theirs: str, parts: NormNames, eps: float) -> None:
        """Mean and variance; the variance makes up for another eps."""
        variance = self.tensors[f"{ours}.running_var"] + (eps - self.layout.batch_norm_eps)
        self.put(theirs, parts.mean, self.tensors[f"{ours}.running_mean"])
        self.put(theirs, parts.variance, variance)
        if parts.mean.endswith("running_mean"):
            counter = parts.mean.removesuffix("running_mean") + "num_batches_tracked"
            self.put(theirs, counter, torch.zeros((), dtype=torch.int64))


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
        gamma = writer.tensors[f"attention.{place}.gamma"]
        writer.put(path, names.gamma, gamma.view((1,) if layout.name == "studiogan" else ()))
    writer.weight("linear", names.linear)
    if role == "generator":
        writer.weight("out", names.out)
    elif "embedding.weight" in writer.tensors:
        writer.weight("embedding", names.embedding)


def _write_norms(writer: _Writer, found: Structure, eps: float) -> None:
    layout, names = writer.layout, writer.layout.generator
    parts = names.norm_parts
    for number, path in enumerate(found.blocks):
        for k in (1, 2):
            ours = f"blocks.{number}.norm{k}"
            gain = writer.tensors[f"{ours}.gain"]
            if len(gain) == 1 and names.plain_norm:
                writer.plain_norm(ours, layout.join(path, names.plain_norm.format(k=k)), eps)
                continue
            theirs = layout.join(path, names.norm.format(k=k))
            writer.table(layout.join(theirs, parts.gain), gain - layout.gain_offset)
            writer.table(layout.join(theirs, parts.bias), writer.tensors[f"{ours}.bias"])
            writer.statistics(ours, theirs, parts, eps)
    writer.plain_norm("norm", names.last_norm, eps)
