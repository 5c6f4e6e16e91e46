"""Networks for inference: everything that stays constant is computed once.

Spectral norm is divided into the weights, the folded kernels are kept, and batch statistics with
the class tables become one scale and one shift per class and channel. Outputs stay the same up to
rounding.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from sagan.layers import (
    ConditionalBatchNorm2d,
    DownsampleConv2d,
    UpsampleConv2d,
    class_affine,
)
from sagan.spectral import SpectralLayer

Network = TypeVar("Network", bound=nn.Module)


class ClassAffine2d(nn.Module):
    """One scale and one shift per class and channel."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """(N, C, H, W) and (N,) -> (N, C, H, W)."""
        return class_affine(x, labels, self.scale, self.shift)


@torch.no_grad()
def fold(network: Network) -> Network:
    """Returns a copy for inference, without gradients; the original is left as it is."""
    folded = copy.deepcopy(network)
    for name, layer in list(folded.named_modules()):
        if isinstance(layer, SpectralLayer):
            layer.weight.copy_(copy.deepcopy(layer).cpu().double().normalized_weight)
            layer.spectral_norm = None
        if (constant := _constant_form(layer)) is not None:
            folded.set_submodule(name, constant)
    return folded.eval().requires_grad_(False)


def _constant_form(layer: nn.Module) -> nn.Module | None:
    match layer:
        case UpsampleConv2d():
            into, out, *_ = layer.kernel.shape
            folded = nn.ConvTranspose2d(into, out, 4, stride=2, padding=1, device="meta")
        case DownsampleConv2d():
            out, into, *_ = layer.kernel.shape
            folded = nn.Conv2d(into, out, 4, stride=2, padding=1, device="meta")
        case ConditionalBatchNorm2d():
            tensors = (*layer.affine, layer.running_mean, layer.running_var)
            gain, bias, mean, variance = (tensor.cpu().double() for tensor in tensors)
            scale = gain * (variance + layer.eps).rsqrt()
            shift = bias - mean * scale
            return ClassAffine2d(scale.to(layer.running_mean), shift.to(layer.running_mean))
        case _:
            return None
    folded.weight = nn.Parameter(layer.kernel.contiguous(memory_format=torch.channels_last))
    folded.bias = layer.bias
    return folded
