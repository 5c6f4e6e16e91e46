"""Training speed: ours and the naive reference, alternating in one process.

    python benchmarks/train_step.py [--pairs 15]

Both run the same sizes in the same precision, step by step in turn; the table has the medians.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from sagan import config as settings
from sagan.config import Config
from sagan.data import Dataset
from sagan.training.loop import train_steps
from sagan.training.state import new_state

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import reference

CPU = torch.device("cpu")
SIZES = {
    "demo (32 px, base width 16, batch 32)": {
        "data": {"resolution": 32},
        "generator": {"base_channels": 16, "attention": [16]},
        "discriminator": {"base_channels": 16, "attention": [16]},
        "train": {"batch_size": 32},
    },
    "ImageNet-128 (base width 64, batch 8)": {"train": {"batch_size": 8}},
}
CLASSES = {32: 14, 128: 1000}


def noise(config: Config, num_classes: int) -> Dataset:
    """Enough random pictures for one batch."""
    rng = np.random.default_rng(0)
    count, resolution = config.train.batch_size, config.data.resolution
    return Dataset(
        images=rng.integers(0, 256, (count, 3, resolution, resolution), dtype=np.uint8),
        labels=rng.integers(0, num_classes, count),
        class_names=tuple(map(str, range(num_classes))),
        fingerprint="noise",
    )


def our_step(config: Config, num_classes: int) -> Callable[[], object]:
    """One step of the real loop: draws, both updates, average."""
    steps = train_steps(
        new_state(config, num_classes, CPU),
        noise(config, num_classes),
        config,
        label_frequencies=torch.full((num_classes,), 1 / num_classes),
        device=CPU,
        autocast=torch.autocast("cpu", enabled=False),
    )
    return lambda: next(steps)


def naive_step(config: Config, num_classes: int) -> Callable[[], object]:
    """One step of the textbook loop; draws cost nothing and there is no average."""
    resolution, batch = config.data.resolution, config.train.batch_size
    generator = reference.Generator(
        resolution, num_classes, config.generator.base_channels, config.generator.attention
    )
    discriminator = reference.Discriminator(
        resolution, num_classes, config.discriminator.base_channels, config.discriminator.attention
    )
    rates = (config.optimizer.generator_lr, config.optimizer.discriminator_lr)
    optimizers = [
        torch.optim.Adam(network.parameters(), lr=rate, betas=(0.0, 0.999))
        for network, rate in zip((generator, discriminator), rates, strict=True)
    ]
    real = torch.rand(batch, 3, resolution, resolution) * 2 - 1
    labels = torch.randint(num_classes, (3, batch))
    latents = torch.randn(2, batch, config.generator.latent_dim)

    def step() -> None:
        reference.train_step(
            generator, discriminator, optimizers, real, labels[2], latents, labels[:2]
        )

    return step


def seconds(step: Callable[[], object]) -> float:
    """Wall time of one call."""
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


def main() -> None:
    """Prints one row per size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15, help="timed pairs of steps per size")
    pairs = parser.parse_args().pairs
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32, {pairs} pairs")
    print("| size | ours | naive | ours | naive | median ratio |\n|---|---|---|---|---|---|")
    for name, values in SIZES.items():
        config = settings.from_dict(values)
        num_classes = CLASSES[config.data.resolution]
        torch.manual_seed(0)
        ours, naive = our_step(config, num_classes), naive_step(config, num_classes)
        for step in (ours, naive, ours, naive):
            step()
        times = [(seconds(ours), seconds(naive)) for _ in range(pairs)]
        mine, plain = (statistics.median(column) for column in zip(*times, strict=True))
        ratio = statistics.median(b / a for a, b in times)
        batch = config.train.batch_size
        print(
            f"| {name} | {mine * 1e3:.1f} ms | {plain * 1e3:.1f} ms | {batch / mine:.1f} images/s"
            f" | {batch / plain:.1f} images/s | {ratio:.2f} |"
        )


if __name__ == "__main__":
    main()
