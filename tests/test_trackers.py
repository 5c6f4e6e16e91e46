"""Programs that draw curves get what the log gets, go on where they were, and end no run."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import tiny

from sagan.errors import SaganError
from sagan.runs.events import ALARM, STARTED, event
from sagan.training import trackers
from sagan.training.driver import Driver
from sagan.training.trackers import Trackers, event_in_words, numbers_of_record, require_trackers


class Kept:
    """A tracker that remembers."""

    remark = "look here"
    all = ()

    def __init__(self, folder, config, step):
        self.folder, self.began = folder, step
        self.told, self.pictures, self.events, self.closed = [], [], [], 0
        Kept.all += (self,)

    def scalars(self, step, values):
        self.told.append((step, values))

    def images(self, step, name, picture):
        self.pictures.append((step, name, picture))

    def event(self, step, kind, text):
        self.events.append((step, kind, text))

    def close(self):
        self.closed += 1


class Broken(Kept):
    def scalars(self, *_):
        raise OSError("no space\nleft")

    images = event = close = scalars


class Unopened:
    def __init__(self, *_):
        raise ValueError


@pytest.fixture
def kinds(monkeypatch):
    Kept.all = ()

    def give(**kinds):
        for name, kind in kinds.items():
            monkeypatch.setitem(trackers._TRACKERS, name, kind)
        monkeypatch.setattr(trackers, "find_spec", lambda _: True)

    return give


def of_pictures(folder, **train):
    config = tiny(**train)
    data = replace(config.data, source=str(folder))
    return replace(config, data=data, evaluation=replace(config.evaluation, samples=0))


def test_numbers_have_the_names_of_the_log():
    record = {
        "step": 3,
        "generator": 1,
        "variety": float("nan"),
        "evaluation": {"fd": 2.5, "step": 7, "why": "x", "bad": float("inf")},
        "evaluation_by_class": {"a/b": {"fd": 1.0}},
        "flag": True,
        "evaluation_error": "text",
    }
    assert numbers_of_record(record) == {
        "generator": 1.0,
        "evaluation/fd": 2.5,
        "evaluation/step": 7.0,
        "evaluation_by_class/a/b/fd": 1.0,
    }


def test_events_are_one_line():
    alarm = event(ALARM, 5, alarm="collapsed", detail="class cat:\x1b[31m 0.01\n")
    assert event_in_words(alarm) == r"collapsed: class cat:\x1b[31m 0.01\n"
    assert event_in_words(event(STARTED, 0, where={"ranks": 1})) == '{"where": {"ranks": 1}}'
    assert event_in_words(event("finished", 9)) == "finished"


def test_all_that_is_logged_is_handed_on(picture_folder, tmp_path, kinds, capsys):
    kinds(tensorboard=Kept)
    run = tmp_path / "run"
    driver = Driver(of_pictures(picture_folder, steps=4, log=["tensorboard"]), run)
    assert Kept.all == ()  # until the run begins
    driver.train()
    (kept,) = Kept.all
    assert (kept.folder, kept.began, kept.closed) == (run, 0, 1)
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    expected = [(r["step"], numbers_of_record(r)) for r in records if "event" not in r]
    assert kept.told == expected
    assert kept.events == [
        (r["step"], r["event"], event_in_words(r)) for r in records if "event" in r
    ]
    told = dict(expected[-2][1])
    assert {"generator", "images_per_second", "generator_gamma_16"} <= told.keys()
    assert (told["generator_lr"], told["discriminator_lr"]) == (1e-3, 2e-3)
    assert [(step, name) for step, name, _ in kept.pictures] == [
        (step, name) for step in (1, 3, 4) for name in ("samples", "attention")
    ]
    for _, _, picture in kept.pictures:
        assert picture.dtype == np.uint8
        assert picture.shape[0] == 3
    assert "note: to look at tensorboard: look here\n" in capsys.readouterr().err


def test_a_tracker_changes_nothing_of_the_run(picture_folder, tmp_path, kinds):
    kinds(wandb=Kept)
    for name, log in (("without", []), ("with", ["wandb"])):
        Driver(of_pictures(picture_folder, steps=3, log=log), tmp_path / name).train()
    ends = [
        (tmp_path / name / "checkpoints" / "step-00000003.safetensors").read_bytes()
        for name in ("without", "with")
    ]
    tensors = [data[8 + int.from_bytes(data[:8], "little") :] for data in ends]  # after the header
    assert tensors[0] == tensors[1]


def test_a_run_that_goes_on_goes_on_there(picture_folder, tmp_path, kinds):
    kinds(tensorboard=Kept, trackio=Kept)
    config = of_pictures(picture_folder, steps=3, log=["tensorboard"])
    Driver(config, tmp_path / "run").train()
    other = replace(config, train=replace(config.train, steps=4, log=("trackio",)))
    Driver(other, tmp_path / "run").train()
    assert [kept.began for kept in Kept.all] == [0, 3]
    assert [step for step, _ in Kept.all[1].told] == [4, 4]


@pytest.mark.parametrize("kind", [Broken, Unopened])
def test_what_fails_is_switched_off_with_one_warning(picture_folder, tmp_path, kinds, kind):
    kinds(tensorboard=kind, wandb=Kept)
    config = of_pictures(picture_folder, steps=3, log=["tensorboard", "wandb"])
    with pytest.warns(RuntimeWarning, match=r"tensorboard fails and is switched off") as told:
        outcome = Driver(config, tmp_path / "run").train()
    assert outcome.steps == 3
    assert len(told) == 1
    assert str(told[0].message).endswith(
        "go on: " + ("no space" if kind is Broken else "ValueError")
    )
    healthy = Kept.all[-1]
    assert [step for step, _ in healthy.told] == [1, 1, 2, 3, 3]
    assert healthy.closed == 1


def test_an_absent_package_is_told_before_any_work(tmp_path, monkeypatch, picture_folder):
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    with pytest.raises(SaganError, match="pip install wandb"):
        Driver(of_pictures(picture_folder, log=["wandb"]), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    require_trackers(())


def test_a_tracker_is_named_once():
    with pytest.raises(SaganError, match=r"train\.log"):
        tiny(log=["wandb", "wandb"])
    with pytest.raises(SaganError, match=r"tensorboard or wandb or trackio"):
        tiny(log=["wanbd"])


# --- the programs themselves


def told_to(name, folder, steps, begin=0):
    """A run as far as its trackers see it."""
    config = tiny(log=[name])
    kept = Trackers(folder, config)
    kept.open(begin)
    for step in range(begin + 1, begin + steps + 1):
        kept.record({"step": step, "generator": step / 2, "evaluation": {"fd": 10.0 * step}})
    kept._picture(step, "samples", np.full((1, 8, 12), 200, np.uint8))
    kept.record(event(ALARM, step, alarm="collapsed", detail="class cat"))
    kept.close()


def read_back(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), {"scalars": 0, "images": 0, "tensors": 0})
    return found.Reload()


def test_tensorboard_shows_it_and_drops_what_comes_again(tmp_path):
    pytest.importorskip("tensorboard")
    told_to("tensorboard", tmp_path, 5)
    told_to("tensorboard", tmp_path, 4, begin=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tensorboard"]
    found = read_back(tmp_path / "tensorboard")
    points = [(point.step, point.value) for point in found.Scalars("evaluation/fd")]
    assert points == [(step, 10.0 * step) for step in range(1, 8)]
    assert [point.step for point in found.Scalars("generator")] == list(range(1, 8))
    (picture,) = found.Images("samples")
    assert (picture.step, picture.width, picture.height) == (7, 12, 8)
    *_, alarm = found.Tensors("event/alarm/text_summary")
    assert alarm.tensor_proto.string_val[0] == b"collapsed: class cat"
    assert found.Tensors("settings/text_summary")


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, "tests")
from test_trackers import told_to
told_to(sys.argv[1], Path(sys.argv[2]), 5)
told_to(sys.argv[1], Path(sys.argv[2]), 4, begin=3)
"""


