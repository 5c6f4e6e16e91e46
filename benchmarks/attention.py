"""Section attention: the layer alone, forwards and backwards, in time and memory."""

from __future__ import annotations

from functools import partial
from itertools import product

import torch
from torch import Tensor, nn

from benchmarks.harness import Call, Precision, Side, Suite
from benchmarks.naive import reference
from benchmarks.options import Options
from sagan.nn import spectral
from sagan.nn.layers import SelfAttention2d
from sagan.system.memory import memory_of

MAPS = (32, 64, 128)
CHANNELS = (64, 256)
POSITIONS = 128 * 128
"""As many pictures as have so many positions together, on a CPU."""
CUDA_POSITIONS = 16 * POSITIONS
PLAIN_MAPS = 4
"""Attention maps that the plain layer holds at once: scores, weights and a gradient of each."""


def attention(suite: Suite, options: Options) -> None:
    """Ours and the plain layer on the same feature maps, each in its networks' memory format.

    Singular vectors stand still in both.
    """
    positions = CUDA_POSITIONS if options.device.type == "cuda" else POSITIONS
    for precision, channels, side in product(options.precisions, CHANNELS, MAPS):
        count = positions // side**2
        subject = f"{side} x {side}, C = {channels}, batch {count}"
        dtype = getattr(torch, precision)
        x = torch.randn(count, channels, side, side, device=options.device, dtype=dtype)
        autocast = options.autocast(precision)
        columns = x.contiguous(memory_format=torch.channels_last)
        ours = partial(forward_and_backward, _ours(channels, options.device), columns, autocast)
        sides = [_side("ours", ours, x, precision, kernels_of(ours))]
        needed = PLAIN_MAPS * count * side**4 // 4 * x.element_size()
        memory = memory_of(options.device)
        if memory is None or needed < memory.available:
            layer = _plain(channels, options.device)
            naive = partial(forward_and_backward, layer, x, autocast)
            sides.append(_side("naive", naive, x, precision, "bmm, softmax, bmm"))
        else:
            suite.skip("attention", subject, "naive", f"it needs {needed / 1e9:.1f} GB")
        suite.compare("attention", subject, sides)


def forward_and_backward(layer: nn.Module, x: Tensor, autocast: torch.autocast) -> None:
    """Output and the gradients of the input and all weights."""
    x = x.detach().requires_grad_()
    with autocast:
        y = layer(x)
    torch.autograd.grad(y, [x, *layer.parameters()], torch.ones_like(y))


def kernels_of(call: Call) -> str:
    """The fused kernels that ran in a call, by the profiler's names; without one, chunks."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    call()
    with torch.profiler.profile(activities=activities, acc_events=True) as profile:
        call()
    names = [event.key for event in profile.key_averages()]
    operators = {
        name.removeprefix("aten::_scaled_dot_product_")
        for name in names
        if name.startswith("aten::_scaled_dot_product_") and "backward" not in name
    }
    kernels = {
        name.partition("<")[0].partition("(")[0].removeprefix("void ")
        for name in names
        if ("fmha" in name or "flash_fwd" in name or "sdpa" in name) and "::_" not in name
    }
    return ", ".join(sorted(operators) + sorted(kernels)) or "chunks: bmm, softmax, bmm"


def _side(name: str, call: Call, x: Tensor, precision: Precision, note: str) -> Side:
    return Side(name=name, call=call, images=len(x), precision=precision, note=note)


def _ours(channels: int, device: torch.device) -> nn.Module:
    layer = SelfAttention2d(channels)
    spectral.attach(layer, 1e-12)
    return layer.to(device)


def _plain(channels: int, device: torch.device) -> nn.Module:
    layer = reference.SelfAttention(channels).to(device)
    reference.freeze_singular_vectors(layer)
    return layer
