"""Kernels computed once for all passes between two changes of their weights.

They are kept in the precision in which they are used, cast once; their gradients go on to the
weights layer by layer, as soon as a backward pass has found them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from sagan.nn.spectral import SpectralLayer, divided_by_sigma, gradient_of_division


@torch.no_grad()
def reserve_kernels(network: nn.Module, autocast: torch.autocast | None = None) -> None:
    """Has :func:`kept_kernels` put kernels into the same memory every time, as CUDA graphs want."""
    for layer in _layers(network):
        layer.kernel_place = layer.kernel.to(_precision(layer, autocast), copy=True)


@contextmanager
def kept_kernels(network: nn.Module, autocast: torch.autocast | None = None) -> Iterator[None]:
    """Computes the kernels of a network once for all of its passes within the block.

    The weights must not change within it. Blocks may be nested; the outermost counts.

    Args:
        network: Of layers of :mod:`sagan.nn`; other layers stay as they are.
        autocast: Precision of the passes; None for that of the weights.
    """
    layers = _layers(network)
    if any(layer.kept_kernel is not None for layer in layers):
        yield
        return
    for layer in layers:
        layer.kept_kernel = _kept(layer, _precision(layer, autocast))
    try:
        yield
    finally:
        for layer in layers:
            layer.kept_kernel = None


def _layers(network: nn.Module) -> list[SpectralLayer]:
    return [layer for layer in network.modules() if isinstance(layer, SpectralLayer)]


def _precision(layer: SpectralLayer, autocast: torch.autocast | None) -> torch.dtype:
    device = layer.weight.device.type
    with autocast or nullcontext():
        if layer.in_full_precision or not torch.is_autocast_enabled(device):
            return layer.weight.dtype
        return torch.get_autocast_dtype(device)


def _kept(layer: SpectralLayer, dtype: torch.dtype) -> Tensor:
    """The kernel, at which gradients arrive that are handed on to the weight."""
    weight, norm, divisor = layer.weight, layer.spectral_norm, None
    with torch.no_grad():
        normalized = weight
        if norm is not None:
            normalized, sigma, v = divided_by_sigma(weight, norm.u, norm.v)
            divisor = sigma, norm.u, v
        kernel = layer.fold(normalized).to(dtype)
        if layer.kernel_place is not None:
            kernel = layer.kernel_place.copy_(kernel).detach()
    if kernel is not weight and weight.requires_grad and torch.is_grad_enabled():
        kernel.requires_grad_().register_post_accumulate_grad_hook(_handing_on(layer, divisor))
    return kernel


def _handing_on(
    layer: SpectralLayer, divisor: tuple[Tensor, Tensor, Tensor] | None
) -> Callable[[Tensor], None]:
    """What a kernel does with a gradient: it becomes, or is added to, that of the weight."""

    @torch.no_grad()
    def hand_on(kernel: Tensor) -> None:
        weight, gradient, kernel.grad = layer.weight, kernel.grad, None
        assert gradient is not None
        gradient = layer.fold_gradient(gradient.to(weight.dtype))
        if gradient.stride() != weight.stride():
            gradient = torch.empty_like(weight).copy_(gradient)
        if divisor is not None:
            gradient = gradient_of_division(gradient, weight, *divisor)
        weight.grad = gradient if weight.grad is None else weight.grad.add_(gradient)

    return hand_on
