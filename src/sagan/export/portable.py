"""The networks as they travel: named inputs and outputs, in a graph for any number of pictures."""

import copy
import warnings
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from sagan.errors import SaganError
from sagan.nn.exposed import MAP, ExposedDiscriminator, ExposedGenerator, ExposedNetwork
from sagan.sampling.latents import draw_latents

_EXAMPLES = range(2)
"""What a graph is recorded with; a single picture would be taken for all there ever are."""

Stored = TypeVar("Stored", bound=nn.Module)


class PortableNetwork(nn.Module):
    """A network whose inputs and outputs have names.

    Args:
        network: Shared, not copied.
        output: What its first output is called.
        scales: Whether the scales of the gammas are an input; without attention there are none.

    Attributes:
        outputs: Names of the outputs: the first, then map.NAME of each attention layer.
    """

    unscaled: Tensor

    def __init__(self, network: ExposedNetwork, output: str, *, scales: bool) -> None:
        super().__init__()
        self.network = network
        self.outputs = (output, *(MAP + place.name for place in network.places))
        self.register_buffer("unscaled", torch.ones(len(network.places)), persistent=False)
        self.has_scales = scales and bool(network.places)

    def asked(self, seeds: range) -> dict[str, Tensor]:
        """Inputs by name, in order, an example for each of so many seeds."""
        given = self._pictures(seeds)
        return given | {"scales": self.unscaled} if self.has_scales else given

    def _pictures(self, seeds: range) -> dict[str, Tensor]:
        raise NotImplementedError

    def _named(self, outputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
        return dict(zip(self.outputs, outputs, strict=True))


class PortableGenerator(PortableNetwork):
    """A generator with the outputs images and map.NAME.

    Args:
        network: Shared, not copied.
        shares: Whether it takes class shares in place of class numbers.
        scales: As for :class:`PortableNetwork`.
    """

    network: ExposedGenerator

    def __init__(
        self, network: ExposedGenerator, *, shares: bool = False, scales: bool = False
    ) -> None:
        super().__init__(network, "images", scales=scales)
        self.has_shares = shares

    def forward(
        self,
        latents: Tensor,
        labels: Tensor | None = None,
        shares: Tensor | None = None,
        scales: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Draws pictures; as for :class:`ExposedGenerator`, but for what is not ``asked``."""
        labels = shares if labels is None else labels
        scales = self.unscaled if scales is None else scales
        return self._named(self.network(latents, labels, scales))

    def _pictures(self, seeds: range) -> dict[str, Tensor]:
        generator = self.network.network
        given = {"latents": draw_latents(seeds, generator.latent_dim)}
        if not (classes := generator.num_classes):
            return given
        labels = torch.tensor([i * classes // len(seeds) for i in range(len(seeds))])
        if not self.has_shares:
            return given | {"labels": labels}
        each = F.one_hot(labels, classes).float()
        return given | {"shares": 0.75 * each + 0.25 * each.flip(1)}


class PortableDiscriminator(PortableNetwork):
    """A discriminator with the outputs logits, of every class, and map.NAME."""

    network: ExposedDiscriminator

    def __init__(self, network: ExposedDiscriminator, *, scales: bool = False) -> None:
        super().__init__(network, "logits", scales=scales)

    def forward(self, images: Tensor, scales: Tensor | None = None) -> dict[str, Tensor]:
        """Judges pictures, as :class:`ExposedDiscriminator` does."""
        return self._named(self.network(images, self.unscaled if scales is None else scales))

    def _pictures(self, seeds: range) -> dict[str, Tensor]:
        judge = self.network.network
        coarse = draw_latents(seeds, judge.channels * 64).view(-1, judge.channels, 8, 8)
        return {"images": F.interpolate(coarse, judge.size, mode="bilinear").clamp(-1, 1)}


def recorded(portable: PortableNetwork) -> torch.export.ExportedProgram:
    """Its graph, for any number of pictures; nothing in it tells of this machine."""
    batch = torch.export.Dim("batch")
    inputs = portable.asked(_EXAMPLES)
    shapes: dict[str, Any] = {name: None if name == "scales" else {0: batch} for name in inputs}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what the layers keep, which nobody reads here
            program = torch.export.export(portable, (), inputs, dynamic_shapes=shapes)
    finally:
        for layer in portable.network.layers:
            layer.scale = layer.seen = layer.rows = None
    for part in program.graph_module.modules():  # of which some passes are graphs of their own
        for node in part.graph.nodes if isinstance(part, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)  # names files of this machine
    return program


class _Widened(nn.Module):
    """How a weight in float16 is used."""

    dtype = torch.float32

    def forward(self, weight: Tensor) -> Tensor:
        return weight.to(self.dtype)


class _Spread(_Widened):
    """How a 3x3 kernel in float16 is used that was folded into one of 4x4: see docs/design.md.

    Args:
        sides: (4, 3); the kernel w becomes sides w sides^T.
    """

    matrix: Tensor
    inverse: Tensor

    def __init__(self, sides: Tensor) -> None:
        super().__init__()
        self.register_buffer("matrix", torch.kron(sides, sides).T.contiguous())
        self.register_buffer("inverse", torch.linalg.pinv(self.matrix.double()))

    def narrowed(self, weight: Tensor) -> Tensor:
        """The 3x3 kernel nearest to a 4x4 one."""
        return (weight.double().flatten(2) @ self.inverse).unflatten(2, (3, 3)).to(weight.dtype)

    def forward(self, weight: Tensor) -> Tensor:
        spread = super().forward(weight.flatten(2)) @ self.matrix.to(self.dtype)
        return spread.unflatten(2, (4, 4))


_UPSAMPLED = torch.tensor([[0.0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])
_POOLED = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]]) / 2
_NEAR = 1e-5


def _spread_of(weight: Tensor) -> _Spread | None:
    """How a kernel comes from a smaller one; None where it does not."""
    if weight.shape[2:] != (4, 4):
        return None
    for sides in (_UPSAMPLED, _POOLED):
        spread = _Spread(sides)
        again = spread(spread.narrowed(weight))
        if (again - weight).abs().max() <= _NEAR * weight.abs().max():
            return spread
    return None


def in_double(portable: PortableNetwork) -> PortableNetwork:
    """A copy with the same weights that computes in float64."""
    portable.cpu()  # where it is; kernels in the order of a processor, which have no copy, go
    exact = copy.deepcopy(portable).double()
    for layer in exact.modules():
        if isinstance(layer, _Widened):
            layer.dtype = torch.float64
    return exact


def stored_in_half(network: Stored) -> Stored:
    """A copy that keeps kernels and tables in float16, and computes in float32.

    Kernels of 4x4 that were folded from 3x3 are kept as those.

    Vectors and single numbers stay as they are.

    Raises:
        SaganError: A weight is larger than float16 can hold.
    """
    network = copy.deepcopy(network)
    for place, layer in list(network.named_modules()):
        own = (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False))
        for name, weight in own:
            if weight.ndim < 2:
                continue
            if not weight.half().isfinite().all():
                raise SaganError(
                    f"{place}.{name} has values beyond {torch.finfo(torch.float16).max:,.0f}, the "
                    "most that 16 bits hold; leave --half out"
                )
            spread = _spread_of(weight.data)
            kept = spread.narrowed(weight.data) if spread else weight.data
            weight.data = kept.half()
            parametrize.register_parametrization(layer, name, spread or _Widened(), unsafe=True)
    return network
