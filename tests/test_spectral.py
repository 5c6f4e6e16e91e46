import pytest
import torch
from torch.nn import functional as F

from sagan.errors import SaganError
from sagan.nn import spectral
from sagan.nn.convolution import Conv2d
from sagan.nn.layers import Embedding, Linear, SelfAttention2d


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


TORCH_LAYERS = {
    "Linear": lambda: torch.nn.Linear(20, 30),
    "Conv1d": lambda: torch.nn.Conv1d(6, 8, 3),
    "Conv2d": lambda: torch.nn.Conv2d(6, 8, 3, groups=2),
    "Conv3d": lambda: torch.nn.Conv3d(4, 8, 3),
    "ConvTranspose1d": lambda: torch.nn.ConvTranspose1d(6, 8, 4),
    "ConvTranspose2d": lambda: torch.nn.ConvTranspose2d(6, 8, 4),
    "ConvTranspose3d": lambda: torch.nn.ConvTranspose3d(4, 8, 2),
    "Embedding": lambda: torch.nn.Embedding(12, 16),
}


def out_first(layer):
    """As torch.nn.utils.parametrizations.spectral_norm views weights."""
    weight = layer.weight.detach()
    return weight.transpose(0, 1) if "Transpose" in type(layer).__name__ else weight


@pytest.fixture(params=TORCH_LAYERS)
def torch_layer(request):
    layer = TORCH_LAYERS[request.param]().double()
    torch.nn.init.normal_(layer.weight)
    return layer


def test_torch_layers_follow_a_weight_that_changes_by_advance_alone(torch_layer):
    network = torch.nn.Sequential(torch.nn.ReLU(), torch_layer)
    spectral.attach(network)
    spectral.advance(network, 300)
    assert sigma(out_first(torch_layer)) == pytest.approx(1, abs=1e-9)
    torch.nn.init.normal_(torch_layer.parametrizations.weight.original, std=7)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for _ in range(3):
        torch_layer.weight.sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert sigma(out_first(torch_layer)) > 1.05
    spectral.advance(network, 300)
    assert sigma(out_first(torch_layer)) == pytest.approx(1, abs=1e-9)


def test_torch_layers_have_the_gradient_of_weight_over_sigma(torch_layer):
    spectral.attach(torch_layer)
    spectral.advance(torch_layer, 3000)
    probe = torch.randn_like(torch_layer.weight)
    original = torch_layer.parametrizations.weight.original
    weight = original.detach().clone().requires_grad_()
    turned = weight.transpose(0, 1) if "Transpose" in type(torch_layer).__name__ else weight
    expected = weight / torch.linalg.matrix_norm(turned.flatten(1), 2)
    for found, wanted in zip(
        torch.autograd.grad(torch_layer.weight, original, probe),
        torch.autograd.grad(expected, weight, probe),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-8)


def test_networks_of_both_kinds_of_layers_are_normalised_whole():
    network = torch.nn.Sequential(Conv2d(3, 8), torch.nn.Conv2d(8, 8, 3), SelfAttention2d(8))
    assert spectral.spectral_norm(network) is network
    assert len(list(spectral.spectral_norms(network))) == 6


def test_a_network_without_spectral_norm_has_nothing_to_advance():
    layer = torch.nn.Linear(3, 2)
    before = layer.weight.clone()
    spectral.advance(layer, 2)
    assert layer.weight.equal(before)


def test_a_network_without_anything_to_normalise_is_refused():
    with pytest.raises(SaganError, match="Sequential has no linear layer, convolution or embed"):
        spectral.attach(torch.nn.Sequential(torch.nn.ReLU(), torch.nn.BatchNorm2d(8)))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            lambda: torch.nn.LSTM(4, 4),
            "layer 1, LSTM, has weights that spectral norm does not reach",
        ),
        (lambda: torch.nn.MultiheadAttention(4, 2), "layer 1, MultiheadAttention, has weights"),
        (
            lambda: spectral.spectral_norm(torch.nn.Linear(4, 4)),
            "1, ParametrizedLinear, has a normal",
        ),
        (
            lambda: torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(4, 4)),
            "layer 1, ParametrizedLinear, has a normalised weight already",
        ),
        (lambda: torch.nn.LazyLinear(4), "layer 1, LazyLinear, has no weight before its first"),
    ],
)
def test_a_layer_out_of_reach_is_named_and_nothing_changes(layer, message):
    network = torch.nn.Sequential(torch.nn.Linear(4, 4), layer())
    with pytest.raises(SaganError, match=message):
        spectral.attach(network)
    assert isinstance(network[0].weight, torch.nn.Parameter)


def test_gradients_can_be_differentiated_by_weights():
    torch.manual_seed(0)
    network = torch.nn.Sequential(Linear(4, 6), torch.nn.Tanh(), Linear(6, 1)).double()
    spectral.attach(network)
    x, weights = torch.randn(5, 4).double(), [network[0].weight, network[2].weight]
    vectors = [(layer.spectral_norm.u, layer.spectral_norm.v) for layer in network[::2]]

    def loss(*weights):
        divided = [w / torch.dot(u, w @ v) for w, (u, v) in zip(weights, vectors, strict=True)]
        first = F.linear(x, divided[0], network[0].bias).tanh()
        return F.linear(first, divided[1], network[2].bias).square().mean()

    found = []
    for value in (network(x).square().mean(), loss(*weights)):
        slopes = torch.autograd.grad(value, weights, create_graph=True)
        length = sum(slope.square().sum() for slope in slopes)
        found.append((*slopes, *torch.autograd.grad(length, weights)))
    for own, plain in zip(*found, strict=True):
        torch.testing.assert_close(own, plain, rtol=0, atol=1e-12)


def test_layers_without_values_are_left_to_their_owner():
    spectral.attach(torch.nn.Linear(4, 3, device="meta"))
    layer = Linear(4, 3)
    torch.nn.init.zeros_(layer.weight)
    with pytest.raises(SaganError, match="Linear, has a weight of zeros"):
        spectral.attach(layer)
    with pytest.raises(SaganError, match="Embedding, has sparse gradients"):
        spectral.attach(torch.nn.Embedding(6, 4, sparse=True))
