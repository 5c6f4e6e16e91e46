"""Blocks that keep their input alone: the same training to the last bit, in less memory."""

from dataclasses import replace

import pytest
import torch
from conftest import tiny
from test_footprint import measured_peak
from test_training import CPU, GRADIENT_PENALTY, ZERO_CENTRED

from sagan.config import LossConfig
from sagan.errors import SaganError
from sagan.nn import GeneratorBlock
from sagan.nn.recomputation import through
from sagan.training.footprint import peak_bytes
from sagan.training.loop import train_steps
from sagan.training.state import new_state


def trained(dataset, config, *, bfloat16=False):
    """All tensors of a run after its steps, by part and name, running statistics among them."""
    state = new_state(config, 2, CPU)
    steps = train_steps(
        state,
        dataset,
        config,
        label_frequencies=torch.tensor([0.5, 0.5]),
        device=CPU,
        autocast=torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16),
    )
    for _ in steps:
        pass
    return {
        f"{part}.{name}": tensor
        for part, tensors in state.parts().items()
        for name, tensor in tensors.items()
    }


@pytest.mark.parametrize(
    ("loss", "train"),
    [
        (LossConfig(), {}),
        (LossConfig(), {"reuse_fakes": True, "accumulate": 2}),
        (LossConfig(), {"generator_power_iteration": "step", "discriminator_steps": 2}),
        (ZERO_CENTRED, {}),
        (GRADIENT_PENALTY, {}),
    ],
)
def test_weights_and_statistics_are_the_same_to_the_last_bit(dataset, loss, train):
    usual, sparing = (
        trained(dataset, replace(tiny(steps=3, checkpoint_activations=on, **train), loss=loss))
        for on in (False, True)
    )
    assert usual.keys() == sparing.keys()
    assert any("running_var" in name for name in usual)
    for name, tensor in usual.items():
        assert torch.equal(tensor, sparing[name]), name


def test_bfloat16_is_the_same_to_the_last_bit_too(dataset):
    usual, sparing = (
        trained(dataset, tiny(steps=2, checkpoint_activations=on), bfloat16=True)
        for on in (False, True)
    )
    for name, tensor in usual.items():
        assert torch.equal(tensor, sparing[name]), name


def test_a_block_keeps_its_input_alone_and_its_statistics_move_once():
    block, kept = GeneratorBlock(8, 8).train(), []
    x = torch.randn(2, 8, 8, 8, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        output = through(block, x, recomputed=True)
    assert all(tensor is x or tensor.numel() == 0 for tensor in kept)
    moved = block.norm1.running_mean.clone()
    assert moved.any()
    output.sum().backward()
    assert torch.equal(block.norm1.running_mean, moved)
    through(block, x, recomputed=True)
    assert not torch.equal(block.norm1.running_mean, moved)


def test_less_memory_and_the_estimate_follows(dataset):
    peaks = []
    for on in (False, True):
        config = tiny(steps=2, batch_size=12, checkpoint_activations=on)
        measured = measured_peak(config, dataset)
        assert peak_bytes(config, 2, bfloat16=False) == pytest.approx(measured, rel=0.15)
        peaks.append(measured)
    assert peaks[1] < 0.9 * peaks[0]


def test_the_compiler_chooses_by_itself():
    with pytest.raises(SaganError, match=r"must be false with train\.compile"):
        tiny(checkpoint_activations=True, compile=True)
