"""Everybody's sizes: what the repositories' own code computed at 32 to 128 pixels."""

from pathlib import Path

import pytest
import torch
from drawn_weights import latents, pictures, whole
from safetensors.torch import load_file, save_file
from test_interop import golden, opened, refusal, run

import sagan
from sagan.interop.conversion import convert_files
from sagan.interop.writing import write

HERE = Path(__file__).parent / "golden" / "sizes"
NAMES = sorted(path.stem for path in HERE.glob("*.safetensors"))


@pytest.fixture
def given(tmp_path):
    """Both networks of a set, and what was recorded of them."""

    def opened_set(name):
        (tmp_path / name).mkdir(exist_ok=True)
        return whole(HERE / f"{name}.safetensors", tmp_path / name)

    return opened_set


def test_every_repository_has_its_sizes():
    families = {tuple(name.split("_")[:2]) for name in NAMES}
    assert families == {
        ("biggan", "64"),
        ("biggan", "128"),
        ("studiogan", "32"),
        ("studiogan", "64"),
        ("studiogan", "128"),
        ("mmgen", "64"),
        ("mmgen", "128"),
        ("mimicry", "128"),
    }


def require_recorded(name, paths, io, folder, **choices):
    """Compares what our networks compute from the files with what was recorded."""
    generator, discriminator = opened(paths, folder, **choices)
    labels, resolution = io["labels"], int(name.split("_")[1])
    computed = {}
    for letter, network, inputs in (
        ("G", generator, latents(name, 2, generator.latent_dim)),
        ("D", discriminator, pictures(name, 2, resolution)),
    ):
        expected = {k: v for k, v in io.items() if k.startswith(f"attn_{letter}")}
        layers = list(network.network.attention.values())
        assert len(expected) == 2 * len(layers)
        seen = []
        for layer in layers:
            layer.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0]))
        computed[letter] = network(inputs, labels)
        for number, (layer, x) in enumerate(zip(layers, seen, strict=True)):
            rows = layer.attention_rows(x, expected[f"attn_{letter}_{number}_rows"])[0]
            # Many rows are almost even: 1e-3 each, some 1e-5 apart.
            assert (rows - expected[f"attn_{letter}_{number}"]).abs().max() <= 2e-7
    assert (computed["G"][:, :, 1::3, 2::5] - io["images"]).abs().max() <= 1e-5
    assert (computed["D"] - io["logits"]).abs().max() <= 2e-6 * io["logits"].abs().max()


def choices_of(name):
    """What the keys of a set do not show, where it is not as released."""
    return {"final_resolution": 4} if name == "mmgen_64_last4" else {}


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_images_logits_and_attention_are_the_repositories_own(name, given, tmp_path):
    paths, io = given(name)
    require_recorded(name, paths, io, tmp_path, **choices_of(name))


@pytest.mark.parametrize("name", [n for n in NAMES if not n.startswith("mimicry")])
@torch.inference_mode()
def test_written_for_their_repository_they_compute_the_same(name, given, tmp_path):
    paths, io = given(name)
    target = name.split("_")[0]
    checkpoint, _ = convert_files(paths)
    written, reasons = write(checkpoint, target, tmp_path / "out")
    assert not reasons
    require_recorded(name, written, io, tmp_path, **choices_of(name))
    if name in ("mmgen_64", "mmgen_64_ajbrock", "mmgen_64_last4"):
        return  # normalised class tables are written as they are used
    shapes = {}
    for path in written:
        content = torch.load(path, weights_only=True)
        shapes |= {k: tuple(v.shape) for k, v in content.get("state_dict", content).items()}
    expected = {}
    for path, prefix in zip(paths, ("generator.", "discriminator."), strict=True):
        for key, tensor in load_file(path).items():
            expected[(prefix if target == "mmgen" else "") + key] = tuple(tensor.shape)
    counters = {key: shape for key, shape in shapes.items() if key.endswith("num_batches_tracked")}
    assert shapes == expected | counters


