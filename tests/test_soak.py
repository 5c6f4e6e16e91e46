"""Runs that die in the middle of things end as an undisturbed one; ``benchmarks.soak`` has more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SEED = "2527"
"""Deaths inside the settings of a new run, a checkpoint and an evaluation, and early starts."""
ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_killed_runs_end_to_the_bit():
    command = [sys.executable, "-m", "benchmarks.soak", "--runs", "2", "--seed", SEED]
    ended = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "2 of 2 runs" in ended.stdout
