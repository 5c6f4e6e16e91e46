"""The demonstration: a model that comes along, then training on the built-in avatars."""

import math
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from sagan import images
from sagan.config import Config
from sagan.config.presets import preset
from sagan.data.avatars import CREDITS
from sagan.errors import SaganError
from sagan.runs.alarms import EARLY_PICTURES
from sagan.runs.attention_log import attention_keys
from sagan.runs.folder import sample_files
from sagan.runs.named import shipped_model
from sagan.runs.run import Run
from sagan.sampling.animation import save_animation
from sagan.sampling.generator import load_generator
from sagan.sampling.sets import SampleSet, named_grid
from sagan.sampling.timelapse import growth_frames
from sagan.system.files import write_text
from sagan.training.driver import Driver
from sagan.training.forecast import forecast, in_words
from sagan.training.machine import busy
from sagan.training.measuring import Outcome
from sagan.training.run import open_run

SHOWN_FIRST = "avatars64"
ATTENTION_CLASS = "cat"
ATTENTION_SEED = 4
COLUMNS = 4
GRIDS = 26
"""Of the time-lapse, besides the early ones."""
FILM_SPEED = 6.0
HOLD = 3.0
"""Seconds for which the last frame stays."""
_STEPS_PER_GRID = 5  # what a sample grid costs, in steps of training
_USUAL_SECONDS = 420.0  # on two cores


def run_demo(folder: Path, steps: int | None = None) -> str:
    """Shows the model that comes along, then trains the preset ``avatars32`` and shows it.

    An interrupted demonstration continues there. ``steps`` replaces the preset's.

    Returns:
        The summary, also written to ``summary.txt``: what was measured, where the pictures are,
        what to try next.

    Raises:
        SaganError: As for training.
        KeyboardInterrupt: Ctrl-C; what was learned is saved.
    """
    told = busy()
    config = _demo_settings(steps)
    run = Run(folder, config)
    with _going_on(run):
        run.begin()
        sys.stderr.writelines(f"{line}\n" for line in _shown_first(folder))
        driver = open_run(config, folder)
        if driver.state.step < config.train.steps:
            sys.stderr.write("now this machine learns to draw them, at half the size\n")
            sys.stderr.writelines(f"{line}\n" for line in _time_told(driver, told))
        outcome = driver.train()
        grid, attention = draw_pictures(folder, folder)
        film = film_of(folder, folder / "growth.webp")
    summary = "\n".join(
        [
            *_measured(driver, outcome),
            "",
            f"pictures, with the names of their classes  {grid}",
            f"how they grew, a film for a browser        {film}",
            f"what the attention sees                     {attention}",
            CREDITS,
            "",
            "next:",
            *(f"  {line}" for line in next_commands(folder, config.train.steps)),
            "",
        ]
    )
    write_text(folder / "summary.txt", summary)
    return summary


def _shown_first(folder: Path) -> list[str]:
    """Draws pictures of the model that comes along, if it is whole; says where they are."""
    try:
        paths = draw_pictures(shipped_model(SHOWN_FIRST).file, folder, "shipped-")
    except SaganError as error:
        return [f"note: nothing can be shown before training: {error}"]
    return [f"drawn by {SHOWN_FIRST}, which comes along: {path}" for path in paths]


def draw_pictures(model: str | Path, folder: Path, prefix: str = "") -> tuple[Path, Path]:
    """Writes ``grid.png`` and ``attention.png`` of a model of the avatars; returns their paths.

    Raises:
        SaganError: As for :func:`load_generator`, or they cannot be written.
    """
    generator = load_generator(model)
    pictures = SampleSet(generator, range(COLUMNS), generator.class_names)
    grid = images.save_png(named_grid(pictures, COLUMNS), folder / f"{prefix}grid.png")
    attention = generator.attention(ATTENTION_SEED, ATTENTION_CLASS)
    return grid, attention.save(folder / f"{prefix}attention.png")


