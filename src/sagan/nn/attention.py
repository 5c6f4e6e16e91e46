"""The attention product softmax(query key^T) value, without keeping its map.

A fused kernel computes it piece by piece. On CPUs PyTorch's takes more of the processor in bfloat16
and where the value has many channels: query and key, four times narrower, must be padded to the
same size, its products stay behind oneDNN's, and it gives one picture to one core. There chunks of
queries are taken, whose scores fit into the cache and are computed again in the backward pass; and
where a map is small, nothing but the plain products (docs/lab/performance.md).
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sagan.nn.singular import no_autocast
from sagan.nn.tracing import is_traced

MAP_KEPT = 2**18
"""Bytes of a picture's map in float32 up to which plain products keep it on CPUs: no more than its
feature maps take, and to compute it again would cost more (16 x 16 places with pooled keys)."""
CHUNK = 2**22
"""Bytes of the scores of a chunk: less calls more often, more leaves the processor's cache."""
CHUNKED_UP_TO = 8
CHUNKED_FROM = 64
"""Channels of the value up to which, and from which on, chunks are taken on CPUs in float32; in
bfloat16 they always are: they take less of the processor, though with as many pictures as cores the
fused kernel ends sooner. The number of pictures must not decide how one of them is computed."""


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Returns for every query the mean of the values, weighted by a softmax over the keys.

    Args:
        query: (N, Q, d).
        key: (N, K, d).
        value: (N, K, v), v at least d.

    Returns:
        (N, Q, v).
    """
    if value.device.type == "cpu" and not is_traced():
        is_compiling = torch.compiler.is_compiling()
        if 4 * query.shape[1] * key.shape[1] <= MAP_KEPT:
            product = _weighted if is_compiling else _InOnePiece.apply
            return product(query, key, value)
        is_fused = CHUNKED_UP_TO < value.shape[2] < CHUNKED_FROM
        is_chunked = value.dtype == torch.bfloat16 or not is_fused
        if is_chunked and not is_compiling:
            return _InChunks.apply(query, key, value)
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
    with no_autocast(query):
        return (query.to(dtype) @ key.to(dtype).transpose(1, 2)).softmax(dim=2)


def row_entropy(rows: Tensor) -> Tensor:
    """Entropy of attention weights (..., K) in nats: (...), from 0 to ln K."""
    return torch.special.entr(rows).sum(-1)


def _weighted(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    weights = attention_weights(query, key).to(value.dtype)
    with no_autocast(value):
        return weights @ value


class _InOnePiece(torch.autograd.Function):
    """The same, which keeps its map in the value's type and multiplies it lying.

    Automatic gradients keep it in float32, too, and multiply it with matrices of two columns, for
    which MKL takes up to seven times as long as for two rows.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        weights = attention_weights(query, key).to(value.dtype)
        ctx.save_for_backward(query, key, value, weights)
        with no_autocast(value):
            return _multiplied(weights, value).contiguous()

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value, weights = ctx.saved_tensors
        with no_autocast(value):
            if torch.is_grad_enabled():  # this gradient is to be differentiated
                return _gradients(query, key, value, gradient)
            gradient = gradient.contiguous()
            by_weights = torch.bmm(gradient, value.mT)
            by_scores = torch.ops.aten._softmax_backward_data(by_weights, weights, 2, weights.dtype)
            by_query, by_key = _multiplied(by_scores, key), _multiplied(by_scores.mT, query)
            return by_query, by_key, _multiplied(weights.mT, gradient)


