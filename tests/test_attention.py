"""The attention product against the formula, on both sides of the width that chooses its path."""

import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from sagan.nn import SelfAttention2d
from sagan.nn.attention import CHUNK, CHUNKED_FROM, attend, attention_weights

WIDTHS = pytest.mark.parametrize("width", [CHUNKED_FROM - 8, CHUNKED_FROM])
COUNT = CHUNK + 44  # the last chunk is smaller


def operands(width, *, keys=100, dtype=torch.float64):
    sizes = ((2, COUNT, 16), (2, keys, 16), (2, keys, width))
    return [torch.randn(size).to(dtype).requires_grad_() for size in sizes]


def explicit(query, key, value):
    return torch.softmax(query @ key.mT, dim=2) @ value


@WIDTHS
def test_equals_the_formula_with_its_gradients(width):
    inputs = operands(width)
    output, expected = attend(*inputs), explicit(*inputs)
    torch.testing.assert_close(output, expected, rtol=1e-10, atol=1e-10)
    gradient = torch.randn_like(output)
    for found, wanted in zip(
        torch.autograd.grad(output, inputs, gradient),
        torch.autograd.grad(expected, inputs, gradient),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-10)


@WIDTHS
def test_has_second_derivatives_where_the_kernel_is_explicit(width):
    inputs = operands(width)
    found = []
    for product in (attend, explicit):
        with sdpa_kernel(SDPBackend.MATH):
            output = product(*inputs)
        first = torch.autograd.grad(output.square().sum(), inputs, create_graph=True)
        found.append(torch.autograd.grad(sum(g.square().sum() for g in first), inputs))
    for ours, wanted in zip(*found, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-8, atol=1e-8)


@WIDTHS
def test_keeps_no_map_for_the_backward_pass(width):
    inputs = operands(width, keys=COUNT, dtype=torch.float32)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        attend(*inputs)
    assert kept
    assert max(tensor.numel() for tensor in kept) <= 2 * COUNT * width


@WIDTHS
def test_in_bfloat16_is_within_a_hundredth(width):
    inputs = operands(width, dtype=torch.bfloat16)
    expected = explicit(*(tensor.double() for tensor in inputs))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        error = attend(*inputs).double() - expected
    assert error.norm() < 1e-2 * expected.norm()


@pytest.mark.parametrize("form", [{}, {"value_divisor": 8, "pooling": False}, {"pooling": False}])
@pytest.mark.parametrize("channels", [16, 24, 48])
def test_fused_kernels_get_addresses_and_rows_that_gpus_can_read(channels, form, monkeypatch):
    """GPUs read 16 bytes at once; PyTorch checks the strides, not where a view begins."""
    given = []
    fused = F.scaled_dot_product_attention
    monkeypatch.setattr(
        F, "scaled_dot_product_attention", lambda *a, **k: given.extend(a) or fused(*a, **k)
    )
    SelfAttention2d(channels, **form)(torch.randn(3, channels, 8, 8))
    assert len(given) == 3
    for tensor in given:
        assert tensor.data_ptr() % 16 == 0
        assert tensor.is_contiguous()


def test_weights_are_those_of_the_product():
    query, key, value = operands(CHUNKED_FROM)
    weights = attention_weights(query, key)
    torch.testing.assert_close(weights.sum(2), torch.ones(2, COUNT).double())
    torch.testing.assert_close(weights @ value, attend(query, key, value))


def test_weights_under_autocast_are_of_full_precision():
    query, key, _ = operands(CHUNKED_FROM, dtype=torch.float32)
    exact = attention_weights(query, key)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(attention_weights(query, key), exact)
