import copy
import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from sagan.config import Config
from sagan.nn import folding
from sagan.nn.convolution import UpsampleConv2d
from sagan.nn.folding import ConstantConv2d, fold
from sagan.nn.residual import make_generator


def test_folding_draws_no_weights_and_loads_no_symbolic_mathematics():
    program = """
import sys, torch
from sagan.config import Config
from sagan.nn.folding import fold
from sagan.nn.residual import Generator
generator = Generator(Config().generator, resolution=32, num_classes=0)
state = torch.get_rng_state()
fold(generator)
assert torch.equal(torch.get_rng_state(), state)
assert "sympy" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_drawing_loads_no_sources_of_pictures():
    program = "import sys, sagan.sampling.sets; assert 'sagan.data' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.fixture
def generator():
    torch.manual_seed(0)
    return make_generator(Config().generator, resolution=32, num_classes=2)


def reordered(network):
    return [
        layer
        for layer in network.modules()
        if isinstance(layer, ConstantConv2d) and layer._copies.reordered is not None
    ]


def test_a_single_picture_has_reordered_kernels_and_is_the_batchs(generator):
    folded = fold(generator)
    latents, labels = torch.randn(64, 128), torch.arange(64) % 2
    with torch.inference_mode():
        batch = folded(latents, labels)
        assert not reordered(folded)
        single = folded(latents[:1], labels[:1])
        assert reordered(folded)
        torch.testing.assert_close(single, batch[:1], rtol=0, atol=1e-6)
        torch.testing.assert_close(folded(latents, labels), batch, rtol=0, atol=0)


def test_reordered_kernels_are_made_anew_where_the_network_is_copied_or_changed(generator):
    folded = fold(generator)
    latents, labels = torch.randn(1, 128), torch.tensor([1])
    with torch.inference_mode():
        single = folded(latents, labels)
    twin = copy.deepcopy(folded)
    assert reordered(folded)
    assert not reordered(twin)
    folded.double()
    assert not reordered(folded)
    with torch.inference_mode():
        torch.testing.assert_close(twin(latents, labels), single, rtol=0, atol=0)
        exact = folded(latents.double(), labels)
    assert exact.dtype == torch.float64
    torch.testing.assert_close(single.double(), exact, rtol=0, atol=1e-6)


def test_weights_loaded_later_reach_single_pictures(generator):
    folded, other = fold(generator), copy.deepcopy(generator)
    with torch.no_grad():
        for weight in other.parameters():
            weight.mul_(1.5)
    latents, labels = torch.randn(1, 128), torch.tensor([1])
    with torch.inference_mode():
        before = folded(latents, labels)
        folded.load_state_dict(fold(other).state_dict())
        assert not torch.equal(folded(latents, labels), before)
        torch.testing.assert_close(folded(latents, labels), fold(other)(latents, labels))


def test_autocast_narrows_constant_kernels_once_and_anew_where_weights_are_loaded(generator):
    folded, other = fold(generator), copy.deepcopy(generator)
    with torch.no_grad():
        for weight in other.parameters():
            weight.mul_(1.5)
    latents, labels = torch.randn(2, 128), torch.tensor([0, 1])
    layer = next(m for m in folded.modules() if isinstance(m, ConstantConv2d))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with torch.inference_mode():
            folded(latents, labels)
        narrow = layer._copies.narrow
        assert narrow.dtype == torch.bfloat16
        picture = folded(latents.requires_grad_(), labels)
        picture.float().sum().backward()  # after a pass without gradients
        assert latents.grad.isfinite().all()
        assert layer._copies.narrow is narrow
        folded.load_state_dict(fold(other).state_dict())
        assert torch.equal(folded(latents, labels), fold(other)(latents, labels))
    assert layer._kernel(latents, layer._copies) is layer.weight


def test_no_pictures_from_no_latents(generator):
    with torch.inference_mode():
        assert fold(generator)(torch.empty(0, 128), torch.empty(0).long()).shape == (0, 3, 32, 32)


def test_gradients_flow_through_a_folded_network_to_its_latents(generator, monkeypatch):
    folded = fold(generator)
    labels = torch.tensor([0])

    def gradient():
        latents = torch.ones(1, 128).requires_grad_()
        folded(latents, labels).square().sum().backward()
        return latents.grad

    with torch.no_grad():
        folded(torch.ones(1, 128), labels)
    assert reordered(folded)
    found = gradient()
    monkeypatch.setattr(folding, "is_bound_by_kernel", lambda *_: False)
    torch.testing.assert_close(found, gradient(), rtol=0, atol=0)
    assert found.abs().max() > 0


class Leaky(UpsampleConv2d):
    def forward(self, x):
        return F.leaky_relu(super().forward(x), 0.2)


def test_what_users_add_to_layers_stays():
    x, own = torch.randn(2, 8, 8, 8), Leaky(8, 8).eval()
    torch.testing.assert_close(fold(own)(x), own(x), rtol=0, atol=1e-5)
    hooked = UpsampleConv2d(8, 8).eval()
    hooked.register_forward_hook(lambda *of: 2 * of[-1])
    torch.testing.assert_close(fold(hooked)(x), hooked(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("narrow", [False, True])
def test_kernels_that_are_changed_in_place_are_copied_again(generator, narrow):
    folded, labels = fold(generator), torch.tensor([1])
    latents = torch.randn(1, 128)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=narrow):
        before = folded(latents, labels)
        for layer in folded.modules():
            if isinstance(layer, ConstantConv2d):
                layer.weight.mul_(1.5)
        after = folded(latents, labels)
        whole = folded(latents.expand(8, -1), labels.expand(8))[:1]
    assert (after - before).abs().max() > 0.1
    torch.testing.assert_close(after, whole, rtol=0, atol=0.1 if narrow else 1e-4)


def test_gradients_by_folded_weights_are_those_of_plain_convolutions(generator):
    folded, inputs = fold(generator), (torch.randn(1, 128), torch.tensor([1]))
    weights = {name: tensor.clone() for name, tensor in folded.named_parameters()}

    def mean(weights):
        return torch.func.functional_call(folded, weights, inputs).mean()

    slopes = torch.func.grad(mean)(weights)
    assert all(slope.isfinite().all() for slope in slopes.values())
    with torch.inference_mode():
        of_inference = fold(generator)
        before = of_inference(*inputs)
        for layer in of_inference.modules():
            if isinstance(layer, ConstantConv2d):
                layer.weight.mul_(1.5)
        after = of_inference(*inputs)
        whole = of_inference(inputs[0].expand(8, -1), inputs[1].expand(8))[:1]
    assert (after - before).abs().max() > 0.1
    torch.testing.assert_close(after, whole, rtol=0, atol=1e-4)
