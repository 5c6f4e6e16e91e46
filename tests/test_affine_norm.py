import pytest
import torch
from torch.nn import functional as F

from sagan.nn.affine_norm import normalized_affine, scaled_and_shifted
from sagan.nn.batch_norm import ConditionalBatchNorm2d


def plain(x, scale, shift, running=(None, None), momentum=0.1, eps=1e-5):
    y = F.batch_norm(x, *running, training=True, momentum=momentum, eps=eps)
    return scaled_and_shifted(y, scale, shift)


def joined(x, scale, shift, running=None, momentum=0.1, eps=1e-5):
    running = running or (x.new_zeros(x.shape[1]), x.new_ones(x.shape[1]))
    return normalized_affine(x, running, scale, shift, momentum=momentum, eps=eps)


@pytest.fixture(params=[1, 4], ids=["one row", "a row each"])
def inputs(request):
    torch.manual_seed(0)
    x = (3 + 2 * torch.randn(4, 6, 5, 3)).double().contiguous(memory_format=torch.channels_last)
    rows = torch.randn(2, request.param, 6).double()
    return [tensor.requires_grad_() for tensor in (x, *rows.unbind())]


def test_values_gradients_and_running_statistics_are_those_of_both_apart(inputs):
    probe = torch.randn_like(inputs[0])
    found = []
    for function in (plain, joined):
        running = (torch.zeros(6).double(), torch.ones(6).double())
        out = function(*inputs, running)
        found.append((out, *torch.autograd.grad(out, inputs, probe), *running))
    torch.testing.assert_close(found[1], found[0], rtol=1e-12, atol=1e-12)


def test_second_derivatives_are_those_of_both_apart(inputs):
    found = []
    for function in (plain, joined):
        (slope,) = torch.autograd.grad(
            function(*inputs).square().sum(), inputs[0], create_graph=True
        )
        found.append(torch.autograd.grad(slope.square().sum(), inputs))
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-9)


def test_frozen_rows_get_no_gradient(inputs):
    inputs[1].requires_grad_(False)
    for create_graph in (False, True):
        out = joined(*inputs).sum()
        torch.autograd.grad(out, [inputs[0], inputs[2]], create_graph=create_graph)


def test_in_bfloat16_gradients_are_no_further_from_the_truth_than_those_of_both_apart():
    torch.manual_seed(0)
    x, probe = torch.randn(8, 16, 8, 8), torch.randn(8, 16, 8, 8)
    scale, shift = torch.randn(2, 8, 16).unbind()

    def gradients(function, dtype):
        given = [x.to(dtype), scale.clone(), shift.clone()]
        for tensor in given:
            tensor.requires_grad_()
        running = (torch.zeros(16), torch.ones(16))
        out = function(*given, running)
        return [g.double() for g in torch.autograd.grad(out, given, probe.to(out.dtype))]

    truth = gradients(plain, torch.float32)
    errors = [
        [
            (g - t).norm() / t.norm()
            for g, t in zip(gradients(f, torch.bfloat16), truth, strict=True)
        ]
        for f in (joined, plain)
    ]
    for ours, theirs in zip(*errors, strict=True):
        assert ours <= 1.1 * theirs < 0.02


def test_one_map_is_kept_for_the_gradient():
    layer = ConditionalBatchNorm2d(6, 3)
    x = torch.randn(4, 6, 8, 8, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        layer(x, torch.tensor([0, 1, 2, 2]))
    assert [t.data_ptr() for t in kept if t.shape == x.shape] == [x.data_ptr()]


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("rows", [1, 4])
def test_maps_of_few_channels_in_bfloat16_are_computed_alike(memory_format, rows):
    """Without gradients lines of pixels are taken together."""
    x = torch.randn(4, 16, 6, 5).bfloat16().contiguous(memory_format=memory_format)
    scale, shift = torch.randn(2, rows, 16).unbind()
    expected = scaled_and_shifted(x, scale, shift)
    with torch.no_grad():
        found = scaled_and_shifted(x, scale, shift)
    assert torch.equal(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)
