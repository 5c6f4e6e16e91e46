"""The recipe: settings that follow from the pictures, the machine and the time there is.

:func:`recipe` is a pure function. Its rules, with the figures behind them, are explained in
docs/recipe.md; what they give are ordinary settings, which a run folder keeps.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from sagan.config.effort import memory_of_a_step, operations
from sagan.config.networks import DiscriminatorConfig
from sagan.config.plain import Settings, from_dict, joined, to_dict
from sagan.config.plan import plan
from sagan.config.whole import Config
from sagan.errors import SaganError

LEAST_PICTURES: Final = 16
"""With fewer there is nothing to learn but themselves."""
LEAST_SECONDS: Final = 20.0
"""Less is gone before the first picture is worth a look."""
FEW_PICTURES: Final = 5_000
"""Below, the discriminator learns the pictures by heart unless they are augmented."""
TRAINING_SHARE: Final = 0.9
"""Of the time; the rest is for sample grids, checkpoints and evaluations."""

_LEAST_STEPS = 100
_MEASURED_OFTEN = 15 * 60.0  # seconds: shorter runs are measured at their end only
_GRIDS = 40  # of a run, for a time-lapse
_PICTURES_BETWEEN_GRIDS = 12_800  # seen; a grid takes as long as about 800 of them
_SECONDS_BETWEEN_CHECKPOINTS = 120.0
_MEMORY_MARGIN = 1.5

# Pictures that a run must be able to see, at the least width, for a larger side.
_SIDES = {32: 0, 64: 450_000, 128: 1_500_000}
# And for wider networks at that side.
_WIDTHS = {16: 0, 24: 450_000, 32: 500_000, 48: 2_000_000, 64: 4_000_000}
# Learning rates of runs that see fewer pictures than this.
_RATES = {300_000: 2e-3, 1_000_000: 1.5e-3, 5_000_000: 1e-3, math.inf: 5e-4}
_RATE_OF_LARGE_BATCHES = 1.5e-3  # of 128 and more: 2e-3 was tried with 32 and 64 only
_LONGEST_HALF_LIFE = 5_000  # steps of the average


@dataclass(frozen=True, kw_only=True)
class LearningMaterial:
    """What is known of the pictures to learn from."""

    pictures: int
    """To learn from, held-out ones left out."""
    classes: int = 0
    """0 where none are learned."""
    smallest_class: int = 0
    """Pictures of the class that has the fewest."""
    channels: int = 3
    side: int
    """Shorter side of most pictures as they are found, in pixels."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What is known of the machine."""

    kind: Literal["cpu", "gpu"]
    speed: float
    """Operations per second in training, counted as :func:`sagan.config.effort.operations` does."""
    bfloat16: bool = False
    """It multiplies bfloat16 fast."""
    memory: int | None = None
    """Free, in bytes; None where it is not known."""
    overhead: float = 0.0
    """Seconds that a step takes however small it is."""
    pixel_seconds: float = 0.0
    """Seconds that a pixel takes however narrow the networks: maps of few channels cost a processor
    as much as wider ones."""

    def seconds_per_step(self, config: Config) -> float:
        """What a step takes."""
        picture = math.prod(config.data.size) * self.pixel_seconds + operations(config) / self.speed
        return self.overhead + config.train.pictures_per_step * picture

    def steps_within(self, seconds: float, config: Config) -> int:
        """Steps that fit into :data:`TRAINING_SHARE` of a time."""
        return int(TRAINING_SHARE * seconds / self.seconds_per_step(config))

    def holds(self, config: Config) -> bool:
        """Whether a step fits into the memory."""
        return (
            self.memory is None
            or _MEMORY_MARGIN * memory_of_a_step(config, self.kind) <= self.memory
        )


TWO_CORES: Final = Machine(kind="cpu", speed=3.9e11, bfloat16=True, pixel_seconds=2.1e-6)
"""Two virtual CPU cores in a quiet hour: 337 pictures a second at 32 pixels and width 16, 188 at
width 32, 70 at 64 pixels and width 16. Within 8 % of steps of seven such networks, timed in turn in
a slower hour, whose times are divided by 1.16."""
DEMO_SECONDS: Final = 296.0
"""What the preset ``avatars32`` takes on them, the shares for grids and measuring included."""
AVATARS: Final = LearningMaterial(pictures=50_000, classes=14, smallest_class=3_500, side=256)
"""The built-in pictures."""


