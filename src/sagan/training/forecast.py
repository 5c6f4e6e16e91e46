"""What a run will take, told before it begins: operations, memory, time."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from sagan.config import Config, network_shape
from sagan.config.effort import operations
from sagan.nn.residual import make_discriminator, make_generator
from sagan.system.device import described
from sagan.system.memory import Memory, readable
from sagan.training.footprint import MARGIN, Footprint, footprint
from sagan.training.machine import timed_on_noise
from sagan.training.preparation import prepare
from sagan.training.state import new_state

_SECONDS: Final = 3.0
"""Steps are timed until so much time has passed."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The numbers of a run, before it begins."""

    config: Config
    pictures: int
    """In the dataset."""
    steps_done: int
    generator_parameters: int
    discriminator_parameters: int
    footprint: Footprint
    memory: Memory | None
    """None where the device does not say."""
    device: str
    precision: str
    images_per_second: float | None
    """Real pictures; None if a step does not fit into the memory."""

    @property
    def seconds(self) -> float | None:
        """What the steps still to do will take, without samples, checkpoints and evaluations."""
        if self.images_per_second is None:
            return None
        train = self.config.train
        steps = train.steps - self.steps_done
        return steps * train.pictures_per_step / self.images_per_second


def forecast(config: Config, folder: str | Path, start_from: str | Path | None = None) -> Forecast:
    """Counts, estimates and measures what a run will take; writes nothing to its folder.

    Speed is measured in a few steps on noise, which are thrown away.

    Args:
        config: The settings.
        folder: The run folder.
        start_from: The model to begin from, if there is one.

    Raises:
        SaganError: The settings, the folder, the model, the pictures or the device do not allow the
            run.
    """
    there = prepare(config, folder, start_from)
    config = there.config
    checkpoint = there.checkpoint()
    if there.origin:  # refuses a model that does not fit
        state = new_state(config, there.num_classes, there.device)
        there.origin.begin(state, there.dataset.class_names, config.data)
        del state
    need = footprint(config, there.num_classes, bfloat16=there.bfloat16)
    memory = there.memory
    is_possible = memory is None or need.of(config.train.batch_size) <= memory.available
    seconds = None
    if is_possible:
        seconds = timed_on_noise(config, there.num_classes, there.device, _SECONDS)
    generator_parameters, discriminator_parameters = parameters(config, there.num_classes)
    return Forecast(
        config=config,
        pictures=len(there.dataset),
        steps_done=min(checkpoint.step if checkpoint else 0, config.train.steps),
        generator_parameters=generator_parameters,
        discriminator_parameters=discriminator_parameters,
        footprint=need,
        memory=memory,
        device=described(there.device),
        precision="bfloat16" if there.bfloat16 else "float32",
        images_per_second=config.train.pictures_per_step / seconds if seconds else None,
    )


def parameters(config: Config, num_classes: int) -> tuple[int, int]:
    """Counts the parameters of generator and discriminator; 0 classes mean unconditional."""
    shape = network_shape(config.data, num_classes)
    with FakeTensorMode(), torch.random.fork_rng(devices=[]):
        networks = (
            make_generator(config.generator, **shape),
            make_discriminator(config.discriminator, **shape),
        )
    generator, discriminator = (sum(p.numel() for p in net.parameters()) for net in networks)
    return generator, discriminator


def table(found: Forecast) -> str:
    """Sets a forecast out in aligned lines for people."""
    train, need = found.config.train, found.footprint
    per_picture = operations(found.config)
    in_all = train.steps * train.pictures_per_step * per_picture
    rows = [
        (
            "parameters",
            f"generator {found.generator_parameters:,}, "
            f"discriminator {found.discriminator_parameters:,}",
        ),
        ("operations", f"{per_picture / 1e9:,.3g} billion for each real picture"),
        (
            "",
            f"{in_all:.2g} for all {train.steps:,} steps",
        ),
        (
            "memory of a step",
            f"{readable(need.of(train.batch_size))} with batches of {train.batch_size} (estimated),"
            f" {readable(need.per_picture)} for each picture more",
        ),
        ("free memory", _memory(found)),
        ("largest batch", _largest_batch(found)),
        ("speed", _speed_in_words(found)),
        ("time", _time(found)),
    ]
    return "".join(f"{name:<18}{text}\n" for name, text in rows)


def _memory(found: Forecast) -> str:
    if found.memory is None:
        return f"unknown: {found.device} does not say"
    return f"{readable(found.memory.available)} of {readable(found.memory.total)}, {found.device}"


def _largest_batch(found: Forecast) -> str:
    if found.memory is None:
        return "unknown"
    largest = found.footprint.largest_batch(found.memory.available)
    if not largest:
        return "not even 2 pictures fit; choose narrower networks or a device with more memory"
    if largest >= found.pictures:
        return f"{found.pictures:,}, all pictures there are"
    return f"{largest:,}, with {MARGIN - 1:.0%} on top of the estimate kept free"


def _speed_in_words(found: Forecast) -> str:
    if found.images_per_second is None:
        return "not measured, since a step does not fit into the free memory"
    speed = found.images_per_second
    return (
        f"{speed:,.{0 if speed >= 10 else 2}f} images/s, measured on {found.device} "
        f"in {found.precision}"
    )


def _time(found: Forecast) -> str:
    steps, done = found.config.train.steps, found.steps_done
    if found.seconds is None:
        return "unknown"
    what = f"the other {steps - done:,} of {steps:,} steps" if done else f"{steps:,} steps"
    return f"{in_words(found.seconds)} for {what}; samples, checkpoints and evaluations come on top"


def in_words(seconds: float) -> str:
    """Says a time in the unit that suits it, from seconds to years."""
    for unit, length in (("years", 365.25 * 86400), ("days", 86400), ("hours", 3600)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.{0 if seconds >= 100 * length else 1}f} {unit}"
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
