"""Hostile command lines: each does its work, or says in one line what is wrong.

None hangs, prints a traceback or what a terminal would obey, changes what it only reads, or reaches
outside of its places. ``python -m benchmarks.fuzz`` runs thousands more.
"""

import sys
from dataclasses import replace

import pytest
from conftest import tiny
from hostile_lines import Grammar, Runner
from hostile_shelf import Shelf

from sagan.cli import app
from sagan.config import EvaluationConfig
from sagan.training.run import train

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="makes pipes and reads /dev")

SEED = 16
LINES = {"train": 26, "ablate": 6, "demo": 4, "evaluate": 10, "report": 4, "export": 14}
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
