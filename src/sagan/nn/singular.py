"""The mathematics of spectral normalisation, of tensors: power iteration, division by sigma."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor


@torch.no_grad()
def move_singular_vectors(
    weights: Sequence[Tensor],
    lefts: Sequence[Tensor],
    rights: Sequence[Tensor],
    bounds: Sequence[float],
    iterations: int,
) -> None:
    """Power iterations of several weights together, each with its vectors, in place.

    Args:
        weights: W, (out, ...).
        lefts: u, (out,).
        rights: v, as many values as ``weight[0]`` has, in its usual order.
        bounds: The least by which a vector is divided.
        iterations: How many; with 0 nothing moves.
    """
    if not weights or not iterations:
        return
    matrices, places = list[Tensor](), list[Tensor]()
    for weight, right in zip(weights, rights, strict=True):
        matrix, order, _ = _matrix(weight)
        matrices.append(matrix)
        places.append(right.view(weight.shape[1:]).permute(order))
    us, vs = lefts, list[Tensor]()
    for _ in range(iterations):
        vs = [matrix.mT.mv(u) for matrix, u in zip(matrices, us, strict=True)]
        _normalize(vs, bounds)
        us = [matrix.mv(v) for matrix, v in zip(matrices, vs, strict=True)]
        _normalize(us, bounds)
    for left, place, u, v in zip(lefts, places, us, vs, strict=True):
        left.copy_(u)
        place.copy_(v.view_as(place))


def _normalize(vectors: list[Tensor], bounds: Sequence[float]) -> None:
    """Divides every vector by its norm, or by its bound if that is larger, in place."""
    norms = list(torch._foreach_norm(vectors))  # pyright: ignore[reportPrivateImportUsage]
    torch._foreach_clamp_min_(norms, bounds)  # pyright: ignore[reportPrivateImportUsage]
    torch._foreach_div_(vectors, norms)  # pyright: ignore[reportPrivateImportUsage]


class Divisor(NamedTuple):
    """What a weight W is divided by."""

    sigma: Tensor
    u: Tensor
    """(out,)."""
    v: Tensor
    """Shaped as ``weight[0]`` and in its order of memory."""
    divides_product: bool = False
    """The product with W is divided, not W itself."""


def divisor_of(weight: Tensor, u: Tensor, v: Tensor, *, divides_product: bool = False) -> Divisor:
    """Computes sigma = u^T W v, in the weight's precision also under autocast.

    Args:
        weight: W, (out, ...).
        u: (out,).
        v: As many values as ``weight[0]`` has, in its usual order.
        divides_product: What will be divided by it.
    """
    matrix, order, usual = _matrix(weight)
    v = v.view(weight.shape[1:]).permute(order).contiguous()
    with no_autocast(weight):
        sigma = u.dot(matrix.mv(v.flatten()))
    return Divisor(sigma, u, v.permute(usual), divides_product)


def gradient_of_division(gradient: Tensor, weight: Tensor, divisor: Divisor) -> Tensor:
    """The gradient of W from G, that of W / sigma: (G - <G, W / sigma> u v^T) / sigma.

    Args:
        gradient: G, in the weight's order of memory; G / sigma, as automatic differentiation finds
            it, where the product was divided. It is overwritten.
        weight: W.
        divisor: Of W.

    Returns:
        The gradient's memory, with the new values.
    """
    sigma, u, v, is_divided = divisor
    overlap = _line(gradient).dot(_line(weight)) / sigma
    column = (u * overlap).view(-1, *(1,) * v.ndim)
    gradient.addcmul_(column, v, value=-1)
    return gradient if is_divided else gradient.div_(sigma)


def no_autocast(tensor: Tensor) -> AbstractContextManager[Any]:
    """Switches autocast off where a tensor lies; where it is off, that costs nothing."""
    kind = tensor.device.type
    is_on = kind != "meta" and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if is_on else nullcontext()


def memory_order(tensor: Tensor) -> list[int]:
    """The dimensions of a tensor, from the outermost in memory to the innermost."""
    return list(_orders(tensor.stride())[0])


@cache
def _orders(strides: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The order in memory of dimensions with these strides, and the order that undoes it."""
    order = sorted(range(len(strides)), key=strides.__getitem__, reverse=True)
    return tuple(order), tuple(order.index(dim) for dim in range(len(order)))


def _line(tensor: Tensor) -> Tensor:
    """All values in the order of memory, a view."""
    return tensor.permute(_orders(tensor.stride())[0]).flatten()


def _matrix(weight: Tensor) -> tuple[Tensor, tuple[int, ...], tuple[int, ...]]:
    """Views the weight as (out, everything else), in the order of memory.

    Returns:
        The matrix, the order in which it lists the dimensions of ``weight[0]``, and the order that
        undoes it.
    """
    order, usual = _orders(weight.stride()[1:])
    return weight.permute(0, *(dim + 1 for dim in order)).flatten(1), order, usual
