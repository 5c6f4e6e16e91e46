"""Out and in again: other repositories' files from our checkpoints."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_interop import golden, require_equal, run, unconverged

import sagan
from sagan import config as settings
from sagan.errors import SaganError
from sagan.interop.conversion import convert_files
from sagan.interop.foreign_files import read
from sagan.interop.writing import write
from sagan.nn.residual import make_discriminator, make_generator
from sagan.runs import checkpoint as checkpoints


def both(name):
    paths = golden(name)
    return convert_files([paths["G"], paths["D"]])[0]


def reopened(checkpoint, target, tmp_path):
    paths, reasons = write(checkpoint, target, tmp_path)
    assert not reasons
    return convert_files(paths)[0]


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("biggan_32", "biggan"),
        ("studiogan_32", "studiogan"),
        ("mmgen_nosn_32", "mmgen"),
        ("biggan_32", "mmgen"),
        ("mmgen_sn_32", "mmgen"),
        ("studiogan_old_32", "studiogan"),
    ],
)
def test_out_and_in_computes_the_same(name, target, tmp_path):
    again = reopened(both(name), target, tmp_path)
    checkpoints.save(again, tmp_path / "again.safetensors")
    require_equal(
        sagan.load_generator(tmp_path / "again.safetensors"),
        sagan.load_discriminator(tmp_path / "again.safetensors"),
        load_file(golden(name)["io"]),
        attention_tolerance=2e-6,  # rounded twice
    )


@pytest.mark.parametrize(
    ("name", "target"),
    [("biggan_32", "biggan"), ("studiogan_32", "studiogan"), ("mmgen_nosn_32", "mmgen")],
)
def test_names_and_shapes_are_those_of_the_repository(name, target, tmp_path):
    paths, _ = write(both(name), target, tmp_path)
    networks = [torch.load(path, weights_only=True) for path in paths]
    written = {}
    for network in networks:
        written |= network.get("state_dict", network)
    expected = {}
    for part, prefix in (("G", "generator."), ("D", "discriminator.")):
        tensors = load_file(golden(name)[part])
        expected |= {(prefix if target == "mmgen" else "") + k: v for k, v in tensors.items()}
    assert {k: v.shape for k, v in written.items()} == {k: v.shape for k, v in expected.items()}
    vectors = ("_u", "_v", "u0", "sv0", "num_batches_tracked")
    tables = ("gain.weight_orig", "bias.weight_orig")  # written divided by sigma
    for key, tensor in expected.items():
        if not key.endswith(vectors + tables):
            torch.testing.assert_close(written[key], tensor, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("target", ["studiogan", "mmgen"])
def test_class_tables_trained_under_spectral_norm_go_out(target, tmp_path):
    checkpoint = ours({"class_tables": "spectral"}, {"shortcut_input": "relu"})
    tensors = dict(checkpoint.parts["generator"])
    for name, table in checkpoint.parts["generator"].items():
        if name.endswith((".gain.weight", ".bias.weight")):
            u, _, v = torch.linalg.svd(table)
            norm = name.removesuffix("weight") + "spectral_norm"
            tensors[f"{norm}.u"], tensors[f"{norm}.v"] = u[:, 0], v[0]
    checkpoint = replace(checkpoint, parts={**checkpoint.parts, "generator": tensors})
    paths, reasons = write(checkpoint, target, tmp_path)
    assert not reasons
    again = convert_files(paths)[0]
    torch.testing.assert_close(images_of(again), images_of(checkpoint), rtol=0, atol=2e-5)


def test_unconverged_vectors_of_biggan_come_back(tmp_path):
    tensors = unconverged(load_file(golden("biggan_32")["G"]))
    torch.save(tensors, tmp_path / "G.pth")
    checkpoint = convert_files([tmp_path / "G.pth"])[0]
    again = reopened(checkpoint, "biggan", tmp_path / "out")
    for name, tensor in checkpoint.parts["generator"].items():
        torch.testing.assert_close(again.parts["generator"][name], tensor, rtol=0, atol=2e-5)


def ours(generator=None, discriminator=None, classes=("a", "b"), **data):
    """A checkpoint of ours at the size of StudioGAN's CIFAR networks."""
    config = settings.from_dict(
        {
            "data": {"resolution": 32, "labels": "found" if classes else "none", **data},
            "generator": {
                "base_channels": 8,
                "channels": [4, 4, 4, 4],
                "attention": [16],
                **(generator or {}),
            },
            "discriminator": {
                "base_channels": 8,
                "channels": [2, 2, 2, 2],
                "final_resolution": 8,
                "attention": [16],
                **(discriminator or {}),
            },
        }
    )
    size = {"resolution": 32, "num_classes": len(classes)}
    networks = {
        "generator": make_generator(config.generator, **size),
        "discriminator": make_discriminator(config.discriminator, **size),
    }
    for network in networks.values():
        for layer in network.attention.values():
            layer.gamma.data.fill_(0.5)
        for name, tensor in network.state_dict().items():
            if name.endswith(("gain", "bias", "running_var")):
                tensor += 0.1 * torch.rand_like(tensor)
    parts = {name: network.state_dict() for name, network in networks.items()}
    return checkpoints.Checkpoint(config=config, class_names=tuple(classes), step=3, parts=parts)


