import os
import shlex
import shutil
import signal
from dataclasses import replace
from types import SimpleNamespace

import pytest
from conftest import tiny
from PIL import Image
from test_cli import run, size

from sagan import cli, demo
from sagan.config.presets import preset
from sagan.data.avatars import CLASS_NAMES
from sagan.nn.residual import make_generator
from sagan.runs import checkpoint as checkpoints
from sagan.runs import named
from sagan.runs.folder import checkpoint_files, sample_files
from sagan.runs.log import log_records
from sagan.runs.run import Run


@pytest.fixture
def small_demo(tmp_path, monkeypatch):
    """The demonstration with narrow networks, few pictures, and a speed that is given."""
    config = preset("avatars32")
    config = replace(
        config,
        data=replace(config.data, generated_images=300),
        generator=replace(config.generator, base_channels=8, latent_dim=16),
        discriminator=replace(config.discriminator, base_channels=8),
        train=replace(config.train, batch_size=4, log_interval=2),
        evaluation=replace(config.evaluation, interval=0),
    )
    generator = make_generator(
        tiny().generator, resolution=32, num_classes=len(CLASS_NAMES), channels=3
    )
    shipped = checkpoints.Checkpoint(
        config=tiny().with_channels(3),
        class_names=CLASS_NAMES,
        step=1,
        parts={"generator": generator.state_dict()},
    )
    checkpoints.save(shipped, tmp_path / "shipped.safetensors")
    shipped_model = {demo.SHOWN_FIRST: SimpleNamespace(file=tmp_path / "shipped.safetensors")}
    monkeypatch.setattr(demo, "shipped_model", shipped_model.get)
    monkeypatch.setattr(demo, "preset", lambda name: config)
    found = SimpleNamespace(seconds=400.0, steps_done=0, images_per_second=100.0)
    monkeypatch.setattr(demo, "forecast", lambda config, folder: found)
    monkeypatch.setattr(demo, "busy", lambda: "")
    return found


def test_it_shows_the_shipped_model_then_what_it_learned(small_demo, capsys, tmp_path):
    folder = tmp_path / "demo"
    assert run("demo", "--run", folder, "--steps", 3) == 0
    printed = capsys.readouterr()
    assert printed.out == (folder / "summary.txt").read_text()
    assert "trained 3 steps on 12 pictures" in printed.out
    assert "variety" not in printed.out
    for name in ("shipped-grid.png", "shipped-attention.png"):
        assert size(folder / name)[0] > 400
        assert str(folder / name) in printed.err
    for name in ("grid.png", "growth.webp", "attention.png"):
        assert size(folder / name)[0] > 400
        assert str(folder / name) in printed.out
    for artist in ("Kader", "Novakovic", "Arias", "Revoy", "Stanley"):
        assert artist in printed.out
    with Image.open(folder / "growth.webp") as film:
        assert film.n_frames == len(sample_files(folder)) == 3
    order = [printed.err.index(text) for text in ("shipped-grid", "it will take", "step 2/3")]
    assert order == sorted(order)


@pytest.mark.parametrize("damage", ["cut off", "gone", "card"])
def test_a_damaged_shipped_model_is_told_and_training_goes_on(
    small_demo, capsys, tmp_path, monkeypatch, damage
):
    shipped = tmp_path / "shipped"
    shutil.copytree(named.SHIPPED, shipped)
    file = shipped / f"{demo.SHOWN_FIRST}.{'toml' if damage == 'card' else 'safetensors'}"
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1000])
    monkeypatch.setattr(named, "SHIPPED", shipped)
    monkeypatch.setattr(demo, "shipped_model", named.shipped_model)
    assert run("demo", "--run", tmp_path / "demo", "--steps", 1) == 0
    printed = capsys.readouterr()
    (told,) = (line for line in printed.err.splitlines() if "nothing can be shown" in line)
    assert f"the model {demo.SHOWN_FIRST} of this installation is damaged" in told
    assert "install sagan anew: pip install --force-reinstall" in told
    assert "trained 1 steps" in printed.out


