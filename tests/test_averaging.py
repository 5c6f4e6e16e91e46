import pytest
import torch
from conftest import tiny

from sagan.nn.averaging import (
    STATISTICS_BATCH_SIZE,
    STATISTICS_BATCHES,
    measure_batch_statistics,
    update_average,
)
from sagan.nn.layers import Conv2d
from sagan.nn.residual import make_generator
from sagan.system.randomness import draw_latents_and_labels


def test_average_of_a_constant_is_the_constant_and_moves_by_its_share():
    average, network = Conv2d(1, 1, 1), Conv2d(1, 1, 1)
    torch.nn.init.constant_(average.weight, 3.0)
    torch.nn.init.constant_(network.weight, 3.0)
    update_average(average, network, 0.9)
    assert average.weight.item() == 3
    torch.nn.init.constant_(network.weight, 13.0)
    update_average(average, network, 0.9)
    assert average.weight.item() == pytest.approx(4)
    update_average(average, network, 0.0)
    assert average.weight.item() == 13


@pytest.mark.usefixtures("all_batches_of_statistics")
def test_batch_statistics_are_means_over_the_batches():
    generator = make_generator(tiny().generator, resolution=32, num_classes=2)
    frequencies = torch.tensor([0.5, 0.5])
    norm = generator.blocks[0].norm1
    momentum, seen = norm.momentum, []
    handle = norm.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    measure_batch_statistics(generator, frequencies, torch.Generator().manual_seed(3))
    handle.remove()
    assert [len(batch) for batch in seen] == [STATISTICS_BATCH_SIZE] * STATISTICS_BATCHES
    assert STATISTICS_BATCH_SIZE * STATISTICS_BATCHES == 1024  # as records of evaluations say
    mean = torch.stack([batch.mean((0, 2, 3)) for batch in seen]).mean(0)
    torch.testing.assert_close(norm.running_mean, mean, rtol=1e-4, atol=1e-5)
    assert norm.momentum == momentum
    assert not generator.training
    before = norm.running_mean.clone()
    generator(*draw_latents_and_labels(4, 16, frequencies, torch.Generator()))
    assert torch.equal(norm.running_mean, before)
