"""Maps halved and doubled on the way past a block's convolutions.

GPUs take the gradient of PyTorch's pooling ten times as slowly as it takes to write it, and its
upsampling under autocast gives float32, which all that follows would then be in.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sagan.config import Upsampling
from sagan.nn.singular import no_autocast
from sagan.nn.tracing import is_traced


def half_sized(x: Tensor) -> Tensor:
    """Means of 2x2 pixels, (N, C, H, W) -> (N, C, H/2, W/2)."""
    if _is_simple(x):
        return F.avg_pool2d(x, 2)
    return _Halved.apply(x)


def double_sized(x: Tensor, mode: Upsampling = "nearest") -> Tensor:
    """Twice as many pixels each way, in the type of the map: (N, C, H, W) -> (N, C, 2H, 2W)."""
    with no_autocast(x):
        return F.interpolate(x, scale_factor=2, mode=mode)


def plus_double_sized(h: Tensor, x: Tensor, mode: Upsampling = "nearest") -> Tensor:
    """Returns h + double_sized(x), (N, C, 2H, 2W); overwrites h where no gradient wants it."""
    if _is_simple(x) or mode != "nearest" or h.dtype != x.dtype:
        return plus(h, double_sized(x, mode))
    if torch.is_grad_enabled():
        return _PlusDoubled.apply(h, x)
    _in_blocks(h).add_(_each_block(x))
    return h


def plus(h: Tensor, x: Tensor) -> Tensor:
    """Returns h + x; in the memory of h where no gradient wants it."""
    is_kept = torch.is_grad_enabled() or is_traced() or h.dtype != x.dtype
    return h + x if is_kept else h.add_(x)


def _is_simple(x: Tensor) -> bool:
    """Whether PyTorch's own operators are best: on CPUs, and for compilers, which fuse them."""
    return x.device.type == "cpu" or torch.compiler.is_compiling() or is_traced()


def _in_blocks(x: Tensor) -> Tensor:
    """A view (N, H/2, 2, W/2, 2, C) of a map (N, C, H, W)."""
    return x.permute(0, 2, 3, 1).unflatten(2, (-1, 2)).unflatten(1, (-1, 2))


def _each_block(x: Tensor) -> Tensor:
    """A view (N, H, 1, W, 1, C) of a map (N, C, H, W), for all pixels of its blocks."""
    return x.permute(0, 2, 3, 1)[:, :, None, :, None]


def _as_map(blocks: Tensor) -> Tensor:
    """(N, H/2, 2, W/2, 2, C) -> (N, C, H, W)."""
    return blocks.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)


class _Halved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _as_map(_each_block(gradient / 4).expand(-1, -1, 2, -1, 2, -1))


class _PlusDoubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, x: Tensor) -> Tensor:
        return _as_map(_in_blocks(h) + _each_block(x))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return gradient, 4 * F.avg_pool2d(gradient, 2)
