"""How the threads of a CPU wait for each other."""

from __future__ import annotations

import os

SPINS = 2000
"""Rounds that a thread waits awake, some microseconds; GNU's OpenMP has 300,000."""


def sleep_while_waiting() -> None:
    """Lets threads that wait for others leave their core to other programs.

    PyTorch on Linux computes in GNU's OpenMP, whose threads wait awake for about a millisecond.
    Where another program wants the cores too, they keep those they wait for from running, in every
    one of a training step's thousands of operations (docs/performance.md). Takes effect before
    PyTorch is imported; what the environment says of waiting already stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
