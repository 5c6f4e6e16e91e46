"""How threads wait, as the OpenMP that PyTorch brings reports it."""

import os
import subprocess
import sys

import pytest

from sagan.system.threads import SPINS

FUNCTION = "from sagan.system.threads import sleep_while_waiting; sleep_while_waiting()"
COMMAND = "import contextlib, sagan.cli\nwith contextlib.suppress(SystemExit): sagan.cli.main([])"


def rounds_after(code, **environment):
    """What the OpenMP library names when PyTorch loads it; None where it is not GNU's."""
    chosen = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}
    inherited = {name: value for name, value in os.environ.items() if name not in chosen}
    told = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport torch"],
        env=inherited | {"OMP_DISPLAY_ENV": "verbose"} | environment,
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    counts = [line.split("'")[1] for line in told.splitlines() if "GOMP_SPINCOUNT" in line]
    return int(counts[-1]) if counts else None


@pytest.fixture(scope="module", autouse=True)
def rounds_of_others():
    """Without us."""
    rounds = rounds_after("")
    if rounds is None:
        pytest.skip("this PyTorch has another OpenMP")
    return rounds


@pytest.mark.parametrize("code", [FUNCTION, COMMAND])
def test_the_library_takes_ours(code, rounds_of_others):
    assert rounds_after(code) == SPINS < rounds_of_others


def test_what_the_environment_says_stays():
    assert rounds_after(FUNCTION, GOMP_SPINCOUNT="70") == 70
    assert rounds_after(FUNCTION, OMP_WAIT_POLICY="active") > 10 * SPINS
