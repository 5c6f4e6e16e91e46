"""The public pieces alone, as in someone else's network."""

import doctest
import inspect
from dataclasses import replace

import pytest
import torch

import sagan
from sagan.errors import SaganError

nn = sagan.nn

ALONE = {
    "SelfAttention2d": (lambda: nn.SelfAttention2d(64), (2, 64, 8, 8), (2, 64, 8, 8)),
    "EqualResidual2d": (lambda: nn.EqualResidual2d(64), (2, 64, 8, 8), (2, 64, 8, 8)),
    "ConditionalBatchNorm2d": (
        lambda: nn.ConditionalBatchNorm2d(64),
        (4, 64, 8, 8),
        (4, 64, 8, 8),
    ),
    "Conv2d": (lambda: nn.Conv2d(64, 32), (2, 64, 8, 8), (2, 32, 8, 8)),
    "UpsampleConv2d": (lambda: nn.UpsampleConv2d(64, 32), (2, 64, 8, 8), (2, 32, 16, 16)),
    "DownsampleConv2d": (lambda: nn.DownsampleConv2d(64, 32), (2, 64, 8, 8), (2, 32, 4, 4)),
    "Linear": (lambda: nn.Linear(64, 32), (64, 64), (64, 32)),
    "GeneratorBlock": (lambda: nn.GeneratorBlock(64, 32), (2, 64, 8, 8), (2, 32, 16, 16)),
    "DiscriminatorBlock": (lambda: nn.DiscriminatorBlock(32, 64), (2, 32, 8, 8), (2, 64, 4, 4)),
}


@pytest.mark.parametrize("name", ALONE)
def test_a_fresh_layer_keeps_the_scale_of_its_input(name):
    make, before, after = ALONE[name]
    output = make()(torch.randn(before))
    assert output.shape == after
    assert 0.2 < output.std() < 3
    assert output.mean().abs() < 0.5


@pytest.mark.parametrize("name", ALONE)
def test_fresh_weights_depend_on_the_seed_alone(name):
    make, *_ = ALONE[name]
    states = []
    for _ in range(2):
        torch.manual_seed(1)
        torch.full((10_000,), torch.nan)  # what uninitialised memory could hold
        states.append(make().state_dict())
    for key, value in states[0].items():
        assert value.isfinite().all()
        assert torch.equal(value, states[1][key])


def test_fresh_weights_are_xavier_and_biases_0():
    layer = nn.Conv2d(64, 32)
    limit = (6 / (9 * 64 + 9 * 32)) ** 0.5
    assert 0.99 * limit < layer.weight.abs().max() <= limit
    assert layer.weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.02)
    assert not layer.bias.any()


def test_orthogonal_weights_within_the_block_alone():
    with nn.initialized_by("orthogonal"):
        inside = nn.Linear(32, 32).weight
    torch.testing.assert_close(inside @ inside.T, torch.eye(32))
    outside = nn.Linear(32, 32).weight
    assert not torch.allclose(outside @ outside.T, torch.eye(32), atol=0.1)


@pytest.mark.parametrize("seed", [0, 7])
def test_a_network_draws_its_weights_in_the_order_of_its_layers(seed):
    """The stream of random numbers that a seed has always meant: a weight after the other."""
    config = sagan.config.GeneratorConfig(base_channels=8, attention=(16,), spectral_norm="none")
    torch.manual_seed(seed)
    network = nn.Generator(config, resolution=32, num_classes=2)
    torch.manual_seed(seed)
    for layer in network.modules():
        if isinstance(weight := getattr(layer, "weight", None), torch.Tensor):
            assert torch.equal(weight, torch.nn.init.xavier_uniform_(torch.empty(weight.shape)))


@pytest.mark.parametrize("channels", [1, 7])
def test_attention_refuses_fewer_than_eight_channels(channels):
    with pytest.raises(SaganError, match=f"over {channels} channels.*at least 8"):
        nn.SelfAttention2d(channels)


def test_attention_takes_any_other_number_of_channels():
    x = torch.randn(1, 12, 4, 4)
    layer = nn.SelfAttention2d(12)
    assert [len(part.weight) for part in (layer.query, layer.key, layer.value)] == [1, 1, 6]
    assert layer(x).shape == x.shape


def test_attention_refuses_a_value_narrower_than_the_key():
    with pytest.raises(SaganError, match="value_divisor must be from 1 to 8; got 16"):
        nn.SelfAttention2d(64, value_divisor=16)
    with pytest.raises(SaganError, match="must be 1 with biased projections; got 2"):
        nn.SelfAttention2d(64, projections="biased")


def small(architecture, num_classes=0):
    settings = {"architecture": architecture, "base_channels": 8, "attention": (8,)}
    return (
        nn.make_generator(
            sagan.config.GeneratorConfig(**settings), resolution=32, num_classes=num_classes
        ).eval(),
        nn.make_discriminator(
            sagan.config.DiscriminatorConfig(**settings), resolution=32, num_classes=num_classes
        ),
    )


