import numpy as np
import pytest
import torch
from conftest import tiny

import sagan
from sagan.errors import SaganError
from sagan.nn.residual import Generator
from sagan.sampling.generator import TrainedGenerator
from sagan.sampling.interpolation import class_path, latent_path, slerp


@pytest.fixture(scope="module")
def generator(trained_run):
    return sagan.load_generator(trained_run)


def same(pictures, others):
    """Up to one level: batch size and threads decide in which order a convolution sums."""
    return np.abs(pictures.astype(int) - others).max() <= 1


def test_the_arc_keeps_the_length_and_the_speed():
    first, second = torch.nn.functional.normalize(torch.randn(2, 64), dim=1)
    path = slerp(first, second, torch.linspace(0, 1, 9))
    assert torch.equal(path[0], first)
    assert torch.equal(path[-1], second)
    torch.testing.assert_close(path.norm(dim=1), torch.ones(9))
    steps = (path[1:] - path[:-1]).norm(dim=1)
    torch.testing.assert_close(steps, steps[:1].expand(8))


def test_small_arcs_and_opposite_vectors_are_straight():
    first = torch.randn(64, dtype=torch.float64)
    fractions = torch.linspace(0, 1, 5, dtype=torch.float64)
    for second, tolerance in ((first + 1e-4 * torch.randn(64), 1e-7), (first, 0), (-first, 0)):
        straight = torch.lerp(first, second.double(), fractions[:, None])
        torch.testing.assert_close(
            slerp(first, second.double(), fractions), straight, atol=tolerance, rtol=1e-12
        )


@pytest.mark.parametrize("loop", [False, True])
def test_a_latent_path_leads_through_the_seeds_own_pictures(generator, loop):
    seeds = [3, 1, 4]
    path = latent_path(generator, seeds, "light", frames=5, loop=loop, truncation=1.5)
    assert path.shape == (15 if loop else 11, 3, 32, 32)
    expected = generator.sample(seeds, "light", truncation=1.5)
    assert same(path[[0, 5, 10]], expected)
    steps = np.abs(np.diff(path.astype(int), axis=0)).mean(axis=(1, 2, 3))
    assert steps.max() < np.abs(expected[0].astype(int) - expected[1]).mean()


@pytest.mark.parametrize("loop", [False, True])
def test_a_class_path_leads_through_the_classes_own_pictures(generator, loop):
    path = class_path(generator, 7, ["light", 0], frames=4, loop=loop)
    assert len(path) == (8 if loop else 5)
    assert same(path[0], generator.sample([7], "light")[0])
    assert same(path[4], generator.sample([7], "dark")[0])
    still = class_path(generator, 7, ["dark", "dark"], frames=4)
    assert same(still, still[:1])


def test_halfway_between_classes_the_tables_are_averaged(generator, trained_run):
    averaged = sagan.load_generator(trained_run)
    for table in averaged.network.buffers():
        if table.shape[0] == 2:
            table[:] = table.mean(dim=0)
    halfway = class_path(generator, 5, ["dark", "light"], frames=2)[1]
    assert same(halfway, averaged.sample([5], "dark")[0])


def test_shares_of_classes_are_accepted_wherever_labels_are(generator, trained_run):
    latents = torch.randn(4, generator.latent_dim)
    labels = torch.tensor([0, 1, 1, 0])
    shares = torch.nn.functional.one_hot(labels, 2).float()
    pictures = generator(latents, labels)
    torch.testing.assert_close(generator(latents, shares), pictures)
    discriminator = sagan.load_discriminator(trained_run)
    torch.testing.assert_close(discriminator(pictures, shares), discriminator(pictures, labels))
    ends = [discriminator(pictures, torch.full((4,), label)) for label in (0, 1)]
    mixed = discriminator(pictures, torch.tensor([[0.25, 0.75]]).expand(4, 2))
    torch.testing.assert_close(mixed, 0.25 * ends[0] + 0.75 * ends[1])
    for network, inputs in ((generator, latents), (discriminator, pictures)):
        with pytest.raises(SaganError, match=r"must have shape \(N, 2\); got \(4, 3\)"):
            network(inputs, torch.rand(4, 3))
        for wrong in (shares * 2, shares * torch.nan):
            with pytest.raises(SaganError, match="must sum to 1"):
                network(inputs, wrong)


def test_without_classes_there_are_paths_through_latents_alone():
    plain = TrainedGenerator(Generator(tiny().generator, resolution=32, num_classes=0), ())
    path = latent_path(plain, [0, 1], frames=3)
    assert same(path[[0, 3]], plain.sample([0, 1]))
    with pytest.raises(SaganError, match="no classes; take a path through latents"):
        class_path(plain, 0, [0, 0])


def test_paths_without_two_ends_are_refused(generator):
    with pytest.raises(SaganError, match="two seeds at least, not 1"):
        latent_path(generator, [1], "dark")
    with pytest.raises(SaganError, match="two classes at least, not 1"):
        class_path(generator, 1, ["dark"])
    with pytest.raises(SaganError, match="frames = 0 is out of range"):
        latent_path(generator, [1, 2], "dark", frames=0)
    with pytest.raises(SaganError, match=r"there is no class 'lihgt'.*did you mean light"):
        class_path(generator, 1, ["dark", "lihgt"])
