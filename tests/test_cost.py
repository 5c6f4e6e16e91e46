from dataclasses import replace

import pytest
import torch
from conftest import tiny

from sagan.config.presets import preset
from sagan.nn.convolution import Conv2d, DownsampleConv2d, UpsampleConv2d
from sagan.nn.layers import Linear
from sagan.nn.residual import Discriminator, Generator
from sagan.training.cost import multiply_accumulates, real_pictures


def counted(network, *inputs):
    """Multiplications of a forward pass of one picture, kernel by kernel."""
    total = 0

    def count(layer, _, output):
        nonlocal total
        weight = layer.weight
        if isinstance(layer, UpsampleConv2d):  # of the 4x4 kernel a pixel meets every second row
            total += output.numel() * weight.shape[1] * 4
        elif isinstance(layer, DownsampleConv2d):
            total += output.numel() * weight.shape[1] * 16
        else:
            total += output.numel() * weight[0].numel()

    for layer in network.modules():
        if isinstance(layer, (Conv2d, DownsampleConv2d, Linear, UpsampleConv2d)):
            layer.register_forward_hook(count)
    network(*inputs)
    return total


def without_attention(**train):
    config = tiny(**train)
    return replace(
        config,
        generator=replace(config.generator, attention=(), base_channels=16),
        discriminator=replace(config.discriminator, attention=(), base_channels=16),
    )


def test_a_step_costs_what_its_passes_cost():
    config = without_attention(steps=1, batch_size=256)
    size = {"resolution": 32, "num_classes": 2}
    labels = torch.zeros(1, dtype=torch.int64)
    latents = torch.randn(1, config.generator.latent_dim)
    images = torch.zeros(1, 3, 32, 32)
    generator = counted(Generator(config.generator, **size), latents, labels)
    discriminator = counted(Discriminator(config.discriminator, **size), images, labels)
    # A backward pass is two forward passes, or one where the parameters are frozen. The
    # discriminator judges real and fake pictures, then fake ones again.
    expected = 256 * (4 * generator + 8 * discriminator)
    assert multiply_accumulates(config) == pytest.approx(expected, rel=0.02)


def test_the_released_run_costs_what_the_design_page_says():
    config = preset("imagenet128")
    pictures = config.train.steps * config.train.batch_size
    assert real_pictures(config) == pictures == 256_000_000
    assert 46e9 < multiply_accumulates(config) / pictures < 47e9


def test_steps_add_up_and_reused_fakes_save_a_pass():
    one = without_attention(steps=1)
    cost = multiply_accumulates(one)
    assert multiply_accumulates(without_attention(steps=7)) == 7 * cost
    more = multiply_accumulates(without_attention(steps=1, discriminator_steps=3))
    reused = multiply_accumulates(without_attention(steps=1, reuse_fakes=True))
    assert reused < cost < more < 3 * cost
    assert real_pictures(without_attention(steps=5, discriminator_steps=3)) == 5 * 3 * 4


def test_attention_and_width_cost_more():
    assert multiply_accumulates(tiny()) > multiply_accumulates(
        replace(tiny(), generator=replace(tiny().generator, attention=()))
    )
