"""What other implementations do differently, each as a change of a step and its state."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from sagan.data.avatars import load_avatars
from sagan.nn import spectral
from sagan.nn.averaging import measure_batch_statistics, update_average
from sagan.nn.batch_norm import ConditionalBatchNorm2d
from sagan.nn.layers import SelfAttention2d
from sagan.training.draws import step_inputs
from sagan.training.steps import TrainingStep

Choice = Callable[[TrainingStep], TrainingStep]
"""Gets a step that nobody else has, and gives it or another."""

Row = tuple[str, Choice, Choice | None]
"""What is said of it, the usual, and what is compared with that; None: the same, another batch."""

UNIFORM = torch.full((14,), 1 / 14)
"""The frequencies of the labels."""
_FURTHER = 100


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
            elif (
                what == "gains" and isinstance(layer, ConditionalBatchNorm2d) and layer.num_classes
            ):
                assert isinstance(layer.gain, Tensor)
                layer.gain.add_(torch.randn_like(layer.gain), alpha=0.02)
    return advanced(step)


def averaged(step: TrainingStep, *, buffers: str) -> TrainingStep:
    """The averaged generator of further steps, with buffers as others have them."""
    live = step.state.generator
    average = deepcopy(live)
    images = load_avatars(32, 5000, split="train")
    config = configured(step, steps=_FURTHER, batch_size=16).config
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


_AFRESH = partial(averaged, buffers="afresh")
HERE: tuple[Row, ...] = (
    ("another batch of 64 pictures", unchanged, None),
    (
        "train.discriminator_power_iteration = pass",
        unchanged,
        partial(configured, discriminator_power_iteration="pass"),
    ),
    ("vectors one iteration further", unchanged, advanced),
    ("vectors two iterations further", unchanged, partial(advanced, iterations=2)),
    (
        "gradient through the power iteration",
        advanced,
        partial(normalised_by, divide=through_the_iteration),
    ),
    ("max(1, sigma)", unchanged, partial(normalised_by, divide=at_least_one)),
    ("eps 1e-6 in spectral norm", advanced, partial(advanced, eps=1e-6)),
    ("batch statistics of 4 x 16", unchanged, partial(configured, accumulate=4)),
    ("softmax over the queries", unchanged, over_the_queries),
    ("running statistics (0.1)", partial(drawing, afresh=True), partial(drawing, afresh=False)),
    ("average: buffers averaged too", _AFRESH, partial(averaged, buffers="averaged")),
    ("average: the newest buffers", _AFRESH, partial(averaged, buffers="copied")),
)
FIRST: tuple[Row, ...] = (
    ("another batch of 64 pictures", advanced, None),
    ("vectors of one iteration", advanced, unconverged),
    ("max(1, sigma)", unchanged, partial(normalised_by, divide=at_least_one)),
    ("biases within 1 / sqrt(fan-in)", advanced, partial(redrawn, what="biases")),
    ("gains drawn from N(1, 0.02)", advanced, partial(redrawn, what="gains")),
    ("kernels longer by sqrt 2", advanced, partial(redrawn, what="lengths")),
)
