import math

import pytest
import torch
from torch.nn import functional as F

from sagan.config import DiscriminatorConfig, GeneratorConfig
from sagan.errors import SaganError
from sagan.nn import spectral
from sagan.nn.batch_norm import ConditionalBatchNorm2d
from sagan.nn.blocks import DiscriminatorBlock, EqualResidual2d, GeneratorBlock
from sagan.nn.convolution import Conv2d, DownsampleConv2d, UpsampleConv2d
from sagan.nn.layers import SelfAttention2d, class_rows
from sagan.nn.residual import make_discriminator, make_generator

EXACT = {"rtol": 0, "atol": 1e-12}


def drawn(layer):
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return layer.double()


def same_with_gradients(layer, plain, x):
    """Both forms agree in value and in the gradients of input, weight and bias."""
    results = []
    for function in (layer, plain):
        x = x.detach().clone().requires_grad_()
        out = function(x)
        probe = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).sin().view_as(out)
        parameters = list(layer.parameters())
        results.append((out, *torch.autograd.grad(out, [x, *parameters], probe)))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, **EXACT)


# Odd and even sizes, one pixel wide, and maps that are no square: every kind of border.
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 4), (8, 8)])
def test_upsample_conv_is_nearest_upsampling_then_convolution(size):
    layer = drawn(UpsampleConv2d(3, 5))

    def plain(x):
        return F.conv2d(F.interpolate(x, scale_factor=2), layer.weight, layer.bias, padding=1)

    same_with_gradients(layer, plain, torch.randn(2, 3, *size).double())


@pytest.mark.parametrize("size", [(2, 2), (4, 6), (8, 8), (10, 2)])
def test_downsample_conv_is_convolution_then_average_pooling(size):
    layer = drawn(DownsampleConv2d(3, 5))

    def plain(x):
        return F.avg_pool2d(F.conv2d(x, layer.weight, layer.bias, padding=1), 2)

    same_with_gradients(layer, plain, torch.randn(2, 3, *size).double())


def test_shortcut_of_generator_block_commutes_with_upsampling():
    layer = drawn(Conv2d(3, 5, 1))
    same_with_gradients(
        lambda_module(layer, lambda x: F.interpolate(layer(x), scale_factor=2)),
        lambda x: layer(F.interpolate(x, scale_factor=2)),
        torch.randn(2, 3, 3, 4).double(),
    )


def test_shortcut_of_discriminator_block_commutes_with_pooling():
    layer = drawn(Conv2d(3, 5, 1))
    same_with_gradients(
        lambda_module(layer, lambda x: layer(F.avg_pool2d(x, 2))),
        lambda x: F.avg_pool2d(layer(x), 2),
        torch.randn(2, 3, 4, 6).double(),
    )


def lambda_module(layer, function):
    class Wrapped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return function(x)

    return Wrapped()


def attention(channels=16, gamma=0.7):
    layer = drawn(SelfAttention2d(channels))
    torch.nn.init.constant_(layer.gamma, gamma)
    return layer


def test_attention_is_the_identity_at_first_and_gamma_learns():
    layer = SelfAttention2d(16)
    for conv in (layer.query, layer.key, layer.value, layer.out):
        torch.nn.init.normal_(conv.weight)
    x = torch.randn(2, 16, 6, 6)
    y = layer(x)
    assert torch.equal(x, y)
    y.square().sum().backward()
    assert layer.gamma.grad is not None
    assert layer.gamma.grad.abs() > 0


def test_attention_equals_loops_over_positions():
    layer = attention()
    layer.requires_grad_(False)
    x = torch.randn(1, 16, 4, 6).double()

    def project(conv, column):
        return conv.weight[:, :, 0, 0] @ column

    def pooled(conv, row, column):
        block = [(2 * row + i, 2 * column + j) for i in (0, 1) for j in (0, 1)]
        return torch.stack([project(conv, x[0, :, i, j]) for i, j in block]).amax(0)

    keys = [pooled(layer.key, i, j) for i in range(2) for j in range(3)]
    values = [pooled(layer.value, i, j) for i in range(2) for j in range(3)]
    expected = torch.empty_like(x)
    for i in range(4):
        for j in range(6):
            query = project(layer.query, x[0, :, i, j])
            scores = [math.exp(query @ key) for key in keys]
            attended = sum(s / sum(scores) * v for s, v in zip(scores, values, strict=True))
            expected[0, :, i, j] = x[0, :, i, j] + layer.gamma * project(layer.out, attended)
    torch.testing.assert_close(layer(x), expected, **EXACT)


