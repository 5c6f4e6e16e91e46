"""Commands that train: train, ablate, demo."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from sagan import config as settings
from sagan.cli.parsing import FLAGS, SWITCH, parse_seeds, require_range
from sagan.cli.program import app, named_pictures
from sagan.config import Config
from sagan.config.training import OnDivergence, TrackerName
from sagan.errors import SaganError
from sagan.system.ranks import ALONE, Ranks, ranks_of_torchrun
from sagan.system.signals import ending_at_once
from sagan.system.streams import outliving_readers
from sagan.training.budget import follow_from_time, require_minutes
from sagan.training.scale import ONE_PROCESS, Scale


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long a new run may take."""

    minutes: float | None = None
    """How long a new run may take: the machine is measured for a few seconds, and everything is
    chosen for pictures and time (docs/recipe.md). 30 if only pictures are named; if they come with
    a number of steps, the settings are those of avatars32."""
    hours: float | None = None
    """The same in hours."""

    @property
    def total(self) -> float | None:
        """In minutes; None if nothing is given.

        Raises:
            SaganError: Both are given, or the time is out of range.
        """
        if self.minutes is not None and self.hours is not None:
            raise SaganError("--minutes and --hours both say how long; leave one out")
        minutes = self.minutes if self.hours is None else 60 * self.hours
        if minutes is not None:
            require_minutes(minutes)
        return minutes


@dataclass(frozen=True, kw_only=True)
class Short:
    """Settings that have a short flag too."""

    on_divergence: OnDivergence | None = None
    """When a loss or a gradient is NaN or infinite: end, or go on from the last good checkpoint
    with half the learning rates. Short for the setting of that name."""
    log: tuple[TrackerName, ...] = ()
    """Show the run in tensorboard, wandb or trackio too. Repeat the flag. Short for the setting of
    that name."""

    def over(self, config: Config) -> Config:
        """The settings with those that were given."""
        given = {name: value for name, value in vars(self).items() if value}
        return replace(config, train=replace(config.train, **given))


@app.command
def train(
    preset: str | None = None,
    /,
    *,
    run: Path,
    budget: Annotated[Budget, FLAGS] = Budget(),
    start_from: Annotated[Path | None, Parameter(name="--from")] = None,
    print_config: Annotated[bool, SWITCH] = False,
    dry_run: Annotated[bool, SWITCH] = False,
    scale: Annotated[Scale, FLAGS] = ONE_PROCESS,
    other_pictures: Annotated[bool, SWITCH] = False,
    short: Annotated[Short, FLAGS] = Short(),
    decided: Annotated[tuple[str, ...], Parameter(show=False)] = (),
    config: Annotated[Config, FLAGS] = Config(),
) -> None:
    """Train a model in a run folder; the same command again continues exactly where it stopped.

    Defaults are those of an empty .toml; presets have others, and for pictures all are chosen. Exit
    codes: 0 finished, 75 stopped by a signal and saved, 2 a mistake in what was asked for, 3 the
    training diverged, 1 a fault of disk, memory or another process, 130 a second Ctrl-C.

    Parameters
    ----------
    preset
        Pictures (avatars are built in), to which the settings are fitted; or a preset's name or a
        .toml file. Flags go on top. Without it: as the run folder, or avatars32 for a new one.
    run
        The run folder: settings, log, samples and checkpoints.
    start_from
        A model (run folder, checkpoint, other file, or a name: sagan models) whose weights a new
        run begins with, as far as they fit. The networks and the size of the pictures are then the
        model's; the other settings too, unless a preset or a time is given; flags go on top.
    print_config
        Print the resulting settings as TOML and stop.
    dry_run
        Try a few steps, print operations, memory and time, and stop.
    other_pictures
        Use a preset with other pictures than those that it is for.
    """
    require_dry_run(scale, dry_run)
    with ranks_of_torchrun() as ranks, _sitting():
        chosen = partial(_settings_for, budget.total, preset, run, start_from, config, decided)
        if print_config or dry_run:
            settled = short.over(chosen(ranks))
            shown = settings.to_toml(settled)
            print(shown if print_config else _forecast(settled, run, start_from, scale), end="")
            return
        with _alone_in(run, ranks):
            settled = short.over(chosen(ranks))
            _train(settled, run, start_from, None if other_pictures else preset, ranks)


@contextmanager
def _sitting() -> Iterator[None]:
    """Work that goes on when nobody reads what it prints, and ends at once if asked to.

    Training itself listens to signals in its own way.
    """
    with ending_at_once(), outliving_readers():
        yield


@contextmanager
def _alone_in(run: Path, ranks: Ranks) -> Iterator[None]:
    from sagan.runs.locked import locked_run

    with locked_run(run, ranks):
        yield


def _forecast(config: Config, run: Path, start_from: Path | None, scale: Scale) -> str:
    from sagan.training import forecast

    return forecast.table(forecast.forecast(config, run, start_from, scale))


def require_dry_run(scale: Scale, dry_run: bool) -> None:
    """Refuses what only a dry run asks."""
    if scale != ONE_PROCESS and not dry_run:
        raise SaganError(
            "--ranks, --bandwidth and --price-per-hour are for --dry-run; torchrun starts the "
            "ranks of a training (docs/scale.md)"
        )


