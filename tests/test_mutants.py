"""What once could be changed without a test that noticed."""

import pytest
import torch
from conftest import tiny

from sagan.config import TrainConfig
from sagan.data import Dataset
from sagan.nn import spectral
from sagan.training.loop import average_decay, train_steps
from sagan.training.state import new_state, refresh_average

CPU = torch.device("cpu")
EXACT = torch.autocast("cpu", enabled=False)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_every_update_has_latents_and_labels_of_its_own(dataset, accumulate):
    classes = 200
    many = Dataset(
        images=dataset.images,
        labels=dataset.labels,
        class_names=tuple(map(str, range(classes))),
        fingerprint="noise",
    )
    config = tiny(steps=2, batch_size=8, discriminator_steps=2, accumulate=accumulate)
    state = new_state(config, classes, CPU)
    seen = []
    state.generator.register_forward_pre_hook(lambda _, given: seen.append(given))
    steps = train_steps(
        state,
        many,
        config,
        label_frequencies=torch.full((classes,), 1 / classes),
        device=CPU,
        autocast=EXACT,
    )
    for _ in steps:
        pass
    assert len(seen) == 2 * (2 + 1) * accumulate  # in each step two updates of D, one of G
    for tensors in zip(*seen, strict=True):  # latents, labels
        assert len({tuple(tensor.flatten().tolist()) for tensor in tensors}) == len(seen)


def test_refreshed_vectors_are_those_of_the_averaged_weights():
    """Also where the live network's vectors, from which the iteration starts, tell nothing."""
    state = new_state(tiny(), 2, CPU)
    for norm, weight in spectral.spectral_norms(state.generator_ema):
        u, s, v = torch.linalg.svd(torch.randn(weight.shape).flatten(1), full_matrices=False)
        s = torch.full_like(s, 0.7)
        s[0] = 1.0
        with torch.no_grad():
            weight.copy_(3 * ((u * s) @ v).view_as(weight))
        assert torch.linalg.matrix_norm(norm(weight).flatten(1), 2) > 1.1
    refresh_average(state, torch.tensor([0.5, 0.5]), seed=0)
    for norm, weight in spectral.spectral_norms(state.generator_ema):
        sigma = torch.linalg.matrix_norm(norm(weight).flatten(1), 2).item()
        assert sigma == pytest.approx(1, abs=1e-3)


@pytest.mark.usefixtures("all_batches_of_statistics")
def test_batch_statistics_are_those_of_many_pictures():
    """Their error against the exact mean is that of a thousand pictures, not of one batch's 64.

    The first batch norm sees a linear function of the latents, so its mean is known: the offset.
    The mean of N pictures errs by 1/sqrt(N) standard deviations: 0.03 for 1,024, 0.125 for 64.
    """
    latent_dim = tiny().generator.latent_dim
    state = new_state(tiny(), 2, CPU)
    refresh_average(state, torch.tensor([0.5, 0.5]), seed=0)
    generator = state.generator_ema
    norm = generator.blocks[0].norm1
    seen = []
    norm.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    generator(torch.eye(latent_dim + 1, latent_dim).roll(1, 0), torch.zeros(latent_dim + 1).long())
    channels = seen[0].mean((2, 3))  # (latents, channels): the first latent is 0, then unit vectors
    deviation = (channels[1:] - channels[0]).norm(dim=0)
    errors = (norm.running_mean - channels[0]) / deviation
    assert 0.005 < errors.square().mean().sqrt() < 0.06


def test_average_warms_up_as_tensorflow_documents():
    """``tf.train.ExponentialMovingAverage``: min(decay, (1 + num_updates) / (10 + num_updates))."""
    config = TrainConfig(ema_decay=0.999)
    documented = {1: 2 / 11, 2: 3 / 12, 5: 6 / 15, 10: 11 / 20, 90: 91 / 100, 8990: 8991 / 9000}
    for step, decay in documented.items():
        assert average_decay(config, step) == decay
    assert average_decay(config, 8991) == 0.999
