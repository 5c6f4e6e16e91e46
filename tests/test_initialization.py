import pytest
import torch
from test_matrix import CONFIGS

from sagan.config import network_shape
from sagan.nn import make_discriminator, make_generator
from sagan.nn.initialization import undrawn


@pytest.fixture(params=CONFIGS)
def make(request):
    """Builds both networks of a config."""
    config = CONFIGS[request.param]
    shape = network_shape(config.data, 5 if config.data.conditional else 0)

    def networks():
        return (
            make_generator(config.generator, **shape),
            make_discriminator(config.discriminator, **shape),
        )

    return networks


def test_undrawn_networks_draw_nothing_and_are_otherwise_the_same(make):
    before = torch.get_rng_state()
    with undrawn():
        undrawn_ones = make()
    assert torch.equal(torch.get_rng_state(), before)
    for network, usual in zip(undrawn_ones, make(), strict=True):
        layouts = [
            {name: (tensor.shape, tensor.stride()) for name, tensor in one.state_dict().items()}
            for one in (network, usual)
        ]
        assert layouts[0] == layouts[1]


def test_every_tensor_of_a_network_is_in_its_state(make):
    """So that none stays without values where all of them are read from a checkpoint."""
    for network in make():
        held = dict([*network.named_parameters(), *network.named_buffers()])
        assert held.keys() == network.state_dict().keys()