def test_a_finished_demonstration_only_shows_again(small_demo, capsys, tmp_path):
    arguments = "demo", "--run", tmp_path / "demo", "--steps", 1
    assert run(*arguments) == 0
    (tmp_path / "demo" / "grid.png").unlink()
    records = log_records(tmp_path / "demo")
    capsys.readouterr()
    assert run(*arguments) == 0
    assert "it will take" not in capsys.readouterr().err
    assert (tmp_path / "demo" / "grid.png").is_file()
    assert log_records(tmp_path / "demo") == records


def test_an_interrupted_one_says_how_to_go_on_and_goes_on(
    small_demo, capsys, tmp_path, monkeypatch
):
    folder = tmp_path / "demo"

    def log(run, record):
        write(run, record)
        if record.get("step") == 2 and "generator" in record:
            os.kill(os.getpid(), signal.SIGINT)

    write = Run.log
    with monkeypatch.context() as patch:
        patch.setattr(Run, "log", log)
        assert run("demo", "--run", folder, "--steps", 60) == 75
    printed = capsys.readouterr().err
    assert "stopped at step 2 by SIGINT and saved; the same command continues" in printed
    assert str(folder / "samples" / "step-00000002.png") in printed
    assert not (folder / "summary.txt").exists()
    assert checkpoint_files(folder)
    small_demo.steps_done = 2
    assert run("demo", "--run", folder, "--steps", 3) == 0
    assert "trained 3 steps" in capsys.readouterr().out


def test_an_interruption_before_training_is_told_too(small_demo, capsys, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "draw_pictures", interrupt)
    assert run("demo", "--run", tmp_path / "demo") == 130
    assert "the same command goes on" in capsys.readouterr().err


def test_the_time_told_counts_what_is_drawn_on_the_way(small_demo, capsys, tmp_path, monkeypatch):
    """1000 steps in 400 s; with interval 39 there are 26 grids, each as long as five steps."""
    driver = SimpleNamespace(
        config=demo._demo_settings(1000),
        run=SimpleNamespace(folder=tmp_path),
        outputs=SimpleNamespace(evaluate=None),
    )
    assert driver.config.train.sample_interval == 39
    (line, slow) = demo._time_told(driver, "")
    assert line.startswith("it will take about 8 minutes: 1,000 steps at 100 pictures/s")
    assert "that is slow; two quiet cores take 2 minutes" in slow
    assert demo._time_told(driver, "note: this machine is busy: 9 programs share 2 cores")[1] == (
        "note: this machine is busy: 9 programs share 2 cores; alone it goes faster"
    )
    driver.outputs.evaluate, small_demo.seconds = abs, 100.0
    (line,) = demo._time_told(driver, "")
    assert "about 2 minutes" in line  # 100 s, a seventh for the grids and a tenth for measuring
    small_demo.seconds = None
    assert demo._time_told(driver, "") == []


def test_what_was_measured_last_is_told(small_demo, tmp_path):
    folder = tmp_path / "demo"
    demo.run_demo(folder, 1)
    Run(folder, demo._demo_settings(1)).log(
        {"step": 1, "evaluation": {"FD": 331.5, "recall": 0.0312}}
    )
    assert "measured against training pictures: FD 331.5, recall 0.0312" in demo.run_demo(folder, 1)


def test_variety_is_told_once_it_says_something(small_demo, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "EARLY_PICTURES", 4)
    assert "variety within a class: " in demo.run_demo(tmp_path / "demo", 1)


def test_its_next_steps_parse(tmp_path):
    lines = demo.next_commands(tmp_path, 100)
    verbs = {line.split()[1] for line in lines}
    assert verbs >= {"sample", "attention", "interpolate", "train", "models"}
    for line in lines:
        cli.app.parse_args(shlex.split(line)[1:], exit_on_error=False, print_error=False)
