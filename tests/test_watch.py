import math
from dataclasses import replace

import pytest
import torch
from conftest import tiny

from sagan.errors import DivergedError
from sagan.training.state import apply_gradients, new_state
from sagan.training.watch import PendingTerms

CPU = torch.device("cpu")


def update(state, network, broken=()):
    """An update whose gradients of some parameters are NaN in places, and ones elsewhere."""
    for name, parameter in getattr(state, network).named_parameters():
        parameter.grad = torch.ones_like(parameter)
        if broken and name.startswith(broken):
            parameter.grad[(0,) * parameter.ndim] = math.nan
    terms = {network: torch.tensor(1.0)}
    apply_gradients(state, getattr(state, f"{network}_optimizer"), terms)
    return terms


@pytest.mark.parametrize(
    ("network", "broken", "named"),
    [
        ("generator", "linear", "generator.linear.bias (and of 1 more)"),
        (
            "generator",
            ("blocks.0.conv", "blocks.1.conv1.weight"),
            "generator.blocks.1.conv1.weight",
        ),
        (
            "discriminator",
            ("blocks.0", "attention.16.out"),
            "discriminator.attention.16.out.weight",
        ),
        ("discriminator", ("attention", "blocks.2.conv1.weight"), "blocks.2.conv1.weight"),
        ("discriminator", ("attention", "blocks", "embedding"), "embedding.weight"),
    ],
    ids=str,
)
def test_of_several_gradients_the_one_nearest_the_loss_is_named(network, broken, named):
    state = new_state(tiny(), 2, CPU)
    pending = PendingTerms(state)
    pending.add(1, update(state, network))
    pending.add(2, update(state, network, broken))
    pending.add(3, update(state, network))
    with pytest.raises(DivergedError) as caught:
        pending.read()
    told = str(caught.value)
    assert told.startswith("step 2: the gradient of ")
    assert named in told
    assert told.endswith("is not finite, so the update was not made")


def test_a_network_of_dcgan_names_its_layers():
    config = tiny()
    config = replace(
        config,
        data=replace(config.data, labels="none"),
        discriminator=replace(config.discriminator, architecture="dcgan"),
    )
    state = new_state(config, 0, CPU)
    pending = PendingTerms(state)
    pending.add(1, update(state, "discriminator", ("layers", "attention")))
    with pytest.raises(DivergedError, match=r"gradient of discriminator\.layers\.\d\."):
        pending.read()


def test_what_follows_a_divergence_is_no_reason():
    """Until somebody reads, steps go on with what they are worth."""
    state = new_state(tiny(), 2, CPU)
    pending = PendingTerms(state)
    pending.add(6, update(state, "generator", "out.weight"))
    pending.add(7, {"generator": torch.tensor(math.nan)})
    with pytest.raises(DivergedError, match=r"^step 6: the gradient of generator\.out\.weight is"):
        pending.read()