def images_of(checkpoint):
    generator = sagan.sampling.generator.generator_of(checkpoint, "generator")
    labels = torch.arange(4) % max(len(checkpoint.class_names), 1)
    latents = torch.randn(4, generator.latent_dim, generator=torch.Generator().manual_seed(1))
    return generator(latents, labels)


@pytest.mark.parametrize(
    ("target", "classes", "generator"),
    [
        ("mmgen", ("a", "b"), {"batch_norm_eps": 1e-3}),
        ("mmgen", ("a", "b"), {"spectral_norm": "none"}),
        ("mmgen", ("a", "b"), {"spectral_norm": "attention", "attention": []}),
        ("mmgen", ("a", "b"), {"spectral_norm": "attention"}),
        ("studiogan", ("a", "b"), {"spectral_norm": "none"}),
        ("mmgen", ("a", "b"), {"channels": [8, 4, 2, 1], "base_channels": 16}),
        ("mmgen", (), {}),
        ("studiogan", (), {"batch_norm_eps": 1e-3}),
    ],
)
def test_networks_of_ours_go_out_and_in(target, classes, generator, tmp_path):
    relu = {"shortcut_input": "relu"} if target == "studiogan" else {}
    checkpoint = ours(generator, relu, classes)
    again = reopened(checkpoint, target, tmp_path)
    torch.testing.assert_close(images_of(again), images_of(checkpoint), rtol=0, atol=1e-5)
    assert (
        again.config.discriminator.shortcut_input == checkpoint.config.discriminator.shortcut_input
    )


@pytest.mark.parametrize(
    ("target", "changes", "words"),
    [
        ("biggan", {"generator": {"channels": [8, 4, 2, 1]}}, ["generator", "8", "multiples"]),
        ("studiogan", {}, ["generator", "singular value"]),
        ("studiogan", {}, ["discriminator", "before the ReLU"]),
        ("biggan", {"discriminator": {"shortcut_input": "relu"}}, ["output of the ReLU"]),
        ("biggan", {}, ["discriminator", "attention after some"]),
        ("biggan", {"classes": ()}, ["without classes"]),
        ("mmgen", {"generator": {"upsampling": "bilinear"}}, ["bilinear"]),
        ("mmgen", {"generator": {"latent_skips": True}}, ["act on every block"]),
        ("mmgen", {"generator": {"attention_value_divisor": 8}}, ["released"]),
        ("mmgen", {"generator": {"attention_product": "cosine"}}, ["released"]),
        ("biggan", {"generator": {"spectral_norm": "attention"}}, ["everywhere or nowhere"]),
        ("biggan", {"discriminator": {"spectral_norm": "none"}}, ["without spectral norm"]),
        ("studiogan", {"discriminator": {"spectral_norm": "none"}}, ["without spectral norm"]),
        ("mmgen", {"generator": {"channels": [8, 4, 2, 3]}}, ["generator", "multiples", "24"]),
        ("studiogan", {"discriminator": {"spectral_norm": "attention"}}, ["everywhere or nowhere"]),
        ("mmgen", {"discriminator": {"hidden_channels": "in"}}, ["thin"]),
        ("mmgen", {"discriminator": {"final_resolution": 4}}, ["down to 4"]),
    ],
)
def test_what_cannot_be_exact_is_said(target, changes, words, tmp_path):
    try:
        _, reasons = write(ours(**changes), target, tmp_path)
        message = "; ".join(reasons)
    except SaganError as error:
        message = str(error)
        assert not list(tmp_path.iterdir())
    for word in words:
        assert word in message


