"""The settings of a run that is given pictures and a time, and what they mean in plain words."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch

from sagan.config import Config, DataConfig
from sagan.config.plain import Settings, joined, to_dict
from sagan.config.recipe import (
    AVATARS,
    FEW_PICTURES,
    LearningMaterial,
    Machine,
    recipe,
    require_enough,
)
from sagan.data import BUILT_IN, load_dataset
from sagan.data.looking import look
from sagan.data.opening import catalog_of
from sagan.errors import SaganError
from sagan.system.device import described, keep_freed_memory, pick_device
from sagan.system.ranks import ALONE, Ranks
from sagan.training.budget import follow_from_time, require_minutes
from sagan.training.forecast import in_words
from sagan.training.machine import busy, measured_machine, timed_on_noise
from sagan.training.origin import run_settings

USUAL_MINUTES: Final = 30.0
"""Of a run that is given pictures and nothing else."""

_GLANCED_AT = 64  # pictures
_MEASURING_SECONDS = 2.0
_FEW_OF_A_CLASS = 20  # pictures
_TINY = 16  # pixels
_FIRST_LOOK = 32  # pixels; the pictures are looked at as small as they may become

# What to expect of pictures of 32 pixels after so many that were seen. Where numbers stand, that is
# what the run that was measured had seen, so that no run is promised what a longer one reached (FD
# and recall by `sagan evaluate`, EfficientNet-Lite0; docs/lab/recipe.md).
_EXPECTED = {
    3_000_000: "pictures with fine parts and many variants; so long a run was not measured here",
    848_000: "clear pictures with few faults (the 14 kinds of avatars after 848,000: FD 121, "
    "recall 0.50)",
    544_000: "clear shapes with faults in fine parts, many variants of each kind (the 14 kinds of "
    "avatars after 544,000: FD 189, recall 0.27)",
    89_280: "one can see what each picture shows, faces and edges are smeared, several variants of "
    "each kind (the 14 kinds of avatars after 90,000: FD 268 and 299, recall 0.12 and 0.10)",
    54_000: "one can see what most pictures show, faces and edges are smeared, some variants of "
    "each kind (the 14 kinds of avatars after 54,000: FD 335, recall 0.07)",
    0: "colours and rough outlines only; give more time to see more",
}


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Settings that were chosen."""

    config: Config
    lines: tuple[str, ...]
    """What was chosen and what to expect, for people."""


def settings_of_run(
    config: Config | str | Path | None,
    folder: str | Path,
    source: str | None = None,
    minutes: float | None = None,
    start_from: str | Path | None = None,
    ranks: Ranks = ALONE,
) -> Config:
    """The settings of a run: those that are named, or those that follow from pictures and time.

    Args:
        config: As for :func:`sagan.training.origin.run_settings`.
        folder: The run folder.
        source: The pictures, where they are named apart.
        minutes: How long a new run may take. Without it, and without settings and a model, a new
            run on named pictures takes :data:`USUAL_MINUTES`.
        start_from: The model to begin from.
        ranks: Of which the first one chooses.

    Raises:
        SaganError: Settings and a time are given, the time is out of range, or as for
            :func:`run_settings` and :func:`chosen`.
    """
    if minutes is not None:
        if config is not None:
            raise SaganError("config says how many steps to train; give minutes without it")
        require_minutes(minutes)
    if not follow_from_time(
        folder,
        minutes,
        has_settings=config is not None or start_from is not None,
        names_pictures=source is not None,
        ranks=ranks,
    ):
        return run_settings(config, folder, source=source, start_from=start_from)
    model = None
    if start_from is not None:
        model = run_settings(None, folder, source=source, start_from=start_from)
    given = {} if source is None else {"data": {"source": source}}
    return ranks.decided_by_first(lambda: settings_within(minutes, given, model))


def settings_within(minutes: float | None, given: Settings, model: Config | None = None) -> Config:
    """Chooses the settings of a new run and prints what was chosen.

    Args:
        minutes: How long it may take; None for :data:`USUAL_MINUTES`.
        given: Settings that are decided already, the source of the pictures among them.
        model: The settings of a model to begin from, which decide the networks and the size of the
            pictures.

    Raises:
        SaganError: As for :func:`chosen`.
    """
    if model is not None:
        values = to_dict(model)
        data = {name: value for name, value in values["data"].items() if name != "augment"}
        networks = {name: values[name] for name in ("generator", "discriminator")}
        given = joined({"data": data, **networks}, given)
    choice = chosen(60 * (minutes or USUAL_MINUTES), given)
    if minutes is None:
        sys.stderr.write(
            f"note: {USUAL_MINUTES:g} minutes, since nothing says how long (--minutes, --hours)\n"
        )
    sys.stderr.writelines(f"{line}\n" for line in choice.lines)
    return choice.config


def chosen(seconds: float, given: Settings) -> Chosen:
    """Looks at the pictures, measures the machine and applies the recipe.

    Args:
        seconds: That the run may take.
        given: Settings that are decided already, the source of the pictures among them.

    Raises:
        SaganError: The pictures cannot be read, or as for :func:`recipe`.
    """
    device = pick_device(str(given.get("train", {}).get("device", "auto")))
    keep_freed_memory()
    material = material_of(given)
    require_enough(material, seconds)
    told = busy()
    sys.stderr.write(f"{told}; alone it learns more in this time\n" if told else "")
    sys.stderr.write("measuring how fast this machine learns, with networks of several sizes\n")
    config, pace = fitted(material, measured_machine(device), seconds, given, device)
    return Chosen(config=config, lines=_told(config, material, pace, device))