def recipe(
    material: LearningMaterial, machine: Machine, seconds: float, given: Settings | None = None
) -> Config:
    """Chooses the settings of a run.

    More time never gives a smaller picture, nor at the same size a narrower network. The larger
    picture comes first: it is what people see.

    Args:
        material: The pictures.
        machine: Where to train.
        seconds: Time that the run may take, at least :data:`LEAST_SECONDS`.
        given: Settings that are decided already; the others follow from them too.

    Raises:
        SaganError: There are too few pictures or too little time, or what is given is impossible.

    Example:
        >>> pictures = LearningMaterial(pictures=60_000, classes=10, channels=1, side=28)
        >>> config = recipe(pictures, TWO_CORES, 30 * 60)
        >>> config.data.resolution, config.generator.base_channels, config.optimizer.generator_lr
        (32, 16, 0.0015)
    """
    given = given or {}
    require_enough(material, seconds)

    def candidate(size: tuple[int, int], width: int) -> Config:
        return _with_batch(material, machine, joined(_networks(material, size, width), given))

    def allows(config: Config, pictures: int) -> bool:
        seen = config.train.pictures_per_step * machine.steps_within(seconds, config)
        return seen >= pictures and machine.holds(config)

    least = min(_WIDTHS)
    sizes = {_size(material, given, side): pictures for side, pictures in _SIDES.items()}
    best = _last(lambda size: candidate(size, least), sizes, allows)
    best = _last(lambda width: candidate(best.data.size, width), _WIDTHS, allows)
    steps = given.get("train", {}).get("steps")
    if steps is None:
        steps = _rounded(machine.steps_within(seconds, best), 3)
        _require_steps(steps, seconds, best, machine, given)
    length = _length(steps, best, machine, seconds)
    return from_dict(joined(to_dict(best), length, _precision(machine), given))


def require_enough(material: LearningMaterial, seconds: float) -> None:
    """Refuses too little of either, before anything is measured.

    Raises:
        SaganError: There are fewer than :data:`LEAST_PICTURES` or :data:`LEAST_SECONDS`.
    """
    if not seconds >= LEAST_SECONDS:
        raise SaganError(
            f"{seconds:g} seconds are too short to learn anything; give at least "
            f"{LEAST_SECONDS:.0f} seconds (--minutes {LEAST_SECONDS / 60:.2g})"
        )
    if material.pictures < LEAST_PICTURES:
        raise SaganError(
            f"there {'is' if material.pictures == 1 else 'are'} {material.pictures} "
            f"picture{'s' * (material.pictures != 1)} to learn from, and the recipe needs "
            f"{LEAST_PICTURES}; give more, or choose a preset and a smaller --train.batch-size"
        )


def _require_steps(
    steps: int, seconds: float, config: Config, machine: Machine, given: Settings
) -> None:
    if steps < _LEAST_STEPS:
        least = _LEAST_STEPS * machine.seconds_per_step(config) / TRAINING_SHARE
        chosen = {"data": "resolution", "generator": "base_channels"}
        chosen["discriminator"] = chosen["generator"]
        is_open = any(name not in given.get(section, {}) for section, name in chosen.items())
        smaller = " or choose smaller ones (--data.resolution, --generator.base-channels, "
        smaller += "--discriminator.base-channels)"
        raise SaganError(
            f"in {seconds:,.0f} seconds this machine, as fast as it is now, takes {steps} "
            f"step{'s' * (steps != 1)} with pictures of {' x '.join(map(str, config.data.size))} "
            f"and networks of width {config.generator.base_channels}, too few to learn anything; "
            f"give more time (--minutes {math.ceil(least / 60)}){smaller if is_open else ''}"
        )


def _last(
    candidate: Callable[[Any], Config],
    thresholds: Mapping[Any, int],
    allows: Callable[[Config, int], bool],
) -> Config:
    """The last choice that is possible and allowed, or else the first that is possible.

    What is given may fit only some: a plan of channels, say, fits pictures of one size.
    """
    found: Config | None = None
    refusal: SaganError | None = None
    for choice, pictures in thresholds.items():
        try:
            config = candidate(choice)
        except SaganError as error:
            refusal = refusal or error
            continue
        if found is None or allows(config, pictures):
            found = config
    if found is None:
        assert refusal
        raise refusal
    return found


# --- what does not depend on the length


