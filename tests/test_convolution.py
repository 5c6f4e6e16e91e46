import shutil

import pytest
import torch
from torch.nn import functional as F

from sagan.nn import UpsampleConv2d, convolution
from sagan.nn.convolution import ReorderedKernel, conv2d, conv_transpose2d, is_bound_by_kernel

PLAIN = torch.channels_last


def drawn(*shape):
    return torch.randn(shape).double().contiguous(memory_format=PLAIN).requires_grad_()


def cases():
    x, bias = drawn(2, 6, 4, 8), torch.randn(5).double().requires_grad_()
    return {
        "3x3": (conv2d, {}, F.conv2d, {"padding": 1}, x, drawn(5, 6, 3, 3), bias),
        "4x4": (conv2d, {"stride": 2}, F.conv2d, STRIDED, x, drawn(5, 6, 4, 4), bias),
        "transposed": (
            conv_transpose2d,
            {},
            F.conv_transpose2d,
            STRIDED,
            x,
            drawn(6, 5, 4, 4),
            bias,
        ),
    }


STRIDED = {"stride": 2, "padding": 1}


@pytest.mark.parametrize("case", ["3x3", "4x4", "transposed"])
@pytest.mark.parametrize("as_product", [False, True])
def test_are_pytorch_s_convolutions_with_their_first_and_second_derivatives(
    case, as_product, monkeypatch
):
    monkeypatch.setattr(convolution, "_as_product", lambda *_: as_product)
    ours, our_settings, theirs, their_settings, x, kernel, bias = cases()[case]
    found, expected = (
        ours(x, kernel, bias, **our_settings),
        theirs(x, kernel, bias, **their_settings),
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert found.is_contiguous(memory_format=torch.channels_last)
    gradients = []
    for result in (found, expected):
        first = torch.autograd.grad(result.square().sum(), (x, kernel, bias), create_graph=True)
        second = torch.autograd.grad(first[0].square().sum(), (x, kernel, bias))
        gradients += [(*first, *second)]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-9)


def test_a_summed_gradient_of_the_bias_changes_no_bit_of_the_image():
    x, kernel, bias = torch.randn(2, 6, 4, 8), torch.randn(6, 5, 4, 4), torch.randn(5)
    expected = F.conv_transpose2d(x, kernel, bias, **STRIDED)
    learning = conv_transpose2d(x, kernel, bias.requires_grad_())
    assert torch.equal(learning, expected)
    assert learning.grad_fn.name().startswith("_SummedGradient")
    with torch.no_grad():
        assert torch.equal(conv_transpose2d(x, kernel, bias), expected)


