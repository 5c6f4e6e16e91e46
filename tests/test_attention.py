"""The attention product against the formula, on both sides of what chooses its path."""

import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from sagan.nn import SelfAttention2d, attention
from sagan.nn.attention import CHUNKED_FROM, CHUNKED_UP_TO, MAP_KEPT, attend, attention_weights
from sagan.nn.second_derivatives import differentiated_twice

WIDTHS = pytest.mark.parametrize("width", [CHUNKED_UP_TO, CHUNKED_FROM - 8, CHUNKED_FROM])
COUNT = 300
KEYS = MAP_KEPT // 4 // COUNT + 1  # a map just too large to be kept


@pytest.fixture(autouse=True, params=[70, 2 * COUNT], ids=["rows", "pictures"])
def small_chunks(request, monkeypatch):
    """Chunks of some rows of a picture, and of two whole ones; the last is smaller in both."""
    monkeypatch.setattr(attention, "CHUNK", 4 * KEYS * request.param)


def operands(width, *, keys=KEYS, dtype=torch.float64):
    sizes = ((3, COUNT, min(width, 16)), (3, keys, min(width, 16)), (3, keys, width))
    return [torch.randn(size).to(dtype).requires_grad_() for size in sizes]


def explicit(query, key, value):
    return torch.softmax(query @ key.mT, dim=2) @ value


@WIDTHS
@pytest.mark.parametrize("keys", [KEYS - 1, KEYS])
def test_equals_the_formula_with_its_gradients(width, keys):
    inputs = operands(width, keys=keys)
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
@pytest.mark.parametrize("keys", [KEYS - 1, KEYS])
def test_has_second_derivatives_where_the_kernel_is_explicit(width, keys):
    inputs = operands(width, keys=keys)
    found = []
    for product in (attend, explicit):
        with sdpa_kernel(SDPBackend.MATH):
            output = product(*inputs)
        first = torch.autograd.grad(output.square().sum(), inputs, create_graph=True)
        found.append(torch.autograd.grad(sum(g.square().sum() for g in first), inputs))
    for ours, wanted in zip(*found, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-8, atol=1e-8)


@WIDTHS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_keeps_no_map_for_the_backward_pass(width, dtype):
    inputs = operands(width, keys=COUNT, dtype=dtype)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        attend(*inputs)
    assert kept
    assert max(tensor.numel() for tensor in kept) <= 3 * COUNT * width


@WIDTHS
@pytest.mark.parametrize("keys", [KEYS - 1, KEYS])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_penalties_keep_no_map_for_the_gradient_of_the_gradient(width, keys, dtype):
    inputs = operands(width, keys=keys, dtype=dtype)
    with differentiated_twice():
        output = attend(*inputs)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        torch.autograd.grad(output.float().sum(), inputs, create_graph=True)
    assert kept
    assert max(tensor.numel() for tensor in kept) <= 3 * COUNT * width


@WIDTHS
@pytest.mark.parametrize("keys", [100, KEYS])
def test_second_derivatives_in_bfloat16_are_within_a_hundredth(width, keys):
    inputs = [t / 2 for t in operands(width, keys=keys, dtype=torch.bfloat16)]
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    gradient, found = torch.randn(3, COUNT, width).bfloat16(), []
    for given, product in ((inputs, attend), (exact, explicit)):
        with torch.autocast("cpu", torch.bfloat16, enabled=given is inputs), differentiated_twice():
            first = torch.autograd.grad(
                product(*given), given, gradient.to(given[0]), create_graph=True
            )
            penalty = sum(t.double().square().sum() for t in first)
            found.append(torch.autograd.grad(penalty, given))
    for ours, wanted in zip(*found, strict=True):
        assert (ours.double() - wanted).norm() < 1e-2 * wanted.norm()


def test_a_common_part_of_the_values_costs_small_maps_no_precision():
    query, key, value = operands(16, keys=100, dtype=torch.bfloat16)
    query, key, value = (t.detach().requires_grad_() for t in (query, key, value + 4))
    exact = [tensor.detach().double().requires_grad_() for tensor in (query, key, value)]
    gradient = torch.randn(3, COUNT, 16).bfloat16()
    found = torch.autograd.grad(attend(query, key, value), query, gradient)[0]
    wanted = torch.autograd.grad(explicit(*exact), exact[0], gradient.double())[0]
    assert (found.double() - wanted).norm() < 0.012 * wanted.norm()


