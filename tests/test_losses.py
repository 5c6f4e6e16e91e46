import math
from typing import get_args

import pytest
import torch
from torch.nn import functional as F

from sagan.config import DiscriminatorConfig, LossConfig, LossName
from sagan.errors import SaganError
from sagan.losses import adversarial as losses
from sagan.losses.regularization import consistency, gradient_penalty, zero_centred_penalty
from sagan.nn.residual import make_discriminator

NAMES = get_args(LossName)
PAIRED = ("hinge", "non-saturating", "least-squares")


def test_hinge_discriminator_at_its_corners():
    real_term, fake_term = losses.hinge_discriminator(
        torch.tensor([1.0, 3.0, 0.0]), torch.tensor([-1.0, -5.0, 0.0])
    )
    assert real_term == 1 / 3
    assert fake_term == 1 / 3


def test_hinge_discriminator_pushes_real_up_and_fake_down_inside_the_margin_only():
    real = torch.tensor([0.5, 1.5], requires_grad=True)
    fake = torch.tensor([-0.5, -1.5], requires_grad=True)
    sum(losses.hinge_discriminator(real, fake)).backward()
    assert real.grad.tolist() == [-0.5, 0]
    assert fake.grad.tolist() == [0.5, 0]


def test_linear_generator_is_linear():
    fake = torch.tensor([-4.0, 2.0], requires_grad=True)
    loss = losses.linear_generator(fake)
    loss.backward()
    assert loss == 1
    assert fake.grad.tolist() == [-0.5, -0.5]


def test_logistic_losses_are_log_probabilities():
    real, fake = torch.randn(2, 5, dtype=torch.float64)
    real_term, fake_term = losses.logistic_discriminator(real, fake)
    torch.testing.assert_close(real_term, -torch.sigmoid(real).log().mean())
    torch.testing.assert_close(fake_term, -(1 - torch.sigmoid(fake)).log().mean())
    expected = F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))
    torch.testing.assert_close(losses.logistic_generator(fake), expected)
    assert losses.logistic_generator(torch.zeros(3)) == pytest.approx(math.log(2))


def test_logistic_generator_has_a_gradient_where_it_loses_by_far():
    fake = torch.tensor([-1000.0], requires_grad=True)
    losses.logistic_generator(fake).backward()
    assert fake.grad == -1


def test_kl_is_the_released_one():
    real, fake = torch.randn(2, 7, dtype=torch.float64)
    real_term, fake_term = losses.discriminator_terms(LossConfig(name="kl"), real, fake)
    torch.testing.assert_close(real_term, (1 + (-real).exp()).log().mean())
    torch.testing.assert_close(fake_term, (1 + fake.exp()).log().mean())
    term = losses.generator_term(LossConfig(name="kl"), None, fake)
    torch.testing.assert_close(term, -fake.mean())


def test_least_squares_vanish_at_their_targets():
    ones, zeros = torch.ones(3), torch.zeros(3)
    assert losses.least_squares_discriminator(ones, zeros) == (0, 0)
    assert losses.least_squares_discriminator(zeros, ones) == (0.5, 0.5)
    assert losses.least_squares_generator(ones) == 0
    assert losses.least_squares_generator(zeros) == 0.5


def test_wasserstein_is_a_difference_of_means():
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([4.0])
    assert sum(losses.wasserstein_discriminator(real, fake)) == 2


@pytest.mark.parametrize(
    "config", [*((name, False) for name in NAMES), *((n, True) for n in PAIRED)]
)
def test_discriminator_pulls_apart_and_generator_pulls_up(config):
    name, relativistic = config
    config = LossConfig(name=name, relativistic=relativistic)
    real, fake = (torch.tensor([0.4, 0.3], requires_grad=True) for _ in range(2))
    real_term, fake_term = losses.discriminator_terms(config, real, fake)
    real_gradient, fake_gradient = torch.autograd.grad(real_term + fake_term, (real, fake))
    assert (real_gradient < 0).all()
    assert (fake_gradient > 0).all()
    term = losses.generator_term(config, real.detach(), fake)
    (gradient,) = torch.autograd.grad(term, fake)
    assert (gradient < 0).all()


@pytest.mark.parametrize("name", PAIRED)
def test_relativistic_pairing_sees_differences_only_and_is_a_mirror(name):
    config = LossConfig(name=name, relativistic=True)
    real, fake = torch.randn(2, 6, dtype=torch.float64)
    terms = losses.discriminator_terms(config, real, fake)
    torch.testing.assert_close(losses.discriminator_terms(config, real + 7, fake + 7), terms)
    term = losses.generator_term(config, real, fake)
    torch.testing.assert_close(losses.generator_term(config, real + 7, fake + 7), term)
    torch.testing.assert_close(sum(losses.discriminator_terms(config, fake, real)), term)


def test_relativistic_logistic_loss_is_that_of_its_paper():
    config = LossConfig(name="non-saturating", relativistic=True)
    real, fake = torch.randn(2, 6)
    terms = losses.discriminator_terms(config, real, fake)
    torch.testing.assert_close(sum(terms), F.softplus(fake - real).mean())
    assert terms[0] == terms[1]


def test_penalties_take_compiled_networks_as_they_are_written():
    config = DiscriminatorConfig(base_channels=8, attention=(16,))
    critic, images = make_discriminator(config, resolution=32), torch.rand(2, 3, 32, 32)
    labels = torch.zeros(2, dtype=torch.int64)
    plain = zero_centred_penalty(critic, images, labels)
    compiled = torch.compile(critic, backend="eager")
    assert torch.equal(zero_centred_penalty(compiled, images, labels), plain)


def test_what_is_no_pair_is_not_compared_each_with_each():
    logits, column = torch.zeros(4), torch.zeros(4, 1)
    real, fake, labels = torch.zeros(4, 3, 8, 8), torch.zeros(1, 3, 8, 8), torch.zeros(4).long()
    for compare in (
        lambda: losses.relativistic(losses.hinge_discriminator, logits, column),
        lambda: consistency(logits, column),
        lambda: gradient_penalty(
            lambda x, _: x.sum((1, 2, 3)), real, fake, labels, torch.Generator()
        ),
    ):
        with pytest.raises(SaganError, match="are no pairs"):
            compare()
    with pytest.raises(SaganError, match="give their logits"):
        losses.generator_term(LossConfig(relativistic=True), None, logits)
