"""Whether an attention layer is alive: how widely it looks, and how much it adds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sagan.nn.attention import row_entropy
from sagan.nn.layers import SelfAttention2d
from sagan.nn.singular import no_autocast

HARDLY_USED = 0.01
"""Below this contribution a layer changes nothing that anybody sees."""
SATURATED = 0.8
"""Above this mean largest weight a layer copies one place instead of weighing many."""
UNIFORM = 0.98
"""Above this share of the greatest possible entropy a layer adds the same everywhere."""

_QUERIES = 1024  # at a time


@dataclass(frozen=True, kw_only=True)
class Focus:
    """What an attention layer does, over all positions of some pictures."""

    gamma: float
    """Its scale: y = x + gamma * out."""
    entropy: float
    """Mean entropy of a row as a share of the greatest possible, 0..1: 1 looks everywhere alike."""
    peak: float
    """Mean largest weight of a row, 0..1: 1 looks at one place."""
    contribution: float
    """Norm of what the layer adds over the norm of what it is given."""

    @property
    def remark(self) -> str:
        """What is wrong with the layer, in words; empty where nothing is."""
        if self.contribution < HARDLY_USED:
            return f"hardly used: it adds {100 * self.contribution:.2g} % to its input"
        if self.peak > SATURATED:
            return f"saturated: a place gives {100 * self.peak:.0f} % of its attention to one key"
        if self.entropy > UNIFORM:
            return f"uniform: its entropy is {100 * self.entropy:.1f} % of the greatest possible"
        return ""

    def __str__(self) -> str:
        return (
            f"gamma {self.gamma:+.3f}, adds {100 * self.contribution:.1f} % to its input, "
            f"entropy {self.entropy:.2f} of 1, largest weight {self.peak:.2f}"
        )


@torch.no_grad()
def focus_of(layer: SelfAttention2d, x: Tensor) -> Focus:
    """Measures a layer in full precision, some queries at a time.

    Args:
        layer: Stays as it is.
        x: What it is given, (N, C, H, W).
    """
    with no_autocast(x):
        x = x.to(layer.gamma.dtype)
        parts, keys = [], 0
        for queries in torch.arange(x[0, 0].numel(), device=x.device).split(_QUERIES):
            rows = layer.attention_rows(x, queries)
            parts.append(torch.stack([row_entropy(rows).sum(), rows.amax(2).sum()]))
            keys = rows.shape[2]
        entropy, peak = torch.stack(parts).sum(0) / (x.numel() / x.shape[1])
        contribution = (layer(x) - x).norm() / x.norm().clamp(min=1e-12)
        numbers = torch.stack([layer.gamma.detach(), entropy, peak, contribution]).tolist()
    gamma, entropy, peak, contribution = numbers
    return Focus(
        gamma=gamma, entropy=entropy / math.log(keys), peak=peak, contribution=contribution
    )


def mean_focus(several: Sequence[Focus]) -> Focus:
    """The means over several pictures of one layer."""
    numbers = [vars(focus).values() for focus in several]
    means = [math.fsum(column) / len(several) for column in zip(*numbers, strict=True)]
    return Focus(**dict(zip(vars(several[0]), means, strict=True)))
