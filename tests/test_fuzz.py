"""Hostile command lines: each does its work, or says in one line what is wrong.

None hangs, prints a traceback or what a terminal would obey, changes what it only reads, or reaches
outside of its places. ``python -m benchmarks.fuzz`` runs thousands more.
"""

import json
import shutil
import sys
from dataclasses import replace

import pytest
from conftest import tiny
from hostile_lines import Grammar, Runner
from hostile_shelf import DEEP, ESCAPE, RECORD, Shelf

from sagan.cli import app
from sagan.config import EvaluationConfig
from sagan.training.run import train

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="makes pipes and reads /dev")

SEED = 16
LINES = {"train": 26, "ablate": 6, "demo": 4, "evaluate": 10, "report": 4, "export": 14, "check": 4}
USUAL_NUMBER = 20


@pytest.fixture(scope="module")
def shelf(tmp_path_factory, picture_folder):
    config = replace(tiny(steps=2), evaluation=EvaluationConfig(samples=0))
    folder = tmp_path_factory.mktemp("hostile")
    train(config, folder / "run", source=str(picture_folder))
    (folder / "shelf").mkdir()
    return Shelf(folder / "shelf", folder / "run", picture_folder)


@pytest.fixture(scope="module")
def runner(shelf):
    return Runner(shelf)


COMMANDS = sorted(name for name in app if not name.startswith("-"))


@pytest.mark.parametrize("command", COMMANDS)
def test_hostile_lines(shelf, runner, command):
    grammar = Grammar(shelf, f"{SEED} {command}")
    count = LINES.get(command, USUAL_NUMBER)
    lines = [runner.run(grammar.line(command)) for _ in range(count)]
    faults = [(line.fault, line.words, line.err[-300:]) for line in lines if line.fault]
    assert not faults, faults


def test_there_are_many_lines():
    assert sum(LINES.get(command, USUAL_NUMBER) for command in COMMANDS) >= 290
    assert len(COMMANDS) >= 16


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("serve", "{run}", "--host=" + "x" * 300), "no name of a machine"),
        (("studio", "{run}", "--no-open", "--host=\u202eabc"), "no name of a machine"),
        (("data", "{pictures}", f"--data.augment={DEEP}"), "nested too deeply"),
        (("sample", "{run}", "--columns=" + "9" * 5000), "9...9"),
        (("data", "{scalar}"), "a single number"),
    ],
)
def test_mistakes_that_were_tracebacks_or_told_without_end(shelf, runner, words, told):
    inputs = shelf.inputs
    places = {
        "run": inputs / "run",
        "pictures": inputs / "pictures",
        "scalar": inputs / "sources" / "scalar.npz",
    }
    line = runner.run([word.format(**places) for word in words])
    assert (line.code, line.fault) == (2, "")
    assert told in line.err
    assert len(line.err) < 1000


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": {"kind": "generator"}},
        {"subject": {"kind": "generator", "path": [1]}},
        {"protocol": 3},
        {"protocol": {"extractor": {}}},
        {"values": {"fd": {**RECORD["values"]["precision"], "mean": "much"}}},
        {"values": {"fd": True}},
        {"details": {"fd": [1]}},
        {"notes": 3},
        {"unknown": 1},
    ],
)
def test_records_of_other_kinds(shelf, runner, changes):
    path = shelf.out / "record.json"
    path.write_text(json.dumps({**RECORD, **changes}))
    line = runner.run(("evaluate", f"--compare={path}", f"--compare={path}"))
    assert (line.code, line.fault) == (2, "")
    assert "no record of an evaluation" in line.err


def test_what_records_say_is_cleaned(shelf, runner):
    path = shelf.out / "record.json"
    subject = {**RECORD["subject"], "path": ESCAPE}
    path.write_text(json.dumps({**RECORD, "subject": subject, "protocol": {ESCAPE: ESCAPE}}))
    line = runner.run(("evaluate", f"--compare={path}", f"--compare={path}"))
    assert (line.code, line.fault) == (0, "")
    assert "\\x1b[2J" in line.out


@pytest.mark.parametrize("gamma", [[1], "x", None, {}, True, 10**400, float("nan")])
def test_a_timeline_passes_over_what_is_no_number(shelf, runner, gamma):
    run = shelf.out / f"timeline-{next(shelf.numbers)}"
    shutil.copytree(shelf.inputs / "run", run)
    with (run / "log.jsonl").open("a") as log:
        log.write(json.dumps({"step": 2, "generator_gamma_16": gamma}) + "\n")
    line = runner.run(("attention", str(run), "--timeline", f"--output={run}.png"))
    assert (line.code, line.fault) == (0, "")
