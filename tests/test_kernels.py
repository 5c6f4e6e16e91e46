from contextlib import nullcontext

import pytest
import torch

from sagan.config import DiscriminatorConfig
from sagan.losses.regularization import zero_centred_penalty
from sagan.nn import convolution, make_discriminator, spectral
from sagan.nn.blocks import GeneratorBlock
from sagan.nn.convolution import Conv2d, DownsampleConv2d, UpsampleConv2d
from sagan.nn.kernels import kept_kernels
from sagan.nn.layers import Embedding, Linear

BFLOAT16 = torch.autocast("cpu", dtype=torch.bfloat16)
SMALL = {"base_channels": 8, "attention": (8,)}
LAYERS = {
    "linear": lambda: Linear(20, 30),
    "embedding": lambda: Embedding(12, 16),
    "conv": lambda: Conv2d(6, 8, 3),
    "shortcut": lambda: Conv2d(6, 8, 1),
    "one channel": lambda: Conv2d(1, 1, 3),
    "upsample": lambda: UpsampleConv2d(6, 8),
    "downsample": lambda: DownsampleConv2d(6, 8),
}


def discriminator(**settings):
    config = DiscriminatorConfig(**SMALL, **settings)
    return make_discriminator(config, resolution=16, num_classes=3)


def gradients(network):
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


def judged(network, images, labels, *, kept):
    """The gradients of a sum of squares over two passes, and of a penalty."""
    network.zero_grad()
    with kept_kernels(network) if kept else nullcontext():
        logits = network(images, labels) + network(-images, labels)
        logits.square().sum().backward()
        zero_centred_penalty(network, images, labels).backward()
    return gradients(network)


@pytest.fixture
def batch():
    torch.manual_seed(1)
    return torch.randn(3, 3, 16, 16), torch.tensor([0, 2, 2])


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("normalised", [True, False])
def test_the_gradient_is_that_of_automatic_differentiation(kind, normalised):
    layer = LAYERS[kind]().double()
    torch.nn.init.normal_(layer.weight)
    if normalised:
        spectral.attach(layer)
    probe = torch.randn_like(layer.kernel)
    weight, norm = layer.weight, layer.spectral_norm
    divisor = 1
    if norm is not None:
        divisor = torch.einsum("o,oi,i->", norm.u, weight.flatten(1), norm.v)
    expected_kernel = layer.fold(weight / divisor)
    (expected,) = torch.autograd.grad(expected_kernel, weight, probe)
    for times in (1, 2):  # gradients add up
        with kept_kernels(layer):
            torch.testing.assert_close(layer.kernel, expected_kernel, rtol=0, atol=1e-12)
            (layer.kernel * probe).sum().backward()
        torch.testing.assert_close(weight.grad, times * expected, rtol=0, atol=1e-12)
        assert weight.grad.stride() == weight.stride()


@pytest.mark.parametrize("kind", ["conv", "shortcut", "no bias"])
def test_a_large_weight_is_not_copied_and_its_product_is_divided(kind, monkeypatch):
    layer = Conv2d(6, 8, 3, bias=False) if kind == "no bias" else LAYERS[kind]()
    is_large = kind != "shortcut"
    monkeypatch.setattr(convolution, "LARGE", 200)
    layer = spectral.spectral_norm(layer).double()
    torch.nn.init.normal_(layer.weight)
    x, probe = torch.randn(2, 6, 5, 5).double(), torch.randn(2, 8, 5, 5).double()
    expected = layer(x)
    (expected * probe).sum().backward()
    wanted = gradients(layer)
    layer.zero_grad()
    with kept_kernels(layer):
        assert (layer.kept_kernel.data_ptr() == layer.weight.data_ptr()) is is_large
        out = layer(x)
        (out * probe).sum().backward()
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(gradients(layer), wanted, rtol=0, atol=1e-12)
    assert layer.kept_sigma is None


