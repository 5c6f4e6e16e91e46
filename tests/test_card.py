"""What a repository of the hub gets: weights, settings, pictures, and a card that gives no path."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import yaml
from PIL import Image
from test_cli import mistake, run

from sagan import config as settings
from sagan.data.avatars import CREDITS
from sagan.errors import SaganError
from sagan.evaluation.record import Record, Value, write_record
from sagan.report.card import plain_source, require_licence, write_model_folder
from sagan.runs import checkpoint as checkpoints
from sagan.runs.run import load_checkpoint
from sagan.sampling.generator import for_inference, load_discriminator, load_generator

NAME = "ann/flowers"


def written(model, folder, **choices):
    """The files by name, and the card in two parts: what is for the hub, and the text."""
    paths = write_model_folder(model, folder, NAME, **{"licence": "mit", **choices})
    _, front, text = (folder / "README.md").read_text().split("---\n", 2)
    return {path.name: path for path in paths}, yaml.safe_load(front), text


def test_the_files_of_a_model(trained_run, tmp_path):
    files, front, text = written(trained_run, tmp_path / "new" / "folder")
    assert sorted(files) == ["README.md", "config.toml", "model.safetensors", "samples.png"]
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == set(files)
    assert front["license"] == "mit"
    assert front["library_name"] == "sagan"
    seeds = range(4)
    expected = load_generator(trained_run).sample(seeds, "dark")
    found = load_generator(files["model.safetensors"]).sample(seeds, "dark")
    np.testing.assert_array_equal(found, expected)
    with Image.open(files["samples.png"]) as sheet:
        assert sheet.height == 240  # two rows, three times as large
        assert sheet.width > 3 * 8 * 34  # beside their names
    for words in (
        'sagan.load_generator("hf:ann/flowers")',
        "sagan sample hf:ann/flowers",
        "pictures of 32 x 32 pixels, of 2 classes",
        "the rows: dark, light",
        "| pictures seen | 8, in 2 steps |",
        "| attention | 16 x 16 |",
        "| loss | hinge |",
        "| seed | 0 |",
        "(8, 3, 32, 32)",
    ):
        assert words in text
    assert "## Measured" not in text
    assert "\n\n\n" not in text


def test_no_path_of_this_machine_is_handed_on(trained_run, picture_folder, tmp_path):
    checkpoint, _ = load_checkpoint(trained_run)
    assert checkpoint.config.data.source == str(picture_folder)
    evaluation = replace(checkpoint.config.evaluation, weights="/home/ann/weights.pth")
    config = replace(checkpoint.config, evaluation=evaluation)
    checkpoints.save(replace(checkpoint, config=config), tmp_path / "whole.safetensors")
    files, _, text = written(tmp_path / "whole.safetensors", tmp_path / "folder")
    for path in files.values():
        content = path.read_bytes()
        assert str(picture_folder.parent).encode() not in content
        assert b"/home/ann" not in content
    assert f"| learned from | {picture_folder.name} |" in text
    config = settings.load_toml(files["config.toml"])
    assert config == load_checkpoint(files["model.safetensors"])[0].config
    assert config.data.source == picture_folder.name
    assert config.generator == checkpoint.config.generator


def test_what_a_converted_model_does_not_say_is_not_told(trained_run, tmp_path):
    whole, _ = load_checkpoint(trained_run)
    model = tmp_path / "converted.safetensors"
    checkpoints.save(for_inference(replace(whole, step=0)), model)
    _, _, text = written(model, tmp_path / "folder")
    for words in ("| pictures seen", "| loss", "| seed"):
        assert words not in text


def test_the_artists_of_the_avatars_are_credited(trained_run, tmp_path):
    _, _, text = written(trained_run, tmp_path / "own")
    assert CREDITS not in text
    whole, _ = load_checkpoint(trained_run)
    config = replace(whole.config, data=replace(whole.config.data, source="avatars"))
    model = tmp_path / "avatars.safetensors"
    checkpoints.save(for_inference(replace(whole, config=config)), model)
    assert CREDITS in written(model, tmp_path / "avatars")[2]


@pytest.mark.parametrize(
    ("source", "plain"),
    [
        ("avatars", "avatars"),
        ("hf:owner/name", "hf:owner/name"),
        ("/home/ann/flowers", "flowers"),
        ("~/flowers/", "flowers"),
        ("../flowers.zip", "flowers.zip"),
        (r"C:\Users\ann\flowers", "flowers"),
        ("flowers/.", "flowers"),
        ("..", "own"),
        ("/home/ann/avatars", "./avatars"),
    ],
)
def test_plain_names_of_pictures(source, plain):
    assert plain_source(source) == plain


def test_the_discriminator_on_demand(trained_run, tmp_path):
    files, _, text = written(trained_run, tmp_path / "both", discriminator=True)
    load_discriminator(files["model.safetensors"])
    assert "and the discriminator" in text
    files, _, text = written(trained_run, tmp_path / "one")
    assert "discriminator" not in text
    with pytest.raises(SaganError, match="no discriminator"):
        load_discriminator(files["model.safetensors"])
    with pytest.raises(SaganError, match="leave --discriminator out"):
        written(files["model.safetensors"], tmp_path / "none", discriminator=True)
    assert not (tmp_path / "none").exists()


def test_records_of_that_step_are_told(trained_run, tmp_path):
    whole, _ = load_checkpoint(trained_run)
    run_folder = tmp_path / "run"
    checkpoints.save(whole, run_folder / "checkpoints" / "step-00000002.safetensors")
    for step, mean in ((1, 111.0), (2, 222.0)):
        record = Record(
            subject={"kind": "model", "path": "/home/ann/run", "step": step},
            protocol={"extractor": "pooled", "fake_pictures": 8},
            values={
                "fd": Value(
                    each=(mean,), mean=mean, spread=None, within=None, floor=1.5, better="lower"
                )
            },
        )
        write_record(record, run_folder / "evaluations" / f"step-{step:08d}-pooled-0.json")
    (run_folder / "evaluations" / "step-00000002-broken.json").write_text("{")
    _, _, text = written(run_folder, tmp_path / "folder")
    assert text.count("## Measured") == 1
    assert "| fd | 222.0 | 1.500 | lower |" in text
    assert "111" not in text
    assert "extractor pooled, fake pictures 8." in text
    assert "/home/ann" not in text


def test_hostile_class_names_stay_text(trained_run, tmp_path):
    whole, _ = load_checkpoint(trained_run)
    names = ("<script>alert(1)</script>", 'a](x) |`b`*"\\')
    model = tmp_path / "odd.safetensors"
    checkpoints.save(for_inference(replace(whole, class_names=names)), model)
    _, front, text = written(model, tmp_path / "folder")
    assert front["license"] == "mit"
    prose = text.split("```python")[0]
    assert "<script>" not in prose.replace("\\<", "")
    assert r"a\](x) \|\`b\`\*" in prose
    code = text.split("```python\n")[1].split("```")[0]
    compile(code, "card", "exec")
    assert len(code.splitlines()) == 4


@pytest.mark.parametrize(
    "licence", ["", "MIT", "no\n", "1.0", "mit\nprivate: no", "a b", "-", "x" * 65]
)
def test_licences_are_judged(licence):
    with pytest.raises(SaganError, match="no licence"):
        require_licence(licence)


def test_a_dry_run_only_lists_what_would_be_uploaded(trained_run, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # nor is it needed
    monkeypatch.chdir(tmp_path)
    push = ["push", trained_run.absolute(), NAME, "--license", "mit", "--dry-run"]
    assert run(*push) == 0
    listed = [line.split() for line in capsys.readouterr().out.splitlines()]
    names = {"README.md", "config.toml", "model.safetensors", "samples.png"}
    assert {name for name, *_ in listed} == names
    assert all(float(size) > 0 and unit.endswith("iB") for _, size, unit in listed)
    assert not list(tmp_path.iterdir())
    assert "leave one out" in mistake(capsys, *push, "-o", tmp_path / "look")


def test_the_files_are_written_into_a_folder_instead_and_listed(
    trained_run, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # nor is it needed
    folder = tmp_path / "look"
    push = ["push", trained_run, NAME, "--license", "mit", "-o", folder]
    assert run(*push) == 0
    listed = capsys.readouterr().out.splitlines()
    assert sorted(listed) == sorted(str(path) for path in folder.iterdir())
    assert "is not empty" in mistake(capsys, *push)
