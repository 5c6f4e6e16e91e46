import doctest
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import sagan


@pytest.mark.parametrize("name", sagan.__all__)
def test_everything_promised_is_there(name):
    assert getattr(sagan, name) is not None
    assert name in dir(sagan)


def test_the_promise_is_the_table_of_what_is_imported_later():
    assert sagan.__all__ == sorted(["SaganError", *sagan._HOME], key=str)
    assert sagan.__version__.count(".") == 2


def test_unknown_name_is_an_attribute_error():
    assert not hasattr(sagan, "load_everything")


def test_importing_sagan_imports_no_torch_and_each_name_reaches_its_own_object():
    program = """
import sys, sagan
assert "load_generator" in dir(sagan) and "nn" in dir(sagan)
assert "torch" not in sys.modules and "numpy" not in sys.modules
assert isinstance(sagan.preset("avatars32"), sagan.Config)
assert "torch" not in sys.modules
assert sagan.nn.SelfAttention2d.__module__ == "sagan.nn.layers"
assert sagan.metrics.frechet_distance.__module__ == "sagan.evaluation.metrics"
assert sagan.losses.hinge_discriminator.__module__ == "sagan.losses.adversarial"
assert callable(sagan.open_dataset)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


WITH_EXAMPLES = [
    path.relative_to(Path(sagan.__file__).parents[1]).with_suffix("").as_posix().replace("/", ".")
    for path in sorted(Path(sagan.__file__).parent.rglob("*.py"))
    if ">>>" in path.read_text(encoding="utf-8") and path.parent.name not in {"nn", "losses"}
]
"""Those of ``nn`` and ``losses`` run in test_nn.py."""


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_give_what_they_say(name):
    found = doctest.DocTestFinder().find(import_module(name), extraglobs={"sagan": sagan})
    examples = [test for test in found if test.examples and "path/to/" not in test.docstring]
    failures = []
    for test in examples:
        doctest.DocTestRunner().run(test, out=failures.append)
    assert not failures, "".join(failures)
    assert examples or name == "sagan.training.run"  # which begins with pictures of the reader


INTERRUPTED = """
import os, signal, sys


class Interrupt:
    def find_spec(name, *_):
        if name == "sagan.cli.models":
            os.kill(os.getpid(), signal.SIGINT)


sys.meta_path.insert(0, Interrupt)
from sagan.__main__ import command

command()
"""


def test_an_interruption_of_the_first_imports_is_quiet():
    ended = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "stopped\n")
