"""Whether ours learns as the textbook loop does: loss curves beside those of two of its seeds.

    python -m benchmarks.loss_curves [--steps 600]

The preset avatars32-sagan at constant learning rates, in float32. Ours and the reference begin with
the same weights and see the same pictures, latents and labels; the reference runs again with
another seed. Rounding drives equal runs apart, so curves are compared as means over 50 steps, and
the distance of ours must be judged by that of the other seed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from benchmarks.naive import reference
from sagan.config import Config
from sagan.config.presets import preset
from sagan.data import Dataset, load_dataset
from sagan.training.draws import step_inputs
from sagan.training.loop import train_steps
from sagan.training.state import new_state

CPU = torch.device("cpu")
EXACT = torch.autocast("cpu", enabled=False)
WINDOW = 50
Losses = tuple[float, float]
"""Of the discriminator and of the generator."""


def settings(steps: int, seed: int) -> Config:
    """The preset's, but with constant learning rates and one update of the discriminator a step."""
    config = preset("avatars32-sagan")
    return replace(
        config,
        optimizer=replace(config.optimizer, decay_start=1.0),
        train=replace(config.train, steps=steps, seed=seed, batch_size=32, discriminator_steps=1),
    )


def ours(config: Config, dataset: Dataset, frequencies: torch.Tensor) -> Iterator[Losses]:
    """The losses of sagan's own loop."""
    state = new_state(config, len(dataset.class_names), CPU)
    for terms in train_steps(
        state, dataset, config, label_frequencies=frequencies, device=CPU, autocast=EXACT
    ):
        discriminator = terms["discriminator_real"] + terms["discriminator_fake"]
        yield discriminator.item(), terms["generator"].item()


def plain(config: Config, dataset: Dataset, frequencies: torch.Tensor) -> Iterator[Losses]:
    """The losses of the textbook loop, from the same weights and with the same draws."""
    state = new_state(config, len(dataset.class_names), CPU)
    size = (config.data.resolution, len(dataset.class_names), config.generator.base_channels)
    networks = (
        reference.Generator(*size, config.generator.attention),
        reference.Discriminator(*size, config.discriminator.attention),
    )
    for mine, network in zip((state.generator, state.discriminator), networks, strict=True):
        reference.copy_weights(mine, network)
    given = config.optimizer
    optimizers = [
        torch.optim.Adam(network.parameters(), lr=rate, betas=(given.beta1, given.beta2))
        for network, rate in zip(
            networks, (given.generator_lr, given.discriminator_lr), strict=True
        )
    ]
    for inputs in step_inputs(dataset, config, frequencies, first=0, pinned=False):
        images, labels = inputs.updates[0].reals.on(CPU)
        draws = (inputs.updates[0].draws, inputs.draws)
        latents, fake_labels = ([getattr(d, n) for d in draws] for n in ("latents", "labels"))
        discriminator, generator = reference.train_step(
            *networks, optimizers, images, labels, latents, fake_labels, EXACT
        )
        yield discriminator.item(), generator.item()


def smoothed(losses: Iterator[Losses], name: str) -> np.ndarray:
    """Means over windows of steps, (windows, 2)."""
    found = []
    for number, values in enumerate(losses, 1):
        found.append(values)
        if number % WINDOW == 0:
            sys.stderr.write(f"{name}: step {number}\n")
    return np.array(found).reshape(-1, WINDOW, 2).mean(axis=1)


def main() -> None:
    """Prints the curves and their distances."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=600, help="a multiple of 50")
    steps = parser.parse_args().steps
    if steps < WINDOW or steps % WINDOW:
        parser.error(f"--steps {steps} is no multiple of {WINDOW}")
    dataset = load_dataset(settings(steps, 0).data)
    frequencies = torch.full((len(dataset.class_names),), 1 / len(dataset.class_names))
    curves = {
        name: smoothed(loop(settings(steps, seed), dataset, frequencies), name)
        for name, loop, seed in (
            ("ours, seed 0", ours, 0),
            ("reference, seed 0", plain, 0),
            ("reference, seed 1", plain, 1),
        )
    }
    print("| steps | " + " | ".join(f"{name}: D | G" for name in curves) + " |")
    print("|---" * 7 + "|")
    for row, values in enumerate(zip(*curves.values(), strict=True)):
        cells = " | ".join(f"{d:.3f} | {g:+.3f}" for d, g in values)
        print(f"| {row * WINDOW}-{(row + 1) * WINDOW} | {cells} |")
    mine, first, second = curves.values()
    for loss, network in enumerate(("discriminator", "generator")):
        distances = [np.abs(other - first)[:, loss].mean() for other in (mine, second)]
        print(
            f"{network}: mean distance to the reference of seed 0: ours {distances[0]:.3f}, "
            f"the reference of seed 1 {distances[1]:.3f}"
        )


if __name__ == "__main__":
    main()