def test_attention_rows_are_the_weights_the_fused_path_uses():
    layer = attention()
    x = torch.randn(2, 16, 6, 4).double()
    rows = layer.attention_rows(x, torch.arange(24))
    torch.testing.assert_close(rows.sum(2), torch.ones(2, 24).double(), **EXACT)
    values = F.max_pool2d(layer.value(x), 2).flatten(2).mT  # (N, keys, C/2)
    attended = (rows @ values).mT.unflatten(2, (6, 4))
    torch.testing.assert_close(layer(x), x + layer.gamma * layer.out(attended), **EXACT)


def test_cosine_attention_is_bounded_and_knows_no_lengths():
    layer = SelfAttention2d(16, product="cosine").double()
    torch.nn.init.constant_(layer.gamma, 1)
    x = torch.randn(2, 16, 8, 8, dtype=torch.float64)
    before, rows = layer(x), layer.attention_rows(x, torch.arange(64))
    keys = rows.shape[2]
    cosines = (rows.log() - rows.log().mean(dim=2, keepdim=True)) / math.log(keys)
    assert cosines.abs().max() <= 2  # each is within -1 and 1
    assert rows.max() < keys / (keys + (keys - 1) / keys)
    with torch.no_grad():
        for projection in (layer.query, layer.key):
            projection.weight.mul_(1000)
    torch.testing.assert_close(layer(x), before)
    plain = SelfAttention2d(16).double()
    plain.load_state_dict(layer.state_dict())
    assert plain.attention_rows(x, torch.arange(64)).max() > 0.999


def test_attention_gradients_of_the_fused_path_equal_the_explicit_ones():
    layer = attention()

    def explicit(x):
        rows = layer.attention_rows(x, torch.arange(x.shape[2] * x.shape[3]))
        values = F.max_pool2d(layer.value(x), 2).flatten(2).mT
        attended = (rows @ values).mT.unflatten(2, x.shape[2:])
        return x + layer.gamma * layer.out(attended)

    same_with_gradients(layer, explicit, torch.randn(2, 16, 4, 4).double())


@pytest.mark.parametrize(("channels", "side"), [(64, 32), (256, 16)])
def test_attention_in_bfloat16_is_within_a_hundredth(channels, side):
    layer = SelfAttention2d(channels)
    spectral.attach(layer, 1e-12)
    torch.nn.init.ones_(layer.gamma)
    inputs = torch.randn(2, channels, side, side)
    found = []
    for enabled in (False, True):
        x = inputs.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            y = layer(x)
        found.append((y.float(), *torch.autograd.grad(y.float().square().sum(), (x, layer.gamma))))
    for exact, rounded, tolerance in zip(*found, (1e-2, 3e-2, 3e-2), strict=True):
        assert (rounded - exact).norm() < tolerance * exact.norm()


def test_attention_takes_the_fused_kernel_and_keeps_no_map():
    layer = SelfAttention2d(64)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        output = layer(torch.randn(1, 64, 32, 32).requires_grad_())  # not channels_last either
    assert "Flash" in type(walk_to_attention(output.grad_fn)).__name__
    assert max(tensor.numel() for tensor in kept) < 32 * 32 * 16 * 16


