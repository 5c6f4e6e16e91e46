"""Runs that differ in one choice, measured alike, one after the other."""

import sys
import time
from collections.abc import Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

from sagan.ablation.curves import draw_curves
from sagan.ablation.summary import (
    MetricsByStep,
    VariantRow,
    markdown_table,
    measured_by_step,
    summaries,
    summary_csv,
)
from sagan.ablation.variants import Axis, Variant, variants
from sagan.config import Config, DataConfig, differences
from sagan.errors import DivergedError, SaganError
from sagan.evaluation.periodic import Evaluate, Evaluated
from sagan.images.chart import require_matplotlib
from sagan.runs.folder import is_run, settings_of
from sagan.runs.locked import locked_run
from sagan.runs.seeds import runs_of_seeds, seed_folder
from sagan.system.files import write_text
from sagan.system.progress import duration
from sagan.training.driver import Driver
from sagan.training.forecast import parameters


def run_ablation(
    config: Config,
    axis: Axis,
    folder: str | Path,
    *,
    evaluate: Evaluate,
    seeds: Sequence[int] = (0,),
    points: int = 6,
    names: Sequence[str] = (),
) -> str:
    """Trains and measures every variant with every seed, each in a run folder of its own.

    Finished runs are kept and unfinished ones continued, so that the same call goes on after an
    interruption. Writes ``table.csv``, ``table.md`` and ``curves.png`` into the folder.
    ``evaluate`` measures an averaged generator, ``points`` times in a run, evenly spaced.
    ``names`` chooses variants, of which alone the table then tells. A run that diverges is a
    result too: the others go on, and the table says so.

    Returns:
        The table in Markdown.

    Raises:
        SaganError: As for training, a number is out of range, there is no variant of a name,
            matplotlib is not installed, or a run was begun or measured with other settings.
        DivergedError: Every run has diverged.
    """
    require_matplotlib()
    if points < 1 or not seeds or config.evaluation.samples < 1:
        raise SaganError(
            "a comparison needs a seed, a measurement and pictures to measure; give 1 or more of "
            "each (--seeds, --points, --evaluation.samples)"
        )
    folder = Path(folder)
    _require_own(folder, {variant.name for variant in variants(config, axis)})
    interval = -(-config.train.steps // points)
    chosen = variants(config, axis, names)
    plan = [
        (_seeded(variant.config, seed, interval), seed_folder(folder, variant.name, seed), variant)
        for variant in chosen
        for seed in seeds
    ]
    timed = _Timed(evaluate, sum(_still_to_measure(settings, at) for settings, at, _ in plan))
    histories = _histories(plan, timed)
    begun = settings_of(plan[0][1]).data
    rows = [_row_of(variant, begun, histories[variant.name], len(seeds)) for variant in chosen]
    table = markdown_table(rows)
    write_text(folder / "table.csv", summary_csv(rows))
    write_text(folder / "table.md", table)
    draw_curves(histories, folder / "curves.png")
    return table


def _require_own(folder: Path, names: Set[str]) -> None:
    """Refuses a folder of another comparison, whose table and curves would be overwritten."""
    if others := runs_of_seeds(folder).keys() - names:
        raise SaganError(
            f"{folder} holds runs of another comparison ({min(others)}); choose another --run"
        )


def _histories(
    plan: Sequence[tuple[Config, Path, Variant]], evaluate: Evaluate
) -> dict[str, list[MetricsByStep]]:
    """What was measured of each run, by variant; of those that diverge nothing."""
    histories: dict[str, list[MetricsByStep]] = {}
    for number, (settings, place, variant) in enumerate(plan, 1):
        told = f"{variant.explanation}, seed {settings.train.seed}"
        sys.stderr.write(f"{number} of {len(plan)}: {told}\n")
        found = histories.setdefault(variant.name, [])
        try:
            with locked_run(place):
                found.append(_history(settings, place, evaluate))
        except DivergedError as error:
            sys.stderr.write(f"this run has diverged, the others go on: {error}\n")
    if not any(histories.values()):
        raise DivergedError("every run has diverged; lower the learning rates")
    return histories


def _seeded(config: Config, seed: int, interval: int) -> Config:
    train = replace(config.train, seed=seed)
    evaluation = replace(config.evaluation, interval=interval, time_share=1.0)
    return replace(config, train=train, evaluation=evaluation)


class _Timed:
    """Measures, and tells how long all runs will still take, from the speed since the call."""

    def __init__(self, evaluate: Evaluate, left: int) -> None:
        self._evaluate = evaluate
        self._left = left
        self._done = 0
        self._begin = time.monotonic()

    def __call__(self, *arguments: Any) -> Evaluated:
        try:
            return self._evaluate(*arguments)
        finally:
            self._done += 1
            each = (time.monotonic() - self._begin) / self._done
            left = duration(each * max(0, self._left - self._done))
            sys.stderr.write(f"all runs together: about {left} left\n")


def _still_to_measure(config: Config, folder: Path) -> int:
    every = -(-config.train.steps // config.evaluation.interval)
    return max(0, every - len(measured_by_step(folder)))


def _history(config: Config, folder: Path, evaluate: Evaluate) -> MetricsByStep:
    measured = settings_of(folder).evaluation if is_run(folder) else config.evaluation
    if fields := differences(measured, config.evaluation):
        raise SaganError(
            f"{folder} was measured differently: evaluation.{', evaluation.'.join(fields)}; "
            "choose another --run or the settings it was begun with"
        )
    driver = Driver(config, folder, evaluate)
    history = measured_by_step(folder)
    if config.train.steps not in history:
        if driver.is_finished:  # its last evaluation failed
            driver.begin()
            driver.outputs.save(samples=False, checkpoint=False, evaluation=True)
            driver.outputs.measure()
        else:
            driver.train()
        history = measured_by_step(folder)
    if config.train.steps not in history:
        raise SaganError(
            f"the evaluation of {folder} at its last step failed, as its log.jsonl says; mend the "
            "cause and run the same command again"
        )
    return history


def _row_of(
    variant: Variant, data: DataConfig, histories: Sequence[MetricsByStep], runs: int
) -> VariantRow:
    without_tables = parameters(replace(variant.config, data=data), 0)
    sizes = zip("GD", without_tables, strict=True)
    lost = runs - len(histories)
    return {
        "variant": variant.name,
        "what": variant.explanation + (f"; {lost} of {runs} runs diverged" if lost else ""),
        **{f"parameters of {name}, class tables aside": count for name, count in sizes},
        **summaries(histories),
    }
