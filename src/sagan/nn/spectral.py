"""Spectral normalisation: weights divided by their largest singular value.

A forward pass reads the singular vectors and changes nothing, so that sampling, logging and
evaluation leave training untouched. Training moves the vectors on purpose, by one power iteration
of every layer before each update of the discriminator and before each pass of the generator, or
once a step (:func:`advance`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class SpectralNorm(nn.Module):
    """Maps a weight W to W / sigma with sigma = u^T W v, W seen as (out, everything else).

    Gradients flow through W alone; u and v are constants of the pass. The released code lets them
    flow through the power iteration as well, which is the same once u and v have converged.

    Source: Miyato et al. 2018, equations 17 and 18; released code ``ops.py``,
    ``spectral_normed_weight``.

    Args:
        weight: The weight to begin with; u and v start at its leading singular vectors.
        eps: Lower bound of the norms in the power iteration.
    """

    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor, eps: float = 1e-12) -> None:
        super().__init__()
        self.eps = eps
        rows, columns = weight.flatten(1).shape
        for name, size in (("u", rows), ("v", columns)):
            vector = torch.randn(size, dtype=weight.dtype, device=weight.device)
            self.register_buffer(name, F.normalize(vector, dim=0, eps=eps))
        self.advance(weight, iterations=15)

    @torch.no_grad()
    def advance(self, weight: Tensor, iterations: int = 1) -> None:
        """Moves u and v towards the leading singular vectors of ``weight``, in place."""
        matrix, order = _matrix(weight)
        stored = self.v.view(weight.shape[1:]).permute(order)
        v = stored.flatten().clone()
        for _ in range(iterations):
            F.normalize(matrix.mT.mv(self.u), dim=0, eps=self.eps, out=v)
            F.normalize(matrix.mv(v), dim=0, eps=self.eps, out=self.u)
        stored.copy_(v.view_as(stored))

    def forward(self, weight: Tensor) -> Tensor:
        """Returns ``weight`` / sigma, of the same shape, in float32 also under autocast."""
        return _DivideBySigma.apply(weight, self.u, self.v)


class _DivideBySigma(torch.autograd.Function):
    """W / sigma with its gradient written out: (G - <G, W / sigma> u v^T) / sigma.

    The same as automatic differentiation finds, in a third of its time. The gradient cannot itself
    be differentiated by W; penalties on gradients differentiate by pictures first.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, u: Tensor, v: Tensor) -> Tensor:
        matrix, order = _matrix(weight)
        v = v.view(weight.shape[1:]).permute(order).flatten()
        with torch.autocast(weight.device.type, enabled=False):
            sigma = u.dot(matrix.mv(v))
        normalized = weight / sigma
        ctx.save_for_backward(normalized, sigma, u, v)
        return normalized

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor, None, None]:
        normalized, sigma, u, v = ctx.saved_tensors
        if gradient.stride() != normalized.stride():
            gradient = torch.empty_like(normalized).copy_(gradient)
        matrix, order = _matrix(gradient)
        overlap = _line(gradient).dot(_line(normalized))
        correction = torch.addr(matrix, u * overlap, v, alpha=-1).div_(sigma)
        back = [(0, *(dim + 1 for dim in order)).index(dim) for dim in range(gradient.ndim)]
        sizes = [gradient.shape[dim + 1] for dim in order]
        return correction.unflatten(1, sizes).permute(back), None, None


def memory_order(tensor: Tensor) -> list[int]:
    """The dimensions of a tensor, from the outermost in memory to the innermost."""
    return sorted(range(tensor.ndim), key=tensor.stride, reverse=True)


def _line(tensor: Tensor) -> Tensor:
    """All values in the order of memory, a view."""
    return tensor.permute(memory_order(tensor)).flatten()


def _matrix(weight: Tensor) -> tuple[Tensor, list[int]]:
    """The weight as (out, everything else), a view in the order of memory.

    Returns:
        The matrix, and the order in which it lists the dimensions of ``weight[0]``.
    """
    order = memory_order(weight[0])
    return weight.permute(0, *(dim + 1 for dim in order)).flatten(1), order