@pytest.mark.parametrize("large", [1, convolution.LARGE])
@pytest.mark.parametrize("norm", ["all", "attention"])
def test_networks_have_the_gradients_of_passes_without_kept_kernels(
    batch, norm, large, monkeypatch
):
    monkeypatch.setattr(convolution, "LARGE", large)
    network = discriminator(spectral_norm=norm).double()
    images, labels = batch[0].double(), batch[1]
    expected = judged(network, images, labels, kept=False)
    found = judged(network, images, labels, kept=True)
    assert found.keys() == expected.keys()
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_under_autocast_kernels_are_rounded_once_and_gradients_within_that():
    torch.manual_seed(0)
    block = spectral.spectral_norm(GeneratorBlock(16, 8))
    x = torch.randn(4, 16, 8, 8)

    def passed(kept):
        block.zero_grad()
        with kept_kernels(block, BFLOAT16) if kept else nullcontext():
            with BFLOAT16:
                out = block(x)
            out.float().square().mean().backward()
        return {"out": out.detach()} | gradients(block)

    expected, found = passed(False), passed(True)
    for name, value in expected.items():
        error = (found[name] - value).norm() / value.norm()
        assert error < 0.01, name
        assert found[name].dtype == value.dtype


def test_kernels_are_kept_in_the_precision_of_their_products(batch):
    network = discriminator()
    with kept_kernels(network, BFLOAT16), BFLOAT16:
        assert network.blocks[0].conv1.kernel.dtype == torch.bfloat16
        assert network.linear.kernel.dtype == network.embedding.kernel.dtype == torch.float32
        with torch.profiler.profile(record_shapes=True) as profile:
            network(*batch)
    kernels = {tuple(block.conv1.kernel.shape) for block in network.blocks}
    cast = {tuple(e.input_shapes[0]) for e in profile.events() if e.name == "aten::_to_copy"}
    assert cast  # biases
    assert not cast & kernels


def test_a_pass_in_full_precision_takes_the_rounded_kernel():
    layer = Conv2d(6, 8, 3)
    torch.nn.init.normal_(layer.weight)
    with kept_kernels(layer, BFLOAT16):
        assert layer.kernel.dtype == torch.float32
        assert torch.equal(layer.kernel, layer.weight.bfloat16().float())
        layer(torch.randn(1, 6, 4, 4)).sum().backward()
    assert layer.weight.grad.dtype == torch.float32


def test_blocks_may_be_nested_and_the_outermost_counts(batch):
    network = discriminator()
    conv = network.blocks[0].conv1
    with kept_kernels(network, BFLOAT16):
        kernel = conv.kept_kernel
        with kept_kernels(network):
            assert conv.kept_kernel is kernel
        assert conv.kept_kernel is kernel
    assert conv.kept_kernel is None


def test_a_fault_within_leaves_nothing_behind():
    network = discriminator()
    with pytest.raises(ZeroDivisionError), kept_kernels(network):
        1 / 0  # noqa: B018
    assert all(getattr(layer, "kept_kernel", None) is None for layer in network.modules())


def test_frozen_weights_get_no_gradient_and_pictures_do(batch):
    network = discriminator()
    network.requires_grad_(False)
    network.blocks[1].requires_grad_(True)
    images = batch[0].requires_grad_()
    with kept_kernels(network):
        network(images, batch[1]).sum().backward()
    assert images.grad.abs().sum() > 0
    assert gradients(network).keys() == {
        name for name, _ in network.named_parameters() if name.startswith("blocks.1.")
    }
    with torch.no_grad(), kept_kernels(network):
        assert not any(p.requires_grad for p in (network.blocks[1].conv1.kernel,))


def test_gradients_gather_in_the_precision_of_the_weights():
    layer = Conv2d(6, 8, 1)
    probe = torch.full((8, 6, 1, 1), 2.0**-9)
    with kept_kernels(layer, BFLOAT16):
        for portion in (torch.ones(8, 6, 1, 1), probe, probe):
            (layer.kept_kernel * portion.bfloat16()).sum().backward()
    assert torch.equal(layer.weight.grad, torch.full((8, 6, 1, 1), 1 + 2.0**-8))


def test_a_kernel_that_is_its_weight_is_not_copied():
    layer = Conv2d(6, 8, 3)
    with kept_kernels(layer):
        assert layer.kernel is layer.weight
