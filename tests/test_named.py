"""What a model's name means, and the models that come with the package."""

import dataclasses
import json
import shutil
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny
from safetensors.torch import load_file
from test_cli import mistake, run

import sagan
from sagan.config import network_shape, to_dict
from sagan.data.avatars import CLASS_NAMES, load_avatars
from sagan.data.sources.idx import FASHION_NAMES
from sagan.images import save_png, to_float
from sagan.nn.residual import make_discriminator, make_generator
from sagan.nn.spectral import spectral_norms
from sagan.runs import checkpoint as checkpoints
from sagan.runs import named
from sagan.runs.run import load_checkpoint
from sagan.sampling.generator import generator_of
from sagan.training.driver import Driver
from sagan.training.origin import run_settings

NAMES = ("avatars64", "fashion32")
MOST = 12e6  # bytes of all files, compressed as in a wheel

# What the pictures of (seed, class) look like: the mean of each of 4 x 4 fields of each channel, in
# hex. CPUs differ in the last bits of a product, so that a pixel in ten thousand rounds to the next
# of 255 values and no hash of all bytes is the same everywhere. The mean over a field moves by less
# than 0.01 then, and by 1 at most when it is rounded. Other labels, the weights that were not
# averaged or a layer that is changed move some field by 3 or more (tests below).
MARKS = {
    "avatars64": {
        (0, 0): "fffeffffff8365ffff7d78ffffbb73fffffeffffffada0ff"
        "ffbabdffffd1a0fffffeffffffbdb4ffffcdd5ffffdbb3ff",
        (1, 3): "ffffffffffbcabffffb2b6fff0b49dd1ffffffffffb5abff"
        "ffb4b7fff1b49dd0ffffffffffb3acffffb3b7fff0ad9ed1",
        (2, 7): "fffafaffffd2c2feffe1d2f9ffefc4ffffecf5ffff7321fe"
        "ff813df6ffd681ffffedf5ffff7521feff823ff5ffd780ff",
        (3, 9): "fff6ffffffe1e3ffffebd9ffffeebffffff2ffffffd9deff"
        "ffdad0ffffecbcfffff0ffffff8faaffff707bffffcd83ff",
        (4, 10): "fffbfcffffa7b8fff89facf98890a89afffbfcffffafc0ff"
        "f89aa8f96e6f9f98fffafcffff6769fff8656bf9271b0e22",
        (5, 11): "fde8e5ffcd9197f3e48ea4ecfffbfdfffdefedffd8b0b0f0"
        "e7abacf0fffafdfffcdddaffc87581ecdc89a3edfffafdff",
        (6, 12): "c995a3bfb47b918fcca984c0e2a685feb87680a9974b6868"
        "b98b51aad67b55fdb4727ea794456362b2844aa7d1744dfd",
        (7, 13): "ffafaeffffccd1ffffe2dcfffef4f6feffb8b9ffffb5baff"
        "ffb6b1ffcc5a5cc9ffbfbeffffa5a6ffff9490ffcc5b5dcb",
    },
    "fashion32": {
        (0, 0): "0a685d042491790f008d6f0000623f00",
        (1, 1): "00616200006e7b000066770000455000",
        (2, 2): "00090700013f2e01022d190304180805",
        (3, 3): "00655b00005f76000072830000515d00",
        (4, 5): "0000070b000b363f0c3f361a07160004",
        (5, 7): "00000000002f4f2a4996a15c00000000",
        (6, 8): "003438053f9995556cb9c16e3a968d3c",
        (7, 9): "00002812000c7f4e0238693c203d1511",
    },
}


