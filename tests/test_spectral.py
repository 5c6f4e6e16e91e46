import pytest
import torch

from sagan.nn import spectral
from sagan.nn.layers import Conv2d, Embedding, Linear


def sigma(weight):
    return torch.linalg.matrix_norm(weight.detach().flatten(1), 2).item()


@pytest.fixture(params=["linear", "conv", "embedding"])
def layer(request):
    layer = {
        "linear": lambda: Linear(20, 30),
        "conv": lambda: Conv2d(6, 8, 3),
        "embedding": lambda: Embedding(12, 16),
    }[request.param]()
    torch.nn.init.normal_(layer.weight)
    layer.double()
    spectral.attach(layer, 1e-12)
    return layer


def test_largest_singular_value_becomes_one(layer):
    spectral.advance(layer, 300)
    assert sigma(layer.normalized_weight) == pytest.approx(1, abs=1e-9)


def test_follows_a_weight_that_changes(layer):
    spectral.advance(layer, 300)
    torch.nn.init.normal_(layer.weight, std=7)
    assert sigma(layer.normalized_weight) > 1.05
    spectral.advance(layer, 300)
    assert sigma(layer.normalized_weight) == pytest.approx(1, abs=1e-9)


def test_forward_changes_nothing(layer):
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    layer.train()
    layer.normalized_weight.sum().backward()
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_gradient_is_that_of_weight_over_sigma(layer):
    normalize = layer.spectral_norm
    spectral.advance(layer, 3000)
    weight = layer.weight.detach().clone().requires_grad_()
    probe = torch.randn_like(weight)
    (expected,) = torch.autograd.grad(
        (weight / torch.linalg.matrix_norm(weight.flatten(1), 2)), weight, probe
    )
    (found,) = torch.autograd.grad(normalize(layer.weight), layer.weight, probe)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)


def test_gradient_is_that_of_finite_differences():
    layer = Conv2d(2, 3, 3).double()
    torch.nn.init.normal_(layer.weight)
    spectral.attach(layer, 1e-12)
    assert torch.autograd.gradcheck(layer.spectral_norm, layer.weight, check_undefined_grad=False)


def test_kept_kernels_lie_in_the_same_place_every_time_once_it_is_reserved():
    layer = Conv2d(4, 6, 3)
    torch.nn.init.normal_(layer.weight)
    spectral.attach(layer, 1e-12)
    x = torch.randn(1, 4, 5, 5)

    def kept():
        layer.weight.grad = None
        with spectral.kept_kernels(layer):
            layer(x).square().sum().backward()
            return layer.kernel.data_ptr(), layer.kernel.detach().clone()

    _, plain = kept()
    expected = layer.weight.grad
    spectral.reserve_kernels(layer)
    places = set()
    for _ in range(2):
        place, kernel = kept()
        places.add(place)
        assert torch.equal(kernel, plain)
        assert torch.equal(layer.weight.grad, expected)
    assert places == {layer.kernel_place.data_ptr()}
    assert not layer.kernel_place.requires_grad


def test_scale_of_the_weight_does_not_matter(layer):
    before = layer.normalized_weight.detach().clone()
    layer.weight.data *= 5
    torch.testing.assert_close(layer.normalized_weight, before)


def test_equals_torch_for_the_same_vectors():
    ours = Conv2d(4, 8, 3)
    torch.nn.init.normal_(ours.weight)
    theirs = torch.nn.Conv2d(4, 8, 3)
    theirs.weight.data = ours.weight.detach().clone()
    torch.nn.utils.parametrizations.spectral_norm(theirs, eps=1e-12)
    spectral.attach(ours, 1e-12)
    for _ in range(300):  # every access is a power iteration
        _ = theirs.weight
    theirs.eval()
    norm = theirs.parametrizations["weight"][0]
    ours.spectral_norm.u.copy_(norm._u)
    ours.spectral_norm.v.copy_(norm._v)
    torch.testing.assert_close(ours.normalized_weight, theirs.weight)
