"""Halving and doubling of maps: what GPUs compute is what PyTorch's operators give."""

import pytest
import torch
from torch.nn import functional as F

from sagan.config import Upsampling
from sagan.nn import resizing
from sagan.nn.resizing import double_sized, half_sized, plus_double_sized


@pytest.fixture
def as_on_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resizing, "_is_simple", lambda _: False)


def maps(size: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    x = torch.randn(2, 3, size, 2 * size, dtype=dtype)
    return x.contiguous(memory_format=torch.channels_last).requires_grad_()


@pytest.mark.usefixtures("as_on_gpus")
def test_halving_is_average_pooling_with_its_gradients():
    x = maps(6)
    assert torch.equal(half_sized(x), F.avg_pool2d(x, 2))
    assert half_sized(x).is_contiguous(memory_format=torch.channels_last)
    slope = torch.randn(2, 3, 3, 6, dtype=x.dtype)
    found, wanted = (torch.autograd.grad(f(x), x, slope)[0] for f in (half_sized, pooled))
    assert torch.equal(found, wanted)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.autograd.gradgradcheck(half_sized, (x,))


def pooled(x: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(x, 2)


@pytest.mark.usefixtures("as_on_gpus")
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_sum_with_a_doubled_map_has_its_gradients(dtype: torch.dtype):
    h, x = maps(6, dtype), maps(3, dtype)
    found, wanted = plus_double_sized(h, x), h + F.interpolate(x, scale_factor=2)
    assert torch.equal(found, wanted)
    assert found.is_contiguous(memory_format=torch.channels_last)
    slope = torch.randn_like(found)
    for one, other in zip(
        torch.autograd.grad(found, (h, x), slope),
        torch.autograd.grad(wanted, (h, x), slope),
        strict=True,
    ):
        torch.testing.assert_close(one, other)
    if dtype is torch.float64:
        assert torch.autograd.gradgradcheck(plus_double_sized, (h, x))


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_doubling_keeps_the_type_under_autocast(mode: Upsampling):
    x = maps(3, torch.bfloat16).detach()
    with torch.autocast("cpu", torch.bfloat16):
        assert double_sized(x, mode).dtype == torch.bfloat16
        assert plus_double_sized(double_sized(x, mode), x, mode).dtype == torch.bfloat16


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize("is_simple", [False, True])
def test_memory_is_taken_over_only_where_no_gradient_wants_it(
    learns: bool, is_simple: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(resizing, "_is_simple", lambda _: is_simple)
    h, x = maps(6).detach(), maps(3).detach()
    before = h.clone()
    with torch.set_grad_enabled(learns):
        found = plus_double_sized(h, x)
    assert (found.data_ptr() == h.data_ptr()) is not learns
    assert torch.equal(h, before) is learns
    assert torch.equal(found, before + F.interpolate(x, scale_factor=2))
