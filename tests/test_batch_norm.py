import pytest
import torch
from torch.nn import functional as F

from sagan.errors import SaganError
from sagan.nn import spectral
from sagan.nn.batch_norm import ConditionalBatchNorm2d
from sagan.nn.initialization import initialized_by

EXACT = {"rtol": 0, "atol": 1e-12}


def test_conditional_batch_norm_is_batch_norm_with_the_row_of_the_label():
    layer = ConditionalBatchNorm2d(3, 2, eps=1e-5, momentum=0.1)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    layer.double()
    x = torch.randn(4, 3, 5, 5).double()
    labels = torch.tensor([0, 1, 1, 0])
    plain = F.batch_norm(x, None, None, training=True, eps=1e-5)
    expected = torch.stack(
        [
            plain[i] * layer.gain[y][:, None, None] + layer.bias[y][:, None, None]
            for i, y in enumerate(labels)
        ]
    )
    torch.testing.assert_close(layer(x, labels), expected, **EXACT)


def test_conditional_batch_norm_starts_as_plain_and_evaluates_with_running_statistics():
    layer = ConditionalBatchNorm2d(2, 3, eps=1e-5, momentum=1.0).double()
    x = 5 + 2 * torch.randn(8, 2, 16, 16).double()
    labels = torch.arange(8) % 3
    trained = layer(x, labels)
    torch.testing.assert_close(trained.mean((0, 2, 3)), torch.zeros(2).double(), **EXACT)
    layer.eval()
    torch.testing.assert_close(layer(x, labels), trained, rtol=0, atol=2e-3)
    before = layer.running_mean.clone()
    layer(x, labels)
    assert torch.equal(before, layer.running_mean)


def class_tables(tables):
    with initialized_by("orthogonal"):
        layer = ConditionalBatchNorm2d(6, 4, tables=tables)
    if tables == "spectral":
        spectral.attach(layer)
        spectral.advance(layer, 50)
    return layer


def test_class_tables_start_at_one_and_zero_or_are_drawn():
    gain, bias = class_tables("plain").affine
    assert torch.equal(gain, torch.ones(4, 6))
    assert torch.equal(bias, torch.zeros(4, 6))
    for table in (class_tables("drawn").affine[0] - 1, class_tables("drawn").affine[1]):
        torch.testing.assert_close(table @ table.T, torch.eye(4))


def test_spectral_class_tables_are_divided_by_their_largest_singular_value():
    layer = class_tables("spectral").double()
    with torch.no_grad():
        layer.gain.weight *= 7
        layer.bias.weight *= 0.2
    gain, bias = layer.affine
    for table in (gain - 1, bias):
        assert torch.linalg.matrix_norm(table, 2).item() == pytest.approx(1)
    x, labels = torch.randn(3, 6, 2, 2).double(), torch.tensor([3, 0, 3])
    plain = F.batch_norm(x, None, None, training=True, eps=1e-5)
    expected = plain * gain[labels][:, :, None, None] + bias[labels][:, :, None, None]
    torch.testing.assert_close(layer(x, labels), expected, **EXACT)


@pytest.mark.parametrize("training", [True, False])
def test_latents_add_to_gains_and_biases_from_0_on(training):
    layer = ConditionalBatchNorm2d(6, 4, momentum=1, latent_dim=5).double()
    plain = ConditionalBatchNorm2d(6, 4, momentum=1).double()
    x, latents, labels = torch.randn(3, 6, 2, 2), torch.randn(3, 5), torch.tensor([3, 0, 3])
    x, latents = x.double(), latents.double()
    assert torch.equal(layer(x, labels, latents), plain(x, labels))
    layer.train(training)
    with torch.no_grad():
        layer.latent.normal_()
        layer.gain.normal_()
    normalized = plain.train(training)(x, labels)
    gain, bias = (latents @ weight.T for weight in layer.latent.chunk(2))
    gain = gain + layer.gain[labels]
    expected = normalized * gain[:, :, None, None] + bias[:, :, None, None]
    torch.testing.assert_close(layer(x, labels, latents), expected, **EXACT)


def test_latents_that_are_missing_are_asked_for():
    layer = ConditionalBatchNorm2d(6, 4, latent_dim=5)
    with pytest.raises(SaganError, match="give it latents"):
        layer(torch.randn(2, 6, 2, 2), torch.tensor([0, 3]))


def test_a_network_without_classes_has_plain_tables():
    layer = ConditionalBatchNorm2d(6, 0, eps=1e-5, momentum=0.1, tables="spectral")
    assert torch.equal(layer.gain, torch.ones(1, 6))


def test_one_value_is_no_batch_and_none_is_one():
    layer = ConditionalBatchNorm2d(3)
    with pytest.raises(SaganError, match="two values per channel"):
        layer(torch.randn(1, 3, 1, 1))
    assert layer(torch.randn(0, 3, 4, 4)).shape == (0, 3, 4, 4)
    assert layer.running_var.isfinite().all()


def test_gradients_in_float16_do_not_overflow():
    x = torch.randn(4, 8, 64, 64).half()
    found = []
    for layer in (ConditionalBatchNorm2d(8), torch.nn.BatchNorm2d(8)):
        inputs = x.clone().requires_grad_()
        layer.half()(inputs).backward(torch.full_like(x, 40.0))
        found.append(inputs.grad)
    assert found[0].isfinite().all()
    torch.testing.assert_close(*found, rtol=0, atol=0.02)