class SpectralLayer(nn.Module):
    """Base of all layers whose weight may be spectrally normalised.

    Args:
        shape: Of the weight.
        memory_order: Its dimensions from the outermost in memory to the innermost; fewer copies
            are made where that is the order in which the layer's product reads them.

    Attributes:
        weight: The parameter, (out, ...).
        spectral_norm: None until :func:`attach` puts one there.
        kept_kernel: None but within :func:`kept_kernels`.
        kernel_place: None unless :func:`reserve_kernels` has put memory there.
    """

    weight: nn.Parameter
    spectral_norm: SpectralNorm | None
    kept_kernel: Tensor | None
    kernel_place: Tensor | None

    def __init__(self, *shape: int, memory_order: Sequence[int] | None = None) -> None:
        super().__init__()
        order = range(len(shape)) if memory_order is None else memory_order
        self.weight = nn.Parameter(torch.empty_permuted(shape, tuple(order)))
        self.spectral_norm = None
        self.kept_kernel = None
        self.kernel_place = None

    @property
    def normalized_weight(self) -> Tensor:
        """The weight over sigma, or as it is."""
        return self.weight if self.spectral_norm is None else self.spectral_norm(self.weight)

    def fold(self, weight: Tensor) -> Tensor:
        """Turns a normalised weight into the kernel of the layer's product; by default itself."""
        return weight

    @property
    def kernel(self) -> Tensor:
        """What the layer multiplies with: the weight, normalised and folded."""
        return self.fold(self.normalized_weight) if self.kept_kernel is None else self.kept_kernel


def spectral_norms(network: nn.Module) -> Iterator[tuple[SpectralNorm, Tensor]]:
    """Every spectral norm of a network with the weight that it divides."""
    for layer in network.modules():
        if isinstance(layer, SpectralLayer) and layer.spectral_norm is not None:
            yield layer.spectral_norm, layer.weight


def attach(network: nn.Module, eps: float) -> None:
    """Normalises every :class:`SpectralLayer` of a network whose weights are initialised."""
    for layer in network.modules():
        if isinstance(layer, SpectralLayer):
            layer.spectral_norm = SpectralNorm(layer.weight, eps)


def advance(network: nn.Module, iterations: int = 1) -> None:
    """Runs power iterations for all layers of a network, in place, without gradients."""
    for norm, weight in spectral_norms(network):
        norm.advance(weight, iterations)


def reserve_kernels(network: nn.Module) -> None:
    """Has :func:`kept_kernels` put kernels into the same memory every time, as CUDA graphs want."""
    for layer in network.modules():
        if isinstance(layer, SpectralLayer):
            layer.kernel_place = torch.empty_like(layer.kernel.detach())


@contextmanager
def kept_kernels(network: nn.Module) -> Iterator[None]:
    """Computes the kernels of a network once for all of its passes within the block.

    Gradients of the passes gather at the kernels, and reach the weights when the block ends. The
    weights must not change within it. Blocks may be nested; the outermost counts.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, SpectralLayer)]
    if any(layer.kept_kernel is not None for layer in layers):
        yield
        return
    kernels = [layer.kernel for layer in layers]
    leaves = [
        _leaf(kernel, layer.kernel_place) for kernel, layer in zip(kernels, layers, strict=True)
    ]
    for layer, leaf in zip(layers, leaves, strict=True):
        layer.kept_kernel = leaf
    try:
        yield
    finally:
        for layer in layers:
            layer.kept_kernel = None
    reached = [
        (k, leaf.grad) for k, leaf in zip(kernels, leaves, strict=True) if leaf.grad is not None
    ]
    if reached:
        torch.autograd.backward([kernel for kernel, _ in reached], [grad for _, grad in reached])


def _leaf(kernel: Tensor, place: Tensor | None) -> Tensor:
    """The kernel as a tensor at which gradients gather, in a place if there is one."""
    values = kernel.detach()
    if place is not None:
        values = place.copy_(values).detach()
    return values.requires_grad_(kernel.requires_grad)