def _train(
    config: Config, run: Path, start_from: Path | None, preset: str | None, ranks: Ranks
) -> None:
    """Begins a run or goes on with it, and prints what came of it; of a finished one, how to."""
    from sagan.training.run import open_run

    driver = open_run(config, run, start_from, preset=preset, ranks=ranks)
    step = driver.state.step
    if driver.is_finished:
        print(
            f"{run} is finished: it has all of its {step:,} steps; --train.steps {2 * step} makes "
            f"it twice as long, and --from {run} --run NEW begins another with its weights",
            file=sys.stderr,
        )
        print(driver.run.checkpoint_path(step), driver.run.sample_path(step), sep="\n")
        return
    if step:
        print(f"continuing {run} at step {step}", file=sys.stderr)
    outcome = driver.train()
    files = driver.run.checkpoint_path(outcome.steps), driver.run.sample_path(outcome.steps)
    print(*files, *outcome.lines(), sep="\n")


def _settings_for(
    minutes: float | None,
    preset: str | None,
    run: Path,
    start_from: Path | None,
    config: Config,
    decided: tuple[str, ...],
    ranks: Ranks,
) -> Config:
    """The settings of a run: chosen for the time where there is one, or where pictures are named.

    Raises:
        SaganError: A preset or a file, which has its own steps, is given a time.
    """
    pictures = named_pictures(preset)
    has_steps = preset is not None and pictures is None
    if minutes is not None and has_steps:
        raise SaganError(
            f"{preset} says how many steps to train; leave --minutes and --hours out "
            "(--train.steps changes the number), or give pictures in its place"
        )
    if not follow_from_time(
        run,
        minutes,
        has_settings=has_steps or start_from is not None or "train.steps" in decided,
        names_pictures=pictures is not None or "data.source" in decided,
        ranks=ranks,
    ):
        return config
    from sagan.training.choice import settings_within

    values = settings.to_dict(config)
    names = [name.split(".") for name in ("data.source", *decided)]
    given = {section: {} for section, _ in names}
    for section, name in names:
        given[section][name] = values[section][name]
    model = None if start_from is None else config
    return ranks.decided_by_first(lambda: settings_within(minutes, given, model))


_SAID_BY_A_FLAG = {
    "train.seed": "--seeds",
    "evaluation.interval": "--points",
    "evaluation.time_share": "--points",
}
"""Settings of a run that ``ablate`` decides for all runs together."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Which runs to compare."""

    axis: Literal["attention", "normalization", "models"]
    """attention: none, at 8, 16, 32 and 64 pixels as far as the networks have them, and residual
    blocks of equal size at the same places (the paper's Table 1). normalization: spectral norm in
    the discriminator only and in both networks, each with one learning rate and with two (Figure
    3). models: AC-GAN, SNGAN with projection, SAGAN (Table 2)."""
    variants: str = ""
    """Only these, such as none,attention-16; all by default. So several processes can share the
    work; the whole command then makes the whole table."""
    seeds: str = "0"
    """Seeds such as 0 or 0-2; every variant is trained once with each."""
    points: int = 6
    """How often each run is measured. evaluation.metrics names what is measured: fd, kid and is by
    default, for models fd, is, intra and accuracy."""

    @property
    def names(self) -> list[str]:
        """Of the variants that were chosen."""
        return [name.strip() for name in self.variants.split(",")] if self.variants else []


@app.command
def ablate(
    preset: str | None = None,
    /,
    *,
    comparison: Annotated[Comparison, FLAGS],
    run: Path,
    other_pictures: Annotated[bool, SWITCH] = False,
    decided: Annotated[tuple[str, ...], Parameter(show=False)] = (),
    config: Annotated[Config, FLAGS] = Config(),
) -> None:
    """Repeat the paper's comparisons: train variants of a preset, measure them alike, tabulate.

    The same command continues after an interruption. The folder receives the table, as CSV and
    Markdown, and the curves.

    Parameters
    ----------
    preset
        What the variants have in common: a preset or a .toml file; flags go on top.
    run
        The folder; every variant and seed gets a run folder in it.
    other_pictures
        Use a preset with other pictures than those that it is for.
    """
    from sagan.ablation import measured_as_usual, run_ablation, variants
    from sagan.evaluation.periodic import periodic_evaluation
    from sagan.training.preparation import require_intended

    for name, flag in _SAID_BY_A_FLAG.items():
        if name in decided:
            raise SaganError(f"{flag} says it here, not {name}; leave that out")
    axis, points, names = comparison.axis, comparison.points, comparison.names
    require_range("--points", points, 1, config.train.steps)
    variants(config, axis, names)
    if preset is not None and not other_pictures and not any(run.glob("*/config.toml")):
        require_intended(preset, config.data)
    if "evaluation.metrics" not in decided:
        config = measured_as_usual(config, axis)
    seeds = parse_seeds(comparison.seeds)
    with _sitting():
        evaluate = periodic_evaluation(config.evaluation, config.train.device)
        table = run_ablation(
            config, axis, run, evaluate=evaluate, seeds=seeds, points=points, names=names
        )
    print(table, end="")
    for name in ("table.csv", "table.md", "curves.png"):
        print(run / name)


@app.command
def demo(*, run: Path = Path("runs/demo"), steps: int | None = None) -> None:
    """Show a model that comes along, then train the preset avatars32 for minutes and show it.

    It says how long it will take on this machine. Ctrl-C saves; the same command goes on.

    Parameters
    ----------
    run
        The run folder; pictures and summary go there too.
    steps
        Generator updates, for a shorter or longer demonstration.
    """
    from sagan.demo import run_demo

    with _sitting(), _alone_in(run, ALONE):
        summary = run_demo(run, steps)
    print(summary, end="")
