"""Batch norm and what follows it, one gain and one bias per picture and channel, as one operation.

Apart, each keeps the map that it was given for its gradient; together they keep one and compute the
other again.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


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
    return torch.addcmul(_spread(shift, x), x, _spread(scale, x))


def _spread(rows: Tensor, x: Tensor) -> Tensor:
    return rows[:, :, None, None].to(x.dtype)


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
        precise = torch.promote_types(x.dtype, torch.float32)
        rows, mean, inverse = scale.to(precise), mean.to(precise), inverse.to(precise)
        sums = gradient.sum((2, 3)).to(precise)  # (N, C)
        products = (gradient * x).sum((2, 3)).to(precise)
        products = (products - mean * sums) * inverse  # with the normalised map
        # (G - mean(G) - y mean(G y)) / deviation, where G is the gradient of the normalised map y
        count = x.numel() // x.shape[1]
        slope = -inverse.square() * (rows * products).sum(0) / count
        offset = -inverse * (rows * sums).sum(0) / count - slope * mean
        of_map = scaled_and_shifted(x, slope[None], offset[None])
        of_map.addcmul_(gradient, _spread(rows * inverse, x))
        of_rows = [found.sum_to_size(scale.shape).to(scale.dtype) for found in (products, sums)]
        return of_map, *of_rows, None, None, None


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
