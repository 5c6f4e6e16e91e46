import re
from dataclasses import replace

import numpy as np
import pytest
import torch

import sagan
from sagan import config as settings
from sagan.cli import main
from sagan.config.effort import operations
from sagan.config.presets import preset
from sagan.config.recipe import AVATARS, DEMO_SECONDS, TWO_CORES, LearningMaterial, recipe
from sagan.errors import SaganError
from sagan.images import save_png
from sagan.training import choice as module
from sagan.training.choice import chosen, fitted, material_of
from sagan.training.footprint import Footprint

CPU = torch.device("cpu")
PICTURES = LearningMaterial(pictures=60_000, classes=10, smallest_class=900, side=100)
QUICK = ["--train.steps", "1", "--generator.base-channels", "8", "--discriminator.base-channels"]
QUICK += ["8", "--train.batch-size", "4", "--evaluation.interval", "0"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch, tmp_path):
    monkeypatch.setenv("SAGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "measured_machine", lambda _: TWO_CORES)
    monkeypatch.setattr(module, "busy", lambda: "")
    monkeypatch.setattr(module, "timed_on_noise", timed_as(lambda config: 1.0))


def timed_as(factor):
    """Steps that take as many times as long as on two cores as a function of the settings says."""

    def timed(config, classes, device, least):
        return factor(config) * TWO_CORES.seconds_per_step(config)

    return timed


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code or 0


def settings_of(folder):
    return settings.load_toml(folder / "config.toml")


def pictures_in(folder, counts, size=32):
    random = np.random.default_rng(0)
    for name, count in counts.items():
        for number in range(count):
            pixels = random.integers(0, 256, (3, size, size), dtype=np.uint8)
            save_png(pixels, folder / name / f"{number}.png")
    return folder


FACTORS = {
    "as expected": lambda config: 1.0,
    "slower": lambda config: 3.0,
    "faster": lambda config: 0.3,
    "wide ones are fast": lambda config: 16 / config.generator.base_channels,
    "wide ones are slow": lambda config: config.generator.base_channels / 16,
    "large pictures are slow": lambda config: 4.0 if config.data.resolution > 32 else 1.0,
}


@pytest.mark.parametrize("name", FACTORS)
@pytest.mark.parametrize("seconds", [300, 1800, 9_000, 40_000])
def test_the_steps_fill_the_time_as_it_is_measured(monkeypatch, name, seconds):
    timed = timed_as(FACTORS[name])
    monkeypatch.setattr(module, "timed_on_noise", timed)
    config, pace = fitted(PICTURES, TWO_CORES, seconds, {}, CPU)
    assert pace == pytest.approx(timed(config, 10, CPU, 1))
    assert 0.88 * seconds < config.train.steps * pace <= 0.9 * seconds
    if name == "as expected":
        assert config == recipe(PICTURES, TWO_CORES, seconds)


def test_memory_that_runs_out_is_told(monkeypatch):
    monkeypatch.setattr(module, "timed_on_noise", lambda *_: None)
    with pytest.raises(SaganError, match="memory ran out in a step with pictures of 32 x 32"):
        fitted(PICTURES, TWO_CORES, 60, {}, CPU)


def test_what_is_found_of_pictures(tmp_path, picture_folder):
    found = material_of({"data": {"source": str(picture_folder)}})
    assert found == LearningMaterial(pictures=16, classes=2, smallest_class=8, channels=3, side=32)
    wanted = {"source": str(picture_folder), "resolution": 48, "width": 96, "labels": "none"}
    found = material_of({"data": wanted})
    assert (found.classes, found.smallest_class) == (0, 0)
    half = material_of({"data": {"source": str(picture_folder), "held_out": 0.5}})
    assert (half.pictures, half.smallest_class) == (8, 4)
    assert not (tmp_path / "cache").exists()  # nothing was packed


def test_the_built_in_pictures_need_no_look():
    found = material_of({"data": {"generated_images": 140}})
    assert (found.pictures, found.classes, found.smallest_class) == (140, 14, 10)
    assert material_of({"data": {"labels": "none"}}).classes == 0


def test_the_choice_is_told_in_five_lines(picture_folder):
    told = chosen(600, {"data": {"source": str(picture_folder)}}).lines
    assert len(told) == 5
    assert [line.split()[0] for line in told] == ["pictures", "networks", "training", "time", "to"]
    assert "16 in 2 classes" in told[0]
    assert "the smallest class has 8" in told[0]
    assert "augmented with colour, translation, cutout" in told[2]
    assert "from 16 pictures less, and little that is not in them" in told[4]
    many = chosen(600, {"data": {"source": "avatars", "generated_images": 5000}}).lines
    assert "less" not in many[4]


def test_a_class_with_one_picture_and_tiny_pictures_are_told(tmp_path):
    folder = pictures_in(tmp_path / "tiny", {"many": 20, "one": 1}, size=12)
    told = chosen(600, {"data": {"source": str(folder)}})
    assert "enlarged from 12; the smallest class has 1" in told.lines[0]
    assert told.lines[4].endswith("no more than is seen at 12 pixels")
    assert told.config.data.resolution == 16


def test_a_run_with_a_time_keeps_its_settings(picture_folder, tmp_path, capsys):
    folder = tmp_path / "run"
    begin = ["train", picture_folder, "--run", folder, "--minutes"]
    assert run(*begin, 20, *QUICK, "--data.resolution", 32) == 0
    printed = capsys.readouterr()
    assert "to expect  " in printed.err
    begun = settings_of(folder)
    assert begun.data.augment == ("colour", "translation", "cutout")
    assert (begun.generator.base_channels, begun.train.steps) == (8, 1)
    assert begun.loss.relativistic
    # Another time changes nothing, and says so; more steps are asked for by name.
    assert run(*begin, 99, "--train.steps", 2) == 0
    told = capsys.readouterr().err
    assert f"note: {folder} keeps the settings" in told
    assert "to expect" not in told
    assert settings_of(folder) == replace(begun, train=replace(begun.train, steps=2))


def test_pictures_alone_take_half_an_hour(picture_folder, tmp_path, capsys):
    assert run("train", picture_folder, "--run", tmp_path / "run", "--print-config") == 0
    printed = capsys.readouterr()
    assert "note: 30 minutes, since nothing says how long" in printed.err
    (tmp_path / "printed.toml").write_text(printed.out)
    material = material_of({"data": {"source": str(picture_folder)}})
    given = {"data": {"source": str(picture_folder)}}
    expected = recipe(material, TWO_CORES, 1800, given)
    assert settings.load_toml(tmp_path / "printed.toml") == expected
    assert not (tmp_path / "run").exists()


def test_a_flag_that_says_what_is_usual_counts_all_the_same(tmp_path, capsys):
    command = ["train", "avatars", "--run", tmp_path / "run", "--hours", 3, "--print-config"]
    assert run(*command) == 0
    assert "resolution = 64" in capsys.readouterr().out
    assert run(*command, "--data.resolution", 32, "--optimizer.generator-lr", 0.002) == 0
    printed = capsys.readouterr().out
    assert "resolution = 32" in printed
    assert "generator_lr = 0.002\n" in printed


@pytest.mark.parametrize("choice", [[], ["avatars"], ["--data.source", "avatars"]])
def test_the_built_in_pictures_take_a_time_too(tmp_path, capsys, choice):
    command = [
        "train",
        *choice,
        "--run",
        tmp_path / "run",
        "--minutes",
        DEMO_SECONDS / 60,
        "--print-config",
    ]
    assert run(*command) == 0
    assert "steps = 2800\n" in capsys.readouterr().out


def test_a_trial_of_what_is_chosen(picture_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sagan.training.forecast._SECONDS", 0.1)
    need = Footprint(fixed=2**22, per_picture=2**18)
    monkeypatch.setattr("sagan.training.footprint.footprint", lambda *_, **__: need)
    command = ["train", picture_folder, "--run", tmp_path / "run", "--minutes", 2, *QUICK]
    assert run(*command, "--dry-run") == 0
    assert "for all 1 steps" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


def test_networks_of_a_model_to_begin_from_stay(picture_folder, trained_run, tmp_path, capsys):
    command = ["train", picture_folder, "--run", tmp_path / "run", "--from", trained_run]
    assert run(*command, "--minutes", 5, "--print-config") == 0
    (tmp_path / "printed.toml").write_text(capsys.readouterr().out)
    config, model = settings.load_toml(tmp_path / "printed.toml"), settings_of(trained_run)
    assert (config.generator, config.discriminator) == (model.generator, model.discriminator)
    assert config.data.augment == ("colour", "translation", "cutout")
    assert config.loss.relativistic
    assert config.train.batch_size == 16


def test_networks_of_a_model_cannot_be_chosen_smaller():
    def refusal(given):
        slow = replace(TWO_CORES, speed=1e7)
        with pytest.raises(SaganError, match=r"give more time \(--minutes \d+\)") as refused:
            recipe(AVATARS, slow, 60, given)
        return str(refused.value)

    width = {"base_channels": 16}
    networks = {"generator": width, "discriminator": width}
    assert "choose smaller ones" in refusal({})
    assert "choose smaller ones" in refusal(networks)
    assert "choose smaller ones" not in refusal({"data": {"resolution": 32}, **networks})


def test_a_finished_run_says_so_and_how_to_go_on(picture_folder, tmp_path, capsys):
    folder = tmp_path / "run"
    assert run("train", picture_folder, "--run", folder, *QUICK, "--data.resolution", 32) == 0
    capsys.readouterr()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    for more in ([], [picture_folder, "--minutes", 9]):
        assert run("train", "--run", folder, *more) == 0
        printed = capsys.readouterr()
        last = printed.err.splitlines()[-1]
        assert last.startswith(f"{folder} is finished: it has all of its 1 steps")
        assert "--train.steps 2" in last
        assert f"--from {folder} --run NEW" in last
        assert "continuing" not in printed.err
        assert "step-00000001.safetensors" in printed.out
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_busy_machine_is_told_before_it_is_measured(
    picture_folder, tmp_path, capsys, monkeypatch
):
    told = "note: this machine is busy: 9 programs share 2 cores"
    monkeypatch.setattr(module, "busy", lambda: told)
    command = ["train", picture_folder, "--run", tmp_path / "run", "--minutes", 5]
    assert run(*command, "--print-config") == 0
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first == f"{told}; alone it learns more in this time"
    assert second.startswith("measuring how fast this machine learns")


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf"), 1e9])
def test_impossible_times_are_refused_from_python_too(tmp_path, picture_folder, minutes):
    with pytest.raises(SaganError, match="minutes are out of range"):
        sagan.train(None, tmp_path / "run", source=str(picture_folder), minutes=minutes)


@pytest.mark.parametrize("time", ["--minutes", "--hours"])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("0", "0 minutes are out of range"),
        ("-0", "0 minutes are out of range"),
        ("-3", "minutes are out of range"),
        ("nan", "finite number"),
        ("-inf", "finite number"),
        ("1e999", "finite number"),
        ("1e9", "minutes are out of range"),
        ("1e308", "out of range"),
        ("", "is empty"),
        ("soon", "soon"),
        ("5m", "5m"),
        ("1,5", "1,5"),
    ],
)
def test_impossible_times(tmp_path, monkeypatch, capsys, time, value, words):
    monkeypatch.chdir(tmp_path)
    for run_with in (["avatars"], ["--from", "avatars64"], []):
        assert run("train", *run_with, time, value, "--run", "run") == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line
    assert not (tmp_path / "run").exists()


