"""The authors' own variables: recorded outputs of their code, and files as it writes them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from test_interop import opened, run

from sagan import config as settings
from sagan.errors import SaganError
from sagan.interop.conversion import convert_files
from sagan.interop.writing import write
from sagan.nn.residual import make_discriminator, make_generator
from sagan.runs import checkpoint as checkpoints

HERE = Path(__file__).parent / "golden" / "tensorflow"
CHECKPOINT = HERE / "baseline_checkpoint"
GIVEN = {
    "test": HERE / "test_variables.npz",
    "baseline": HERE / "baseline_variables.npz",
    "prefix": CHECKPOINT / "model.ckpt-12345",
}


@pytest.mark.parametrize("name", GIVEN)
@torch.inference_mode()
def test_images_and_logits_are_those_of_the_original(name, tmp_path):
    generator, discriminator = opened([GIVEN[name]], tmp_path)
    with np.load(HERE / f"{name if name == 'test' else 'baseline'}_io.npz") as arrays:
        io = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    pictures = io["images_nhwc"].permute(0, 3, 1, 2)
    images = generator(io["z"], io["labels"].long())
    assert (images - pictures).abs().max() < 1e-5
    small = io["real_uint8_16"].float().permute(0, 3, 1, 2)
    reals = small.repeat_interleave(8, 2).repeat_interleave(8, 3) * 2 / 255 - 1
    for logits, shown, labels in (
        (io["logits_fake"], pictures, io["labels"]),
        (io["logits_real"], reals, io["real_labels"]),
    ):
        difference = discriminator(shown, labels.long()) - logits
        assert difference.abs().max() < 2e-6 * logits.abs().max()
    queries = io.get("attention_queries", torch.empty(0)).long()
    for letter, network, shown in (
        ("g", generator, io["z"]),
        ("d", discriminator, pictures),
    ):
        layers, seen = list(network.network.attention.values()), []
        assert len(layers) == (f"attention_{letter}" in io)
        for layer in layers:
            layer.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
            network(shown, io["labels"].long())
            rows = layer.attention_rows(seen[0], queries)
            assert (rows[0] - io[f"attention_{letter}"][0]).abs().max() < 2e-6


@pytest.mark.parametrize(
    "path",
    [
        CHECKPOINT,
        CHECKPOINT / "checkpoint",
        CHECKPOINT / "model.ckpt-12345.index",
        CHECKPOINT / "model.ckpt-12345.data-00000-of-00001",
    ],
)
def test_a_checkpoint_is_found_by_its_folder_and_by_each_of_its_files(path):
    whole, _ = convert_files([GIVEN["prefix"]])
    found, _ = convert_files([path])
    for part, tensors in whole.parts.items():
        for name, tensor in tensors.items():
            assert torch.equal(found.parts[part][name], tensor)


def test_the_command_takes_a_checkpoint_by_its_prefix(tmp_path, capsys):
    output = tmp_path / "original.safetensors"
    assert run("convert", GIVEN["prefix"], "-o", output) == 0
    assert "the authors' TensorFlow" in capsys.readouterr().out
    assert run("sample", output, "--seeds", "0", "-o", tmp_path / "picture.png") == 0


def converted(source, output, *more):
    """What the command makes of a file, as a checkpoint."""
    assert run("convert", source, "-o", output, *more) == 0
    return output


@pytest.mark.parametrize("name", GIVEN)
def test_what_is_written_as_variables_reads_back_to_the_bit(name, tmp_path):
    first = converted(GIVEN[name], tmp_path / "first.safetensors")
    folder = converted(first, tmp_path / "variables", "--to", "tensorflow")
    written = folder / "model.ckpt-0.npz"
    second = converted(written, tmp_path / "second.safetensors")
    one, other = checkpoints.load(first), checkpoints.load(second)
    assert one.config == other.config
    assert one.parts.keys() == other.parts.keys()
    for part, tensors in one.parts.items():
        assert tensors.keys() == other.parts[part].keys()
        for key, tensor in tensors.items():
            assert torch.equal(tensor, other.parts[part][key]), key
    theirs = HERE / ("test_variables.npz" if name == "test" else "baseline_variables.npz")
    with np.load(written) as ours, np.load(theirs) as expected:
        for key in expected.files:
            if not key.endswith(("/u", "_step", "power", "power_1")) and "/Adam" not in key:
                np.testing.assert_array_equal(ours[key], expected[key])


def test_attention_elsewhere_than_in_the_original_is_not_written(tmp_path):
    """Its variables do not say where attention stands; its code has one place for each network."""
    config = settings.from_dict(
        {
            "data": {"resolution": 128, "labels": "found"},
            "generator": {"base_channels": 4, "attention": [64]},
            "discriminator": {"base_channels": 4, "attention": [], "attention_blocks": [6]},
        }
    )
    shape = {"resolution": 128, "num_classes": 2}
    parts = {
        "generator": make_generator(config.generator, **shape).state_dict(),
        "discriminator": make_discriminator(config.discriminator, **shape).state_dict(),
    }
    checkpoint = checkpoints.Checkpoint(config=config, class_names=("a", "b"), step=0, parts=parts)
    with pytest.raises(SaganError) as caught:
        write(checkpoint, "tensorflow", tmp_path)
    assert str(caught.value).count("no attention but after its block for 32 x 32") == 2