def film_of(run: Path, path: Path) -> Path:
    """Writes how the pictures of a run grew, as a film; returns its path.

    Raises:
        SaganError: As for :func:`growth_frames`, or it cannot be written.
    """
    frames = growth_frames(run, columns=COLUMNS)
    return save_animation(frames, path, frames_per_second=FILM_SPEED, hold=HOLD)


def next_commands(folder: Path, steps: int) -> list[str]:
    """What to try after the demonstration, as typed in a shell."""
    command = "sagan" if shutil.which("sagan") else os.path.relpath(sys.argv[0])
    return [
        f"{command} sample {SHOWN_FIRST} --class cat --seeds 0-31 -o cats.png",
        f"{command} attention {SHOWN_FIRST} --class person --seed 3 -o person.png",
        f"{command} interpolate {folder} --class cat -o walk.webp",
        f"{command} train avatars32 --run runs/longer --train.steps {4 * steps}",
        f"{command} train path/to/pictures --run runs/mine --minutes 30",
        f"{command} models",
    ]


def _demo_settings(steps: int | None) -> Config:
    config = preset("avatars32")
    train = config.train if steps is None else replace(config.train, steps=steps)
    interval = -(-train.steps // GRIDS)
    return replace(config, train=replace(train, sample_interval=interval))


@contextmanager
def _going_on(run: Run) -> Iterator[None]:
    """Says where an interrupted demonstration has got to."""
    try:
        yield
    except KeyboardInterrupt as interruption:
        told = str(interruption) or "stopped; the same command goes on"
        if grids := sample_files(run.folder):
            told += f"\nits newest pictures: {grids[max(grids)]}"
        raise type(interruption)(told) from None


def _time_told(driver: Driver, told: str) -> list[str]:
    """How long it will take on this machine, from its speed in a few seconds of training."""
    train = driver.config.train
    found = forecast(driver.config, driver.run.folder)
    if found.seconds is None:
        return []
    left = train.steps - found.steps_done
    grids = min(left, left // train.sample_interval + 1)
    seconds = found.seconds * (1 + _STEPS_PER_GRID * grids / left)
    if driver.outputs.evaluate is not None:
        seconds *= 1 + driver.config.evaluation.time_share
    lines = [
        f"it will take about {in_words(seconds)}: {left:,} steps at {found.images_per_second:,.0f} "
        "pictures/s, as measured just now; Ctrl-C saves, and the same command goes on"
    ]
    usual = _USUAL_SECONDS * left / preset("avatars32").train.steps
    if told:
        lines.append(f"{told}; alone it goes faster")
    elif seconds > 2 * usual:
        lines.append(f"note: that is slow; two quiet cores take {in_words(usual)}")
    return lines


def _measured(driver: Driver, outcome: Outcome) -> list[str]:
    lines = [f"trained {outcome.steps} steps on {outcome.images_seen:,} pictures"]
    if outcome.images_per_second:
        lines[0] += f", {outcome.seconds:.0f} s now at {outcome.images_per_second:.0f} images/s"
    records = driver.run.records()
    last = next(line for line in reversed(records) if "generator" in line)
    keys = attention_keys("gamma", last)
    gammas = ", ".join(f"{layer.network} {last[key]:+.2f}" for layer, key in keys.items())
    lines.append(
        f"last losses: real {last['discriminator_real']:.2f}, "
        f"fake {last['discriminator_fake']:.2f}, generator {last['generator']:+.2f}; "
        f"attention gamma: {gammas}"
    )
    found = next((line["variety"] for line in reversed(records) if "variety" in line), math.nan)
    if outcome.images_seen >= EARLY_PICTURES:  # noise is varied, too
        lines.append(
            f"variety within a class: {found:.0%} of the real pictures'"
            " (distance to the picture most like it, lower quartile of the classes)"
        )
    return [*lines, *outcome.lines()]
