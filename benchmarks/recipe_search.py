"""The search for the recipe: many trainings, some at a time, each measured alike.

    python benchmarks/recipe_search.py runs/search --rows preset,gamma-0.1 --seeds 0-2

Each row is the preset avatars32 with some settings changed; docs/lab/recipe.md has what those
gave that were trained. The same command goes on where it stopped and ends with the table of all
that is finished. Many small trainings fill a GPU only together: start Nvidia's MPS
(``nvidia-cuda-mps-control -d``), then

    python benchmarks/recipe_search.py runs/search --device cuda --at-once 14 --minutes 8
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

from sagan.cli.parsing import parse_seeds
from sagan.runs.log import log_records
from sagan.system.progress import duration

MEASURED = (
    "--evaluation.samples 5000 --evaluation.interval 1000000 --evaluation.time-share 1"
    " --evaluation.metrics fd --evaluation.metrics kid --evaluation.metrics pr"
    " --evaluation.metrics dc --evaluation.metrics accuracy --evaluation.metrics intra"
)


def gamma(weight: float) -> str:
    """Both zero-centred penalties with a weight."""
    return f"--loss.r1 {weight} --loss.r2 {weight}"


def rates(generator: float, discriminator: float | None = None) -> str:
    """The learning rates of both networks."""
    other = discriminator or generator
    return f"--optimizer.generator-lr {generator} --optimizer.discriminator-lr {other}"


def width(channels: int) -> str:
    """The base width of both networks."""
    return f"--generator.base-channels {channels} --discriminator.base-channels {channels}"


def normalized(generator: str, discriminator: str) -> str:
    """Where spectral norm is."""
    return f"--generator.spectral-norm {generator} --discriminator.spectral-norm {discriminator}"


NO_ATTENTION = "--generator.empty-attention --discriminator.empty-attention"


def avatars64(steps: int, attention: str) -> str:
    """The training of the shipped model, for so many steps."""
    return (
        "--data.resolution 64 --discriminator.channels 2 --discriminator.channels 2"
        " --discriminator.channels 4 --discriminator.channels 8 --discriminator.channels 16"
        f" {width(24)} {gamma(0.5)} {rates(1.5e-3)} {attention} --optimizer.decay-start 0.4"
        " --train.ema-decay 0.999 --train.batch-size 256 --train.precision bfloat16"
        f" --train.sample-interval 500 --train.steps {steps}"
    )


def attention_at(size: int) -> str:
    """Attention on one map of both networks."""
    return f"--generator.attention {size} --discriminator.attention {size}"


ROWS: dict[str, str] = {
    "preset": "",
    "gamma-0.05": gamma(0.05),
    "gamma-0.1": gamma(0.1),
    "gamma-0.3": gamma(0.3),
    "gamma-0.5": gamma(0.5),
    "r1-alone": "--loss.r1 0.4 --loss.r2 0",
    "r2-alone": "--loss.r1 0 --loss.r2 0.4",
    "penalties-each-step": "--loss.penalty-interval 1",
    "penalties-each-16th": "--loss.penalty-interval 16",
    "hinge": "--loss.name hinge",
    "not-relativistic": "--loss.no-relativistic",
    "norm-none": normalized("none", "none"),
    "norm-discriminator": normalized("attention", "all"),
    "norm-generator": normalized("all", "attention"),
    "no-attention": NO_ATTENTION,
    "latent-at-the-start": "--generator.no-latent-skips",
    "fresh-fakes": "--train.no-reuse-fakes",
    "labels-uniform": "--train.fake-labels uniform",
    "width-24": width(24),
    "width-32": width(32),
    "rates-1e-3": rates(1e-3),
    "rates-1.5e-3": rates(1.5e-3),
    "rates-3e-3": rates(3e-3),
    "slow-generator": rates(1e-3, 2e-3),
    "slow-discriminator": rates(2e-3, 1e-3),
    "falling-from-0": "--optimizer.decay-start 0",
    "constant": "--optimizer.decay-start 1",
    "beta2-0.9": "--optimizer.beta2 0.9",
    "batch-16": "--train.batch-size 16 --train.steps 5600",
    "batch-64": "--train.batch-size 64 --train.steps 1400",
    "average-0.995": "--train.ema-decay 0.995",
    "average-0.999": "--train.ema-decay 0.999",
    "steps-14000": "--train.steps 14000",
    "steps-14000-width-32": f"--train.steps 14000 {width(32)} {rates(1.5e-3)}",
    "avatars64": avatars64(8000, attention_at(32)),
    "avatars64-2000": avatars64(2000, attention_at(32)),
    "avatars64-2000-attention-16": avatars64(2000, attention_at(16)),
    "avatars64-2000-no-attention": avatars64(2000, NO_ATTENTION),
    "sagan": "",
}
"""Flags on top of the preset, by name; "sagan" has those of avatars32-sagan."""


def command(row: str, seed: int, folder: Path, device: str) -> list[str]:
    """The command that trains a row with a seed, or goes on with it."""
    preset = "avatars32-sagan" if row == "sagan" else "avatars32"
    text = f"train {preset} {ROWS[row]} {MEASURED} --train.seed {seed} --train.device {device}"
    start = "from sagan.cli import main; main()"
    return [sys.executable, "-c", start, *text.split(), "--run", str(folder)]


def result(folder: Path) -> dict[str, float]:
    """The numbers of a finished run by name; none of one that is not."""
    return next((r["evaluation"] for r in reversed(log_records(folder)) if "evaluation" in r), {})


def play(jobs: list[tuple[str, int]], root: Path, arguments: argparse.Namespace) -> None:
    """Trains what is not finished, so many at once; at the deadline all save and stop."""
    begin, running = time.monotonic(), dict[tuple[str, int], subprocess.Popen[bytes]]()
    threads = {"OMP_NUM_THREADS": str(arguments.threads)}
    while (jobs or running) and time.monotonic() - begin < 60 * arguments.minutes:
        while jobs and len(running) < arguments.at_once:
            row, seed = job = jobs.pop(0)
            folder = root / f"{row}-{seed}"
            with (root / f"{folder.name}.txt").open("ab") as log:
                running[job] = subprocess.Popen(
                    command(row, seed, folder, arguments.device),
                    env=os.environ | threads,
                    stdout=log,
                    stderr=log,
                )
        for job in [job for job, process in running.items() if process.poll() is not None]:
            spent = duration(time.monotonic() - begin)
            print(*job, "ended with", running.pop(job).returncode, "after", spent, flush=True)
        time.sleep(0.3)
    for process in running.values():
        process.send_signal(signal.SIGINT)
    for process in running.values():
        process.wait()


def main() -> None:
    """Trains and prints the table, a line per run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="gets a run folder per row and seed")
    parser.add_argument("--rows", default=",".join(ROWS), help="some of " + ", ".join(ROWS))
    parser.add_argument("--seeds", default="0", help="such as 0 or 0-2")
    parser.add_argument("--at-once", type=int, default=1, help="trainings at a time")
    parser.add_argument("--threads", type=int, default=1, help="of each training")
    parser.add_argument("--minutes", type=float, default=1e9, help="after which all save and stop")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    arguments = parser.parse_args()
    rows: list[str] = arguments.rows.split(",")
    if unknown := [row for row in rows if row not in ROWS]:
        parser.error(f"there is no row {unknown[0]!r}; known are {', '.join(ROWS)}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    wanted = [(row, seed) for seed, row in product(parse_seeds(arguments.seeds), rows)]
    play(
        [j for j in wanted if not result(arguments.folder / f"{j[0]}-{j[1]}")],
        arguments.folder,
        arguments,
    )
    for row, seed in wanted:
        numbers = result(arguments.folder / f"{row}-{seed}")
        print(
            f"{row:<24} {seed}",
            *(f"{name} {value:.4g}" for name, value in numbers.items()),
            sep="  ",
        )


if __name__ == "__main__":
    main()
