"""Our layers and networks equal the formulas of the paper and the released code, in float64."""

import ast
from pathlib import Path

import numpy as np
import numpy_sagan as formula
import pytest
import torch

from sagan.config import DiscriminatorConfig, GeneratorConfig
from sagan.losses import adversarial as losses
from sagan.nn import spectral
from sagan.nn.layers import SelfAttention2d
from sagan.nn.residual import Discriminator, Generator


def assert_agrees(ours, expected):
    ours = ours.detach().numpy()
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() <= 1e-10 * np.abs(expected).max()


def drawn(network):
    """In float64 and far from the first state: gamma, biases, tables, statistics, vectors."""
    network.double()
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
        if parameter.ndim == 0:
            parameter.data.fill_(0.7)  # gamma
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_()
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    spectral.advance(network)
    return network


def arrays(network, *, vectors=True):
    """The state of a network as arrays, on demand without its singular vectors."""
    return {
        name: value.clone().numpy()
        for name, value in network.state_dict().items()
        if vectors or "spectral_norm" not in name
    }


def pair(resolution, num_classes, attention, channels=3):
    size = {"resolution": resolution, "num_classes": num_classes, "channels": channels}
    settings = {"base_channels": 8, "attention": attention}
    return (
        drawn(Generator(GeneratorConfig(latent_dim=24, **settings), **size)),
        drawn(Discriminator(DiscriminatorConfig(**settings), **size)),
    )


def inputs(num_classes, count=3):
    latents = torch.randn(count, 24).double()
    labels = torch.randint(max(num_classes, 1), (count,))
    return latents, labels, labels.numpy() if num_classes else None


def test_the_formulas_know_nothing_of_the_package():
    tree = ast.parse(Path(formula.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert [ast.unparse(node) for node in imports] == ["import numpy as np"]


@pytest.mark.parametrize("size", [(6, 10), (16, 16)])
def test_attention(size):
    layer = SelfAttention2d(16)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    spectral.attach(layer, 1e-12)
    drawn(layer)
    x = 3 * torch.randn(2, 16, *size).double()
    expected = formula.self_attention(x.numpy(), arrays(layer))
    assert_agrees(layer(x), expected)
    assert np.abs(expected - x.numpy()).max() > 0.1
    rows = formula.attention_weights(x.numpy(), arrays(layer))
    assert_agrees(layer.attention_rows(x, torch.arange(size[0] * size[1])), rows)
    np.testing.assert_allclose(rows.sum(axis=2), 1, rtol=0, atol=1e-12)


# The last is the plan of the released code, at an eighth of its width.
@pytest.mark.parametrize("training", [True, False], ids=["batch statistics", "running statistics"])
@pytest.mark.parametrize(
    ("resolution", "num_classes", "attention"), [(32, 0, (8, 16)), (32, 5, (16,)), (128, 4, (32,))]
)
def test_networks(resolution, num_classes, attention, training):
    generator, discriminator = pair(resolution, num_classes, attention)
    generator.train(training)
    discriminator.train(training)
    latents, labels, rows = inputs(num_classes)
    state = arrays(generator)
    images = generator(latents, labels)
    expected = formula.generator(state, latents.numpy(), rows, training=training)
    assert_agrees(images, expected)
    logits = discriminator(images, labels)
    assert_agrees(logits, formula.discriminator(arrays(discriminator), expected, rows))
    assert np.ptp(expected) > 0.5


@pytest.mark.parametrize(
    ("size", "channels", "first"), [((24, 16), 1, (6, 4)), ((16, 28), 4, (4, 7))]
)
def test_networks_for_other_pictures(size, channels, first):
    generator, discriminator = pair(size, 3, (size[0] // 2,), channels)
    latents, labels, rows = inputs(3)
    images = generator(latents, labels)
    expected = formula.generator(
        arrays(generator), latents.numpy(), rows, training=True, first=first
    )
    assert expected.shape == (3, channels, *size)
    assert_agrees(images, expected)
    logits = formula.discriminator(arrays(discriminator), expected, rows, last=first[0])
    assert_agrees(discriminator(images, labels), logits)


def test_networks_with_converged_vectors_divide_by_the_largest_singular_value():
    networks = pair(32, 3, (16,))
    latents, labels, rows = inputs(3)
    for network in networks:
        spectral.advance(network, 3000)
    generator, discriminator = networks
    images = generator(latents, labels)
    state = arrays(generator, vectors=False)
    expected = formula.generator(state, latents.numpy(), rows, training=True)
    assert_agrees(images, expected)
    state = arrays(discriminator, vectors=False)
    assert_agrees(discriminator(images, labels), formula.discriminator(state, expected, rows))


def test_attention_rows_inside_a_generator():
    generator, _ = pair(32, 3, (16,))
    latents, labels, _ = inputs(3, count=1)
    seen = []
    layer = generator.attention["16"]
    layer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    generator.eval()(latents, labels)
    state = formula.part(arrays(generator), "attention.16")
    expected = formula.attention_weights(seen[0].detach().numpy(), state)
    assert_agrees(layer.attention_rows(seen[0], torch.arange(256)), expected)


def test_hinge_losses():
    real, fake = 2 * torch.randn(2, 50).double()
    expected = np.array(formula.discriminator_loss(real.numpy(), fake.numpy()))
    assert_agrees(sum(losses.hinge_discriminator(real, fake)), expected)
    assert_agrees(losses.linear_generator(fake), np.array(formula.generator_loss(fake.numpy())))
