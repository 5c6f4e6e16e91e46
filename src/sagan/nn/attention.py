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

from sagan.nn.second_derivatives import is_differentiated_twice
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
        is_chunked = value.dtype == torch.bfloat16 or is_differentiated_twice() or not is_fused
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
    ) -> tuple[Tensor, ...]:
        query, key, value, weights = ctx.saved_tensors
        with no_autocast(value):
            if torch.is_grad_enabled():  # this gradient is to be differentiated
                return _Gradients.apply(query, key, value, gradient)
            gradient = gradient.contiguous()
            by_weights = torch.bmm(gradient, value.mT)
            (by_weights, precise), dtype = _widened(by_weights, weights), weights.dtype
            means = torch.linalg.vecdot(precise, by_weights) / precise.sum(dim=2)  # rounded, not 1
            by_scores = by_weights.sub_(means[:, :, None]).mul_(precise).to(dtype)
            by_query = _multiplied(by_scores, key.to(dtype)).to(query.dtype)
            by_key = _multiplied(by_scores.mT, query.to(dtype)).to(key.dtype)
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
                return _Gradients.apply(query, key, value, gradient)
            return _gradients_in_chunks(query, key, value, output, sums, gradient)


class _Gradients(torch.autograd.Function):
    """Gradients by query, key and value that can be differentiated once more, in chunks too.

    Written as above, with A, B and C the gradients of dQ, dK and dV, and softmax' the gradient of
    the softmax at P: that of dS is W = A K^T + Q B^T, that of dP is E = softmax'(W), and that of S

        Z = softmax'(W * (dP - rowsum(P * dP)) - rowsum(P * W) * dP + G C^T).

    From these dQ = Z K + dS B, dK = Z^T Q + dS^T A, dV = E^T G and dG = E V + P C.
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, gradient: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(query, key, value, gradient)
        given = query, key, value
        query, key, value, gradient = _widened(*given, gradient)
        by_query, by_key, by_value = map(torch.zeros_like, (query, key, value))
        for n, rows in _chunks(query, key, maps=4):
            q, g = query[n, rows], gradient[n, rows]
            weights = attention_weights(q, key[n])
            by_scores = _through_softmax(torch.bmm(g, value[n].mT), weights)
            by_query[n, rows] = _multiplied(by_scores, key[n])
            by_key[n] += _multiplied(by_scores.mT, q)
            by_value[n] += _multiplied(weights.mT, g)
        return _narrowed(given, by_query, by_key, by_value)

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor, ...]:
        given = ctx.saved_tensors
        with no_autocast(gradients[0]):
            found = _second_gradients(_widened(*given), _widened(*gradients))
        return _narrowed(given, *found)


def _second_gradients(given: Sequence[Tensor], gradients: Sequence[Tensor]) -> Sequence[Tensor]:
    """dQ, dK, dV and dG of :class:`_Gradients` from Q, K, V, G and A, B, C."""
    (query, key, value, gradient), (of_query, of_key, of_value) = given, gradients
    left, right = torch.cat([of_query, query], dim=2), torch.cat([key, of_key], dim=2).mT
    by_query, by_key, by_value, by_gradient = map(torch.zeros_like, given)
    for n, rows in _chunks(query, key, maps=4):
        q, k, v, g = query[n, rows], key[n], value[n], gradient[n, rows]
        weights = attention_weights(q, k)
        by_weights = torch.bmm(g, v.mT)
        by_scores = _through_softmax(by_weights, weights)
        of_scores = torch.bmm(left[n, rows], right[n])
        of_weights = _through_softmax(of_scores, weights)
        means = [(weights * t).sum(dim=2, keepdim=True) for t in (by_weights, of_scores)]
        sums = torch.bmm(g, of_value[n].mT)
        sums.addcmul_(of_scores, by_weights - means[0]).addcmul_(means[1], by_weights, value=-1)
        of_sums = _through_softmax(sums, weights)
        by_query[n, rows] = _multiplied(of_sums, k) + _multiplied(by_scores, of_key[n])
        by_gradient[n, rows] = _multiplied(of_weights, v) + _multiplied(weights, of_value[n])
        by_key[n] += _multiplied(of_sums.mT, q) + _multiplied(by_scores.mT, of_query[n, rows])
        by_value[n] += _multiplied(of_weights.mT, g)
    return by_query, by_key, by_value, by_gradient


def _widened(*tensors: Tensor) -> list[Tensor]:
    return [t.to(torch.promote_types(t.dtype, torch.float32)) for t in tensors]


def _narrowed(given: Sequence[Tensor], *found: Tensor) -> tuple[Tensor, ...]:
    return tuple(tensor.to(own.dtype) for own, tensor in zip(given, found, strict=True))


def _through_softmax(gradient: Tensor, weights: Tensor) -> Tensor:
    """The gradient of the scores from that of their softmax: P * (dP - rowsum(P * dP))."""
    return torch.ops.aten._softmax_backward_data(gradient, weights, 2, weights.dtype)


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


def _chunks(query: Tensor, key: Tensor, maps: int = 1) -> Iterator[tuple[slice, slice]]:
    """Pictures and rows of which so many maps, in float32, take up to ``CHUNK`` bytes together."""
    (count, length, _), row = query.shape, 4 * key.shape[1] * maps
    pictures = max(1, CHUNK // max(1, length * row))
    rows = max(1, min(length, CHUNK // max(1, row)))
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