def marks_of(pictures):
    """Of uint8 (N, C, H, W): int (N, 16 C)."""
    count, channels, height, width = pictures.shape
    fields = pictures.reshape(count, channels, 4, height // 4, 4, width // 4)
    return fields.mean(axis=(3, 5)).round().astype(int).reshape(count, -1)


def furthest(name, generator, turn=0):
    """How far the marks of a generator are from those above, for each picture."""
    seeds, labels = zip(*MARKS[name], strict=True)
    pinned = np.array([list(bytes.fromhex(mark)) for mark in MARKS[name].values()])
    drawn = generator.sample(seeds, np.roll(labels, turn))
    return np.abs(marks_of(drawn) - pinned).max(axis=1)


@pytest.mark.parametrize("name", NAMES)
def test_the_pictures_are_the_same_everywhere(name):
    assert furthest(name, sagan.load_generator(name)).max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_the_marks_tell_models_apart(name):
    checkpoint, _ = load_checkpoint(name)
    assert furthest(name, generator_of(checkpoint), turn=1).min() >= 3
    random = torch.Generator().manual_seed(0)
    for key in ("blocks.0.conv2.weight", "blocks.2.conv1.weight", "linear.weight"):
        weights = dict(checkpoint.parts["generator"])
        noise = torch.randn(weights[key].shape, generator=random)
        weights[key] = weights[key] + weights[key].std() * noise / 5
        changed = dataclasses.replace(checkpoint, parts={"generator": weights})
        assert furthest(name, generator_of(changed)).max() >= 3


@pytest.mark.parametrize("name", NAMES)
def test_the_card_says_what_the_file_holds(name):
    model, checkpoint = named.shipped_model(name), load_checkpoint(name)[0]
    config = checkpoint.config
    assert model.class_names == checkpoint.class_names
    assert (model.size, model.channels) == (config.data.size, config.data.channels)
    assert model.seed == config.train.seed
    assert model.steps >= checkpoint.step  # of the last of its trainings
    assert model.pictures_seen >= (
        checkpoint.step * config.train.batch_size * config.train.discriminator_steps
    )
    assert {"recall", "class accuracy"} < model.records.keys()
    assert all(
        vars(model)[field.name] for field in dataclasses.fields(model) if field.name != "seed"
    )
    assert config.train.device == config.train.precision == "auto"
    assert not any("/" in str(value) for value in to_dict(config)["data"].values())


def test_the_classes_are_those_of_the_pictures():
    assert named.shipped_model("avatars64").class_names == CLASS_NAMES
    assert named.shipped_model("fashion32").class_names == FASHION_NAMES


def test_the_files_are_small_and_all_there():
    assert {path.name for path in named.SHIPPED.iterdir()} == {
        f"{name}.{kind}" for name in NAMES for kind in ("toml", "safetensors")
    }
    packed = sum(len(zlib.compress(path.read_bytes())) for path in named.SHIPPED.iterdir())
    assert packed < MOST


@pytest.mark.parametrize("name", NAMES)
def test_singular_vectors_are_those_of_the_rounded_weights(name):
    checkpoint, _ = load_checkpoint(name)
    shape = network_shape(checkpoint.config.data, len(checkpoint.class_names))
    for part, make in (("generator", make_generator), ("discriminator", make_discriminator)):
        network = make(getattr(checkpoint.config, part), **shape)
        checkpoints.restore_network(network, checkpoint.parts, part)
        norms = list(spectral_norms(network))
        assert norms
        for norm, weight in norms:
            matrix = weight.detach().flatten(1)
            largest = torch.linalg.matrix_norm(matrix, 2)
            # Both vectors are rounded to float16, too.
            torch.testing.assert_close(norm.u @ matrix @ norm.v, largest, rtol=3e-4, atol=0)


def test_the_discriminator_tells_drawn_avatars_from_composed_ones():
    real = load_avatars(64, 28, seed=5)
    judge, generator = sagan.load_discriminator("avatars64"), sagan.load_generator("avatars64")
    labels = torch.from_numpy(real.labels)
    sides = (real.images, generator.sample(range(28), labels))
    with torch.inference_mode():
        composed, drawn = (
            judge(to_float(torch.from_numpy(np.array(side))), labels) for side in sides
        )
    assert (composed > drawn).float().mean() > 0.9


def test_halved_weights_are_read_as_float32_and_go_on(tmp_path):
    checkpoint, _ = load_checkpoint("fashion32")
    again = checkpoints.halved(checkpoint)
    checkpoints.save(again, tmp_path / "again.safetensors")
    stored = [load_file(f) for f in (tmp_path / "again.safetensors", named.model_file("fashion32"))]
    assert stored[0].keys() == stored[1].keys()
    for name, tensor in stored[0].items():
        assert tensor.dtype == stored[1][name].dtype
        assert torch.equal(tensor, stored[1][name])
    for named_tensors in checkpoint.parts.values():
        assert {tensor.dtype for tensor in named_tensors.values()} == {torch.float32}
    kept = again.parts["generator"]
    assert kept["linear.weight"].dtype == torch.float16
    assert kept["blocks.0.norm1.running_var"].dtype == torch.float32


def test_export_halves_the_file_and_hardly_changes_the_pictures(tmp_path):
    checkpoints.save(random_checkpoint(), tmp_path / "whole.safetensors")
    for flags, name in (((), "full"), (("--half",), "half")):
        assert (
            run(
                "export",
                tmp_path / "whole.safetensors",
                *flags,
                "-o",
                tmp_path / f"{name}.safetensors",
            )
            == 0
        )
    full, half = (tmp_path / f"{name}.safetensors" for name in ("full", "half"))
    assert half.stat().st_size < 0.7 * full.stat().st_size
    first, second = (
        sagan.load_generator(path).sample(range(8), 0).astype(int) for path in (full, half)
    )
    assert 0 < np.abs(first - second).max() <= 2


def test_what_16_bits_cannot_hold_is_refused(tmp_path, capsys):
    checkpoint = random_checkpoint(scale=1e6)
    checkpoints.save(checkpoint, tmp_path / "whole.safetensors")
    told = mistake(
        capsys, "export", tmp_path / "whole.safetensors", "--half", "-o", tmp_path / "h.safetensors"
    )
    assert "values beyond 65,504" in told
    assert "leave --half out" in told
    assert not (tmp_path / "h.safetensors").exists()


def random_checkpoint(scale=1.0):
    """Untrained networks of the smallest width."""
    config = tiny().with_channels(3)
    shape = network_shape(config.data, 2)
    parts = {
        "generator": make_generator(config.generator, **shape).state_dict(),
        "discriminator": make_discriminator(config.discriminator, **shape).state_dict(),
    }
    parts["generator"]["linear.weight"] = parts["generator"]["linear.weight"] * scale
    return checkpoints.Checkpoint(config=config, class_names=("odd", "even"), step=1, parts=parts)


def test_a_name_stands_wherever_a_model_is_asked_for(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("sample", "fashion32", "--seeds", "0-1", "-o", "grid.png") == 0
    assert run("attention", "fashion32", "--class", "Bag", "-o", "attention.png") == 0
    assert run("interpolate", "fashion32", "--seeds", "0-1", "--frames", 2, "-o", "walk.png") == 0
    assert run("export", "fashion32", "-o", "model.safetensors") == 0
    assert repr(sagan.load_discriminator("fashion32")).startswith("TrainedDiscriminator(32 x 32")
    assert capsys.readouterr().err == ""


def test_a_run_begins_from_a_name_and_keeps_it_in_its_record(tmp_path, grey_folder):
    config = run_settings(None, tmp_path / "new", source=str(grey_folder), start_from="fashion32")
    config = replace(config, train=replace(config.train, steps=1, batch_size=4))
    config = replace(config, evaluation=replace(config.evaluation, interval=0))
    driver = Driver(config, tmp_path / "new", start_from="fashion32")
    driver.begin()
    record = json.loads((tmp_path / "new" / "from.json").read_text())
    assert record["model"] == "fashion32"
    assert record["sha256"] == named.shipped_model("fashion32").sha256
    assert record["transfer"]["known_classes"] == ["Bag"]
    assert record["transfer"]["new_classes"] == ["shelf"]
    assert Driver(config, tmp_path / "new", start_from="fashion32").state.step == 0


@pytest.fixture
def grey_folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("Bag", "shelf"):
        for number in range(8):
            save_png(rng.integers(0, 256, (1, 32, 32), np.uint8), tmp_path / name / f"{number}.png")
    return tmp_path


def test_a_folder_of_that_name_wins_and_it_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    checkpoints.save(random_checkpoint(), tmp_path / "model.safetensors")
    (tmp_path / "avatars64").mkdir()
    with pytest.warns(UserWarning, match=r"avatars64 is taken for \./avatars64 here"):
        assert named.model_file("avatars64") == Path("avatars64")
    assert not named.is_name("avatars64")
    (tmp_path / "avatars64").rmdir()
    shutil.copy("model.safetensors", "avatars64")
    with pytest.warns(UserWarning, match="taken for"):
        assert sagan.load_generator("avatars64").class_names == ("odd", "even")


def test_paths_stay_as_they_are(tmp_path):
    for path in (tmp_path, tmp_path / "absent", "absent.safetensors", "runs/avatars64"):
        assert named.model_file(path) == Path(path)
        assert not named.is_name(path)


@pytest.mark.parametrize(
    "line",
    [
        "sample avatar64",
        "attention avatar64",
        "evaluate avatar64",
        "models avatar64",
        "export avatar64 -o x.safetensors",
        "interpolate avatar64 -o x.png",
        "train --run new --from avatar64",
    ],
)
def test_a_misspelt_name_gets_the_nearest_one(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    told = mistake(capsys, *line.split())
    assert "avatar64" in told
    assert "(did you mean avatars64?)" in told
    assert not list(tmp_path.iterdir())


def test_a_model_in_the_place_of_pictures_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert "--from avatars64 --run NEW" in mistake(capsys, "train", "avatars64", "--run", "new")


@pytest.fixture
def installation(tmp_path, monkeypatch):
    """A copy of one shipped model that may be damaged."""
    for kind in ("toml", "safetensors"):
        shutil.copy(named.SHIPPED / f"fashion32.{kind}", tmp_path)
    monkeypatch.setattr(named, "SHIPPED", tmp_path)
    return tmp_path


def cut_off(folder):
    path = folder / "fashion32.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def altered(folder):
    path = folder / "fashion32.safetensors"
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)


def absent(folder):
    (folder / "fashion32.safetensors").unlink()


def garbled_card(folder):
    (folder / "fashion32.toml").write_bytes(b"\xff\xfe")


def half_a_card(folder):
    (folder / "fashion32.toml").write_text("title = 'x'\n")


def misshapen_card(folder):
    (folder / "fashion32.toml").write_text("title = ")


@pytest.mark.parametrize(
    "damage", [cut_off, altered, absent, garbled_card, half_a_card, misshapen_card]
)
def test_a_damaged_installation_is_told_in_one_line(damage, installation, capsys):
    damage(installation)
    told = mistake(capsys, "sample", "fashion32", "-o", installation / "grid.png")
    assert "the model fashion32 of this installation is damaged" in told
    assert "install sagan anew: pip install --force-reinstall" in told


def test_the_table_names_every_model_and_how_it_was_measured(capsys):
    assert run("models") == 0
    printed = capsys.readouterr().out
    for model in sagan.models():
        [line] = [line for line in printed.splitlines() if line.startswith(f"{model.name} ")]
        assert f"{model.pictures_seen:,}" in line
        assert f"{model.records['recall']:.3f}" in line
        assert f"{model.megabytes:.1f}" in line
    assert "not FID" in printed


def test_a_card_is_whole(capsys):
    assert run("models", "avatars64") == 0
    printed = " ".join(capsys.readouterr().out.split())
    model = named.shipped_model("avatars64")
    for text in (*model.credits, *model.limits, *model.not_for, model.recipe, model.protocol):
        assert text in printed


def test_json_is_for_programs(capsys):
    assert run("models", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [model["name"] for model in listed] == list(NAMES)
    assert run("models", "fashion32", "--json") == 0
    assert json.loads(capsys.readouterr().out) == listed[1]
    assert listed[1]["records"]["recall"] > 0.3


def test_listing_models_imports_no_torch():
    code = "import sys, sagan; sagan.models(); assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
