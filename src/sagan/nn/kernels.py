"""Kernels computed once for all passes between two changes of their weights.

They are kept in the precision in which they are used, cast once; their gradients gather in the
precision of the weights, and reach these when the passes are done. Large weights that need neither
a cast nor a fold are multiplied as they are, and the products divided by sigma.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sagan.nn.singular import Divisor, divisor_of, gradient_of_division
from sagan.nn.spectral import SpectralLayer


@contextmanager
def kept_kernels(network: nn.Module, autocast: torch.autocast | None = None) -> Iterator[None]:
    """Computes the kernels of a network once for all of its passes within the block.

    Gradients of the passes gather at the kernels, and reach the weights when the block ends. The
    weights must not change within it. Blocks may be nested; the outermost counts.

    Args:
        network: Of layers of :mod:`sagan.nn`; other layers stay as they are.
        autocast: Precision of the passes; None for that of the weights.
    """
    layers = _spectral_layers(network)
    if any(layer.kept_kernel is not None for layer in layers):
        yield
        return
    learns, precision = torch.is_grad_enabled(), _dtype_under(autocast)
    try:
        with torch.no_grad():
            divisors = [_keep(layer, precision, learns=learns) for layer in layers]
        yield
    finally:
        gradients = [_released(layer) for layer in layers]
    gathered = [*zip(layers, gradients, divisors, strict=True)]
    del gradients
    with torch.no_grad():
        while gathered:  # one after the other, so that no two gradients of all weights are there
            _hand_on(*gathered.pop())


def _spectral_layers(network: nn.Module) -> list[SpectralLayer]:
    return [layer for layer in network.modules() if isinstance(layer, SpectralLayer)]


def _dtype_under(autocast: torch.autocast | None) -> torch.dtype | None:
    if autocast is None:
        return None
    with autocast:
        is_on = torch.is_autocast_enabled(autocast.device)
        return torch.get_autocast_dtype(autocast.device) if is_on else None


def _keep(layer: SpectralLayer, precision: torch.dtype | None, *, learns: bool) -> Divisor | None:
    """Computes the kernel of a layer, and tells what its weight was divided by."""
    weight, norm, divisor = layer.weight, layer.spectral_norm, None
    is_cast = precision is not None and not layer.in_full_precision
    kernel: Tensor = weight
    if norm is not None:
        late = layer.divides_product and not is_cast
        divisor = divisor_of(weight, norm.u, norm.v, divides_product=late)
        kernel = weight.detach() if late else weight / divisor.sigma
        layer.kept_sigma = divisor.sigma if late else None
    kernel = layer.fold(kernel)
    if is_cast:
        kernel = kernel.to(precision)
    if learns and weight.requires_grad and kernel is not weight:
        kernel.requires_grad_().grad_dtype = weight.dtype
    layer.kept_kernel = kernel
    return divisor


def _released(layer: SpectralLayer) -> Tensor | None:
    """Lets a kernel go; what has gathered at it remains, if it was not the weight itself."""
    kernel, layer.kept_kernel, layer.kept_sigma = layer.kept_kernel, None, None
    return None if kernel is None or kernel is layer.weight else kernel.grad


def _hand_on(layer: SpectralLayer, gradient: Tensor | None, divisor: Divisor | None) -> None:
    """Makes the gradient of the kernel that of the weight, or adds it."""
    if gradient is None:
        return
    weight = layer.weight
    gradient = layer.fold_gradient(gradient)
    if gradient.stride() != weight.stride():
        gradient = torch.empty_like(weight).copy_(gradient)
    if divisor is not None:
        gradient = gradient_of_division(gradient, weight, divisor)
    weight.grad = gradient if weight.grad is None else weight.grad.add_(gradient)