def test_functional_gradients_go_through_a_learning_transposed_convolution():
    layer, x = UpsampleConv2d(6, 5), torch.randn(2, 6, 4, 8)
    weights = dict(layer.named_parameters())

    def loss(weights):
        return torch.func.functional_call(layer, weights, (x,)).square().sum()

    found = torch.func.grad(loss)({name: weight.detach() for name, weight in weights.items()})
    wanted = torch.autograd.grad(loss(weights), list(weights.values()))
    for ours, theirs in zip(found.values(), wanted, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_learning_transposed_convolution_is_traced_without_a_function_of_python():
    layer = UpsampleConv2d(6, 5)
    with pytest.warns(DeprecationWarning, match="trace"):
        graph = torch.jit.trace(layer, torch.ones(2, 6, 4, 8)).inlined_graph
    assert "conv" in str(graph)
    assert "SummedGradient" not in str(graph)


def test_products_are_taken_over_small_maps_under_autocast_alone(monkeypatch):
    taken = []
    monkeypatch.setattr(
        convolution.F, "linear", lambda *_: taken.append(1) or torch.zeros(1, 2, 2, 64)
    )
    kernel = torch.randn(64, 64, 3, 3)

    def is_product(count, enabled, kernel=kernel, **settings):
        taken.clear()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            conv2d(torch.randn(count, 64, 4, 4), kernel, None, **settings)
        return bool(taken)

    assert is_product(2, True)
    assert not is_product(3, True)  # 48 positions for 64 channels
    assert is_product(8, True, torch.randn(64, 64, 4, 4), stride=2)
    assert not is_product(2, False)
    assert not is_product(2, True, torch.randn(64, 64, 1, 1))


def constant_cases():
    return {
        "3x3": (conv2d, {}, torch.randn(64, 48, 3, 3)),
        "4x4": (conv2d, {"stride": 2}, torch.randn(64, 48, 4, 4)),
        "transposed": (conv_transpose2d, {}, torch.randn(48, 64, 4, 4)),
    }


@pytest.mark.parametrize("case", ["3x3", "4x4", "transposed"])
@pytest.mark.parametrize("bias", [None, torch.randn(64)], ids=["plain", "bias"])
def test_a_reordered_kernel_gives_the_same_for_any_batch(case, bias):
    plain, settings, kernel = constant_cases()[case]
    kernel = kernel.contiguous(memory_format=torch.channels_last)
    expected = torch.Size((1, 48, 4, 4))
    convolve = ReorderedKernel(kernel, expected, transposed=case == "transposed")
    for shape in (expected, (3, 48, 4, 4), (2, 48, 8, 6)):
        x = torch.randn(shape).contiguous(memory_format=torch.channels_last)
        found = convolve(x, bias)
        torch.testing.assert_close(found, plain(x, kernel, bias, **settings), rtol=0, atol=1e-4)
        assert found.is_contiguous(memory_format=torch.channels_last)


def test_kernels_are_reordered_for_small_maps_without_gradients_in_float32_alone():
    kernel, small = torch.randn(64, 64, 3, 3), torch.randn(3, 64, 4, 4)
    assert is_bound_by_kernel(small, kernel)
    assert not is_bound_by_kernel(torch.randn(4, 64, 4, 4), kernel)  # 64 positions, 64 channels
    assert not is_bound_by_kernel(small.double(), kernel.double())
    assert not is_bound_by_kernel(small.requires_grad_(), kernel)
    with torch.no_grad():
        assert is_bound_by_kernel(small, kernel)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        assert not is_bound_by_kernel(small, kernel)


def test_neither_remedy_is_taken_while_a_graph_is_recorded():
    """Both depend on the batch and the processor; a graph is for any."""
    kernel, x = torch.randn(64, 64, 3, 3), torch.randn(2, 64, 4, 4)
    chosen = []

    class Layer(torch.nn.Module):
        def forward(self, x):
            chosen.append(is_bound_by_kernel(x, kernel))
            with torch.autocast("cpu", dtype=torch.bfloat16):
                chosen.append(convolution._as_product(x, kernel, 32))
            return conv2d(x, kernel, None)

    with torch.no_grad():
        layer = Layer()
        layer(x)
        assert chosen == [True, True]
        chosen.clear()
        with pytest.warns(DeprecationWarning, match="torch.jit.trace"):
            traced = torch.jit.trace(layer, x, check_trace=False)
        exported = torch.export.export(layer, (x,), dynamic_shapes=({0: torch.export.Dim("n")},))
        assert chosen
        assert not any(chosen)
        larger = torch.randn(5, 64, 4, 4)
        for graph in (traced, exported.module()):
            torch.testing.assert_close(graph(larger), layer(larger), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch in torch
@pytest.mark.parametrize("case", ["3x3", "4x4", "transposed"])
def test_compiled_products_have_the_same_values_and_gradients(case, monkeypatch):
    monkeypatch.setattr(convolution, "_as_product", lambda *_: True)
    convolve, settings, _, _, x, kernel, bias = cases()[case]
    found = []
    for function in (convolve, torch.compile(convolve)):
        y = function(x, kernel, bias, **settings)
        found.append((y, *torch.autograd.grad(y.square().sum(), (x, kernel, bias))))
    for plain, compiled in zip(*found, strict=True):
        torch.testing.assert_close(compiled, plain, rtol=0, atol=1e-10)