@pytest.mark.parametrize("keys", [100, KEYS])
def test_has_third_derivatives(keys):
    inputs = operands(CHUNKED_FROM, keys=keys)
    found = []
    for product in (attend, explicit):
        result = product(*inputs).square().sum()
        for _ in range(2):
            firsts = torch.autograd.grad(result, inputs, create_graph=True)
            result = sum(t.square().sum() for t in firsts)
        found.append(torch.autograd.grad(result, inputs))
    for ours, wanted in zip(*found, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-8, atol=1e-8)


@WIDTHS
@pytest.mark.parametrize("keys", [100, KEYS])
def test_in_bfloat16_is_within_a_hundredth_with_its_gradients(width, keys):
    inputs = [t / 2 for t in operands(width, keys=keys, dtype=torch.bfloat16)]
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    expected = explicit(*exact)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = attend(*inputs)
        gradient = torch.randn_like(output)
        found = torch.autograd.grad(output, inputs, gradient)
    wanted = torch.autograd.grad(expected, exact, gradient.double())
    for ours, theirs in zip((output, *found), (expected, *wanted), strict=True):
        assert (ours.double() - theirs).norm() < 1e-2 * theirs.norm()


@pytest.mark.parametrize("kept", [0, MAP_KEPT])
def test_passes_the_checks_of_first_and_second_derivatives(kept, monkeypatch):
    monkeypatch.setattr(attention, "MAP_KEPT", kept)
    assert CHUNKED_UP_TO >= 3
    monkeypatch.setattr(attention, "CHUNK", 4 * 5 * 3)
    sizes = ((2, 7, 2), (2, 5, 2), (2, 5, 3))
    inputs = [torch.randn(size, dtype=torch.float64, requires_grad=True) for size in sizes]
    assert torch.autograd.gradcheck(attend, inputs)
    assert torch.autograd.gradgradcheck(attend, inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_keeps_a_small_map_once_in_the_type_of_the_value(dtype):
    query, key, value = operands(CHUNKED_FROM, keys=100, dtype=dtype)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        attend(query, key, value)
    maps = [tensor for tensor in kept if tensor.shape == (3, COUNT, 100)]
    assert [tensor.dtype for tensor in maps] == [dtype]


def test_logits_of_any_size_give_finite_weights_and_gradients():
    query, key, value = operands(CHUNKED_FROM, dtype=torch.float32)
    output = attend(1e4 * query, key, value)
    assert output.isfinite().all()
    for gradient in torch.autograd.grad(output.sum(), [query, key, value]):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("form", [{}, {"value_divisor": 8, "pooling": False}, {"pooling": False}])
@pytest.mark.parametrize("channels", [16, 24, 48])
def test_fused_kernels_get_addresses_and_rows_that_gpus_can_read(channels, form, monkeypatch):
    """GPUs read 16 bytes at once; PyTorch checks the strides, not where a view begins."""
    given = []
    fused = F.scaled_dot_product_attention
    monkeypatch.setattr(
        F, "scaled_dot_product_attention", lambda *a, **k: given.extend(a) or fused(*a, **k)
    )
    monkeypatch.setattr(attention, "MAP_KEPT", 0)
    monkeypatch.setattr(attention, "CHUNKED_UP_TO", 0)
    SelfAttention2d(channels, **form)(torch.randn(3, channels, 8, 8))
    assert len(given) == 3
    for tensor in given:
        assert tensor.data_ptr() % 16 == 0
        assert tensor.is_contiguous()


def test_weights_are_those_of_the_product():
    query, key, value = operands(CHUNKED_FROM)
    weights = attention_weights(query, key)
    torch.testing.assert_close(weights.sum(2), torch.ones(3, COUNT).double())
    torch.testing.assert_close(weights @ value, attend(query, key, value))


def test_weights_under_autocast_are_of_full_precision():
    query, key, _ = operands(CHUNKED_FROM, dtype=torch.float32)
    exact = attention_weights(query, key)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(attention_weights(query, key), exact)
