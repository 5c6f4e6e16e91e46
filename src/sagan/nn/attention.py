"""The attention product softmax(query key^T) value, without keeping its map.

A fused kernel computes it piece by piece. On CPUs PyTorch's is slow where the value has many
channels: query and key, four times narrower, must be padded to the same size, and its products
stay behind oneDNN's. There chunks of queries win, computed again in the backward pass
(docs/performance.md).
"""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from sagan.nn.tracing import is_traced

CHUNK = 256
"""Queries of a chunk: from 128 to 1,024 it matters little to the time."""
CHUNKED_FROM = 64
"""Channels of the value from which on chunks win on CPUs."""


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Returns for every query the mean of the values, weighted by a softmax over the keys.

    Args:
        query: (N, Q, d).
        key: (N, K, d).
        value: (N, K, v), v at least d.

    Returns:
        (N, Q, v).
    """
    if value.device.type == "cpu" and not is_traced() and value.shape[2] >= CHUNKED_FROM:
        chunks = [
            checkpoint(_weighted, rows, key, value, use_reentrant=False, preserve_rng_state=False)
            for rows in query.split(CHUNK, dim=1)
        ]
        return torch.cat(chunks, dim=1)
    padding = (0, value.shape[2] - query.shape[2])  # fused kernels want equal sizes
    query, key = F.pad(query, padding), F.pad(key, padding)
    # PyTorch looks at strides alone: a view that begins amid 16 bytes is a misaligned address to
    # the kernels of GPUs.
    value = value.contiguous()
    return F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None], scale=1.0)[
        :, 0
    ]


def attention_weights(query: Tensor, key: Tensor) -> Tensor:
    """softmax(query key^T), by the formula.

    Args:
        query: (N, Q, d).
        key: (N, K, d).

    Returns:
        (N, Q, K) in at least float32; each row sums to 1.
    """
    dtype = torch.promote_types(query.dtype, torch.float32)
    with torch.autocast(query.device.type, enabled=False):
        return (query.to(dtype) @ key.to(dtype).transpose(1, 2)).softmax(dim=2)


def row_entropy(rows: Tensor) -> Tensor:
    """Entropy of attention weights (..., K) in nats: (...), from 0 to ln K."""
    return torch.special.entr(rows).sum(-1)


def _weighted(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    weights = attention_weights(query, key).to(value.dtype)
    with torch.autocast(value.device.type, enabled=False):
        return weights @ value
