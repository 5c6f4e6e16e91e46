"""Blocks that keep their input alone, and compute again in the backward pass what it needs."""

from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sagan.nn.batch_norm import ConditionalBatchNorm2d


def through(block: nn.Module, *inputs: Tensor | None, recomputed: bool) -> Tensor:
    """Passes inputs through a block of a network.

    Args:
        block: It changes nothing but the running statistics of its batch norms, which move once.
        inputs: Of the block.
        recomputed: Keep the inputs alone for the backward pass, which passes them through again.

    Returns:
        What the block returns: the same to the last bit either way, and so are the gradients.

    Source: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost".
    """
    if not (recomputed and torch.is_grad_enabled()):
        return block(*inputs)

    contexts = nullcontext(), _StatisticsHeld(block)
    return checkpoint(
        block, *inputs, use_reentrant=False, preserve_rng_state=False, context_fn=lambda: contexts
    )


class _StatisticsHeld:
    """Within it no running statistics move; entered once for each pass through the graph."""

    def __init__(self, block: nn.Module) -> None:
        self.norms = [m for m in block.modules() if isinstance(m, ConditionalBatchNorm2d)]

    def __enter__(self) -> None:
        for norm in self.norms:
            norm.is_held = True

    def __exit__(self, *_: object) -> None:
        for norm in self.norms:
            norm.is_held = False
