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
    Conv2d,
    DownsampleConv2d,
    Embedding,
    Linear,
    UpsampleConv2d,
    class_affine,
)

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
    folded = copy.deepcopy(network).eval().requires_grad_(False)
    for name, layer in list(folded.named_modules()):
        replacement = _constant_form(layer)
        if replacement is not None:
            folded.set_submodule(name, replacement.eval().requires_grad_(False))
    return folded


def _constant_form(layer: nn.Module) -> nn.Module | None:
    match layer:
        case UpsampleConv2d():
            kernel = layer.kernel.contiguous()
            into, out = kernel.shape[:2]
            plain = nn.ConvTranspose2d(into, out, 4, stride=2, padding=1)
            return _with_weights(plain, kernel, layer.bias)
        case DownsampleConv2d():
            kernel = layer.kernel
            out, into = kernel.shape[:2]
            return _with_weights(nn.Conv2d(into, out, 4, stride=2, padding=1), kernel, layer.bias)
        case Conv2d():
            out, into, size, _ = layer.weight.shape
            plain = nn.Conv2d(into, out, size, padding="same", bias=layer.bias is not None)
            return _with_weights(plain, layer.normalized_weight, layer.bias)
        case Linear():
            out, into = layer.weight.shape
            return _with_weights(nn.Linear(into, out), layer.normalized_weight, layer.bias)
        case Embedding():
            rows, dim = layer.weight.shape
            return _with_weights(nn.Embedding(rows, dim), layer.normalized_weight, None)
        case ConditionalBatchNorm2d():
            scale = layer.gain * (layer.running_var + layer.eps).rsqrt()
            return ClassAffine2d(scale, layer.bias - layer.running_mean * scale)
    return None


def _with_weights(plain: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Module:
    plain.weight = nn.Parameter(weight)
    if bias is not None:
        plain.bias = nn.Parameter(bias)
    return plain