def test_attended_channels_need_not_be_multiples_of_8(given):
    for name in NAMES:
        for path in given(name)[0]:
            checkpoint, [network] = convert_files([path])
            queries = [
                tensor.shape[:2]
                for key, tensor in checkpoint.parts[network.role].items()
                if key.endswith("query.weight")
            ]
            assert any(channels % 8 for _, channels in queries)
            assert all(out == channels // 8 for out, channels in queries)


def test_the_end_of_a_discriminator_is_printed_and_can_be_set(given, tmp_path, capsys):
    (_, path), io = given("mmgen_64_last4")
    images, labels = pictures("mmgen_64_last4", 2, 64), io["labels"]
    found = {}
    for end in (2, 4):
        output = tmp_path / f"{end}.safetensors"
        flags = [] if end == 2 else ["--final-resolution", 4]
        assert run("convert", path, *flags, "-o", output) == 0
        assert f"a last map of {end} x {end}" in capsys.readouterr().out
        found[end] = sagan.load_discriminator(output)(images, labels) - io["logits"]
    assert found[4].abs().max() <= 2e-6 * io["logits"].abs().max()
    assert found[2].abs().max() > 0.01 * io["logits"].abs().max()
    assert "final_resolution" in refusal([path], final_resolution=3)


def test_the_place_of_the_only_attention_is_printed_and_can_be_set(tmp_path, capsys):
    """At 32 pixels all maps of mimicry's networks are equally wide."""
    paths, output = golden("mimicry_32"), tmp_path / "model.safetensors"
    flags = ["--generator-attention", "8", "--discriminator-attention", "8-2"]
    for given, generator, discriminator, said in (
        ([], ["16"], ["8"], "attention at 16 x 16"),
        (flags, ["8"], ["8-2"], "attention at 8 x 8"),
    ):
        assert run("convert", paths["G"], paths["D"], *given, "-o", output) == 0
        assert said in capsys.readouterr().out
        assert list(sagan.load_generator(output).network.attention) == generator
        assert list(sagan.load_discriminator(output).network.attention) == discriminator
        output.unlink()


def test_a_place_that_keys_show_or_forbid_is_no_choice(given, tmp_path):
    (generator, discriminator), _ = given("mimicry_128")
    message = refusal([generator], generator_attention="64")
    assert "'64' does not fit" in message
    assert message.endswith("choose --generator-attention 32")
    assert "attention 32" in refusal([discriminator], discriminator_attention="4-2")
    biggan, _ = given("biggan_64")
    assert "leave --generator-attention out" in refusal(biggan, generator_attention="32")
    tensors = {k: v for k, v in load_file(generator).items() if not k.startswith("attn_block")}
    save_file(tensors, tmp_path / "none.safetensors")
    none = refusal([tmp_path / "none.safetensors"], generator_attention="32")
    assert "has no attention layer" in none
    for choice in ({"final_resolution": 4}, {"discriminator_attention": "32"}):
        assert "there is no discriminator" in refusal([generator], **choice)
    assert "does not fit" in refusal([generator], generator_attention="")
    assert "final_resolution" in refusal([discriminator], final_resolution=0)
    ending = refusal([golden("biggan_32")["D"]], final_resolution=4)
    assert ending.endswith("perhaps it does not end at 4 pixels")


def test_spectral_norm_on_some_layers_is_refused(given, tmp_path):
    """One layer whose vector is gone would pass for one that is not normalised."""
    for name, key in (("biggan_64", "blocks.1.0.conv2"), ("mmgen_64_ajbrock", "conv_blocks.3.o")):
        [path, _], _ = given(name)
        tensors = load_file(path)
        for layer in [layer for layer in tensors if layer.startswith(key) and "u0" in layer]:
            del tensors[layer]
        save_file(tensors, tmp_path / "some.safetensors")
        message = refusal([tmp_path / "some.safetensors"])
        assert key in message
        assert "without singular vectors" in message