@pytest.mark.parametrize("architecture", ["residual", "dcgan"])
def test_without_classes_no_labels_are_needed(architecture):
    generator, discriminator = small(architecture)
    latents, zeros = torch.randn(2, 128), torch.zeros(2).long()
    for one, other in ((generator, nn.fold(generator)), (discriminator, nn.fold(discriminator))):
        x = latents if one is generator else torch.zeros(2, 3, 32, 32)
        assert torch.equal(one(x), one(x, zeros))
        torch.testing.assert_close(other(x), one(x))


def test_with_classes_absent_labels_are_named():
    generator, discriminator = small("residual", 2)
    norm = nn.ConditionalBatchNorm2d(8, 2)
    for network, x in (
        (generator, torch.randn(2, 128)),
        (nn.fold(generator), torch.randn(2, 128)),
        (discriminator, torch.zeros(2, 3, 32, 32)),
        (norm, torch.zeros(2, 8, 4, 4)),
    ):
        with pytest.raises(SaganError, match="has 2 classes; give it labels"):
            network(x)


def test_dcgan_has_no_classes():
    with pytest.raises(SaganError, match="a dcgan network has no classes"):
        small("dcgan", 2)


PIECES = [(room, name) for room in (nn, sagan.losses) for name in room.__all__]


@pytest.mark.parametrize(("room", "name"), PIECES, ids=lambda value: str(value)[:30])
def test_example_in_the_docstring(room, name):
    """Each public piece has one, and it gives what it says."""
    documentation = inspect.getdoc(getattr(room, name))
    test = doctest.DocTestParser().get_doctest(
        documentation, {"sagan": sagan, "torch": torch}, name, None, None
    )
    assert len(test.examples) >= 1
    failures = []
    doctest.DocTestRunner().run(test, out=failures.append)
    assert not failures, "".join(failures)


def test_what_cannot_be_built_is_named():
    with pytest.raises(sagan.SaganError, match="50 x 50 pixels"):
        sagan.nn.make_generator(sagan.config.GeneratorConfig(), resolution=50)
    with (
        pytest.raises(sagan.SaganError, match="initialization = 'bad'"),
        sagan.nn.initialized_by("bad"),
    ):
        pass


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: network(sagan.config.GeneratorConfig(), channels=0), "Conv2d .* 0 x 16 x 3 x 3"),
        (lambda: network(sagan.config.GeneratorConfig(), num_classes=-1), "num_classes = -1"),
        (lambda: network(sagan.config.DiscriminatorConfig(), channels=0), "Conv2d .* 16 x 0"),
        (lambda: network(sagan.config.DiscriminatorConfig(), num_classes=-1), "Embedding .* -1 x"),
        (lambda: nn.Linear(0, 4), "Linear .* 4 x 0"),
        (lambda: nn.Conv2d(4, 0), "Conv2d .* 0 x 4 x 3 x 3"),
        (lambda: nn.ConditionalBatchNorm2d(0), "channels = 0"),
        (lambda: nn.ConditionalBatchNorm2d(4, eps=0), "eps = 0"),
        (lambda: nn.ConditionalBatchNorm2d(4, momentum=float("nan")), "momentum = nan"),
        (lambda: nn.ConditionalBatchNorm2d(4, latent_dim=-1), "latent_dim = -1"),
        (lambda: nn.EqualResidual2d(8, value_divisor=0), "value_divisor = 0"),
        (lambda: nn.attach(nn.Linear(4, 4), eps=-1), "eps = -1"),
        (lambda: nn.spectral_norm(torch.nn.Linear(4, 4), eps=0), "eps = 0"),
    ],
)
def test_numbers_that_no_layer_has_are_refused(make, message):
    with pytest.raises(SaganError, match=message):
        make()


def network(config, **shape):
    config = replace(config, base_channels=16)
    make = getattr(nn, f"make_{type(config).__name__.removesuffix('Config').lower()}")
    return make(config, resolution=64, **shape)


@pytest.mark.parametrize("name", [name for name in ALONE if "Block" not in name])
def test_a_single_layer_folds(name):
    make, before, _ = ALONE[name]
    layer, x = make().eval(), torch.randn(before)
    torch.testing.assert_close(nn.fold(layer)(x), layer(x), rtol=0, atol=1e-4)


def test_spectral_norm_refuses_what_it_would_spoil():
    zeros = torch.nn.Linear(4, 4)
    torch.nn.init.zeros_(zeros.weight)
    with pytest.raises(SaganError, match="weight of zeros"):
        nn.attach(torch.nn.Sequential(zeros))
    with pytest.raises(SaganError, match="normalised weight already"):
        nn.attach(nn.spectral_norm(nn.Linear(4, 4)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_networks_can_be_traced():
    config = sagan.config.GeneratorConfig(base_channels=8, attention=(16,))
    generator = sagan.nn.make_generator(config, resolution=32, num_classes=2).eval()
    inputs = torch.randn(2, 128), torch.tensor([0, 1])
    for network in (generator, sagan.nn.fold(generator)):
        with torch.no_grad():
            traced = torch.jit.trace(network, inputs)
            torch.testing.assert_close(traced(*inputs), network(*inputs), rtol=0, atol=1e-5)
