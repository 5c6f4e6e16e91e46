"""The loop: mathematics only. It touches no file and prints nothing."""

import warnings
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from sagan.config import Config, OptimizerConfig, TrainConfig
from sagan.data import Dataset
from sagan.nn.averaging import update_average
from sagan.nn.residual import Discriminator, Generator
from sagan.system.device import require_compiler
from sagan.system.ranks import ALONE, Ranks
from sagan.training.draws import step_inputs
from sagan.training.state import TrainingState, new_state
from sagan.training.steps import TrainingStep


def train_steps(
    state: TrainingState,
    dataset: Dataset,
    config: Config,
    *,
    label_frequencies: Tensor,
    device: torch.device,
    autocast: torch.autocast,
    ranks: Ranks = ALONE,
) -> Iterator[dict[str, Tensor]]:
    """Runs from ``state.step`` to the configured end; yields the loss terms after every step.

    They stay on the device, and nothing here waits for it. Once a term or a gradient is NaN or
    infinite, every later update is skipped (:func:`sagan.training.state.apply_gradients`).

    All random numbers of step k are functions of (seed, k). With several ranks each calls this, in
    step with the others; the terms are means over all, and the states stay the same.

    Raises:
        SaganError: ``train.compile`` is asked for and there is no compiler.
    """
    state.generator.train()
    state.discriminator.train()
    for network in (state.generator, state.discriminator):
        if isinstance(network, Generator | Discriminator):
            network.recomputes = config.train.checkpoint_activations
    step = TrainingStep(state, config, device, autocast, ranks)
    if config.train.compile:
        compile_networks(state, device)
    pinned = device.type == "cuda"
    where = {"first": state.step, "pinned": pinned, "ranks": ranks}
    for inputs in step_inputs(dataset, config, label_frequencies, **where):
        set_learning_rates(state, config.optimizer, state.step / config.train.steps)
        terms = step(inputs)
        state.step += 1
        decay = average_decay(config.train, state.step)
        update_average(state.generator_ema, state.generator, decay)
        yield terms


def trial_steps(
    images: np.ndarray,
    config: Config,
    num_classes: int,
    device: torch.device,
    autocast: torch.autocast,
) -> Iterator[dict[str, Tensor]]:
    """Steps of a new run that is thrown away, on any pictures, uint8 (N, C, H, W).

    The run begins when the first step is asked for.
    """
    classes = max(1, num_classes)
    frequencies = torch.full((classes,), 1 / classes, dtype=torch.float64)
    labels, names = np.arange(len(images)) % classes, tuple(map(str, range(num_classes)))
    dataset = Dataset(images=images, labels=labels, class_names=names, fingerprint="")

    def steps() -> Iterator[dict[str, Tensor]]:
        yield from train_steps(
            new_state(config, num_classes, device),
            dataset,
            config,
            label_frequencies=frequencies,
            device=device,
            autocast=autocast,
        )

    return steps()


def compile_networks(state: TrainingState, device: torch.device) -> None:
    """Compiles the passes of both networks, forwards and backwards, at their first call.

    Without CUDA graphs: kernels and weights lie elsewhere at every step, so that all were recorded
    again each time (docs/lab/performance.md).

    Raises:
        SaganError: The compiler is absent.
    """
    require_compiler(device)
    # PyTorch's compiler looks at .grad of its inputs and is warned by PyTorch.
    warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor")
    for network in (state.generator, state.discriminator):
        if network._compiled_call_impl is not None:  # before the run went back to a checkpoint
            continue
        network.compile(dynamic=False)


def set_learning_rates(state: TrainingState, config: OptimizerConfig, progress: float) -> None:
    """Sets both learning rates for a point of the run, ``progress`` in [0, 1)."""
    factor = state.rate_factor
    if progress > config.decay_start:
        factor *= (1 - progress) / (1 - config.decay_start)
    state.generator_optimizer.learning_rate = factor * config.generator_lr
    state.discriminator_optimizer.learning_rate = factor * config.discriminator_lr


def average_decay(config: TrainConfig, step: int) -> float:
    """The decay of the average after ``step`` steps, smaller at the start of a run.

    Source: TensorFlow's ``ExponentialMovingAverage`` with ``num_updates``; with ``ema_start``
    BigGAN-PyTorch, ``utils.py``, ``ema``.
    """
    if config.ema_start:
        return config.ema_decay if step >= config.ema_start else 0.0
    return min(config.ema_decay, (1 + step) / (10 + step))