def test_vectors_of_training_do_not_fit_one_iteration(tmp_path):
    checkpoint = ours({"attention": []}, {"attention": []})
    parts = {name: dict(tensors) for name, tensors in checkpoint.parts.items()}
    weight = parts["generator"]["blocks.0.conv1.weight"]
    parts["generator"]["blocks.0.conv1.weight"] = weight + 0.05 * torch.randn_like(weight)
    [path], [reason] = write(replace(checkpoint, parts=parts), "biggan", tmp_path)
    assert path.name == "D.pth"
    assert "blocks.0.conv1" in reason


def test_attention_deep_in_mmgenerations_discriminator_has_its_flavour(tmp_path):
    checkpoint = ours(discriminator={"attention": [16, 8]})
    paths, _ = write(checkpoint, "mmgen", tmp_path)
    [discriminator] = [n for n in read(paths[0]) if "discriminator" in n.source]
    assert "conv_blocks.0.theta.conv.weight_orig" in discriminator.tensors
    assert "conv_blocks.2.theta.conv.u0" in discriminator.tensors
    again = convert_files(paths)[0]
    assert again.config.discriminator.attention == (16, 8)


def test_command_writes_the_other_way(tmp_path, capsys):
    checkpoints.save(both("studiogan_32"), tmp_path / "model.safetensors")
    model, folder = tmp_path / "model.safetensors", tmp_path / "out"
    assert run("convert", model, "--to", "studiogan", "-o", folder) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(Path(line).exists() for line in lines)
    assert len(lines) == 2
    assert run("convert", model, "--to", "biggan", "-o", tmp_path / "other") == 0
    printed = capsys.readouterr().out
    assert "discriminator left out" in printed
    assert run("convert", model, model, "--to", "biggan", "-o", tmp_path / "more") == 2
    assert run("convert", golden("biggan_32")["G"], "--to", "biggan", "-o", tmp_path / "more") == 2
    capsys.readouterr()
    assert run("convert", model, "--to", "biggan", "--colours", "bgr", "-o", tmp_path / "more") == 2
    assert "--colours is about files of others" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_an_error_that_can_be_told(tmp_path, monkeypatch):
    monkeypatch.setattr("sagan.interop.writing.replacing", lambda _: nullcontext(Path("/dev/full")))
    with pytest.raises(OSError, match="No space left"):
        write(ours(), "mmgen", tmp_path)


def random_64(final_resolution):
    """Networks of mmgeneration's widths at 64 pixels; its discriminator halves at every block."""
    config = settings.from_dict(
        {
            "data": {"resolution": 64},
            "generator": {"base_channels": 8, "latent_dim": 16},
            "discriminator": {"base_channels": 8, "final_resolution": final_resolution},
        }
    )
    shape = {"resolution": 64, "num_classes": 3}
    networks = {
        "generator": make_generator(config.generator, **shape),
        "discriminator": make_discriminator(config.discriminator, **shape),
    }
    parts = {part: network.state_dict() for part, network in networks.items()}
    names = ("ant", "bee", "cat")
    return checkpoints.Checkpoint(config=config, class_names=names, step=0, parts=parts), networks


def test_at_64_pixels_mmgenerations_discriminator_ends_at_2_by_2(tmp_path):
    checkpoint, networks = random_64(2)
    again = reopened(checkpoint, "mmgen", tmp_path)
    assert again.config.discriminator.final_resolution == 2
    images, labels = torch.rand(4, 3, 64, 64) * 2 - 1, torch.tensor([0, 1, 2, 0])
    checkpoints.save(again, tmp_path / "again.safetensors")
    ours = networks["discriminator"].eval()(images, labels)
    theirs = sagan.load_discriminator(tmp_path / "again.safetensors")(images, labels)
    torch.testing.assert_close(theirs, ours)
    _, reasons = write(random_64(4)[0], "mmgen", tmp_path)  # keys would not show it
    assert any("goes down to 4" in reason for reason in reasons)