def test_a_folder_with_the_name_of_a_model_is_pictures(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pictures_in(tmp_path / "avatars64", {"a": 20})
    assert run("train", "avatars64", "--run", "run", "--minutes", 5, "--print-config") == 0
    told = capsys.readouterr()
    assert "note: avatars64 is taken for ./avatars64, not for the model" in told.err
    assert 'source = "avatars64"' in told.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["avatars", "--minutes", "0.1"], "6 seconds are too short"),
        (["avatars", "--minutes", "-1"], "out of range"),
        (["avatars", "--minutes", "1", "--hours", "1"], "leave one out"),
        (["avatars32", "--minutes", "5"], "avatars32 says how many steps to train"),
        (["own.toml", "--hours", "5"], "own.toml says how many steps to train"),
        (["avatars", "--minutes"], "--minutes has no value"),
        (["few", "--minutes", "5"], "there are 15 pictures to learn from"),
        (["few", "--minutes", "inf"], "finite"),
        (["few", "--decided", "x"], "there is no flag --decided"),
    ],
)
def test_mistakes(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    pictures_in(tmp_path / "few", {"a": 15})
    (tmp_path / "own.toml").write_text("[train]\nsteps = 3\n")
    assert run("train", *arguments, "--run", "run") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert not (tmp_path / "run").exists()


def test_from_python(picture_folder, tmp_path, monkeypatch, capsys):
    material = material_of({"data": {"source": str(picture_folder)}})
    small = {"generator": {"base_channels": 8}, "discriminator": {"base_channels": 8}}
    small |= {"train": {"steps": 1}, "data": {"source": str(picture_folder)}}
    quick = recipe(material, TWO_CORES, 120, small)
    monkeypatch.setattr(module, "fitted", lambda *_: (quick, 1.0))
    source = str(picture_folder)
    outcome = sagan.train(None, tmp_path / "run", source=source, minutes=2)
    assert outcome.steps == 1
    assert settings_of(tmp_path / "run") == quick.with_channels(3)
    sagan.train(None, tmp_path / "run", source=source, minutes=9)
    assert "keeps the settings" in capsys.readouterr().err
    with pytest.raises(SaganError, match="give minutes without it"):
        sagan.train("avatars32", tmp_path / "other", minutes=9)


def test_wide_networks_are_not_chosen_where_they_are_too_slow(monkeypatch):
    """The count alone would choose them."""
    assert recipe(PICTURES, TWO_CORES, 2400).generator.base_channels == 24
    slow = FACTORS["wide ones are slow"]
    monkeypatch.setattr(module, "timed_on_noise", timed_as(lambda config: 4 * slow(config)))
    config, _ = fitted(PICTURES, TWO_CORES, 2400, {}, CPU)
    assert config.generator.base_channels == 16
    assert operations(config) < operations(recipe(PICTURES, TWO_CORES, 2400))


def test_a_folder_of_something_else_is_refused_before_the_machine_is_measured(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SaganError, match="is no run folder and not empty; choose another --run"):
        sagan.train(None, tmp_path, source="avatars", minutes=5)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("pictures", [20_000, 54_400, 89_600, 190_400, 543_000, 544_000, 3_000_000])
def test_no_run_is_promised_what_a_longer_one_reached(pictures):
    told = module._expected(preset("avatars32"), AVATARS, pictures)
    reached = [int(number.replace(",", "")) for number in re.findall(r"after ([\d,]+)", told)]
    assert all(number <= 1.01 * pictures for number in reached)
    assert bool(reached) == (54_000 <= pictures < 3_000_000)
