"""What it costs to judge every gradient before every update, as a share of the step.

    python -m benchmarks.judging avatars32 --width 16 --batch 32 --steps 30

It times the call within real steps on random pictures; on a CPU, where nothing is asynchronous.
"""

import statistics
import time
from argparse import ArgumentParser
from dataclasses import replace

import numpy as np
import torch

from sagan.config import Config
from sagan.config.presets import named_settings
from sagan.system.device import autocast, keep_freed_memory
from sagan.training.loop import trial_steps
from sagan.training.optimizer import NetworkAdam

_WARM_UP = 2
_CLASSES = 14


def shares(config: Config, count: int) -> list[tuple[float, float]]:
    """Seconds of judging and of the whole step, for each step after the first ones."""
    judge, spent = NetworkAdam.finite_gradients, []

    def timed(self: NetworkAdam) -> torch.Tensor:
        begin = time.perf_counter()
        found = judge(self)
        spent.append(time.perf_counter() - begin)
        return found

    shape = (max(64, config.train.batch_size), 3, *config.data.size)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    cpu = torch.device("cpu")
    steps = trial_steps(images, config, _CLASSES, cpu, autocast(config.train.precision, cpu))
    found = []
    NetworkAdam.finite_gradients = timed
    try:
        for _ in range(count + _WARM_UP):
            spent.clear()
            begin = time.perf_counter()
            next(steps)
            found.append((sum(spent), time.perf_counter() - begin))
    finally:
        NetworkAdam.finite_gradients = judge
    return found[_WARM_UP:]


def _main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("preset")
    parser.add_argument("--width", type=int, required=True, help="base_channels of both networks")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--steps", type=int, default=30)
    given = parser.parse_args()
    keep_freed_memory()  # as a run does
    config = named_settings(given.preset).with_channels(3)
    config = replace(
        config,
        generator=replace(config.generator, base_channels=given.width),
        discriminator=replace(config.discriminator, base_channels=given.width),
        train=replace(config.train, batch_size=given.batch, steps=given.steps + _WARM_UP),
    )
    found = shares(config, given.steps)
    judging, whole = (1e3 * statistics.median(times) for times in zip(*found, strict=True))
    share = 100 * statistics.median(judging / whole for judging, whole in found)
    print(f"judging {judging:.2f} ms, step {whole:.0f} ms, share {share:.2f} %")


if __name__ == "__main__":
    _main()
