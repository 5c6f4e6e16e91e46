import copy

import pytest
import reference
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from sagan.config import DiscriminatorConfig
from sagan.losses import regularization
from sagan.nn import attention
from sagan.nn.residual import Discriminator

WEIGHT = torch.linspace(-1, 2, 3 * 4 * 4, dtype=torch.float64)
SLOPE = WEIGHT.norm().item()


def linear(images, labels):
    return images.flatten(1) @ WEIGHT + labels


@pytest.fixture
def pictures():
    return torch.rand(4, 3, 4, 4, dtype=torch.float64) * 2 - 1, torch.tensor([0, 1, 1, 0])


def test_penalties_of_a_linear_discriminator(pictures):
    images, labels = pictures
    gradients = regularization.image_gradients(linear, images, labels)
    torch.testing.assert_close(gradients, WEIGHT.expand(4, -1))
    penalty = regularization.zero_centred_penalty(linear, images, labels)
    assert penalty.item() == pytest.approx(SLOPE**2 / 2)
    random = torch.Generator().manual_seed(0)
    penalty = regularization.gradient_penalty(linear, images, -images, labels, random)
    assert penalty.item() == pytest.approx((SLOPE - 1) ** 2)


def test_gradient_penalty_is_taken_between_the_pictures(pictures):
    real_images, labels = pictures
    fake_images = real_images + torch.arange(1, 5)[:, None, None, None]
    seen = []

    def watched(images, labels):
        seen.append((images.detach() - real_images) / (fake_images - real_images))
        return linear(images, labels)

    random = torch.Generator().manual_seed(0)
    regularization.gradient_penalty(watched, real_images, fake_images, labels, random)
    (shares,) = seen
    assert len(shares.mean((1, 2, 3)).unique()) == 4
    torch.testing.assert_close(shares, shares[:, :1, :1, :1].expand_as(shares))
    assert shares.min() >= 0
    assert shares.max() <= 1


def test_a_flat_discriminator_has_finite_gradients(pictures):
    images, labels = pictures
    scale = torch.zeros((), dtype=torch.float64, requires_grad=True)

    def flat(images, labels):
        return scale * linear(images, labels)

    random = torch.Generator().manual_seed(0)
    penalty = regularization.gradient_penalty(flat, images, -images, labels, random)
    (gradient,) = torch.autograd.grad(penalty, scale)
    assert penalty == 1
    assert gradient.isfinite()


@pytest.fixture
def networks():
    """Our discriminator and the reference one, with attention that counts, in float64."""
    config = DiscriminatorConfig(base_channels=8, attention=(16,))
    ours = Discriminator(config, resolution=32, num_classes=2)
    ours.attention["16"].gamma.data.fill_(0.7)
    plain = reference.Discriminator(32, 2, 8, (16,))
    reference.copy_weights(ours, plain)
    reference.freeze_singular_vectors(plain)
    return ours.double(), plain.double()


def test_penalties_and_their_gradients_equal_the_reference(networks):
    real_images, fake_images = torch.rand(2, 4, 3, 32, 32, dtype=torch.float64) * 2 - 1
    labels = torch.tensor([0, 1, 1, 0])
    results = []
    for network in networks:
        random = torch.Generator().manual_seed(3)
        penalties = (
            regularization.zero_centred_penalty(network, real_images, labels),
            regularization.gradient_penalty(network, real_images, fake_images, labels, random),
        )
        sum(penalties).backward()
        weight = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
        results.append((*penalties, weight))
    (*ours, our_gradients), (*plain, plain_gradients) = results
    torch.testing.assert_close(ours, plain, rtol=1e-10, atol=0)
    assert len(our_gradients) > 20
    for name, gradient in our_gradients.items():
        name = name.replace(".weight", ".parametrizations.weight.original")
        torch.testing.assert_close(gradient, plain_gradients[name], rtol=1e-8, atol=1e-10)


def test_gradients_equal_finite_differences(networks):
    ours, _ = networks
    images, labels = torch.rand(2, 3, 32, 32, dtype=torch.float64), torch.tensor([0, 1])
    gradients = regularization.image_gradients(ours, images, labels)
    direction = torch.randn_like(images)
    step = 1e-6 * direction
    difference = (ours(images + step, labels) - ours(images - step, labels)) / 2e-6
    torch.testing.assert_close(
        (gradients * direction.flatten(1)).sum(1), difference, rtol=1e-5, atol=1e-8
    )


def test_fused_attention_would_not_do(networks, monkeypatch):
    """The reason for the explicit formula: without it the second derivative is missing."""
    for name in ("MAP_KEPT", "CHUNKED_UP_TO"):  # so small a map is not left to fused kernels
        monkeypatch.setattr(attention, name, 0)
    ours, _ = networks
    images, labels = torch.rand(2, 3, 32, 32, dtype=torch.float64), torch.tensor([0, 1])
    fused = copy.deepcopy(ours).float()
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        pictures = images.float().requires_grad_()
        (gradients,) = torch.autograd.grad(
            fused(pictures, labels).sum(), pictures, create_graph=True
        )
        with pytest.raises(RuntimeError, match="derivative"):
            gradients.sum().backward()
    regularization.image_gradients(ours, images, labels).sum().backward()


def test_lecam_holds_back_what_has_moved_away_only():
    logits = torch.tensor([0.0, 3.0], requires_grad=True)
    average = torch.tensor(1.0)
    term = regularization.lecam(logits, torch.tensor([5.0]), average, average)
    term.backward()
    assert term == 2
    assert logits.grad.tolist() == [0, 2]
    term = regularization.lecam(torch.tensor([-5.0]), torch.tensor([-1.0]), average, average)
    assert term == 4


def test_consistency_is_a_mean_square():
    assert regularization.consistency(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 5.0])) == 4.5
