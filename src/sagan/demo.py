"""The demonstration: train on the built-in avatars, then draw what was learned."""

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from sagan import images
from sagan.config.presets import preset
from sagan.data.avatars import CREDITS
from sagan.runs.attention_log import attention_keys
from sagan.sampling.generator import TrainedGenerator, class_sheet, load_generator, variety
from sagan.system.files import write_text
from sagan.training.run import Driver, Outcome

ATTENTION_CLASS = "cat"
ATTENTION_SEED = 7


def run_demo(folder: Path, steps: int | None = None) -> str:
    """Trains the preset ``avatars32`` in a run folder, draws a grid and an attention picture.

    An interrupted demonstration continues there. ``steps`` replaces the preset's.

    Returns:
        The summary, also written to ``summary.txt``: what was measured, where the pictures are,
        what to try next.

    Raises:
        SaganError: As for training.
    """
    config = preset("avatars32")
    if steps is not None:
        config = replace(config, train=replace(config.train, steps=steps))
    driver = Driver(config, folder)
    outcome = driver.train()
    generator = load_generator(folder)
    grid = images.enlarge(class_sheet(generator, columns=12), 2)
    grid_path = images.save_png(grid, folder / "grid.png")
    attention = generator.attention(ATTENTION_SEED, ATTENTION_CLASS)
    attention_path = attention.save(folder / "attention.png")
    summary = "\n".join(
        [
            *_measured(driver, outcome, generator),
            "",
            f"pictures, a row per class  {grid_path}",
            f"what the attention sees    {attention_path}",
            CREDITS,
            "",
            "next:",
            *(f"  {line}" for line in next_commands(folder, config.train.steps)),
            "",
        ]
    )
    write_text(folder / "summary.txt", summary)
    return summary


def next_commands(folder: Path, steps: int) -> list[str]:
    """What to try after the demonstration, as typed in a shell."""
    command = "sagan" if shutil.which("sagan") else os.path.relpath(sys.argv[0])
    return [
        f"{command} sample {folder} --class cat --truncation 0.8 --scale 2 -o cats.png",
        f"{command} attention {folder} --class person --seed 3 -o person.png",
        f"{command} train avatars32 --run runs/longer --train.steps {4 * steps}",
        f"{command} train avatars32 --run runs/mine --data.source FOLDER_WITH_A_FOLDER_PER_CLASS",
    ]


def _measured(driver: Driver, outcome: Outcome, generator: TrainedGenerator) -> list[str]:
    lines = [f"trained {outcome.steps} steps on {outcome.images_seen:,} pictures"]
    if outcome.images_per_second:
        lines[0] += f", {outcome.seconds:.0f} s now at {outcome.images_per_second:.0f} images/s"
    last = next(line for line in reversed(driver.run.records()) if "generator" in line)
    keys = attention_keys("gamma", last)
    gammas = ", ".join(f"{layer.network} {last[key]:+.2f}" for layer, key in keys.items())
    return [
        *lines,
        f"last losses: real {last['discriminator_real']:.2f}, "
        f"fake {last['discriminator_fake']:.2f}, generator {last['generator']:+.2f}; "
        f"attention gamma: {gammas}",
        f"variety within a class: {variety(generator, driver.dataset):.0%} of the real pictures'"
        " (spread of a pixel, mean over the classes)",
    ]
