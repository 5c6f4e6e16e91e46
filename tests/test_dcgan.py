from dataclasses import replace

import pytest
import torch
from conftest import tiny
from torch import nn
from torch.nn import functional as F

from sagan import cli, load_discriminator, load_generator
from sagan import config as settings
from sagan.config import DiscriminatorConfig, GeneratorConfig
from sagan.nn import spectral
from sagan.nn.folding import fold
from sagan.nn.residual import make_discriminator, make_generator
from sagan.training.driver import Driver


def pair(resolution=32, **changes):
    """Both networks in float64, away from their first state."""
    networks = (
        make_generator(
            GeneratorConfig(
                architecture="dcgan", base_channels=8, latent_dim=16, attention=(8, 16), **changes
            ),
            resolution=resolution,
            num_classes=0,
        ),
        make_discriminator(
            DiscriminatorConfig(architecture="dcgan", base_channels=8, attention=(8, 4), **changes),
            resolution=resolution,
            num_classes=0,
        ),
    )
    for network in networks:
        network.double()
        for parameter in network.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        spectral.advance(network, 3)
    return networks


@pytest.mark.parametrize("resolution", [32, 64, 128, 256])
def test_pictures_are_bounded_and_of_the_right_size(resolution):
    generator, discriminator = pair(resolution)
    labels = torch.zeros(2, dtype=torch.int64)
    with torch.no_grad():
        images = generator(torch.randn(2, 16).double(), labels)
        assert images.shape == (2, 3, resolution, resolution)
        assert images.abs().max() <= 1
        assert discriminator(images, labels).shape == (2,)


def test_widths_are_those_of_the_repository():
    generator = make_generator(
        GeneratorConfig(architecture="dcgan", attention=(16, 32)), resolution=64, num_classes=0
    )
    assert [layer.conv.weight.shape[1] for layer in generator.layers] == [512, 256, 128, 64]
    assert [len(layer.value.weight) for layer in generator.attention.values()] == [128, 64]
    discriminator = make_discriminator(
        DiscriminatorConfig(architecture="dcgan", attention=(8, 4)), resolution=64, num_classes=0
    )
    assert [len(layer.weight) for layer in discriminator.layers] == [64, 128, 256, 512]
    assert [len(layer.value.weight) for layer in discriminator.attention.values()] == [256, 512]


def test_only_convolutions_before_the_last_are_normalised():
    for network in pair():
        names = [
            name
            for name, layer in network.named_modules()
            if isinstance(layer, spectral.SpectralLayer) and layer.spectral_norm is not None
        ]
        assert len(names) == 3
        assert all(name.startswith("layers.") for name in names)


def test_attention_equals_the_plain_formula():
    generator, _ = pair()
    layer = generator.attention["8"]
    x = torch.randn(2, 16, 4, 4).double()
    query, key, value = (
        F.conv2d(x, part.weight, part.bias).flatten(2)
        for part in (layer.query, layer.key, layer.value)
    )
    weights = torch.softmax(query.mT @ key, dim=2)
    expected = x + layer.gamma * (value @ weights.mT).unflatten(2, (4, 4))
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)
    rows = layer.attention_rows(x, torch.arange(16))
    torch.testing.assert_close(rows, weights, rtol=0, atol=1e-12)


def test_folded_networks_give_the_same():
    generator, discriminator = pair()
    latents, labels = torch.randn(3, 16).double(), torch.zeros(3, dtype=torch.int64)
    for _ in range(3):
        generator(latents, labels)
    images = generator.eval()(latents, labels)
    torch.testing.assert_close(fold(generator)(latents, labels), images, rtol=0, atol=1e-12)
    logits = discriminator(images, labels)
    torch.testing.assert_close(fold(discriminator)(images, labels), logits, rtol=0, atol=1e-11)


def test_every_parameter_gets_a_gradient():
    generator, discriminator = pair()
    labels = torch.zeros(3, dtype=torch.int64)
    discriminator(generator(torch.randn(3, 16).double(), labels), labels).sum().backward()
    for network in (generator, discriminator):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            if not name.endswith("key.bias"):  # softmax does not see what all keys share
                assert parameter.grad.abs().max() > 0, name
    assert isinstance(generator.attention["8"].out, nn.Identity)


def test_trains_resumes_and_shows_its_attention(tmp_path, picture_folder):
    base = tiny(steps=2)
    config = settings.from_dict(
        {
            "data": {"resolution": 32, "labels": "none", "source": str(picture_folder)},
            "generator": {
                "architecture": "dcgan",
                "base_channels": 8,
                "latent_dim": 16,
                "attention": [8, 16],
            },
            "discriminator": {"architecture": "dcgan", "base_channels": 8, "attention": [8, 4]},
        }
    )
    config = replace(config, train=base.train, optimizer=base.optimizer)
    Driver(config, tmp_path / "run").train()
    longer = replace(config, train=replace(config.train, steps=3))
    Driver(longer, tmp_path / "run").train()
    generator = load_generator(tmp_path / "run")
    assert generator.sample(range(3)).shape == (3, 3, 32, 32)
    with pytest.raises(SystemExit, match="0"):
        cli.main(["attention", str(tmp_path / "run"), "-o", str(tmp_path / "looks.png")])
    assert (tmp_path / "looks.png").exists()
    logits = load_discriminator(tmp_path / "run")(torch.zeros(2, 3, 32, 32), torch.zeros(2).long())
    assert logits.shape == (2,)
