"""How far choices of other implementations move pictures, logits and gradients.

    python -m benchmarks.differences runs/differences

Trains ``avatars32-sagan`` there for 300 steps, unless that is done, and changes one thing at a time
in that state, or in the one before the first step. The table says how far everything moves for
one batch of 64: pictures by the root of the mean square, in levels of 255; logits by that over
their standard deviation; gradients by the length of the difference over their own. In float64, so
that only what is different moves. The first row is the size of chance: another batch.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import sagan
from benchmarks.choices import FIRST, HERE, UNIFORM, advanced
from sagan.config import Config
from sagan.config.presets import preset
from sagan.data.avatars import load_avatars
from sagan.evaluation.metrics import inception_score
from sagan.nn import spectral
from sagan.runs.checkpoint import Checkpoint
from sagan.runs.folder import checkpoint_called
from sagan.runs.run import load_checkpoint
from sagan.system.device import autocast
from sagan.training.draws import StepInputs, step_inputs
from sagan.training.state import new_state
from sagan.training.steps import TrainingStep

CPU = torch.device("cpu")
STEPS, BATCH = 300, 64


@dataclass(frozen=True)
class Seen:
    """What a step makes of one batch."""

    images: Tensor
    logits: Tensor
    discriminator: Tensor
    generator: Tensor


def seen(step: TrainingStep, inputs: StepInputs) -> Seen:
    """Pictures, logits of real and drawn pictures, and all gradients; moves no singular vector."""
    state, update = step.state, inputs.updates[0]
    state.generator.double()
    state.discriminator.double()
    draws = replace(update.draws, latents=update.draws.latents.double())
    reals = [(images.double(), labels) for images, labels in step.reals(update)]
    with torch.no_grad():
        fakes = list(step.generate(draws))
        logits = torch.cat([state.discriminator(*pair) for pair in (*reals, *fakes)])
    step.discriminator_gradients(0, reals, fakes)
    step.generator_gradients(0, step.generate(draws), None)
    images = torch.cat([images for images, _ in fakes])
    return Seen(images, logits, _gradient(state.discriminator), _gradient(state.generator))


def _gradient(network: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def distances(found: Seen, usual: Seen) -> Iterator[float]:
    """How far everything moved, in the order of the table's columns."""
    yield 127.5 * (found.images - usual.images).square().mean().sqrt().item()
    yield ((found.logits - usual.logits).square().mean().sqrt() / usual.logits.std()).item()
    for name in ("discriminator", "generator"):
        gradient, other = getattr(usual, name), getattr(found, name)
        yield ((other - gradient).norm() / gradient.norm()).item()


def settings(**networks: object) -> Config:
    """Of the run; its running statistics have to follow within 300 steps."""
    config = preset("avatars32-sagan").with_channels(3)
    norm = {"batch_norm_momentum": 0.1, "last_batch_norm_momentum": 0.1}
    return replace(
        config,
        data=replace(config.data, generated_images=5000),
        generator=replace(config.generator, **norm, **networks),  # pyright: ignore[reportArgumentType]
        discriminator=replace(config.discriminator, **networks),  # pyright: ignore[reportArgumentType]
        train=replace(config.train, steps=STEPS, watch_interval=0, precision="float32"),
        evaluation=replace(config.evaluation, samples=0),
    )


def step_from(checkpoint: Checkpoint | None) -> TrainingStep:
    """A step in the state of a checkpoint, or in the authors' first one."""
    config = settings() if checkpoint else settings(initialization="xavier")
    state = new_state(config, len(UNIFORM), CPU)
    if checkpoint:
        state.restore(checkpoint.parts, checkpoint.step)
    state.generator.train()
    state.discriminator.train()
    step = TrainingStep(state, config, CPU, autocast("float32", CPU))
    return advanced(step) if checkpoint else step


def batches() -> list[StepInputs]:
    """Two batches of pictures that were not trained on."""
    config, images = settings(), load_avatars(32, 5000, split="held-out")
    train = replace(config.train, batch_size=BATCH, discriminator_steps=1, steps=2)
    config = replace(config, train=train)
    return list(step_inputs(images, config, UNIFORM, first=0, pinned=False))


def smallest_sigma(step: TrainingStep) -> float:
    """Of all weights that are divided by theirs."""
    networks = (step.state.generator, step.state.discriminator)
    norms = (pair for network in networks for pair in spectral.spectral_norms(network))
    return min((norm.u @ weight.flatten(1) @ norm.v).item() for norm, weight in norms)


def further_figures(here: TrainingStep, first: TrainingStep, inputs: StepInputs) -> Iterator[str]:
    """What is no row: sigma, Adam's first update, the inception score, smaller pictures."""
    yield f"smallest sigma after {STEPS} steps: {smallest_sigma(here):.3g}"
    yield f"smallest sigma at first: {smallest_sigma(first):.3g}"
    found = seen(first, inputs)
    for name in ("generator", "discriminator"):
        size = getattr(found, name).abs()
        usual, other = (size / (size + eps) for eps in (1e-8, 1e-8 / (1 - 0.999) ** 0.5))
        moved = ((other - usual).norm() / usual.norm()).item()
        yield f"first update of the {name} with optimizer.eps_form = uncorrected: {moved:.2g}"
    random = np.random.default_rng(0)
    logits = 2 * random.standard_normal((50_000, 1008), dtype=np.float32)
    logits[np.arange(50_000), random.integers(0, 1008, 50_000)] += 7
    one, ten = (inception_score(logits, splits=splits).mean for splits in (1, 10))
    yield f"inception score of 50,000 drawn logits: {one:.2f} in one part, {ten:.2f} in ten"
    large = [
        Image.fromarray(p)
        for p in load_avatars(256, 50).images[np.arange(50)].transpose(0, 2, 3, 1)
    ]
    small = [
        np.stack([np.asarray(p.resize((64, 64), how), np.float32) for p in large])
        for how in (Image.Resampling.BILINEAR, Image.Resampling.LANCZOS)
    ]
    moved = np.sqrt(np.mean((small[0] - small[1]) ** 2))
    yield f"avatars of 256 pixels made 64 by bilinear filtering: {moved:.1f} levels"


def main() -> None:
    """Prints the table."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the run")
    folder = parser.parse_args().run
    sagan.train(settings(), folder)
    here, _ = load_checkpoint(checkpoint_called(folder, str(STEPS)))
    batch, other = batches()
    print("| choice | pictures | logits | D's gradient | G's gradient |\n|---|---|---|---|---|")
    for checkpoint, rows in ((here, HERE), (None, FIRST)):
        for title, usual, choice in rows:
            torch.manual_seed(0)
            ours = seen(usual(step_from(checkpoint)), batch)
            theirs = seen((choice or usual)(step_from(checkpoint)), batch if choice else other)
            moved = " | ".join(f"{moved:.2g}" for moved in distances(theirs, ours))
            print(f"| {'' if checkpoint else 'at first: '}{title} | {moved} |", flush=True)
    for line in further_figures(step_from(here), advanced(step_from(None)), batch):
        print(line)


if __name__ == "__main__":
    main()