def in_a_process(name, folder, home):
    """Away from the settings and files of whoever runs the tests."""
    kept = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")
    around = {key: os.environ[key] for key in kept if key in os.environ} | {"HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, name, str(folder)],
        cwd=Path(__file__).parent.parent,
        env=around,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "switched off" not in done.stderr
    assert list(home.rglob("*")) == []
    return done.stderr


def test_trackio_keeps_one_run_in_the_folder(tmp_path):
    pytest.importorskip("trackio")
    import sqlite3

    folder, home = tmp_path / "run", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    in_a_process("trackio", folder, home)
    with sqlite3.connect(folder / "trackio" / "sagan.db") as database:
        rows = database.execute("select distinct run_name, step from metrics order by step")
        names, steps = zip(*rows.fetchall(), strict=True)
    assert steps == (1, 2, 3, 4, 5, 6, 7)
    assert len(set(names)) == 1


def test_wandb_stays_in_the_folder_under_one_id(tmp_path):
    pytest.importorskip("wandb")
    folder, home = tmp_path / "run", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    in_a_process("wandb", folder, home)
    files = [path.name for path in folder.glob("wandb/offline-run-*/*.wandb")]
    known = (folder / "tracking-id.txt").read_text().strip()
    assert files == [f"run-{known}.wandb"] * 2
