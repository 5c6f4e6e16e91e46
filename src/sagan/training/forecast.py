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
from sagan.system.ranks import Ranks
from sagan.training.footprint import MARGIN, Footprint, footprint_on
from sagan.training.machine import timed_on_noise
from sagan.training.preparation import prepare, require_equal_shares
from sagan.training.scale import ONE_PROCESS, Scale, averaged_bytes
from sagan.training.state import new_state

_SECONDS: Final = 3.0
"""Steps are timed until so much time has passed."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The numbers of a run, before it begins."""

    config: Config
    scale: Scale
    pictures: int
    """In the dataset."""
    steps_done: int
    generator_parameters: int
    discriminator_parameters: int
    footprint: Footprint
    """Of one rank."""
    memory: Memory | None
    """None where the device does not say."""
    device: str
    precision: str
    step_seconds: float | None
    """Of one rank, without what ranks tell each other; None if a step does not fit into the memory.
    """

    @property
    def share(self) -> int:
        """Pictures of a batch in each rank."""
        return self.config.train.batch_size // self.scale.ranks

    @property
    def averaged_bytes(self) -> int:
        """Gradients of a step, which ranks average; 0 for a single process."""
        if self.scale.ranks == 1:
            return 0
        return averaged_bytes(self.generator_parameters, self.discriminator_parameters, self.config)

    @property
    def images_per_second(self) -> float | None:
        """Real pictures, of all ranks together; None if a step does not fit into the memory."""
        if self.step_seconds is None:
            return None
        told = self.scale.seconds_to_average(self.averaged_bytes)
        return self.config.train.pictures_per_step / (self.step_seconds + told)

    @property
    def seconds(self) -> float | None:
        """What the steps still to do will take, without samples, checkpoints and evaluations."""
        if self.images_per_second is None:
            return None
        train = self.config.train
        steps = train.steps - self.steps_done
        return steps * train.pictures_per_step / self.images_per_second


def forecast(
    config: Config,
    folder: str | Path,
    start_from: str | Path | None = None,
    scale: Scale = ONE_PROCESS,
) -> Forecast:
    """Counts, estimates and measures what a run will take; writes nothing to its folder.

    Speed is measured in a few steps on noise, which are thrown away; where there are to be several
    ranks, in steps with the share of one.

    Args:
        config: The settings.
        folder: The run folder.
        start_from: The model to begin from, if there is one.
        scale: The processes that the run is to have.

    Raises:
        SaganError: The settings, the folder, the model, the pictures or the device do not allow the
            run.
    """
    require_equal_shares(config.train, Ranks(count=scale.ranks))
    there = prepare(config, folder, start_from)
    config = there.config
    of_a_rank = scale.of_a_rank(config)
    checkpoint = there.checkpoint()
    if there.origin:  # refuses a model that does not fit
        state = new_state(config, there.num_classes, there.device)
        there.origin.begin(state, there.dataset.class_names, config.data)
        del state
    need = footprint_on(there, of_a_rank)
    memory = there.memory
    is_possible = memory is None or need.of(of_a_rank.train.batch_size) <= memory.available
    seconds = None
    if is_possible:
        seconds = timed_on_noise(of_a_rank, there.num_classes, there.device, _SECONDS)
    generator_parameters, discriminator_parameters = parameters(config, there.num_classes)
    return Forecast(
        config=config,
        scale=scale,
        pictures=len(there.dataset),
        steps_done=min(checkpoint.step if checkpoint else 0, config.train.steps),
        generator_parameters=generator_parameters,
        discriminator_parameters=discriminator_parameters,
        footprint=need,
        memory=memory,
        device=described(there.device),
        precision="bfloat16" if there.bfloat16 else "float32",
        step_seconds=seconds,
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
    rows = [
        (
            "parameters",
            f"generator {found.generator_parameters:,}, "
            f"discriminator {found.discriminator_parameters:,}",
        ),
        *_operations(found),
        *_ranks(found),
        ("memory of a step", _memory_of_a_step(found)),
        ("free memory", _memory(found)),
        ("largest batch", _largest_batch(found)),
        ("speed", _speed_in_words(found)),
        ("time", _time(found)),
        *_cost(found),
    ]
    return "".join(f"{name:<18}{text}\n" for name, text in rows)


_Rows = list[tuple[str, str]]


def _operations(found: Forecast) -> _Rows:
    train, per_picture = found.config.train, operations(found.config)
    in_all = train.steps * train.pictures_per_step * per_picture
    return [
        (
            "operations",
            f"{per_picture / 1e9:,.3g} billion for each real picture (a x b + c as two)",
        ),
        ("", f"{in_all:.2g} for all {train.steps:,} steps"),
    ]


def _ranks(found: Forecast) -> _Rows:
    scale, size = found.scale, found.averaged_bytes
    if scale.ranks == 1:
        return []
    seconds = scale.seconds_to_average(size)
    return [
        (
            "ranks",
            f"{scale.ranks} processes with {found.share} of the {found.config.train.batch_size} "
            f"pictures of a batch each (assumed: {scale.ranks} times {found.device}, as free)",
        ),
        (
            "communication",
            f"{readable(size)} of gradients averaged in a step: {seconds:.2g} s over "
            f"{scale.bandwidth:g} Gbit/s (assumed: as a ring, nothing computed meanwhile)",
        ),
    ]


def _cost(found: Forecast) -> _Rows:
    price = found.scale.price_per_hour
    if price is None:
        return []
    if found.seconds is None:
        return [("cost", "unknown")]
    return [("cost", f"{price * found.seconds / 3600:,.2f} at {price:,.2f} an hour for all ranks")]


def _memory_of_a_step(found: Forecast) -> str:
    need, share = found.footprint, found.share
    batches = "batches of" if found.scale.ranks == 1 else "shares of"
    return (
        f"{readable(need.of(share))} with {batches} {share} (estimated), "
        f"{readable(need.per_picture)} for each picture more"
    )


def _memory(found: Forecast) -> str:
    if found.memory is None:
        return f"unknown: {found.device} does not say"
    return f"{readable(found.memory.available)} of {readable(found.memory.total)}, {found.device}"


def _largest_batch(found: Forecast) -> str:
    if found.memory is None:
        return "unknown"
    largest = found.scale.ranks * found.footprint.largest_batch(found.memory.available)
    if not largest:
        return "not even 2 pictures fit; choose narrower networks or a device with more memory"
    if largest >= found.pictures:
        return f"{found.pictures:,}, all pictures there are"
    return f"{largest:,}, with {MARGIN - 1:.0%} on top of the estimate kept free"


def _speed_in_words(found: Forecast) -> str:
    if found.images_per_second is None:
        return "not measured, since a step does not fit into the free memory"
    speed = found.images_per_second
    ranks = found.scale.ranks
    how = "measured" if ranks == 1 else f"of {ranks} ranks, from a step of one measured"
    return (
        f"{speed:,.{0 if speed >= 10 else 2}f} images/s, {how} on {found.device} "
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