def _size(material: LearningMaterial, given: Settings, side: int) -> tuple[int, int]:
    """Height and width for a side that would be good, not larger than most pictures are."""
    wanted = given.get("data", {})
    if height := wanted.get("resolution"):
        return height, wanted.get("width") or height
    possible = max(16, min(side, material.side))
    doublings = possible.bit_length() - 3
    possible = possible >> doublings << doublings  # as networks have them
    return (32, 32) if possible == 28 else (possible, possible)


def _networks(material: LearningMaterial, size: tuple[int, int], width: int) -> dict[str, Any]:
    """What is the same at every length."""
    side = math.sqrt(math.prod(size))
    gamma = float(f"{0.2 * (side / 32) ** 1.32:.2g}")
    attention = 32 if min(size) >= 64 else 16 if min(size) >= 32 else 8
    both = {
        "base_channels": width,
        "attention": [attention],
        "attention_product": "cosine" if min(size) >= 64 else "plain",
        "initialization": "orthogonal",
        "spectral_norm": "attention",
    }
    augment = ["colour", "translation", "cutout"] if material.pictures < FEW_PICTURES else []
    shape = {"resolution": size[0], "width": 0 if size[0] == size[1] else size[1]}
    return {
        "data": {**shape, "augment": augment},
        "generator": {**both, "latent_skips": True},
        "discriminator": {**both, "channels": _begins_wider(size)},
        "loss": {
            "name": "non-saturating",
            "relativistic": True,
            "r1": gamma,
            "r2": gamma,
            "penalty_interval": 4,
        },
        "optimizer": {"beta2": 0.99, "decay_start": 0.5},
        "train": {"reuse_fakes": True, "fake_labels": "data"},
    }


def _begins_wider(size: tuple[int, int]) -> list[int]:
    """From 64 pixels on the discriminator's first block is as wide as its second."""
    if min(size) < 64:
        return []
    stages = plan(DiscriminatorConfig(base_channels=1, attention=()), size)
    return [2, *(stage.channels for stage in stages[1:])]


def _with_batch(material: LearningMaterial, machine: Machine, settings: dict[str, Any]) -> Config:
    """The largest batch that is good, that the pictures fill and that fits into the memory."""
    if machine.kind == "cpu":
        wanted = 32
    else:  # a step takes as long for 256 pictures as for 32
        wanted = min(256, max(64, 2 ** int(math.log2(material.pictures / 8))))
    batch = min(wanted, 2 ** int(math.log2(material.pictures)))
    while True:
        config = from_dict(joined({"train": {"batch_size": batch}}, settings))
        if batch <= LEAST_PICTURES or machine.holds(config):
            return config
        batch //= 2


def _precision(machine: Machine) -> dict[str, Any]:
    """Float32 is written down, so that a run goes on in it on another machine."""
    return {"train": {"precision": "auto" if machine.bfloat16 else "float32"}}


# --- what does


def _length(steps: int, config: Config, machine: Machine, seconds: float) -> dict[str, Any]:
    """Steps, rates, average and intervals."""
    batch, pace = config.train.batch_size, machine.seconds_per_step(config)
    seen = steps * config.train.pictures_per_step
    rate = next(rate for pictures, rate in _RATES.items() if seen < pictures)
    if batch >= 128:
        rate = min(rate, _RATE_OF_LARGE_BATCHES)
    half_life = min(steps / 8, _LONGEST_HALF_LIFE)
    grids = max(steps / _GRIDS, _PICTURES_BETWEEN_GRIDS / batch)
    return {
        "optimizer": {"generator_lr": rate, "discriminator_lr": rate},
        "train": {
            "steps": steps,
            "ema_decay": round(1 - float(f"{1 - 0.5 ** (1 / half_life):.2g}"), 6),
            "log_interval": min(50, _rounded(steps / 10, 1)),
            "sample_interval": min(steps, _rounded(grids, 2)),
            "checkpoint_interval": _rounded(_SECONDS_BETWEEN_CHECKPOINTS / pace, 1),
        },
        "evaluation": {"interval": 0 if seconds < _MEASURED_OFTEN else -(-steps // 4)},
    }


def _rounded(number: float, digits: int) -> int:
    """Rounded down to so many digits that are not 0; at least 1."""
    unit = 10 ** max(0, int(math.log10(max(1, number))) + 1 - digits)
    return max(1, int(number) // unit * unit)