def material_of(given: Settings) -> LearningMaterial:
    """Finds out what the recipe has to know of the pictures; some are read, none are packed.

    Raises:
        SaganError: They cannot be read.
    """
    data = DataConfig(**{"resolution": _FIRST_LOOK, **given.get("data", {})})
    if data.source in BUILT_IN:
        classes = AVATARS.classes if data.conditional else 0
        pictures = data.generated_images
        smallest = pictures // AVATARS.classes
        return replace(AVATARS, pictures=pictures, classes=classes, smallest_class=smallest)
    found = look(data, _GLANCED_AT, catalog_of(data))
    if found.survey.sizes is None:
        load_dataset(data)  # says why nothing can be read
        raise AssertionError("pictures that can be read")
    kept = 1 - data.held_out
    counts = found.survey.classes.values()
    return LearningMaterial(
        pictures=round(kept * found.survey.used),
        classes=len(counts),
        smallest_class=round(kept * min(counts, default=0)),
        channels=found.images.shape[1],
        side=min(found.survey.sizes.most_common),
    )


def fitted(
    material: LearningMaterial,
    machine: Machine,
    seconds: float,
    given: Settings,
    device: torch.device,
) -> tuple[Config, float]:
    """Applies the recipe, times the networks that it chooses, and fits the length to that.

    A time that follows from others is rough, so that the choice may be another one once it was
    timed. That one is timed too, and stays.

    Args:
        material: The pictures.
        machine: As measured with other networks.
        seconds: That the run may take.
        given: Settings that are decided already.
        device: Where to train.

    Returns:
        The settings, and seconds per step.
    """
    first = recipe(material, machine, seconds, given)
    machine = _corrected(machine, first, material, device)
    config = recipe(material, machine, seconds, given)
    if (networks := _chosen_networks(config)) != _chosen_networks(first):
        machine = _corrected(machine, config, material, device)
        config = recipe(material, machine, seconds, joined(networks, given))
    return config, machine.seconds_per_step(config)


def _chosen_networks(config: Config) -> dict[str, dict[str, int]]:
    """What the recipe chooses by the time there is, but for the length."""
    return {
        "data": {"resolution": config.data.resolution, "width": config.data.width},
        "generator": {"base_channels": config.generator.base_channels},
        "discriminator": {"base_channels": config.discriminator.base_channels},
        "train": {"batch_size": config.train.batch_size},
    }


def _corrected(
    machine: Machine, config: Config, material: LearningMaterial, device: torch.device
) -> Machine:
    """The machine as it is with these networks, in its measured speed."""
    config = config.with_channels(config.data.channels or material.channels)
    seconds = timed_on_noise(config, material.classes, device, _MEASURING_SECONDS)
    if seconds is None:
        raise SaganError(
            f"memory ran out in a step with pictures of {_size_in_words(config.data.size)} and "
            f"batches of {config.train.batch_size}; free memory, or choose a smaller "
            "--train.batch-size or --data.resolution"
        )
    factor = seconds / machine.seconds_per_step(config)
    return replace(
        machine,
        speed=machine.speed / factor,
        overhead=machine.overhead * factor,
        pixel_seconds=machine.pixel_seconds * factor,
    )


# --- in words


def _told(
    config: Config, material: LearningMaterial, pace: float, device: torch.device
) -> tuple[str, ...]:
    """Five lines."""
    train, data = config.train, config.data
    seen, rate = train.steps * train.pictures_per_step, train.pictures_per_step / pace
    return (
        f"pictures   {_pictures(config, material)}",
        f"networks   width {config.generator.base_channels}{_attention_in_words(config)}; "
        f"batches of {train.batch_size} in {_number_format(config)}",
        f"training   {train.steps:,} steps, {seen:,} pictures seen (each of {material.pictures:,} "
        f"{_times_each(seen / material.pictures)}); rates {config.optimizer.generator_lr:g}"
        f"{', penalties ' + format(config.loss.r1, 'g') if config.loss.r1 else ''}"
        f"{', augmented with ' + ', '.join(data.augment) if data.augment else ''}",
        f"time       {in_words(train.steps * pace)} at {rate:,.0f} pictures/s, "
        f"measured on {described(device)}; samples and measurements take up to a tenth more",
        f"to expect  {_expected(config, material, seen)}",
    )


def _size_in_words(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} pixels"


def _times_each(times: float) -> str:
    return (
        f"{times:,.0f} times" if times >= 2 else "about once" if times >= 0.5 else "not even once"
    )


def _pictures(config: Config, material: LearningMaterial) -> str:
    classes, smallest = material.classes, material.smallest_class
    within = f" in {classes} class{'es' * (classes > 1)}" if classes else ""
    told = f"{_size_in_words(config.data.size)}; {material.pictures:,}{within}"
    if min(config.data.size) > material.side:
        told += f", enlarged from {material.side}"
    if classes and smallest < _FEW_OF_A_CLASS:
        told += f"; the smallest class has {smallest:,}, which will be repeated rather than varied"
    elif material.pictures < FEW_PICTURES:
        told += "; few, so that some will be drawn nearly as they are: see sagan report"
    return told


def _attention_in_words(config: Config) -> str:
    places = config.generator.attention
    return f", attention at {' and '.join(map(str, places))}" if places else ", without attention"


def _number_format(config: Config) -> str:
    return "bfloat16" if config.train.precision != "float32" else "float32"


def _expected(config: Config, material: LearningMaterial, seen: int) -> str:
    """Twice the side takes about twice as many pictures."""
    alike = seen * 32 / min(config.data.size)
    told = next(words for pictures, words in _EXPECTED.items() if alike >= pictures)
    if material.pictures < FEW_PICTURES:
        told += f"; from {material.pictures:,} pictures less, and little that is not in them"
    if material.side < _TINY:
        told += f"; no more than is seen at {material.side} pixels"
    return told
