import gc
import re
import subprocess
import sys
import time
import tomllib

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from sagan import cli
from sagan import config as settings
from sagan.cli import program
from sagan.config import presets
from sagan.runs.folder import checkpoint_files

TINY = [
    "--generator.base-channels=8",
    "--discriminator.base-channels=8",
    "--generator.latent-dim=16",
    "--train.batch-size=4",
    "--train.precision=float32",
]


def run(*arguments):
    """Calls the command in this process; returns its exit code."""
    try:
        cli.main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def size(path):
    with Image.open(path) as image:
        return image.size


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def mistake(capsys, *arguments):
    """Calls the command with a mistake in it; returns the one line it prints."""
    assert run(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert "Traceback" not in printed.err
    return printed.err


def printed_config(capsys, *arguments):
    assert run("train", *arguments, "--print-config") == 0
    return settings.from_dict(tomllib.loads(capsys.readouterr().out))


def test_a_preset_with_other_networks_loses_what_they_have_no_choice_in(capsys):
    networks = ["--generator.architecture", "dcgan", "--discriminator.architecture", "dcgan"]
    command = ["train", "avatars32", *networks, "--data.labels", "none", "--run", "runs/none"]
    assert run(*command, "--print-config") == 0
    assert "latent_skips = false" in capsys.readouterr().out
    assert run(*command, "--print-config", "--generator.latent-skips") == 2
    assert "left out with dcgan" in capsys.readouterr().err


def test_flags_go_on_top_of_the_preset(capsys, tmp_path):
    config = printed_config(
        capsys, "avatars32", "--run", tmp_path, "--train.steps", 7, "--optimizer.beta2", 0
    )
    preset = presets.preset("avatars32")
    assert settings.differences(preset, config) == [
        "optimizer.beta2 (0.99 and 0.0)",
        f"train.steps ({preset.train.steps} and 7)",
    ]


def test_lists_are_given_by_repeating_the_flag(capsys, tmp_path):
    config = printed_config(
        capsys, "--run", tmp_path, "--generator.attention", 8, "--generator.attention", 16
    )
    assert config.generator.attention == (8, 16)
    config = printed_config(capsys, "--run", tmp_path, "--generator.empty-attention")
    assert config.generator.attention == ()
    flags = ("--data.augment", "translation", "--data.augment", "cutout")
    config = printed_config(capsys, "--run", tmp_path, *flags)
    assert config.data.augment == ("translation", "cutout")


def test_flags_go_on_top_of_a_file(capsys, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[train]\nseed = 3\nsteps = 4\n[data]\nresolution = 64\n")
    config = printed_config(capsys, path, "--run", tmp_path / "run", "--train.steps", 5)
    assert (config.train.seed, config.train.steps, config.data.resolution) == (3, 5, 64)


def test_printing_the_config_writes_nothing(capsys, tmp_path):
    printed_config(capsys, "--run", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_train_sample_look_export(capsys, tmp_path, picture_folder):
    folder = tmp_path / "run"
    begin = ["train", "--run", folder, "--data.source", picture_folder, *TINY]
    assert run(*begin, "--train.steps", 2) == 0
    assert capsys.readouterr().out.split() == [
        str(folder / "checkpoints" / "step-00000002.safetensors"),
        str(folder / "samples" / "step-00000002.png"),
    ]
    # Without a preset the run's own settings are continued.
    assert run("train", "--run", folder, "--train.steps", 3) == 0
    assert "continuing" in capsys.readouterr().err
    assert checkpoint_files(folder)[-1].name == "step-00000003.safetensors"

    grid = tmp_path / "grid.png"
    assert run("sample", folder, "--class", "light", "--seeds", "0-9,20", "-o", grid) == 0
    assert size(grid) == (8 * 34 + 2, 2 * 34 + 2)
    assert run("sample", folder, "--truncation", 0.8, "--scale", 2, "--seeds=0-2", "-o", grid) == 0
    assert size(grid) == (2 * (3 * 34 + 2), 2 * (2 * 34 + 2))

    figure = tmp_path / "attention.png"
    look = ["attention", folder, "--class", "dark", "--seed", 7, "-o", figure]
    assert run(*look) == 0
    automatic = pixels(figure)
    assert run(*look, "--at", "3,4", "--at", "20,20") == 0
    assert not np.array_equal(pixels(figure), automatic)

    exported = tmp_path / "small.safetensors"
    assert run("export", folder, "-o", exported) == 0
    assert exported.stat().st_size < checkpoint_files(folder)[-1].stat().st_size / 2
    other = tmp_path / "other.png"
    assert run("sample", exported, "--seeds", 5, "-o", other) == 0
    assert run("sample", folder, "--seeds", 5, "-o", grid) == 0
    assert other.read_bytes() == grid.read_bytes()


def test_refusal_of_the_system_is_one_line(capsys, monkeypatch, trained_run):
    def refuse(*_):
        raise PermissionError(13, "Permission denied", "some/file")

    monkeypatch.setattr("sagan.runs.run.checkpoint_files", refuse)
    assert "some/file: Permission denied" in mistake(capsys, "sample", trained_run)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--train.stepz", "3"], ["--train.stepz", "--train.steps"]),
        (["--train.steps", "many"], ["many", "whole number"]),
        (["--train.steps", "0"], ["train.steps", "at least 1"]),
        (["--generator.attention", "64"], ["generator.attention", "64", "8, 16, 32"]),
        (["--data.resolution", "100"], ["data.resolution", "96 x 96 or 112 x 112"]),
        (["--train.steps", "1.5"], ["train.steps", "whole number", "1.5"]),
        (["--train.device", "tpu"], ["tpu", "cpu"]),
        (["--train.device", "cpu:"], ["cpu:"]),
        (["--data.source", "/no/such/folder"], ["/no/such/folder", "avatars"]),
    ],
)
def test_mistakes_in_flags(capsys, tmp_path, flags, words):
    line = mistake(capsys, "train", "avatars32", "--run", tmp_path / "run", *flags)
    for word in words:
        assert word in line
    assert not (tmp_path / "run").exists()


def test_unknown_preset_and_missing_file(capsys, tmp_path):
    line = mistake(capsys, "train", "avatar32", "--run", tmp_path / "run")
    assert "did you mean avatars32" in line
    assert "no file" in mistake(capsys, "train", "my.toml", "--run", tmp_path / "run")
    assert "--run" in mistake(capsys, "train", "avatars32")


def test_mistakes_with_pictures(capsys, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    train = ["train", "--run", tmp_path / "run", *TINY, "--train.steps", 1, "--data.source"]
    assert str(empty) in mistake(capsys, *train, empty)
    (empty / "cat").mkdir()
    Image.new("RGB", (40, 40)).save(empty / "cat" / "a.png")
    assert "batch of 4" in mistake(capsys, *train, empty)
    (empty / "dog").mkdir()
    assert "batch of 4" in mistake(capsys, *train, empty)  # a class without pictures is none
    (empty / "dog" / "b.png").write_bytes(b"no picture")
    assert "b.png" in mistake(capsys, *train, empty)


def test_mistakes_with_models(capsys, tmp_path, trained_run):
    output = tmp_path / "out.png"
    for command in ("sample", "attention"):
        end = ["-o", output]
        assert "drak" in mistake(capsys, command, trained_run, "--class", "drak", *end)
        assert "no checkpoint" in mistake(capsys, command, tmp_path / "no.safetensors", *end)
        assert "no checkpoint" in mistake(capsys, command, tmp_path, *end)
    assert "dark, light" in mistake(capsys, "sample", trained_run, "--class", "x", "-o", output)
    assert "0-63" in mistake(capsys, "sample", trained_run, "--seeds", "a-b", "-o", output)
    assert "backwards" in mistake(capsys, "sample", trained_run, "--seeds", "9-3", "-o", output)
    assert "--scale" in mistake(capsys, "sample", trained_run, "--scale", "0", "-o", output)
    assert "12,20" in mistake(capsys, "attention", trained_run, "--at", "up", "-o", output)
    assert "32,1" in mistake(capsys, "attention", trained_run, "--at", "32,1", "-o", output)
    truncated = tmp_path / "cut.safetensors"
    truncated.write_bytes(checkpoint_files(trained_run)[-1].read_bytes()[:5000])
    assert "damaged" in mistake(capsys, "sample", truncated, "-o", output)
    assert not output.exists()


def test_run_of_another_config_is_refused(capsys, trained_run):
    line = mistake(capsys, "train", "avatars32", "--run", trained_run)
    assert "generator.base_channels" in line
    assert "begun with other settings" in line


def test_import_is_light_and_help_is_quick():
    code = "import sys, sagan, sagan.cli; assert not {'torch', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    shown = subprocess.run(
        [sys.executable, "-m", "sagan", "--help"], check=True, capture_output=True, text=True
    )
    for command in ("train", "sample", "attention", "export", "demo"):
        assert re.search(rf"\b{command}\b", shown.stdout)


def test_every_setting_is_explained(capsys, monkeypatch):
    monkeypatch.setattr(cli.app, "console", Console(width=400))  # an earlier help keeps its own
    assert run("train", "--help") == 0
    shown = capsys.readouterr().out
    for line in shown.splitlines():
        if match := re.search(r"--(data|generator|discriminator|optimizer|train)\.(\S+)", line):
            assert re.search(r"  \S.* \S.* \S", line[match.end() :]), match[0]
    for section, values in settings.to_dict(settings.Config()).items():
        for name in values:
            assert f"--{section}.{name.replace('_', '-')} " in shown


WAITING = """
import signal, time, sagan.cli
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
sagan.cli.app.command(name="wait")(lambda: (print("on", flush=True), time.sleep(60)))
sagan.cli.main(["wait"])
"""


def test_interruption_is_no_traceback():
    command = [sys.executable, "-c", WAITING]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "on\n"
        time.sleep(0.1)
        process.send_signal(2)
        _, error = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in error


def test_a_reader_that_has_seen_enough_is_no_mistake():
    command = f"{sys.executable} -m sagan presets | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("avatars32")
    assert done.stderr == ""


def test_unreachable_objects_are_looked_for_again_once_a_command_is_loaded():
    with program.loading():
        assert not gc.isenabled()
    assert gc.isenabled()
