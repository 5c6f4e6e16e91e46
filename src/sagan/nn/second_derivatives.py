"""Convolutions whose gradients are differentiated once more, as penalties on gradients do.

PyTorch takes the gradient by the kernel there as a convolution with as many pictures as the map has
channels and a kernel as large as the map, which GPUs do badly: half of their time at 64 pixels
(docs/lab/performance.md). It is the usual gradient by the kernel, of another pair of maps.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor

_twice = ContextVar("twice", default=False)


@contextmanager
def differentiated_twice() -> Iterator[None]:
    """Within the block convolutions and attention are made for gradients that have a gradient."""
    token = _twice.set(True)
    try:
        yield
    finally:
        _twice.reset(token)


def is_differentiated_twice() -> bool:
    """Whether that is so here."""
    # Compilers cannot follow context variables.
    return not torch.compiler.is_compiling() and _twice.get() and torch.is_grad_enabled()


def applies(x: Tensor) -> bool:
    """Whether :func:`convolution` is better for a map; CPUs take PyTorch's way as fast."""
    return is_differentiated_twice() and x.device.type != "cpu"


class _Sliding(NamedTuple):
    """How a kernel moves over a map."""

    stride: list[int]
    padding: list[int]

    def forwards(self, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        return torch.convolution(x, kernel, bias, *self, [1, 1], False, [0, 0], 1)

    def backwards(self, gradient: Tensor, x: Tensor, kernel: Tensor, wanted: list[bool]) -> Any:
        """Gradients by x, kernel and bias, where they are wanted."""
        rest = [1, 1], False, [0, 0], 1, wanted
        return torch.ops.aten.convolution_backward(gradient, x, kernel, [len(kernel)], *self, *rest)


def convolution(
    x: Tensor, kernel: Tensor, bias: Tensor | None, *, stride: int, padding: int
) -> Tensor:
    """As torch's ``conv2d``, under autocast too.

    Args:
        x: (N, in, H, W).
        kernel: (out, in, k, k).
        bias: (out,).
        stride: Of both sides.
        padding: Zeros around the map.
    """
    device = x.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        x, kernel = x.to(dtype), kernel.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    return _Convolution.apply(x, kernel, bias, _Sliding([stride] * 2, [padding] * 2))


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, kernel: Tensor, bias: Tensor | None, place: _Sliding
    ) -> Tensor:
        ctx.save_for_backward(x, kernel)
        ctx.place = place
        return place.forwards(x, kernel, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, kernel = ctx.saved_tensors
        wanted = list(ctx.needs_input_grad[:3])
        if torch.is_grad_enabled():
            by_map = _MapGradient.apply(gradient, x, kernel, ctx.place) if wanted[0] else None
            wanted[0] = False
            return by_map, *ctx.place.backwards(gradient, x, kernel, wanted)[1:], None
        return *ctx.place.backwards(gradient, x, kernel, wanted), None


class _MapGradient(torch.autograd.Function):
    """The gradient of a convolution by its map: linear in the kernel and in what comes in."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, x: Tensor, kernel: Tensor, place: _Sliding) -> Tensor:
        ctx.save_for_backward(gradient, kernel)
        ctx.place = place
        return place.backwards(gradient, x, kernel, [True, False, False])[0]

    @staticmethod
    def backward(ctx: Any, second: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        gradient, kernel = ctx.saved_tensors
        by_gradient = ctx.place.forwards(second, kernel, None)
        wanted = [False, ctx.needs_input_grad[2], False]
        by_kernel = ctx.place.backwards(gradient, second, kernel, wanted)[1]
        return by_gradient, None, by_kernel, None
