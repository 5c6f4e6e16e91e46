"""Networks for inference: everything that stays constant is computed once.

Spectral norm is divided into the weights, the folded kernels are kept (for single pictures also in
oneDNN's own order), and batch statistics with the class tables become one scale and one shift per
class and channel, to which a latent may add. Outputs stay the same up to rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from sagan.nn.affine_norm import scaled_and_shifted
from sagan.nn.batch_norm import ConditionalBatchNorm2d, affine_rows
from sagan.nn.convolution import (
    Conv2d,
    DownsampleConv2d,
    ReorderedKernel,
    UpsampleConv2d,
    conv2d,
    conv_transpose2d,
    is_bound_by_kernel,
)
from sagan.nn.layers import fitting_labels
from sagan.nn.spectral import SpectralLayer
from sagan.nn.tracing import is_traced

Network = TypeVar("Network", bound=nn.Module)


@dataclass
class _Copies:
    """Of a kernel in one state: where its memory is, and how often that was written to."""

    state: tuple[int, int] = (0, 0)
    reordered: ReorderedKernel | None = None
    narrow: Tensor | None = None


class ConstantConv2d(nn.Module):
    """A convolution whose kernel stays.

    Where a map is so small that reading the kernel is most of the work, oneDNN would reorder the
    kernel at every call; a copy in its own order is kept from the first such call on. So is one in
    the type of autocast, which itself keeps none of kernels that need no gradient. A kernel that is
    changed in place is copied again, unless that is done through ``data``.

    Args:
        kernel: As for :func:`conv2d`, of 3x3 pixels or 4x4 with stride 2, or as for
            :func:`conv_transpose2d`.
        bias: (out,).
        transposed: Whether it is a transposed convolution.
    """

    def __init__(self, kernel: Tensor, bias: Tensor | None, *, transposed: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(kernel.contiguous(memory_format=torch.channels_last))
        self.bias = None if bias is None else nn.Parameter(bias)
        self.transposed = transposed
        self._copies = _Copies()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H, W), half or twice the size with 4x4 pixels."""
        copies = self._copies_of_now()
        if copies is not None and is_bound_by_kernel(x, self.weight):
            if copies.reordered is None:
                copies.reordered = ReorderedKernel(self.weight, x.shape, transposed=self.transposed)
            return copies.reordered(x, self.bias)
        kernel = self.weight if copies is None else self._kernel(x, copies)
        if self.transposed:
            return conv_transpose2d(x, kernel, self.bias)
        return conv2d(x, kernel, self.bias, stride=kernel.shape[2] - 2)

    def _copies_of_now(self) -> _Copies | None:
        """The copies of the kernel as it is; None where nothing tells when it changes."""
        if is_traced() or torch.compiler.is_compiling():
            return None
        try:
            state = self.weight.data_ptr(), self.weight._version
        except RuntimeError:  # of inference mode, or within torch.func
            return None
        copies = self._copies
        if state != copies.state:
            copies = self._copies = _Copies(state)
        return copies

    def _kernel(self, x: Tensor, copies: _Copies) -> Tensor:
        device = x.device.type
        is_constant = self.weight.dtype == torch.float32 and not self.weight.requires_grad
        can = is_constant and device in ("cpu", "cuda")
        if not (can and torch.is_autocast_enabled(device)):
            return self.weight
        dtype = torch.get_autocast_dtype(device)
        if (narrow := copies.narrow) is None or narrow.dtype != dtype:
            with torch.inference_mode(False):  # it may be used where there are gradients, too
                narrow = copies.narrow = self.weight.detach().to(dtype)
        return narrow

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ConstantConv2d:
        self._copies = _Copies()
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, *arguments: Any, **named: Any) -> None:
        self._copies = _Copies()
        super()._load_from_state_dict(*arguments, **named)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_copies": _Copies()}


class ClassAffine2d(nn.Module):
    """One scale and one shift per class and channel, and what a latent adds to them."""

    scale: Tensor
    shift: Tensor
    latent: Tensor | None

    def __init__(
        self, scale: Tensor, shift: Tensor, latent: Tensor | None, num_classes: int
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)
        self.register_buffer("latent", latent)

    def forward(
        self, x: Tensor, labels: Tensor | None = None, latents: Tensor | None = None
    ) -> Tensor:
        """(N, C, H, W), (N,) and (N, latent_dim) -> (N, C, H, W)."""
        labels = fitting_labels(labels, self.num_classes, x)
        rows = affine_rows((self.scale, self.shift), labels, self.latent, latents)
        return scaled_and_shifted(x, *rows)


@torch.no_grad()
def fold(network: Network) -> Network:
    """Returns a copy for inference, without gradients; the original is left as it is.

    Args:
        network: Of layers of :mod:`sagan.nn`; others stay as they are, also their subclasses and
            those with forward hooks.

    Returns:
        The copy, in evaluation mode. Its outputs are the original's up to rounding.

    Example:
        >>> block = sagan.nn.spectral_norm(sagan.nn.GeneratorBlock(64, 32)).eval()
        >>> x = torch.randn(2, 64, 8, 8)
        >>> torch.allclose(sagan.nn.fold(block)(x), block(x), atol=1e-4)
        True
    """
    folded = copy.deepcopy(network)
    for name, layer in list(folded.named_modules()):
        if isinstance(layer, SpectralLayer):
            layer.weight.copy_(copy.deepcopy(layer).cpu().double().normalized_weight)
            layer.spectral_norm = None
        if (constant := _constant_form(layer)) is None:
            continue
        if not name:  # the network is that layer
            return cast(Network, constant.eval().requires_grad_(False))
        folded.set_submodule(name, constant)
    return folded.eval().requires_grad_(False)


def _class_affine(layer: ConditionalBatchNorm2d) -> ClassAffine2d:
    """Of the running statistics: gain * (x - mean) / deviation + bias = scale * x + shift."""
    inverse = (layer.running_var.cpu().double() + layer.eps).rsqrt()
    mean = layer.running_mean.cpu().double()

    def folded(gain: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Of rows, (rows, C)."""
        scale = gain.cpu().double() * inverse
        shift = bias.cpu().double() - mean * scale
        return scale.to(layer.running_mean), shift.to(layer.running_mean)

    latent = None if layer.latent is None else torch.cat(folded(*layer.latent.T.chunk(2, 1)), 1).T
    return ClassAffine2d(*folded(*layer.affine), latent, layer.num_classes)


def _constant_form(layer: nn.Module) -> nn.Module | None:
    if layer._forward_hooks or layer._forward_pre_hooks:
        return None
    match layer:
        case UpsampleConv2d() if type(layer) is UpsampleConv2d:
            return ConstantConv2d(layer.kernel, layer.bias, transposed=True)
        case DownsampleConv2d() if type(layer) is DownsampleConv2d:
            return ConstantConv2d(layer.kernel, layer.bias)
        case Conv2d() if type(layer) is Conv2d and layer.kernel.shape[2] == 3:
            return ConstantConv2d(layer.kernel, layer.bias)
        case ConditionalBatchNorm2d() if type(layer) is ConditionalBatchNorm2d:
            return _class_affine(layer)
        case _:
            return None
