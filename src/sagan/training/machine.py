"""How fast the machine at hand trains, measured in a few steps that are thrown away."""

import math
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

import numpy as np
import torch

from sagan.config import Config
from sagan.config.effort import operations
from sagan.config.plain import from_dict, joined, to_dict
from sagan.config.recipe import AVATARS, DEMO_SECONDS, TWO_CORES, Machine, recipe
from sagan.system.device import autocast, computes_in_bfloat16
from sagan.system.memory import is_out_of_memory, memory_of
from sagan.system.threads import usable_cores
from sagan.training.loop import trial_steps

_PATIENCE: Final = 10.0
"""A first step that takes longer, in seconds, is the only one."""
_REFERENCE_SECONDS: Final = 0.8
_MANY_STEPS: Final = 1_000_000
"""More than are ever timed."""

# Of a processor, beside the demonstration's.
_WIDE_STEP: Mapping[str, Mapping[str, Any]] = {
    "generator": {"base_channels": 32},
    "discriminator": {"base_channels": 32},
}
# Of a GPU, which a small step costs nothing but the launching of its kernels.
_SMALL_STEP: Mapping[str, Mapping[str, Any]] = {"train": {"batch_size": 16}}
_LARGE_STEP: Mapping[str, Mapping[str, Any]] = {
    "data": {"resolution": 64},
    "generator": {"base_channels": 32},
    "discriminator": {"base_channels": 32},
    "train": {"batch_size": 128, "precision": "auto"},
}


def seconds_per_step(
    steps: Iterable[object], config: Config, device: torch.device, least: float
) -> float | None:
    """Times steps of a run, in whole periods of ``loss.penalty_interval``.

    Args:
        steps: Of a new run, which begins when the first one is taken.
        config: Their settings.
        device: Where they are computed.
        least: For how many seconds.

    Returns:
        None if memory runs out.
    """
    train, period = config.train, config.loss.penalty_interval
    warm_up = 1 if device.type == "cpu" else max(3, period)  # graphs are recorded late
    try:
        start, timed = time.perf_counter(), -warm_up
        for timed, _ in enumerate(steps, 1 - warm_up):
            if device.type != "cpu":
                torch.accelerator.synchronize(device)
            elapsed = time.perf_counter() - start
            if timed <= 0:  # much happens at first that never happens again
                if elapsed > _PATIENCE and not train.compile:
                    return elapsed
                start = time.perf_counter()
            elif elapsed > least and timed % period == 0:
                return elapsed / timed
        return (time.perf_counter() - start) / max(1, timed)
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            return None
        raise


def timed_on_noise(
    config: Config, num_classes: int, device: torch.device, least: float
) -> float | None:
    """Seconds per step of networks that learn from noise; None if memory runs out.

    Args:
        config: The settings.
        num_classes: 0 when unconditional.
        device: Where to compute.
        least: For how many seconds to measure.
    """
    config = from_dict(joined(to_dict(config), {"train": {"steps": _MANY_STEPS}}))
    size = (2 * config.train.batch_size, *config.data.shape)
    noise = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    numbers = autocast(config.train.precision, device)
    steps = trial_steps(noise, config, num_classes, device, numbers)
    return seconds_per_step(steps, config, device, least)


def measured_machine(device: torch.device) -> Machine:
    """Measures how fast a device trains by a small and a larger step; takes about five seconds.

    What does not grow with the operations is on a GPU the launching of kernels, on a processor the
    work on maps of few channels.
    """
    reference = recipe(AVATARS, TWO_CORES, DEMO_SECONDS)
    memory, is_cpu = memory_of(device), device.type == "cpu"

    def timed(changed: Mapping[str, Mapping[str, Any]]) -> tuple[float, float]:
        config = from_dict(joined(to_dict(reference), changed))
        seconds = timed_on_noise(config, AVATARS.classes, device, _REFERENCE_SECONDS)
        if seconds is None:  # others fill the memory: as slow as the recipe can imagine
            seconds = TWO_CORES.seconds_per_step(config)
        return seconds, config.train.pictures_per_step * operations(config)

    sides = ({}, _WIDE_STEP) if is_cpu else (_SMALL_STEP, _LARGE_STEP)
    # In turn, twice: another program that has the cores for a second would count for one side.
    first, second = ([timed(side) for side in sides] for _ in range(2))
    (least, less), (most, more) = map(min, first, second)
    speed = (more - less) / max(most - least, most / 10)
    fixed = max(0.0, least - less / speed)
    pixels = reference.train.pictures_per_step * math.prod(reference.data.size)
    return Machine(
        kind="cpu" if is_cpu else "gpu",
        speed=speed,
        bfloat16=computes_in_bfloat16("auto", device),
        memory=None if memory is None else memory.available,
        overhead=0.0 if is_cpu else fixed,
        pixel_seconds=fixed / pixels if is_cpu else 0.0,
    )


def busy() -> str:
    """In words, that other programs need more than the cores there are; empty if they do not."""
    cores = usable_cores()
    with suppress(OSError):
        load, *_ = os.getloadavg()
        if load > cores:
            return f"note: this machine is busy: {load:.0f} programs share {cores} cores"
    return ""
