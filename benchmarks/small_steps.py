"""The step of a preset in float32 and bfloat16, as it is and compiled, in turn in one process.

    python -m benchmarks.small_steps avatars32-sagan --compile

Medians in milliseconds by the clock, on random pictures; ratios are medians of pairs. Twelve steps
are timed together. Where other programs need the cores, ``--processor-time`` with OMP_NUM_THREADS=1
counts what the step itself takes.
"""

import statistics
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import torch
from torch import Tensor

from sagan.config import Config
from sagan.config.presets import named_settings
from sagan.system.device import autocast, keep_freed_memory
from sagan.training.loop import trial_steps

_WARM_UP = 4
_CLASSES = 14
_TOGETHER = 12
"""Steps in a row: three rounds of penalties at each fourth."""


def steps_of(config: Config, count: int) -> Iterator[dict[str, Tensor]]:
    """Steps after the first ones, of a process that keeps freed memory as a run does."""
    keep_freed_memory()
    config = replace(config, train=replace(config.train, steps=count + _WARM_UP))
    shape = (512, 3, *config.data.size)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    cpu = torch.device("cpu")
    steps = trial_steps(images, config, _CLASSES, cpu, autocast(config.train.precision, cpu))
    for _ in range(_WARM_UP):
        next(steps)
    return steps


def _main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("preset")
    parser.add_argument("--compile", action="store_true", help="the compiled sides too")
    parser.add_argument("--steps", type=int, default=144)
    parser.add_argument("--processor-time", action="store_true")
    given = parser.parse_args()
    clock = time.thread_time if given.processor_time else time.perf_counter
    config = named_settings(given.preset).with_channels(3)
    sides, times = {}, {}
    rounds = max(1, round(given.steps / _TOGETHER))
    for compiled, precision in product([False, True][: 1 + given.compile], ["float32", "bfloat16"]):
        name = f"{precision}{', compiled' if compiled else ''}"
        train = replace(config.train, precision=precision, compile=compiled)
        sides[name], times[name] = steps_of(replace(config, train=train), rounds * _TOGETHER), []
    for _ in range(rounds):
        for name, steps in sides.items():
            begin = clock()
            for _ in range(_TOGETHER):
                next(steps)
            times[name].append((clock() - begin) / _TOGETHER)
    for name, found in times.items():
        pairs = zip(times["float32"], found, strict=True)
        ratio = statistics.median(first / own for first, own in pairs)
        print(f"{name:20} {1e3 * statistics.median(found):6.1f} ms  {ratio:.2f} times as fast")


if __name__ == "__main__":
    _main()
