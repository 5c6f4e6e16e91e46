"""The networks as they travel: plain inputs and named outputs, in a graph for any batch."""

import copy
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from sagan.errors import SaganError
from sagan.nn.exposed import ExposedDiscriminator, ExposedGenerator, ExposedNetwork

EXAMPLES = 2
"""Pictures that a graph is recorded with; with one, the batch would be taken for constant."""


class PortableNetwork(nn.Module):
    """A network whose outputs have names.

    Args:
        network: Shared, not copied.
        first: What the first output is called.
        scales: Whether the scales of the gammas are an input; without attention there are none.

    Attributes:
        takes: Names of the inputs, in order.
        gives: Names of the outputs, in order.
        examples: Inputs of ``EXAMPLES`` pictures.
    """

    takes: tuple[str, ...]
    examples: tuple[Tensor, ...]
    unscaled: Tensor

    def __init__(self, network: ExposedNetwork, first: str, *, scales: bool) -> None:
        super().__init__()
        self.network = network
        self.gives = (first, *(f"map.{place.name}" for place in network.places))
        self.register_buffer("unscaled", torch.ones(len(network.places)), persistent=False)
        self.has_scales = scales and bool(network.places)

    def _named(self, outputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
        return dict(zip(self.gives, outputs, strict=True))

    def _with_scales(self, *inputs: tuple[str, Tensor]) -> None:
        """Settles the inputs and their order."""
        found = dict([*inputs, ("scales", self.unscaled)] if self.has_scales else inputs)
        self.takes, self.examples = tuple(found), tuple(found.values())


class PortableGenerator(PortableNetwork):
    """A generator with the outputs images and map.NAME.

    Args:
        network: Shared, not copied.
        shares: Whether it takes class shares in place of class numbers.
        scales: As for :class:`PortableNetwork`.
    """

    network: ExposedGenerator

    def __init__(self, network: ExposedGenerator, *, shares: bool, scales: bool) -> None:
        super().__init__(network, "images", scales=scales)
        classes = network.network.num_classes
        latents = torch.zeros(EXAMPLES, network.network.latent_dim)
        labels = torch.zeros(EXAMPLES, dtype=torch.int64)
        if shares:
            labels = torch.full((EXAMPLES, classes), 1 / max(classes, 1))
        inputs = ("latents", latents), ("shares" if shares else "labels", labels)
        self._with_scales(*inputs[: 2 if classes else 1])

    def forward(self, latents: Tensor, *others: Tensor) -> dict[str, Tensor]:
        """Inputs in the order of ``takes``, as for :class:`ExposedGenerator`."""
        given = dict(zip(self.takes[1:], others, strict=True))
        labels = given.get("labels", given.get("shares"))
        return self._named(self.network(latents, labels, given.get("scales", self.unscaled)))


class PortableDiscriminator(PortableNetwork):
    """A discriminator with the outputs logits, of every class, and map.NAME."""

    network: ExposedDiscriminator

    def __init__(self, network: ExposedDiscriminator, *, scales: bool) -> None:
        super().__init__(network, "logits", scales=scales)
        judge = network.network
        self._with_scales(("images", torch.zeros(EXAMPLES, judge.channels, *judge.size)))

    def forward(self, images: Tensor, *others: Tensor) -> dict[str, Tensor]:
        """Inputs in the order of ``takes``, as for :class:`ExposedDiscriminator`."""
        return self._named(self.network(images, *(others or [self.unscaled])))


def recorded(portable: PortableNetwork) -> torch.export.ExportedProgram:
    """Its graph, for any number of pictures; nothing in it tells of this machine."""
    batch = torch.export.Dim("batch")
    shapes: dict[str, Any] = {
        name: None if name == "scales" else {0: batch} for name in portable.takes
    }
    first, *others = shapes.values()
    layers = portable.network.layers
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what the layers keep, which nobody reads here
            program = torch.export.export(
                portable, portable.examples, dynamic_shapes=(first, tuple(others))
            )
    finally:
        for layer in layers:
            layer.scale = layer.seen = layer.rows = None
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


@torch.no_grad()
def rounded(network: ExposedNetwork) -> Any:
    """A copy whose kernels and tables have values that float16 holds; computed in float32.

    Vectors and single numbers stay as they are.

    Raises:
        SaganError: A weight is larger than float16 can hold.
    """
    network = copy.deepcopy(network)
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if tensor.ndim > 1:
            tensor.copy_(tensor.half())
        if not tensor.isfinite().all():
            raise SaganError(
                f"{name} has values beyond {torch.finfo(torch.float16).max:,.0f}, the most that "
                "16 bits hold; leave --half out"
            )
    return network
