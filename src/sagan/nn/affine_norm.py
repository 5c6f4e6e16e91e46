"""Batch norm and what follows it, one gain and one bias per picture and channel, as one operation.

Apart, each keeps the map that it was given for its gradient; together they keep one and compute the
other again.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sagan.nn.tracing import is_traced

_VECTOR = 32  # numbers in bfloat16 that processors with AVX-512 add at once


def normalized_affine(
    x: Tensor,
    running: tuple[Tensor, Tensor],
    scale: Tensor,
    shift: Tensor,
    *,
    momentum: float,
    eps: float,
) -> Tensor:
    """Normalises by the batch, then scales and shifts.

    Args:
        x: (N, C, H, W).
        running: Mean and variance, (C,), moved in place.
        scale: (N, C), or (1, C) for all pictures.
        shift: Of the same shape.
        momentum: Weight of the newest batch in the running statistics.
        eps: Added to the variance.

    Returns:
        (N, C, H, W).
    """
    return _NormalizedAffine.apply(x, scale, shift, running, momentum, eps)


def scaled_and_shifted(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Scales and shifts every channel of a map (N, C, H, W) by rows (N, C) or one row (1, C)."""
    return _scaled_and_added(x, scale, shift)


def _scaled_and_added(x: Tensor, scale: Tensor, other: Tensor) -> Tensor:
    """Returns x * scale + other, which is rows or a map; a map is overwritten.

    PyTorch adds channels together as many as a vector holds; where a pixel has fewer, that is six
    times as slow, so that a line of pixels is taken for one.
    """
    is_map = other.ndim == 4
    is_narrow = x.dtype == torch.bfloat16 and x.shape[1] < _VECTOR
    is_open = not (torch.is_grad_enabled() or torch.compiler.is_compiling() or is_traced())
    if x.device.type != "cpu" or not (is_narrow and is_open):
        if is_map:
            return other.addcmul_(x, _spread(scale, x))
        return torch.addcmul(_spread(other, x), x, _spread(scale, x))
    sums = other if is_map else torch.empty_like(x, memory_format=torch.channels_last)
    lines = [_as_lines(tensor, x) for tensor in (other, x, scale)]
    torch.addcmul(*lines, out=_as_lines(sums, x))
    return sums


def _spread(rows: Tensor, x: Tensor) -> Tensor:
    return rows[:, :, None, None].to(x.dtype)


def _as_lines(tensor: Tensor, x: Tensor) -> Tensor:
    """A map as (N, H, W C); rows for such a map as (N, 1, W C)."""
    if tensor.ndim == 4:
        return tensor.permute(0, 2, 3, 1).flatten(2)
    return tensor.to(x.dtype).repeat(1, x.shape[3])[:, None]


class _NormalizedAffine(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        scale: Tensor,
        shift: Tensor,
        running: tuple[Tensor, Tensor],
        momentum: float,
        eps: float,
    ) -> Tensor:
        normalized, mean, inverse = torch.native_batch_norm(
            x, None, None, *running, True, momentum, eps
        )
        ctx.save_for_backward(x, scale, shift, mean, inverse)
        ctx.eps = eps
        return scaled_and_shifted(normalized, scale, shift)

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor | None, ...]:
        x, scale, shift, mean, inverse = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient will be differentiated itself
            return *_plain_gradients(ctx, (x, scale, shift), gradient), None, None, None
        precise, dtype = torch.promote_types(x.dtype, torch.float32), x.dtype
        if dtype == torch.float16:  # whose sums would overflow
            x, gradient = x.float(), gradient.float()
        rows, mean, inverse = scale.to(precise), mean.to(precise), inverse.to(precise)
        sums = gradient.sum((2, 3)).to(precise)  # (N, C)
        products = (gradient * x).sum((2, 3)).to(precise)
        products = (products - mean * sums) * inverse  # with the normalised map
        # (G - mean(G) - y mean(G y)) / deviation, where G is the gradient of the normalised map y
        count = x.numel() // x.shape[1]
        slope = -inverse.square() * (rows * products).sum(0) / count
        offset = -inverse * (rows * sums).sum(0) / count - slope * mean
        of_map = scaled_and_shifted(x, slope[None], offset[None])
        of_map = _scaled_and_added(gradient, rows * inverse, of_map)
        of_rows = [found.sum_to_size(scale.shape).to(scale.dtype) for found in (products, sums)]
        return of_map.to(dtype), *of_rows, None, None, None


def _plain_gradients(
    ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], gradient: Tensor
) -> list[Tensor | None]:
    """The same by automatic differentiation, with a graph of its own."""
    x, scale, shift = inputs
    out = scaled_and_shifted(F.batch_norm(x, None, None, training=True, eps=ctx.eps), scale, shift)
    needed = ctx.needs_input_grad[:3]
    wanted = [given for given, is_needed in zip(inputs, needed, strict=True) if is_needed]
    found = iter(torch.autograd.grad(out, wanted, gradient, create_graph=True))
    return [next(found) if is_needed else None for is_needed in needed]
