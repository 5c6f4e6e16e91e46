"""Commands that train: train, demo."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sagan import config as settings
from sagan.cli.program import app
from sagan.config import Config


@app.command
def train(
    preset: str | None = None,
    /,
    *,
    run: Path,
    print_config: Annotated[bool, Parameter(negative=())] = False,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    config: Annotated[Config, Parameter(name="*")] = Config(),
) -> None:
    """Train a model in a run folder; the same command again continues exactly where it stopped.

    Parameters
    ----------
    preset
        Name of a preset or path of a .toml file; flags go on top. Without it, the settings of the
        run folder, or of avatars32 for a new one.
    run
        The run folder: settings, log, samples and checkpoints.
    print_config
        Print the resulting settings as TOML and stop.
    dry_run
        Print what the run will take, operations, memory and time, after a few steps that are thrown
        away, and stop; nothing is written to the run folder.
    config
        Everything that decides the run.
    """
    if print_config:
        print(settings.to_toml(config), end="")
        return
    if dry_run:
        from sagan.training import forecast

        print(forecast.table(forecast.forecast(config, run)), end="")
        return
    from sagan.training.run import open_run

    driver = open_run(config, run)
    if driver.state.step:
        print(f"continuing {run} at step {driver.state.step}", file=sys.stderr)
    outcome = driver.train()
    print(driver.run.checkpoint_path(outcome.steps))
    print(driver.run.sample_path(outcome.steps))


@app.command
def demo(*, run: Path = Path("runs/demo"), steps: int | None = None) -> None:
    """Train the avatars32 preset for about three minutes on two cores and draw what it learned.

    Parameters
    ----------
    run
        The run folder; pictures and summary go there too.
    steps
        Generator updates, for a shorter or longer demonstration.
    """
    from sagan.demo import run_demo

    print(run_demo(run, steps), end="")
