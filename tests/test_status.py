"""How runs stand is read from their folders, whatever lies in these."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import tiny
from test_cli import mistake, run

from sagan.config import to_toml
from sagan.errors import DivergedError
from sagan.runs import log as logs
from sagan.runs.events import ALARM, CLEARED, DIVERGED, FINISHED, STARTED, STOPPED, event
from sagan.runs.log import newest_records
from sagan.runs.status import LOCK, Unreadable, run_status, statuses
from sagan.system.locks import holding
from sagan.training.driver import Driver

LOSSES = {"discriminator_real": 0.5, "discriminator_fake": 0.25, "generator": -1.5}


def made(folder, *records, steps=1000, **train):
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(to_toml(tiny(steps=steps, **train)))
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "log.jsonl").write_text(lines)
    return folder


def step(number, **more):
    return {"step": number, **LOSSES, "images_per_second": 80.0, **more}


def test_the_state_is_that_of_the_last_event_and_of_the_lock(tmp_path):
    start = event(STARTED, 0, where={})
    for number, (state, records) in enumerate(
        [
            ("new", []),
            ("stopped", [step(500)]),  # without events, as runs of before had none
            ("finished", [step(1000)]),
            ("failed", [start, step(500)]),
            ("stopped", [start, step(500), event(STOPPED, 500, by="SIGTERM")]),
            ("finished", [start, step(1000), event(FINISHED, 1000)]),
            ("failed", [start, event(FINISHED, 500), event(STARTED, 500), step(600)]),
            ("diverged", [start, event(DIVERGED, 7, detail="generator is nan")]),
        ]
    ):
        folder = made(tmp_path / str(number), *records)
        assert run_status(folder).state == state, number
        with holding(folder / LOCK):
            assert run_status(folder).state == "running"
        (folder / LOCK).write_text('{"pid": 1, "host": "here", "since": "today"}')
        os.utime(folder / LOCK, (1, 1))
        assert run_status(folder).state == "died"


def test_time_left_is_of_pictures_and_speed(tmp_path):
    folder = made(tmp_path / "run", step(500), batch_size=8, discriminator_steps=2)
    assert run_status(folder).seconds_left is None
    with holding(folder / LOCK):
        found = run_status(folder)
    assert found.seconds_left == 500 * 8 * 2 / 80.0
    assert (found.step, found.steps, found.images_per_second) == (500, 1000, 80.0)
    assert str(os.getpid()) in found.detail


def test_the_newest_numbers_count(tmp_path):
    folder = made(
        tmp_path / "run",
        step(100, generator=7.0),
        {"step": 100, "variety": 0.5},
        {"step": 100, "evaluation": {"fd": 400.0}},
        {"step": 200, "evaluation": {"fd": 300.0, "kid": float("nan"), "why": "x"}},
        {"step": 200, "variety": 0.25},
        step(250),
    )
    (folder / "checkpoints").mkdir()
    for name in ("step-00000100", "step-00000200", "step-00000300.x"):
        (folder / "checkpoints" / f"{name}.safetensors").write_bytes(bytes(1000))
    found = run_status(folder)
    assert (found.metrics, found.metrics_step, found.variety) == ({"fd": 300.0}, 200, 0.25)
    assert found.losses == LOSSES
    assert found.checkpoint == "step-00000200.safetensors"
    assert found.bytes == sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) > 3000
    os.utime(folder / "log.jsonl", (time.time() - 90,) * 2)
    assert 89 < run_status(folder).seconds_since < 100


def test_alarms_stand_until_they_are_cleared(tmp_path):
    folder = made(
        tmp_path / "run",
        event(ALARM, 10, alarm="collapsed", detail="class cat"),
        event(ALARM, 20, alarm="memorising", detail="gap 0.7"),
        event(CLEARED, 30, alarm="collapsed"),
        *(step(number) for number in range(31, 900)),
        event(ALARM, 900, alarm="sigma-off", detail="\x1b[31mred\nline"),
    )
    assert run_status(folder).alarms == {
        "memorising": "gap 0.7",
        "sigma-off": r"\x1b[31mred\nline",
    }


HOSTILE = [
    {"step": 5, "images_per_second": "fast", "variety": [1], "evaluation": "good"},
    {"step": 5, "images_per_second": float("inf"), "variety": None, "evaluation": [1]},
    {"step": 5, "images_per_second": 10**400, "evaluation": {"fd": 10**400}},
    {"step": 5, "generator": "x", "discriminator_real": {}},
    {"step": 5, "event": ["started"]},
    {"step": 5, "event": "alarm"},
    {"step": 5, "event": "diverged", "detail": 7},
    {"step": 2**53 - 1, "images_per_second": 0},
    {"step": 5, "images_per_second": -1.0},
]


@pytest.mark.parametrize("record", HOSTILE)
def test_records_without_sense_are_passed_over(tmp_path, record, capsys):
    folder = made(tmp_path / "run", record)
    with (folder / "log.jsonl").open("ab") as file:
        file.write(b'\xff\xfe\n{"step": 2, "cut of')
    with holding(folder / LOCK):
        assert run_status(folder).state == "running"
        assert run("status", folder) == 0
    assert "Traceback" not in capsys.readouterr().err


def test_what_is_no_run_is_a_line_beside_the_others(tmp_path, capsys):
    made(tmp_path / "a" / "good", step(5))
    bad = made(tmp_path / "a" / "bad")
    (bad / "config.toml").write_bytes(b"\xff[[[")
    other = made(tmp_path / "a" / "newer")
    (other / "config.toml").write_text("[train]\nwarp = 9\n")
    (made(tmp_path / "a" / "huge") / "config.toml").write_bytes(b"#" * 2**21)
    piped = made(tmp_path / "piped", step(5))
    (piped / "log.jsonl").unlink()
    os.mkfifo(piped / "log.jsonl")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    places = [tmp_path / name for name in ("a", "piped", "empty", "file", "\x1b[31mno")]
    assert run("status", *places) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 2 + 6  # the heading, two runs, six problems
    assert not any("\x1b" in line for line in lines)
    for name, words in (
        ("bad", "TOML"),
        ("newer", "warp"),
        ("huge", "its config.toml is none"),
        ("empty", "no run folder, and none in it"),
        ("file", "no run folder"),
        (r"\x1b[31mno", "there is no such folder"),
    ):
        assert any(name in line and words in line for line in lines), name
    (only,) = statuses([piped])
    assert only.state == "new"
    assert "empty: no run folder, and none in it; give" in mistake(
        capsys, "status", tmp_path / "empty"
    )


def test_json_tells_the_same(tmp_path, capsys):
    made(tmp_path / "runs" / "b", step(5))
    made(tmp_path / "runs" / "a", step(6))
    assert run("status", tmp_path / "runs", tmp_path / "none", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [Path(one["folder"]).name for one in found] == ["a", "b", "none"]
    assert [one.get("step") for one in found] == [6, 5, None]
    assert found[2]["problem"] == "there is no such folder"
    mistake(capsys, "status", tmp_path / "runs", "--json", "--watch")
    mistake(capsys, "status")


def test_one_run_is_told_line_by_line(trained_run, capsys):
    assert run("status", trained_run) == 0
    lines = capsys.readouterr().out.splitlines()
    facts = {line.split("  ")[0]: line for line in lines}
    assert "finished" in facts["state"]
    assert "2/2" in facts["step"]
    assert "00000002" in facts["checkpoint"]


def test_of_a_long_log_the_end_is_read(tmp_path, monkeypatch):
    folder = made(
        tmp_path / "run",
        {"step": 1, "evaluation": {"fd": 9.0}},
        *(step(number) for number in range(1000)),
        {"step": 1000, "evaluation": {"fd": 5.0}},
        *(step(number) for number in range(1000, 2000)),
    )
    found = newest_records(folder, "event", "evaluation")
    assert found == [
        {"step": 1, "evaluation": {"fd": 9.0}},
        {"step": 1000, "evaluation": {"fd": 5.0}},
        *(step(number) for number in range(1800, 2000)),
    ]
    size = (folder / "log.jsonl").stat().st_size
    for cut in (size, size - 1):
        monkeypatch.setattr(logs, "_NEWEST", cut)
        assert len(newest_records(folder, "evaluation")) == (202 if cut == size else 201)


def test_a_divergence_is_an_event(picture_folder, tmp_path):
    config = tiny(steps=50)
    config = replace(
        config,
        data=replace(config.data, source=str(picture_folder)),
        optimizer=replace(config.optimizer, generator_lr=1e30, discriminator_lr=1e30),
    )
    with pytest.raises(DivergedError) as told:
        Driver(config, tmp_path / "run").train()
    found = run_status(tmp_path / "run")
    assert found.state == "diverged"
    assert found.detail == str(told.value)


def started(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent / "src")}
    return subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, text=True, env=environment
    )


def test_it_needs_no_torch(tmp_path):
    made(tmp_path / "a", step(5))
    code = (
        "import sys\nfrom sagan import cli\n"
        f"cli.main(['status', {str(tmp_path / 'a')!r}])\n"
        "assert not {'torch', 'PIL'} & sys.modules.keys()"
    )
    process = started("-c", code)
    assert "500" not in process.communicate(timeout=60)[0]
    assert process.returncode == 0


def test_watching_shows_what_changes_until_ctrl_c(tmp_path):
    folder = made(tmp_path / "a", step(5))
    process = started("-u", "-m", "sagan", "status", str(folder), "--watch")
    seen = []
    for line in process.stdout:
        seen += re.findall(r"^step +(\d+)/", line)
        if seen == ["5"]:
            with (folder / "log.jsonl").open("a") as file:
                file.write(json.dumps(step(6)) + "\n")
        if "6" in seen:
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert seen == ["5", "6"]


def test_reading_changes_nothing(tmp_path, trained_run):
    folder = tmp_path / "run"
    shutil.copytree(trained_run, folder)
    before = {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}
    assert not isinstance(statuses([folder])[0], Unreadable)
    assert {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))} == before
