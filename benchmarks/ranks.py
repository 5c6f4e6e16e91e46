"""Section ranks: one process with all cores against ranks with a part of them each.

The same batch, the same settings. Both sides are there all the time and wait for their turn, and a
step has all that the driver makes ranks tell each other. On CPUs.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any, Final

import numpy as np
import torch

from benchmarks.harness import Side, Suite
from benchmarks.options import Options
from sagan.config.plain import from_dict, joined, to_dict
from sagan.config.presets import preset
from sagan.data import Dataset
from sagan.system.device import autocast, keep_freed_memory
from sagan.system.ranks import Ranks, ranks_of_torchrun
from sagan.system.threads import SPINS
from sagan.training.loop import train_steps
from sagan.training.state import new_state


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Networks that learn from noise."""

    settings: Mapping[str, Mapping[str, Any]]
    """On top of avatars32."""
    steps: int
    """Of one timed call: a second or two."""


SIZES: Final = {
    "demo, 32 px": Trained(settings={}, steps=20),
    "64 px, width 24": Trained(
        settings={
            "data": {"resolution": 64},
            "generator": {"base_channels": 24},
            "discriminator": {"base_channels": 24},
        },
        steps=4,
    ),
}
RANKS: Final = 2


def ranks(suite: Suite, options: Options) -> None:
    """One process against two, at 32 and 64 pixels."""
    del options
    if suite.device.type != "cpu":
        suite.skip("ranks", "all", "ours", "ranks on GPUs need a GPU each")
        return
    threads = max(1, len(os.sched_getaffinity(0)) // RANKS)
    for size, trained in SIZES.items():
        alone = Workers(size, 1, RANKS * threads)
        with closing(alone), closing(Workers(size, RANKS, threads)) as shared:
            sides = [
                Side(
                    name=workers.title,
                    call=partial(workers.step, trained.steps),
                    images=trained.steps * workers.batch,
                )
                for workers in (alone, shared)
            ]
            averages = partial(shared.average, trained.steps)
            sides.append(Side(name="the averages of these steps alone", call=averages))
            suite.compare("ranks", f"{size}, batch {alone.batch}, {trained.steps} steps", sides)


class Workers:
    """Processes that train together, some steps whenever they are told to.

    Args:
        size: One of :data:`SIZES`.
        count: How many they are.
        threads: Of each.

    Attributes:
        batch: Real pictures in a step, of all together.
    """

    def __init__(self, size: str, count: int, threads: int) -> None:
        words = "1 process" if count == 1 else f"{count} ranks"
        self.title = f"{words}, {threads} thread{'s' * (threads > 1)} each"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        common = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        common |= {"OMP_NUM_THREADS": str(threads), "GOMP_SPINCOUNT": str(SPINS)}
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.ranks", size],
                env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for rank in range(count)
        ]
        self.batch = int(self._answers()[0])

    def step(self, count: int) -> None:
        """Lets all take so many steps, and waits for the last."""
        self._tell(f"steps {count}")

    def average(self, count: int) -> None:
        """Lets all average the gradients of so many steps, and do nothing else."""
        self._tell(f"averages {count}")

    def _tell(self, line: str) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
        self._answers()

    def close(self) -> None:
        """Ends them."""
        for process in self._processes:
            process.kill()
            process.communicate()

    def _answers(self) -> list[str]:
        answers = []
        for process in self._processes:
            assert process.stdout is not None
            answers.append(process.stdout.readline())
        if not all(answers):
            self.close()
            raise RuntimeError(f"{self.title}: a process has ended")
        return answers


def _work(size: str) -> None:
    """One worker: says the size of the batch, then does what stdin asks for."""
    keep_freed_memory()
    answer = sys.stdout  # another process than the first one has none
    with ranks_of_torchrun() as together:
        batch, steps, averages = _endless(size, together)
        answer.write(f"{batch}\n")
        answer.flush()
        while line := sys.stdin.readline():
            kind, count = line.split()
            for _ in range(int(count)):
                next({"steps": steps, "averages": averages}[kind])
            answer.write(line)
            answer.flush()


def _endless(size: str, together: Ranks) -> tuple[int, Iterator[object], Iterator[object]]:
    """The pictures in a batch; steps on noise with what the driver makes ranks agree on; averages.

    An average is that of both networks' gradients, as a step has it.
    """
    endless = joined(SIZES[size].settings, {"train": {"steps": 1_000_000}})
    config = from_dict(joined(to_dict(preset("avatars32")), endless))
    batch, classes = config.train.batch_size, 14
    random = np.random.default_rng(0)
    dataset = Dataset(
        images=random.integers(0, 256, (2 * batch, *config.data.shape), dtype=np.uint8),
        labels=np.arange(2 * batch) % classes,
        class_names=tuple(map(str, range(classes))),
        fingerprint="",
    )
    device = torch.device("cpu")
    state = new_state(config, classes, device)
    steps = train_steps(
        state,
        dataset,
        config,
        label_frequencies=torch.full((classes,), 1 / classes, dtype=torch.float64),
        device=device,
        autocast=autocast(config.train.precision, device),
        ranks=together,
    )
    networks = (state.generator, state.discriminator)
    gradients = [[torch.zeros_like(p) for p in network.parameters()] for network in networks]
    return (
        batch,
        (together.any_of_all(False, False, False, False) for _ in steps),
        ([together.average(of) for of in gradients] for _ in repeat(None)),
    )


if __name__ == "__main__":
    _work(sys.argv[1])
