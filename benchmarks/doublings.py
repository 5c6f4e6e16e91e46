"""What a training step costs as the side of the pictures doubles, beside its operations.

    OMP_NUM_THREADS=1 python -m benchmarks.doublings

Networks as the released code has them, but narrow; random pictures. Times are those of the
processor, in turn in one process, so that other programs hardly count: the least of a few steps.
The floor is the ratio of the operations.
"""

import time
from argparse import ArgumentParser
from itertools import pairwise

from benchmarks.small_steps import steps_of
from sagan.config import Config, from_dict
from sagan.config.effort import operations

_SIDES = (32, 64, 128, 256)


def _config(side: int, width: int, batch: int, precision: str) -> Config:
    attention = [16 if side == 32 else 32]
    networks = {"base_channels": width, "attention": attention}
    return from_dict(
        {
            "data": {"resolution": side},
            "generator": networks,
            "discriminator": networks,
            "train": {"batch_size": batch, "precision": precision},
        }
    ).with_channels(3)


def _main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=7)
    given = parser.parse_args()
    print("| | side | step | GFLOP | times | operations |\n|---|---|---|---|---|---|")
    for precision in ("float32", "bfloat16"):
        configs = [_config(side, given.width, given.batch, precision) for side in _SIDES]
        running = [steps_of(config, given.steps) for config in configs]
        least = [float("inf")] * len(_SIDES)
        for _ in range(given.steps):
            for place, steps in enumerate(running):
                begin = time.thread_time()
                next(steps)
                least[place] = min(least[place], time.thread_time() - begin)
        counts = [given.batch * operations(config) for config in configs]
        ratios = [("", "")] + [
            (f"{after / before:.2f}", f"{more / less:.2f}")
            for (before, after), (less, more) in zip(pairwise(least), pairwise(counts), strict=True)
        ]
        for side, seconds, count, words in zip(_SIDES, least, counts, ratios, strict=True):
            row = (precision, side, f"{1e3 * seconds:.0f} ms", f"{count / 1e9:.1f}", *words)
            print(f"| {' | '.join(map(str, row))} |")


if __name__ == "__main__":
    _main()