def walk_to_attention(node):
    """The node of the attention product in a graph of gradients."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if "Attention" in type(node).__name__:
            return node
        waiting += [following for following, _ in node.next_functions if following is not None]
    raise AssertionError("no attention in the graph")


def test_labels_are_shares_of_one_class():
    table = torch.randn(3, 8, requires_grad=True)
    labels = torch.tensor([2, 0, 2, 1])
    picked = class_rows(table, labels)
    assert torch.equal(picked, table[labels])
    assert torch.equal(picked, class_rows(table, F.one_hot(labels, 3).double()))
    mixed = class_rows(table, torch.tensor([[0.5, 0.25, 0.25]]))
    torch.testing.assert_close(mixed[0], 0.5 * table[0] + 0.25 * (table[1] + table[2]))


def test_blocks_change_the_resolution_as_told():
    labels = torch.zeros(2, dtype=torch.int64)
    x = torch.randn(2, 8, 4, 4).double()
    block = drawn(GeneratorBlock(8, 4, 0, batch_norm_eps=1e-5, batch_norm_momentum=0.1))
    assert block(x, labels).shape == (2, 4, 8, 8)
    assert drawn(DiscriminatorBlock(8, 4))(x).shape == (2, 4, 2, 2)
    assert drawn(DiscriminatorBlock(8, 4, downsample=False))(x).shape == (2, 4, 4, 4)
    assert drawn(DiscriminatorBlock(8, 8, downsample=False))(x).shape == x.shape


@pytest.mark.parametrize("downsample", [True, False])
def test_without_gradients_blocks_give_the_same_and_leave_their_input(downsample):
    """Sums are then made in place."""
    x = torch.randn(2, 8, 4, 4)
    given = x.clone()
    for block in (GeneratorBlock(8, 8), DiscriminatorBlock(8, 8, downsample=downsample)):
        expected = drawn(block).float().eval()(x)
        with torch.no_grad():
            assert torch.equal(block(x), expected)
        assert torch.equal(x, given)


def test_discriminator_shortcut_sees_the_input_before_the_relu():
    block = DiscriminatorBlock(4, 4, downsample=False)
    for parameter in block.parameters():
        torch.nn.init.zeros_(parameter)
    x = -torch.ones(1, 4, 2, 2)
    assert torch.equal(block(x), x)


def test_spectral_norm_reaches_every_layer_with_a_kernel():
    block = GeneratorBlock(8, 4, 3, batch_norm_eps=1e-5, batch_norm_momentum=0.1)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    spectral.attach(block, 1e-12)
    assert len(list(spectral.spectral_norms(block))) == 3


@pytest.mark.parametrize("channels", [8, 16, 64, 256])
def test_the_block_to_compare_attention_with_is_as_large(channels):
    def parameters(layer):
        return sum(parameter.numel() for parameter in layer.parameters())

    block = EqualResidual2d(channels)
    assert parameters(block) == parameters(SelfAttention2d(channels))
    paper = parameters(SelfAttention2d(channels, value_divisor=8))
    assert abs(parameters(EqualResidual2d(channels, value_divisor=8)) - paper) <= 10 * channels
    x = torch.randn(2, channels, 6, 6)
    assert torch.equal(block(x), x)
    with torch.no_grad():
        block.gamma.fill_(1)
    changed = (block(x) - block(x.clone().index_fill_(3, torch.tensor([5]), 0))).abs()
    assert changed[..., 4:].max() > 0
    assert changed[..., :4].max() == 0  # it sees its neighbours only


def test_labels_of_another_form_are_refused():
    config = DiscriminatorConfig(base_channels=8, attention=())
    critic, images = (
        make_discriminator(config, resolution=32, num_classes=2),
        torch.randn(2, 3, 32, 32),
    )
    right = critic(images, torch.tensor([0, 1]))
    for dtype in (torch.uint8, torch.int32, torch.bool):
        assert torch.equal(critic(images, torch.tensor([0, 1]).to(dtype)), right)
    shares = torch.eye(2)
    torch.testing.assert_close(critic(images, shares), right)
    for labels in (torch.tensor([0.0, 1.0]), torch.tensor([0]), torch.tensor(0), torch.eye(3)[:2]):
        with pytest.raises(SaganError, match="the labels have the form"):
            critic(images, labels)
    plain = make_generator(GeneratorConfig(base_channels=8, attention=()), resolution=32).eval()
    latents = torch.randn(2, 128)
    assert torch.equal(plain(latents, torch.tensor([0, 1])), plain(latents))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SelfAttention2d(16, product="cosin"), "product = 'cosin'"),
        (lambda: SelfAttention2d(16, projections="bias"), "projections = 'bias'"),
        (lambda: ConditionalBatchNorm2d(4, 2, tables="spectrl"), "tables = 'spectrl'"),
        (lambda: GeneratorBlock(4, 4, upsampling="cubic"), "upsampling = 'cubic'"),
        (lambda: DiscriminatorBlock(4, 4, hidden_channels="inn"), "hidden_channels = 'inn'"),
        (lambda: DiscriminatorBlock(4, 4, shortcut_input="x"), "shortcut_input = 'x'"),
        (lambda: Conv2d(4, 4, 5), "kernel_size = 5"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(make, words):
    with pytest.raises(SaganError, match=words):
        make()


def test_attention_in_float16_does_not_overflow():
    layer = SelfAttention2d(128)
    torch.nn.init.ones_(layer.gamma)
    torch.nn.init.zeros_(layer.query.weight)  # all keys weigh alike
    torch.nn.init.constant_(layer.value.weight, 1 / 128)
    x = (50 + 50 * torch.rand(1, 128, 64, 64)).half()
    with torch.no_grad():
        out = layer.half()(x)
    assert out.isfinite().all()
