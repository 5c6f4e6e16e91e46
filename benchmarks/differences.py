"""How far choices of other implementations that have no setting here move pictures and gradients.

    python -m benchmarks.differences runs/differences

Trains ``avatars32-sagan`` there for 300 steps, unless that is done, and changes one thing at a time
in that state, or in the one before the first step. The table says how far everything moves for
one batch of 64: pictures by the root of the mean square, in levels of 255; logits by that of their
standard deviation; gradients by the length of their difference over their length. In float64, so
that only what is different moves. The first row is the size of chance: another batch.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import sagan
from sagan.config import Config
from sagan.config.presets import preset
from sagan.data.avatars import load_avatars
from sagan.nn import spectral
from sagan.nn.averaging import measure_batch_statistics, update_average
from sagan.nn.layers import ConditionalBatchNorm2d, SelfAttention2d
from sagan.runs.checkpoint import Checkpoint
from sagan.runs.run import checkpoint_called, load_checkpoint
from sagan.system.device import autocast
from sagan.training.draws import StepInputs, step_inputs
from sagan.training.state import new_state
from sagan.training.steps import TrainingStep

Choice = Callable[[TrainingStep], TrainingStep]
"""Changes a step and its state; what it gets is a copy."""

CPU = torch.device("cpu")
STEPS, BATCH, FURTHER = 300, 64, 100
UNIFORM = torch.full((14,), 1 / 14)


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


def unchanged(step: TrainingStep) -> TrainingStep:
    """As it is here."""
    return step


def configured(step: TrainingStep, **train: object) -> TrainingStep:
    """Other settings."""
    changed = replace(step.config.train, **train)  # pyright: ignore[reportArgumentType]
    return replace(step, config=replace(step.config, train=changed))


def advanced(step: TrainingStep, iterations: int = 1, eps: float | None = None) -> TrainingStep:
    """Singular vectors further on."""
    for network in (step.state.generator, step.state.discriminator):
        for norm, weight in spectral.spectral_norms(network):
            norm.eps = eps or norm.eps
            norm.advance(weight, iterations)
    return step


def normalised_by(step: TrainingStep, divide: Callable[..., Tensor]) -> TrainingStep:
    """Another formula for what a layer's weight becomes; it gets whether this is attention's."""
    for network in (step.state.generator, step.state.discriminator):
        layers = [m for m in network.modules() if isinstance(m, SelfAttention2d)]
        inside = {part for layer in layers for part in layer.modules()}
        for norm, _ in spectral.spectral_norms(network):
            norm.forward = partial(divide, norm, norm in inside)
    return step


def through_the_iteration(norm: spectral.SpectralNorm, _: bool, weight: Tensor) -> Tensor:
    """The vectors of one further iteration, with their gradients."""
    matrix = weight.flatten(1)
    v = F.normalize(matrix.mT @ norm.u, dim=0)
    return weight / (F.normalize(matrix @ v, dim=0) @ matrix @ v)


def at_least_one(norm: spectral.SpectralNorm, in_attention: bool, weight: Tensor) -> Tensor:
    """Weights whose sigma is below 1 stay as they are, but for attention's."""
    sigma = norm.u @ weight.flatten(1) @ norm.v
    return weight / (sigma if in_attention else sigma.clamp(min=1))


def over_the_queries(step: TrainingStep) -> TrainingStep:
    """Attention whose softmax runs over the other axis."""

    def forward(layer: SelfAttention2d, x: Tensor) -> Tensor:
        query, key, value = layer.projected(x)
        return layer.added(x, (query @ key.mT).softmax(1) @ value, layer.gamma)

    for network in (step.state.generator, step.state.discriminator):
        for layer in network.modules():
            if isinstance(layer, SelfAttention2d):
                layer.forward = partial(forward, layer)
    return step


def drawing(step: TrainingStep, *, afresh: bool) -> TrainingStep:
    """Evaluation mode, with the running statistics or those that are measured."""
    if afresh:
        measure_batch_statistics(step.state.generator, UNIFORM, torch.Generator().manual_seed(0))
    step.state.generator.eval()
    return step


@torch.no_grad()
def unconverged(step: TrainingStep) -> TrainingStep:
    """Singular vectors drawn at random, then one iteration."""
    for network in (step.state.generator, step.state.discriminator):
        for norm, _ in spectral.spectral_norms(network):
            norm.u.copy_(F.normalize(torch.randn_like(norm.u), dim=0))
    return advanced(step)


@torch.no_grad()
def redrawn(step: TrainingStep, what: str) -> TrainingStep:
    """Other first values: all biases, gains of the class tables, or lengths of kernels."""
    for network in (step.state.generator, step.state.discriminator):
        for name, layer in network.named_modules():
            if isinstance(layer, spectral.SpectralLayer):
                bias, weight = getattr(layer, "bias", None), layer.weight
                if what == "biases" and bias is not None:
                    bias.uniform_(-1, 1).mul_(weight[0].numel() ** -0.5)
                if what == "lengths" and name.endswith(("conv1", "conv2")):
                    weight.mul_(2**0.5)
            elif what == "gains" and isinstance(layer, ConditionalBatchNorm2d):
                layer.gain.weight.add_(torch.randn_like(layer.gain.weight), alpha=0.02)
    return advanced(step)


