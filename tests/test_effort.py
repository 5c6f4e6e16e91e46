from dataclasses import replace

import pytest
import torch
from conftest import tiny
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sagan.config import LossConfig, network_shape
from sagan.config.effort import operations
from sagan.config.presets import preset
from sagan.nn.residual import make_discriminator, make_generator


def counted(function):
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def counted_of_a_picture(config):
    """Operations for each real picture, of passes over pictures that exist as shapes only."""
    batch = 4
    shape = network_shape(config.data, 2 if config.data.conditional else 0)
    with FakeTensorMode(allow_non_fake_inputs=True), sdpa_kernel(SDPBackend.MATH):
        generator = make_generator(config.generator, **shape)
        discriminator = make_discriminator(config.discriminator, **shape)
        latents = torch.empty(batch, config.generator.latent_dim)
        labels = torch.zeros(batch, dtype=torch.int64)
        with torch.no_grad():
            fakes = counted(lambda: generator(latents, labels))
            images = generator(latents, labels)
        both = torch.cat([images, images]), torch.cat([labels, labels])
        judgement = counted(lambda: discriminator(*both).sum().backward())
        discriminator.requires_grad_(False)
        drawing = counted(
            lambda: discriminator(generator(latents, labels), labels).sum().backward()
        )
    updates = config.train.discriminator_steps
    draws = updates - config.train.reuse_fakes
    return (draws * fakes + updates * judgement + drawing) / (batch * updates)


def changed(both, generator=None, discriminator=None, **train):
    config = tiny(**train)
    wide = {"base_channels": 32, **both}
    return replace(
        config,
        generator=replace(config.generator, **wide, **(generator or {})),
        discriminator=replace(config.discriminator, **wide, **(discriminator or {})),
    )


CHOICES = {
    "no attention": changed({"attention": ()}),
    "attention as in the paper": changed(
        {"attention_value_divisor": 8, "attention_pooling": False}
    ),
    "residual blocks instead": changed({"attention_form": "residual"}),
    "bilinear": changed({}, {"upsampling": "bilinear"}, {"hidden_channels": "in"}),
    "larger last map": changed({}, None, {"final_resolution": 8}),
    "several updates": changed({}, discriminator_steps=3),
    "fakes used again": changed({}, reuse_fakes=True),
}
PRESETS = ("avatars32", "imagenet128", "cifar10-mmgen", "tinyimagenet64-studiogan", "celeba64")


@pytest.mark.parametrize(
    "config", [*CHOICES.values(), *map(preset, PRESETS)], ids=[*CHOICES, *PRESETS]
)
def test_operations_are_those_that_are_counted(config):
    config = replace(config, loss=LossConfig())
    assert operations(config) == pytest.approx(counted_of_a_picture(config), rel=0.03)


def test_latents_in_every_block_are_counted():
    """As other layers, though latents need no gradient."""
    start, everywhere = (
        replace(changed({}, {"latent_dim": 2048, "latent_skips": skips}), loss=LossConfig())
        for skips in (False, True)
    )
    counted = counted_of_a_picture(everywhere) - counted_of_a_picture(start)
    assert 1 <= (operations(everywhere) - operations(start)) / counted < 1.5


def test_the_released_run_costs_what_the_design_page_says():
    config = preset("imagenet128")
    assert config.train.steps * config.train.pictures_per_step == 256_000_000
    assert 46e9 < operations(config) / 2 < 47.5e9


def test_penalties_and_pairing_cost_passes():
    with_penalties = preset("avatars32")
    paired = replace(with_penalties, loss=LossConfig(name="non-saturating", relativistic=True))
    without = replace(with_penalties, loss=LossConfig())
    assert operations(with_penalties) > 1.1 * operations(paired) > 1.1 * operations(without)
