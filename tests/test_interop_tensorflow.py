"""The authors' variables, written from our networks name by name as their code makes them."""

import numpy as np
import pytest
import torch

from sagan import config as settings
from sagan.errors import SaganError
from sagan.interop.conversion import convert_files
from sagan.nn.layers import Embedding
from sagan.nn.residual import make_discriminator, make_generator
from sagan.sampling.generator import generator_of

SIZE = {"resolution": 128, "num_classes": 3}
CONFIG = settings.from_dict(
    {"generator": {"base_channels": 8}, "discriminator": {"base_channels": 8}}
)


def drawn(network):
    """Away from the first state, with singular vectors that have not converged."""
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.copy_(torch.rand_like(tensor) + 0.5)
        elif "spectral_norm" not in name:
            tensor += 0.1 * torch.randn_like(tensor)
    return network.eval()


def weights(layer):
    """The variables of a convolution or linear layer; moves its u to where evaluation finds it."""
    u = torch.nn.functional.normalize(
        layer.spectral_norm.u + 0.1 * torch.randn_like(layer.spectral_norm.u), dim=0
    )
    layer.spectral_norm.u.copy_(u)
    layer.spectral_norm.advance(layer.weight)
    found = {"u": u[None]}
    if layer.weight.ndim == 4:
        found["w"] = layer.weight.permute(2, 3, 1, 0)  # height, width, in, out
        if layer.bias is not None:
            found["biases"] = layer.bias
    elif isinstance(layer, Embedding):
        found["embedding_map"] = layer.weight
    else:
        found["Matrix"] = layer.weight.T
        found["bias"] = layer.bias
    return found


def class_norm(layer):
    statistics = (layer.running_mean, layer.running_var)
    mean, variance = (tensor[None, None, None] for tensor in statistics)
    return {"gamma": layer.gain, "beta": layer.bias, "mean": mean, "var": variance}


def last_norm(layer):
    return {
        "gamma": layer.gain[0],
        "beta": layer.bias[0],
        "moving_mean": layer.running_mean,
        "moving_variance": layer.running_var,
    }


def attention(layer, scope):
    parts = {"theta": layer.query, "phi": layer.key, "g": layer.value, "attn": layer.out}
    found = {f"{scope}/sn_conv_{name}": weights(part) for name, part in parts.items()}
    return found | {scope: {"sigma_ratio": layer.gamma}}


def variables(generator, discriminator):
    """Scope -> name -> tensor."""
    linear = weights(generator.linear)
    rows = torch.arange(generator.linear.weight.shape[0]).view(-1, 4, 4).permute(1, 2, 0).flatten()
    linear = {  # outputs as 4 x 4 x channels
        "Matrix": linear["Matrix"][:, rows],
        "bias": linear["bias"][rows],
        "u": linear["u"][:, rows],
    }
    scopes = {"g_snh0": linear, "g_snconv_last": weights(generator.out)}
    scopes["g_bn"] = last_norm(generator.norm)
    for number, block in enumerate(generator.blocks, start=1):
        scope = f"g_block{number}"
        for i, layer in enumerate((block.conv1, block.conv2, block.shortcut), start=1):
            scopes[f"{scope}/snconv{i}"] = weights(layer)
        scopes[f"{scope}/cbn_0"] = class_norm(block.norm1)
        scopes[f"{scope}/cbn_1"] = class_norm(block.norm2)
    for number, block in enumerate(discriminator.blocks, start=1):
        scope = "d_optimized_block1" if number == 1 else f"d_block{number}"
        layers = [block.conv1, block.conv2]
        layers += [] if isinstance(block.shortcut, torch.nn.Identity) else [block.shortcut]
        for i, layer in enumerate(layers, start=1):
            scopes[f"{scope}/sn_conv{i}"] = weights(layer)
    scopes |= attention(generator.attention["32"], "g_non_local")
    scopes |= attention(discriminator.attention["32"], "d_non_local")
    scopes["d_sn_linear"] = weights(discriminator.linear)
    scopes["d_embedding"] = weights(discriminator.embedding)
    return {
        f"model/{scope}/{name}": tensor.detach().numpy()
        for scope, named in scopes.items()
        for name, tensor in named.items()
    }


@pytest.fixture
def networks():
    with torch.no_grad():
        return (
            drawn(make_generator(CONFIG.generator, **SIZE)),
            drawn(make_discriminator(CONFIG.discriminator, **SIZE)),
        )


@torch.no_grad()
def test_variables_of_both_networks(networks, tmp_path):
    generator, discriminator = networks
    found = variables(generator, discriminator)
    extra = {"global_step": np.int64(7), "model/g_snh0/Matrix/Adam_1": np.zeros(3)}
    np.savez(tmp_path / "model.npz", **found, **extra)
    checkpoint, _ = convert_files([tmp_path / "model.npz"])
    config = checkpoint.config.generator
    assert (config.batch_norm_eps, config.attention) == (1e-5, (32,))
    assert settings.differences(config, CONFIG.generator) == [
        "channels ((16, 16, 8, 4, 2, 1) and ())"
    ]
    latents, labels = torch.randn(2, 128), torch.tensor([0, 2])
    images = generator(latents, labels)
    converted = generator_of(checkpoint, "generator").network
    torch.testing.assert_close(converted(latents, labels), images, rtol=0, atol=1e-5)
    other = make_discriminator(checkpoint.config.discriminator, **SIZE)
    other.load_state_dict(dict(checkpoint.parts["discriminator"]))
    logits = discriminator(images, labels)
    scale = logits.abs().max()
    torch.testing.assert_close(other(images, labels), logits, rtol=0, atol=float(2e-6 * scale))


def test_names_may_carry_output_numbers_and_lack_the_scope(networks, tmp_path):
    with torch.no_grad():
        found = variables(*networks)
    np.savez(
        tmp_path / "model.npz",
        **{name.removeprefix("model/") + ":0": array for name, array in found.items()},
    )
    checkpoint, _ = convert_files([tmp_path / "model.npz"])
    assert list(checkpoint.parts) == ["generator", "discriminator"]


def test_missing_variables_are_named(networks, tmp_path):
    with torch.no_grad():
        found = variables(*networks)
    for name in ("model/g_block2/cbn_1/gamma", "model/g_snh0/Matrix", "model/g_snconv_last/biases"):
        del found[name]
    np.savez(tmp_path / "model.npz", **found)
    with pytest.raises(SaganError) as caught:
        convert_files([tmp_path / "model.npz"])
    for name in ("g_block2/cbn_1/gamma", "g_snh0/Matrix", "g_snconv_last/biases"):
        assert name in str(caught.value)
