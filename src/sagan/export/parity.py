"""Whether what was written computes what the network computes here."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from sagan.export.portable import PortableNetwork, in_double
from sagan.nn.exposed import MAP

COMPARED = 64
"""That are compared: of the seeds from 0 on, over all classes, or as many of them."""
_BATCHES = (1, 2, 5, *[8] * 7)

Compute = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
"""Inputs by name -> outputs by name."""
Differences = Mapping[str, float]
"""Greatest differences: of images or logits, and of maps; NaN if a number is not finite."""
LIMITS: Differences = {"images": 1e-4, "logits": 1e-4, "maps": 1e-5}
"""Between libraries that add in different orders."""


def batches(portable: PortableNetwork) -> Iterator[dict[str, Tensor]]:
    """What a network is asked to compare it: batches of several sizes, ``COMPARED`` in all."""
    everything = portable.asked(range(COMPARED))
    for chosen in torch.arange(COMPARED).split(_BATCHES):
        yield {name: x if name == "scales" else x[chosen] for name, x in everything.items()}


@torch.inference_mode()
def greatest_differences(
    portable: PortableNetwork, other: Compute, advance: Callable[[int], object] = lambda _: None
) -> Differences:
    """How far something else is from a network, on ``COMPARED`` pictures.

    Differences of logits are in units of the largest logit, where that is above 1.

    Args:
        portable: The network.
        other: What should be the same.
        advance: Called with the number of pictures just compared.
    """
    greatest: dict[str, Tensor] = {}
    for inputs in batches(portable):
        found = other(inputs)
        for name, values in portable(**inputs).items():
            kind = "maps" if name.startswith(MAP) else name
            difference = (values - found[name]).abs().max()
            if kind == "logits":
                difference = difference / values.abs().max().clamp(min=1)
            greatest[kind] = torch.maximum(greatest.get(kind, torch.zeros(())), difference)
        advance(len(next(iter(inputs.values()))))
    return {kind: float(difference) for kind, difference in greatest.items()}


def limits_of(portable: PortableNetwork) -> Differences:
    """What a network's outputs may differ by: ``LIMITS``, or what rounding does to this one.

    Where attention is saturated, PyTorch's own float32 maps lie further than that from those in
    float64. Something else may then lie twice as far from PyTorch.
    """
    exact = in_double(portable)

    def compute(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return exact(**{n: x.double() if x.is_floating_point() else x for n, x in inputs.items()})

    own = greatest_differences(portable, compute)
    return {kind: max(LIMITS[kind], 2 * difference) for kind, difference in own.items()}
