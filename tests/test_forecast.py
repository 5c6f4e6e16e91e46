import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import tiny

from sagan.cli import main
from sagan.errors import SaganError
from sagan.images import save_png
from sagan.system.memory import Memory
from sagan.training import footprint as footprint_module
from sagan.training import forecast as module
from sagan.training import preparation
from sagan.training.driver import Driver
from sagan.training.footprint import Footprint
from sagan.training.forecast import forecast, in_words, table
from sagan.training.scale import Scale

NEED = Footprint(fixed=2**22, per_picture=2**18)


def config_of(folder, **train):
    config = tiny(**train)
    return replace(config, data=replace(config.data, source=str(folder)))


def give_memory(driver, available):
    memory = Memory(total=2**30, available=available)
    driver.preparation = replace(driver.preparation, memory=memory)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(module, "_SECONDS", 0.1)
    monkeypatch.setattr(footprint_module, "footprint", lambda *_, **__: NEED)


def test_forecast_counts_estimates_and_measures(picture_folder, tmp_path):
    config = config_of(picture_folder, steps=50)
    found = forecast(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    state = Driver(config, tmp_path / "run").state
    for name in ("generator", "discriminator"):
        parameters = sum(p.numel() for p in getattr(state, name).parameters())
        assert getattr(found, f"{name}_parameters") == parameters
    assert found.images_per_second > 1
    assert found.seconds == pytest.approx(50 * 4 / found.images_per_second)
    lines = table(found).splitlines()
    assert [line[:10].strip() for line in lines] == [
        *("parameters", "operations", "", "memory of", "free memor", "largest ba", "speed", "time"),
    ]


def test_of_several_ranks_each_has_a_share_and_all_communicate(
    picture_folder, tmp_path, monkeypatch
):
    asked, memory = [], Memory(total=2**30, available=int(module.MARGIN * NEED.of(3)) + 1)
    monkeypatch.setattr(
        footprint_module, "footprint", lambda config, *_, **__: asked.append(config) or NEED
    )
    monkeypatch.setattr(module, "timed_on_noise", lambda config, *_: asked.append(config) or 0.5)
    monkeypatch.setattr(preparation, "memory_of", lambda _: memory)
    config = config_of(picture_folder, steps=50, batch_size=8, discriminator_steps=2)
    scale = Scale(ranks=4, bandwidth=0.1, price_per_hour=360)
    found = forecast(config, tmp_path / "run", scale=scale)
    assert [one.train.batch_size for one in asked] == [2, 2]
    size = 4 * (found.generator_parameters + 2 * found.discriminator_parameters)
    assert found.averaged_bytes == size
    told = 1.5 * size / 12.5e6  # twice three quarters; bytes per second
    assert found.images_per_second == pytest.approx(16 / (0.5 + told))
    assert found.seconds == pytest.approx(50 * (0.5 + told))
    printed = table(found)
    assert "4 processes with 2 of the 8 pictures of a batch each" in printed
    assert "4.5 MiB with shares of 2" in printed
    assert "\nlargest batch     12," in printed  # four times what fits beside the networks
    assert f"\ncost              {50 * (0.5 + told) / 10:.2f} at 360.00 an hour" in printed
    alone = replace(found, scale=Scale(price_per_hour=360))
    assert alone.seconds == 25
    assert not {"ranks", "communication"} & {line.split()[0] for line in table(alone).splitlines()}


@pytest.mark.parametrize("ranks", [3, 4, 16])
def test_ranks_take_equal_shares_of_two_pictures_or_more(ranks, picture_folder, tmp_path):
    config = config_of(picture_folder, batch_size=4)
    with pytest.raises(SaganError, match=f"4 cannot be shared by {ranks} processes"):
        forecast(config, tmp_path / "run", scale=Scale(ranks=ranks))


@pytest.mark.parametrize("flags", [["--ranks", "2"], ["--dry-run", "--ranks", "0"]])
def test_only_a_dry_run_imagines_ranks_and_at_least_one(flags, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["train", "avatars32", "--run", str(tmp_path / "run"), *flags])
    line = capsys.readouterr().err
    assert line.startswith("sagan: --ranks")
    assert line.count("\n") == 1


def test_of_a_begun_run_the_other_steps_count(picture_folder, trained_run, tmp_path):
    shutil.copytree(trained_run, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    found = forecast(config_of(picture_folder, steps=10), tmp_path / "run")
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    assert found.seconds == pytest.approx(8 * 4 / found.images_per_second)
    assert "for the other 8 of 10 steps" in table(found)


def test_without_enough_memory_nothing_is_tried(picture_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "memory_of", lambda _: Memory(total=2**23, available=2**20))
    monkeypatch.setattr(module, "timed_on_noise", None)
    printed = table(forecast(config_of(picture_folder), tmp_path / "run"))
    assert "not even 2 pictures fit" in printed
    assert "not measured, since a step does not fit" in printed
    monkeypatch.setattr(preparation, "memory_of", lambda _: None)
    monkeypatch.setattr(module, "timed_on_noise", lambda *_: 8.0)
    assert "unknown" in table(forecast(config_of(picture_folder), tmp_path / "run"))


def test_command_prints_and_writes_nothing(picture_folder, tmp_path, capsys):
    arguments = ["train", "--run", str(tmp_path / "run"), "--data.source", str(picture_folder)]
    narrow = ["--generator.base-channels", "8", "--discriminator.base-channels", "8"]
    with pytest.raises(SystemExit, match="0"):
        main([*arguments, *narrow, "--train.batch-size", "4", "--dry-run"])
    assert "images/s, measured on cpu" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (3, "3 seconds"),
        (600, "10 minutes"),
        (9000, "2.5 hours"),
        (8.64e6, "100 days"),
        (1e9, "31.7 years"),
    ],
)
def test_times_in_words(seconds, words):
    assert in_words(seconds) == words


def test_memory_that_runs_out_in_a_step_names_the_largest_batch(
    picture_folder, tmp_path, monkeypatch
):
    driver = Driver(config_of(picture_folder, batch_size=8), tmp_path / "run")
    give_memory(driver, 2**20)

    def exhausted(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(preparation, "train_steps", lambda *_, **__: iter(exhausted, None))
    with pytest.raises(
        SaganError, match=r"step 1: memory ran out with batches of 8.*no checkpoint"
    ) as caught:
        driver.train()
    assert "not even 2 pictures fit" in str(caught.value)
    available = int(module.MARGIN * NEED.of(5)) + 1
    give_memory(driver, available)
    with pytest.raises(SaganError, match=r"choose --train\.batch-size 5 or smaller"):
        driver.train()


def test_a_batch_that_can_never_fit_is_refused_before_anything_is_written(
    picture_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(preparation, "memory_of", lambda _: Memory(total=2**22, available=2**21))
    with pytest.raises(SaganError, match="a training step with batches of 4 needs about"):
        Driver(config_of(picture_folder), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_training_would_refuse_is_not_forecast(trained_run, tmp_path):
    shutil.copytree(trained_run, tmp_path / "run")
    other = tmp_path / "pictures" / "dark"
    for number in range(8):
        save_png(np.full((3, 32, 32), number, np.uint8), other / f"{number}.png")
    with pytest.raises(SaganError, match="other pictures"):
        forecast(config_of(other.parent, steps=10), tmp_path / "run")
