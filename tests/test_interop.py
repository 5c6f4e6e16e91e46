"""Networks of other repositories: golden inputs and outputs, and files as they write them."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import sagan
from sagan import cli
from sagan.errors import SaganError
from sagan.interop.conversion import convert_files
from sagan.interop.foreign_files import read
from sagan.interop.reading import Choices
from sagan.runs import checkpoint as checkpoints

HERE = Path(__file__).parent / "golden"
SHARED = Path(__file__).parent.parent.parent / "shared" / "golden"
NAMES = sorted(path.name.removesuffix("_io.safetensors") for path in HERE.glob("*_io.safetensors"))
LARGE = sorted(
    path.name.removesuffix("_io.safetensors") for path in SHARED.glob("*_64_io.safetensors")
)
FILES = sorted(path.name for path in (SHARED / "checkpoints").glob("*"))


def golden(name, folder=None):
    folder = folder or (HERE if name in NAMES else SHARED)
    return {part: folder / f"{name}_{part}.safetensors" for part in ("G", "D", "io")}


def opened(paths, tmp_path, **choices):
    """Converts, writes, and opens both networks."""
    checkpoint, _ = convert_files(paths, Choices(**choices))
    path = tmp_path / "converted.safetensors"
    checkpoints.save(checkpoint, path)
    return sagan.load_generator(path), sagan.load_discriminator(path)


def attention(network, inputs, labels):
    """The input of every attention layer of a network, for the first sample."""
    seen = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        for layer in network.network.attention.values()
    ]
    network(inputs, labels)
    for hook in hooks:
        hook.remove()
    return list(zip(network.network.attention.values(), seen, strict=True))


@torch.inference_mode()
def require_equal(generator, discriminator, expected, logits="logits", attention_tolerance=1e-6):
    labels = expected.get("labels", torch.zeros(4, dtype=torch.int64))
    images = generator(expected["latents"], labels)
    assert (images - expected["images_out"]).abs().max() <= 1e-5
    scale = expected["logits"].abs().max()
    difference = discriminator(expected["images"], labels) - expected[logits]
    assert difference.abs().max() <= 2e-6 * scale
    for letter, network, inputs in (
        ("G", generator, "latents"),
        ("D", discriminator, "images"),
    ):
        layers = attention(network, expected[inputs], labels)
        assert len(layers) == sum(
            key.startswith(f"attn_{letter}") and not key.endswith("rows") for key in expected
        )
        for number, (layer, x) in enumerate(layers):
            name = f"attn_{letter}_{number}"
            rows = expected.get(f"{name}_rows", torch.arange(len(expected[name])))
            found = layer.attention_rows(x, rows)[0]
            assert (found - expected[name]).abs().max() <= attention_tolerance


def test_there_are_golden_files_of_every_repository():
    assert len(NAMES) >= 6


@pytest.mark.parametrize("name", NAMES + LARGE)
def test_golden_outputs(name, tmp_path):
    paths = golden(name)
    require_equal(*opened([paths["G"], paths["D"]], tmp_path), load_file(paths["io"]))


@pytest.mark.parametrize("name", FILES)
def test_files_as_the_repositories_write_them(name, tmp_path):
    folder = SHARED / "checkpoints" / name
    left_out = ("optim", "state_dict", "ema")
    paths = [path for path in folder.rglob("*.pth") if not any(w in path.name for w in left_out)]
    require_equal(*opened(paths, tmp_path), load_file(golden(name)["io"]))


@pytest.mark.parametrize("name", ["mmgen_nosn_32", "mmgen_sn_32"])
def test_relu_in_place_is_a_choice(name, tmp_path):
    paths = golden(name)
    networks = opened([paths["G"], paths["D"]], tmp_path, shortcut_input="relu")
    require_equal(*networks, load_file(paths["io"]), logits="logits_inplace_relu")


def test_colours_are_a_choice(tmp_path):
    paths = golden("mmgen_sn_32")
    expected = load_file(paths["io"])
    generator, _ = opened([paths["G"], paths["D"]], tmp_path, bgr=False)
    images = generator(expected["latents"], expected["labels"]).flip(1)
    assert (images - expected["images_out"]).abs().max() <= 1e-5


def test_batch_norm_eps_and_gains_are_choices(tmp_path):
    paths = golden("biggan_32")
    expected = load_file(paths["io"])
    for choices in ({"batch_norm_eps": 1e-2}, {"gain_offset": 0.0}):
        generator, _ = opened([paths["G"], paths["D"]], tmp_path, **choices)
        images = generator(expected["latents"], expected["labels"])
        assert (images - expected["images_out"]).abs().max() > 1e-3


def unconverged(tensors):
    """Moves the stored singular vectors away from the leading ones."""
    return {
        name: torch.nn.functional.normalize(
            tensor + 0.5 * torch.randn_like(tensor) / tensor.numel() ** 0.5, dim=-1
        )
        if name.endswith(("weight_u", "weight_v", "u0"))
        else tensor
        for name, tensor in tensors.items()
    }


@pytest.mark.parametrize("name", ["studiogan_32", "biggan_32"])
def test_unconverged_singular_vectors_divide_as_in_their_repository(name, tmp_path):
    tensors = unconverged(load_file(golden(name)["G"]))
    save_file(tensors, tmp_path / "G.safetensors")
    checkpoint, _ = convert_files([tmp_path / "G.safetensors"])
    generator = sagan.sampling.generator.generator_of(checkpoint, "generator").network
    if name == "biggan_32":
        weight, u = tensors["output_layer.2.weight"], tensors["output_layer.2.u0"][0]
        v = torch.nn.functional.normalize(weight.flatten(1).T @ u, dim=0)
        sigma = (weight.flatten(1) @ v).norm()
    else:
        weight, u, v = (tensors[f"conv2d5.weight_{end}"] for end in ("orig", "u", "v"))
        sigma = u @ weight.flatten(1) @ v
    largest = torch.linalg.matrix_norm(weight.flatten(1), 2)
    assert sigma < 0.99 * largest
    torch.testing.assert_close(generator.out.weight, weight / sigma, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("part", ["G", "D"])
def test_one_network_alone(part, tmp_path):
    checkpoint, [network] = convert_files([golden("mimicry_32")[part]])
    assert list(checkpoint.parts) == [network.role]
    path = tmp_path / "alone.safetensors"
    checkpoints.save(sagan.sampling.generator.for_inference(checkpoint), path)
    load = {"G": sagan.load_generator, "D": sagan.load_discriminator}
    assert load.pop(part)(path).class_names == ("0", "1", "2", "3", "4")
    with pytest.raises(SaganError, match=r"no (generator|discriminator), only"):
        next(iter(load.values()))(path)


def test_state_dict_of_data_parallel(tmp_path):
    tensors = load_file(golden("biggan_32")["G"])
    torch.save({f"module.{k}": v for k, v in tensors.items()}, tmp_path / "G.pth")
    _, [network] = convert_files([tmp_path / "G.pth"])
    assert (network.layout.name, network.role) == ("biggan", "generator")


def changed(tmp_path, name, change):
    """A golden generator with something done to its tensors."""
    tensors = load_file(golden(name)["G"])
    change(tensors)
    save_file(tensors, tmp_path / "G.safetensors")
    return tmp_path / "G.safetensors"


def refusal(paths, **choices):
    with pytest.raises(SaganError) as caught:
        convert_files(paths, Choices(**choices))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_and_surplus_keys_are_all_named(tmp_path):
    def change(tensors):
        del tensors["blocks.1.0.conv2d1.weight_orig"], tensors["bn4.bias"]
        tensors["blocks.9.extra"] = torch.zeros(1)

    message = refusal([changed(tmp_path, "studiogan_32", change)])
    for word in ("blocks.1.0.conv2d1.weight_orig", "bn4.bias", "blocks.9.extra"):
        assert word in message


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("part", ["G", "D"])
def test_every_tensor_is_needed_and_has_its_shape(name, part, tmp_path):
    tensors = load_file(golden(name)[part])
    used = [key for key in tensors if not key.endswith(("num_batches_tracked", ".sv0"))]
    path = tmp_path / "changed.safetensors"
    for key in used[:: max(len(used) // 9, 1)]:
        save_file({k: v for k, v in tensors.items() if k != key}, path)
        assert key.rpartition(".")[0] in refusal([path])
        larger = torch.zeros([n + 1 for n in tensors[key].shape] or [2])
        save_file(tensors | {key: larger}, path)
        refusal([path])


def test_unknown_layouts_list_the_known_ones(tmp_path):
    save_file({"encoder.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    message = refusal([tmp_path / "other.safetensors"])
    for word in ("encoder.weight", "BigGAN-PyTorch", "mimicry", "TensorFlow"):
        assert word in message


def test_biggan_is_no_sagan(tmp_path):
    path = changed(tmp_path, "biggan_32", lambda t: t.update({"shared.weight": torch.zeros(5, 8)}))
    assert "BigGAN" in refusal([path])


def test_networks_must_belong_together(tmp_path):
    biggan, large = golden("biggan_32"), golden("mimicry_32")
    assert "two generators" in refusal([biggan["G"], large["G"]])

    def change(tensors):
        for key in [key for key in tensors if key.endswith(("gain.weight", "bias.weight"))]:
            tensors[key] = tensors[key][:4].clone()

    path = changed(tmp_path, "biggan_32", change)
    message = refusal([path, biggan["D"]])
    assert "4 classes" in message
    assert "5 classes" in message


class Hostile:
    def __reduce__(self):
        return print, ("this must never be printed",)


def test_hostile_pickles_are_refused_by_name(tmp_path, capsys):
    for number, content in enumerate([Hostile(), {"state_dict": Hostile()}]):
        path = tmp_path / f"{number}.pth"
        torch.save(content, path)
        assert "print" in refusal([path])
        path.write_bytes(pickle.dumps(content))
        refusal([path])
    assert capsys.readouterr().out == ""


def test_only_numbers_of_numpy_are_let_in(tmp_path):
    tensors = load_file(golden("studiogan_32")["D"])
    torch.save({"state_dict": tensors, "best_fid": np.float64(3.5)}, tmp_path / "D.pth")
    assert len(read(tmp_path / "D.pth")) == 1
    torch.save({"state_dict": tensors, "best": np.zeros(3)}, tmp_path / "D.pth")
    assert "_reconstruct" in refusal([tmp_path / "D.pth"])


def test_bad_files_are_refused(tmp_path):
    whole = golden("biggan_32")["G"].read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    torch.save(load_file(golden("biggan_32")["G"]), tmp_path / "whole.pth")
    written = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(written[: len(written) // 2])
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.pth").write_text("no checkpoint")
    (tmp_path / "text.npz").write_text("no arrays")
    np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object))
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"state": {}, "param_groups": []}, tmp_path / "optimiser.pth")
    torch.save({}, tmp_path / "nothing.pth")
    for path in sorted(tmp_path.iterdir()):
        if path.name != "whole.pth":
            assert path.name in refusal([path])
    assert "no file" in refusal([tmp_path / "absent.pth"])


def run(*arguments):
    try:
        cli.main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_command_converts_and_says_what_it_took_for_granted(tmp_path, capsys):
    paths, output = golden("mmgen_nosn_32"), tmp_path / "model.safetensors"
    names = tmp_path / "names.txt"
    names.write_text("ant\nbee\ncat\ndog\nelk\n")
    flags = ["--relu-in-place", "--colours", "rgb", "--class-names", names]
    assert run("convert", paths["G"], paths["D"], "-o", output, *flags) == 0
    printed = capsys.readouterr().out
    for words in ("mmgeneration", "5 classes", "red, green, blue", "batch norm eps 1e-05"):
        assert words in printed
    assert sagan.load_generator(output).class_names == ("ant", "bee", "cat", "dog", "elk")
    assert run("sample", output, "--class", "bee", "--seeds", "0-3", "-o", tmp_path / "a.png") == 0
    assert run("attention", output, "--class", "elk", "-o", tmp_path / "b.png") == 0
    assert (tmp_path / "a.png").exists()
    assert (tmp_path / "b.png").exists()
    assert run("export", output, "-o", tmp_path / "small.safetensors") == 0


def test_models_of_this_program_need_no_converting(trained_run, tmp_path, capsys):
    for model in ("avatars64", "hf:owner/name", trained_run):
        assert run("convert", model, "-o", tmp_path / "x.safetensors") == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{model} is a model of this program already; sagan export {model}" in line
    assert not list(tmp_path.glob("x*"))


def test_attention_layers_of_one_size_are_told_apart(tmp_path):
    paths, output = golden("biggan_32"), tmp_path / "model.safetensors"
    assert run("convert", paths["G"], paths["D"], "-o", output) == 0
    discriminator = sagan.load_discriminator(output)
    assert list(discriminator.network.attention) == ["16", "8", "8-2", "8-3"]
    found = [place.name for place in discriminator.attention_layers()]
    assert found == ["8", "8-2", "8-3", "16"]


def test_mistakes_of_the_command_write_nothing(tmp_path, capsys):
    paths, output = golden("biggan_32"), tmp_path / "model.safetensors"
    names = tmp_path / "names.txt"
    names.write_text("ant\nbee\n")
    for arguments in (
        [],
        [tmp_path / "absent.pth"],
        [paths["io"]],
        [paths["G"], "--class-names", names],
        [paths["G"], "--batch-norm-eps", "-1"],
    ):
        assert run("convert", *arguments, "-o", output) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [names]


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    def change(tensors):
        next(iter(tensors.values())).view(-1)[0] = float("nan")

    assert "not finite" in refusal([changed(tmp_path, NAMES[0], change)])