class _InChunks(torch.autograd.Function):
    """The product in chunks of queries, of whose map the backward pass keeps one sum per row.

    With P the weights, O = P V and G the gradient of O: that of V is P^T G, and that of the scores
    S = Q K^T is dS = P * (G V^T - rowsum(G * O)), from which dQ = dS K and dK = dS^T Q. Here the
    scores have base 2 (2^S is computed faster than e^S) and P = 2^(S - log2 rowsum 2^S); what is
    subtracted from a row stands as one more channel in the products, with ones on the other side.
    Scores are in float32, weights in the value's type. ``torch.bmm`` takes transposed matrices as
    they are, where ``@`` would copy the map of a single picture.

    Source: Dao et al. 2022, FlashAttention, appendix B.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        dtype = torch.promote_types(value.dtype, torch.float32)
        scaled, columns = _padded(query.to(dtype) / math.log(2)), _padded(key.to(dtype)).mT
        values = value.contiguous()
        output = value.new_empty(*query.shape[:2], value.shape[2])
        sums = query.new_empty(*query.shape[:2], 1, dtype=dtype)
        with no_autocast(value):
            for n, rows in _chunks(query, key):
                weights = torch.bmm(scaled[n, rows], columns[n])
                highest = weights.amax(dim=2, keepdim=True)
                total = weights.sub_(highest).exp2_().sum(dim=2, keepdim=True)
                if value.dtype == torch.float16:  # whose sums would overflow
                    output[n, rows] = _multiplied(weights.div_(total).half(), values[n])
                else:
                    output[n, rows] = _multiplied(weights.to(value.dtype), values[n]) / total
                sums[n, rows] = highest + total.log2()
        ctx.save_for_backward(query, key, value, output, sums)
        return output

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value, output, sums = ctx.saved_tensors
        with no_autocast(value):
            if torch.is_grad_enabled():  # this gradient is to be differentiated
                return _gradients(query, key, value, gradient)
            return _gradients_in_chunks(query, key, value, output, sums, gradient)


def _gradients(
    query: Tensor, key: Tensor, value: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients by query, key and value in one piece, which can be differentiated themselves."""
    weights = attention_weights(query, key)
    gradient = gradient.to(weights)
    by_weights = gradient @ value.to(weights).mT
    by_scores = weights * (by_weights - (by_weights * weights).sum(dim=2, keepdim=True))
    by_query, by_key = by_scores @ key.to(weights), by_scores.mT @ query.to(weights)
    return by_query.to(query), by_key.to(key), (weights.mT @ gradient).to(value)


def _gradients_in_chunks(
    query: Tensor, key: Tensor, value: Tensor, output: Tensor, sums: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The same, a chunk of the map at a time."""
    dtype, ones = sums.dtype, torch.ones_like(key[:, :, :1])
    scaled = _padded(torch.cat([query.to(dtype) / math.log(2), -sums], dim=2))
    columns = _padded(torch.cat([key, ones], dim=2).to(dtype)).mT
    means = _summands(-(gradient.to(dtype) * output).sum(dim=2, keepdim=True), value.dtype)
    widened = torch.cat([gradient, *means], dim=2)
    values = torch.cat([value, *[ones.to(value)] * len(means)], dim=2).mT
    gradient = gradient.contiguous()
    query, key = query.contiguous(), key.contiguous()
    by_query = torch.empty_like(query)
    by_key, by_value = (t.new_zeros(t.shape, dtype=dtype) for t in (key, value))
    for n, rows in _chunks(query, key):
        weights = torch.bmm(scaled[n, rows], columns[n]).exp2_().to(value.dtype)
        by_value[n] += _multiplied(weights.mT, gradient[n, rows])
        by_scores = torch.bmm(widened[n, rows], values[n]).mul_(weights)
        by_query[n, rows] = _multiplied(by_scores, key[n])
        by_key[n] += _multiplied(by_scores.mT, query[n, rows])
    return by_query, by_key.to(key), by_value.to(value)


def _chunks(query: Tensor, key: Tensor) -> Iterator[tuple[slice, slice]]:
    """Pictures and rows of which the scores, in float32, take up to ``CHUNK`` bytes together."""
    (count, length, _), row = query.shape, 4 * key.shape[1]
    pictures = max(1, CHUNK // (length * row))
    rows = max(1, min(length, CHUNK // row))
    for n in range(0, count, pictures):
        for first in range(0, length, rows):
            yield slice(n, n + pictures), slice(first, first + rows)


def _multiplied(left: Tensor, right: Tensor) -> Tensor:
    """The product, computed lying where the right side is narrow: up to three times as fast."""
    if right.shape[2] > 32:
        return torch.bmm(left, right)
    return torch.bmm(right.mT, left.mT).mT


def _padded(matrix: Tensor) -> Tensor:
    """With zeros to a multiple of 8 channels, which MKL multiplies twice as fast as one or two."""
    return F.pad(matrix, (0, -matrix.shape[2] % 8))


def _summands(numbers: Tensor, dtype: torch.dtype) -> Sequence[Tensor]:
    """Numbers as a sum of narrower ones: bfloat16 has 8 bits, of two together 16."""
    first = numbers.to(dtype)
    return [first] if dtype == numbers.dtype else [first, (numbers - first).to(dtype)]