def averaged(step: TrainingStep, *, buffers: str) -> TrainingStep:
    """The averaged generator of further steps, with buffers as others have them."""
    live = step.state.generator
    average = deepcopy(live)
    images = load_avatars(32, 5000, split="train")
    config = configured(step, steps=FURTHER, batch_size=16).config
    for inputs in step_inputs(images, config, UNIFORM, first=0, pinned=False):
        replace(step, config=config)(inputs)
        update_average(average, live, 0.99)
        for ours, theirs in zip(average.buffers(), live.buffers(), strict=True):
            if ours.is_floating_point():
                ours.lerp_(theirs, 0.01 if buffers == "averaged" else 1.0)
    step.state.generator = average
    if buffers == "afresh":
        advanced(step, 20)
    return drawing(advanced(step) if buffers == "averaged" else step, afresh=buffers == "afresh")


HERE = (
    ("another batch of 64 pictures", unchanged, None),
    (
        "the judge's vectors an iteration further in the generator's update (a setting)",
        unchanged,
        partial(configured, discriminator_power_iteration="pass"),
    ),
    ("all vectors an iteration further", unchanged, advanced),
    ("all vectors two iterations further", unchanged, partial(advanced, iterations=2)),
    (
        "gradients through the power iteration",
        advanced,
        partial(normalised_by, divide=through_the_iteration),
    ),
    (
        "divided by max(1, sigma), but in attention",
        unchanged,
        partial(normalised_by, divide=at_least_one),
    ),
    ("spectral norm's eps 1e-6 in place of 1e-12", advanced, partial(advanced, eps=1e-6)),
    (
        "batch statistics of 4 times 16 pictures (a setting)",
        unchanged,
        partial(configured, accumulate=4),
    ),
    ("softmax over the queries", unchanged, over_the_queries),
    (
        "pictures with the running statistics (0.1) in place of fresh ones",
        partial(drawing, afresh=True),
        partial(drawing, afresh=False),
    ),
    (
        "averaged pictures, buffers averaged too",
        partial(averaged, buffers="afresh"),
        partial(averaged, buffers="averaged"),
    ),
    (
        "averaged pictures, buffers of the live network",
        partial(averaged, buffers="afresh"),
        partial(averaged, buffers="copied"),
    ),
)
BEFORE = (
    ("one iteration from random vectors in place of 15", advanced, unconverged),
    ("biases within 1 / sqrt(fan-in)", advanced, partial(redrawn, what="biases")),
    ("gains drawn from N(1, 0.02)", advanced, partial(redrawn, what="gains")),
    ("3x3 kernels longer by sqrt 2", advanced, partial(redrawn, what="lengths")),
)


def settings() -> Config:
    """Of the run: running statistics have to follow within 300 steps."""
    config = preset("avatars32-sagan").with_channels(3)
    norm = {"batch_norm_momentum": 0.1, "last_batch_norm_momentum": 0.1}
    return replace(
        config,
        data=replace(config.data, generated_images=5000),
        generator=replace(config.generator, **norm),  # pyright: ignore[reportArgumentType]
        train=replace(config.train, steps=STEPS, watch_interval=0, precision="float32"),
        evaluation=replace(config.evaluation, samples=0),
    )


def step_from(checkpoint: Checkpoint | None) -> TrainingStep:
    """A step in the state of a checkpoint, or in the first one."""
    state = new_state(settings(), len(UNIFORM), CPU)
    if checkpoint:
        state.restore(checkpoint.parts, checkpoint.step)
    state.generator.train()
    state.discriminator.train()
    step = TrainingStep(state, settings(), CPU, autocast("float32", CPU))
    return advanced(step) if checkpoint else step


def batches() -> tuple[StepInputs, StepInputs]:
    """Two batches that are not trained on here."""
    config, images = settings(), load_avatars(32, 5000, seed=1)
    train = replace(config.train, batch_size=BATCH, discriminator_steps=1, steps=2)
    first, second = step_inputs(
        images, replace(config, train=train), UNIFORM, first=0, pinned=False
    )
    return first, second


def adams(first: Seen) -> Iterator[str]:
    """How far uncorrected eps moves the first update of each network."""
    for name in ("generator", "discriminator"):
        size = getattr(first, name).abs()
        usual, other = (size / (size + eps) for eps in (1e-8, 1e-8 / (1 - 0.999) ** 0.5))
        share = (other - usual).norm() / usual.norm()
        yield f"{name}: {share:.2g}"


def main() -> None:
    """Prints the table."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run")
    folder = parser.parse_args().run
    sagan.train(settings(), folder)
    here, _ = load_checkpoint(checkpoint_called(folder, str(STEPS)))
    batch, other = batches()
    print("| choice | pictures | logits | discriminator's gradient | generator's gradient |")
    print("|---|---|---|---|---|")
    for checkpoint, rows in ((here, HERE), (None, BEFORE)):
        for title, usual, choice in rows:
            torch.manual_seed(0)
            ours = seen(usual(step_from(checkpoint)), batch)
            theirs = seen((choice or usual)(step_from(checkpoint)), batch if choice else other)
            when = "" if checkpoint else "at first: "
            print(
                f"| {when}{title} |", " | ".join(f"{d:.2g}" for d in distances(theirs, ours)), "|"
            )
    first = seen(advanced(step_from(None)), batch)
    print("first update with eps before the bias correction (a setting):", *adams(first))


if __name__ == "__main__":
    main()
