"""How CPU threads wait for each other."""

import os

SPINS = 2000
"""How often a thread looks before it sleeps, some microseconds; GNU's OpenMP: 300,000."""


def usable_cores() -> int:
    """CPU cores that this process may use, as far as affinity and quotas of containers tell."""
    from loky import cpu_count

    return cpu_count()


def sleep_while_waiting() -> None:
    """Makes waiting threads sleep, so that their cores are free for others.

    The threads of PyTorch on Linux (GNU's OpenMP) wait by spinning, for about a millisecond. If
    another program needs cores too, a spinning thread can hold the core that the thread it waits
    for needs, in each of a step's thousands of operations: training slows up to 25 times
    (docs/lab/performance.md). Call it before PyTorch is imported. Your own ``GOMP_SPINCOUNT`` or
    ``OMP_WAIT_POLICY`` wins.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
