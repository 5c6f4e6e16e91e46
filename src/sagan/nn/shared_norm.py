"""Batch norm over the pictures of several processes."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from sagan.system.ranks import Ranks

_OVER = (0, 2, 3)
"""All dimensions but that of the channels."""


@torch.compiler.disable()
def shared_batch_norm(
    x: Tensor, running: tuple[Tensor, Tensor], ranks: Ranks, *, momentum: float, eps: float
) -> Tensor:
    """Normalises by the mean and variance of all ranks' pictures together.

    What torch's ``batch_norm`` does in training with the whole batch, for one gain and no bias;
    its SyncBatchNorm is for GPUs alone. Called by all ranks, with as many pictures each.

    Args:
        x: (N, C, H, W).
        running: Mean and variance, (C,), moved in place.
        ranks: All of them.
        momentum: Weight of the newest batch in the running statistics.
        eps: Added to the variance.

    Returns:
        (N, C, H, W).
    """
    mean, variance = _statistics(x.detach(), ranks)
    count = ranks.count * x.numel() / x.shape[1]
    with torch.no_grad():
        running[0].lerp_(mean, momentum)
        running[1].lerp_(variance * (count / (count - 1)), momentum)
    return _NormalizedOverRanks.apply(x, mean, variance, eps, ranks)


def _statistics(x: Tensor, ranks: Ranks) -> tuple[Tensor, Tensor]:
    """Mean and biased variance over all ranks, (C,), without differences of large sums."""
    variance, mean = torch.var_mean(_precise(x), dim=_OVER, correction=0)
    means, variances = ranks.gathered(torch.stack([mean, variance])).unbind(1)
    mean = means.mean(0)
    return mean, (variances + (means - mean).square()).mean(0)


def _precise(x: Tensor) -> Tensor:
    """In float32, or in float64 as it is."""
    return x if x.dtype is torch.float64 else x.float()


class _NormalizedOverRanks(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps), where both depend on every rank's pictures.

    With G the gradient and y the output: (G - mean(G) - y mean(G y)) / sqrt(variance + eps), the
    means over the pictures of all ranks.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, mean: Tensor, variance: Tensor, eps: float, ranks: Ranks
    ) -> Tensor:
        ctx.save_for_backward(x, mean, variance)
        ctx.eps, ctx.ranks = eps, ranks
        return F.batch_norm(x, mean, variance, training=False, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor | None, ...]:
        x, mean, variance = ctx.saved_tensors
        y = _precise(F.batch_norm(x, mean, variance, training=False, eps=ctx.eps))
        g = _precise(gradient)
        means = [g.mean(_OVER), (g * y).mean(_OVER)]
        ctx.ranks.average(means)
        of_gradient, of_product = (m[:, None, None] for m in means)
        scale = (variance + ctx.eps).rsqrt()[:, None, None]
        return ((g - of_gradient - y * of_product) * scale).to(x.dtype), None, None, None, None
