"""The paper's experiments: runs that differ in one choice, measured alike, in one table."""

from __future__ import annotations

import csv
import io
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from sagan import config as settings
from sagan.config import AttentionForm, Config
from sagan.data import Dataset
from sagan.errors import SaganError
from sagan.evaluation.measures import metric_of
from sagan.inspection.timeline_figure import require_matplotlib
from sagan.nn.residual import make_discriminator, make_generator
from sagan.runs.run import log_records
from sagan.sampling.generator import TrainedGenerator
from sagan.system.files import write_text
from sagan.training.run import Driver

Axis = Literal["attention", "normalization"]
MetricsByStep = dict[int, dict[str, float]]
"""Step -> numbers by name."""

PLACES = (8, 16, 32, 64)
"""Resolutions of the paper's Table 1."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One of the runs to compare."""

    name: str
    explanation: str
    config: Config


def variants(config: Config, axis: Axis) -> tuple[Variant, ...]:
    """What the paper compares, around given settings.

    ``attention``: none; attention at each of 8, 16, 32 and 64 pixels that both networks have; a
    residual block of equal size at the same places (Table 1). ``normalization``: spectral norm in
    the discriminator only, in both networks, and in both with two learning rates (Figure 3); one
    rate is the generator's, two are the settings' own or, where those are equal, half and twice
    as much, the paper's 1 to 4.

    Raises:
        SaganError: The architecture leaves no choice.
    """
    if "dcgan" in (config.generator.architecture, config.discriminator.architecture):
        raise SaganError("an ablation needs residual networks; choose another preset than dcgan's")
    return _attention_axis(config) if axis == "attention" else _normalization_axis(config)


def _attention_axis(config: Config) -> tuple[Variant, ...]:
    def changed(places: tuple[int, ...], form: AttentionForm) -> Config:
        return replace(
            config,
            generator=replace(config.generator, attention=places, attention_form=form),
            discriminator=replace(
                config.discriminator,
                attention=places,
                attention_form=form,
                attention_blocks=(),
            ),
        )

    lowest = max(8, config.discriminator.final_resolution)
    places = [place for place in PLACES if lowest <= place <= config.data.resolution // 2]
    forms: tuple[tuple[AttentionForm, str], ...] = (
        ("attention", "self-attention"),
        ("residual", "residual block"),
    )
    return (
        Variant(name="none", explanation="no attention", config=changed((), "attention")),
        *(
            Variant(
                name=f"{form}-{place}",
                explanation=f"{words} at {place} x {place} in both networks",
                config=changed((place,), form),
            )
            for form, words in forms
            for place in places
        ),
    )


def _normalization_axis(config: Config) -> tuple[Variant, ...]:
    rate, other = config.optimizer.generator_lr, config.optimizer.discriminator_lr
    two = (rate, other) if rate != other else (rate / 2, 2 * rate)

    def changed(generator: bool, rates: tuple[float, float]) -> Config:
        return replace(
            config,
            generator=replace(config.generator, spectral_norm=generator),
            discriminator=replace(config.discriminator, spectral_norm=True),
            optimizer=replace(config.optimizer, generator_lr=rates[0], discriminator_lr=rates[1]),
        )

    return (
        Variant(
            name="discriminator",
            explanation=f"spectral norm in the discriminator, one learning rate {rate:g}",
            config=changed(False, (rate, rate)),
        ),
        Variant(
            name="both",
            explanation=f"spectral norm in both networks, one learning rate {rate:g}",
            config=changed(True, (rate, rate)),
        ),
        Variant(
            name="both-two-rates",
            explanation=f"spectral norm in both networks, learning rates {two[0]:g} and {two[1]:g}",
            config=changed(True, two),
        ),
    )


def run_ablation(
    config: Config,
    axis: Axis,
    folder: str | Path,
    *,
    evaluate: Callable[[TrainedGenerator, Dataset], dict[str, float]],
    seeds: Sequence[int] = (0,),
    points: int = 6,
) -> str:
    """Trains and measures every variant with every seed, each in a run folder of its own.

    Finished runs are kept and unfinished ones continued, so that the same call goes on after an
    interruption. Writes ``table.csv``, ``table.md`` and ``curves.png`` into the folder.

    Args:
        config: What the variants have in common.
        axis: What is compared.
        folder: Holds a run folder per variant and seed.
        evaluate: Measures an averaged generator.
        seeds: A run of each variant with each.
        points: Measurements of a run, evenly spaced.

    Returns:
        The table in Markdown.

    Raises:
        SaganError: As for training, a number is out of range, matplotlib is not installed, or a
            run was begun or measured with other settings.
    """
    require_matplotlib()
    if points < 1 or not seeds:
        raise SaganError("an ablation needs a seed and a measurement at least; give more")
    folder = Path(folder)
    interval = -(-config.train.steps // points)
    histories: dict[str, list[MetricsByStep]] = {}
    chosen = variants(config, axis)
    plan = [(variant, seed) for variant in chosen for seed in seeds]
    for number, (variant, seed) in enumerate(plan, 1):
        sys.stderr.write(f"{number} of {len(plan)}: {variant.explanation}, seed {seed}\n")
        run_config = replace(
            variant.config,
            train=replace(variant.config.train, seed=seed),
            evaluation=replace(variant.config.evaluation, interval=interval, time_share=1.0),
        )
        run_folder = folder / f"{variant.name}-seed{seed}"
        histories.setdefault(variant.name, []).append(_history(run_config, run_folder, evaluate))
    rows = [_summary_row(variant, histories[variant.name]) for variant in chosen]
    return _write(folder, rows, histories)


def _history(
    config: Config, folder: Path, evaluate: Callable[[TrainedGenerator, Dataset], dict[str, float]]
) -> MetricsByStep:
    _require_same_evaluation(config, folder)
    driver = Driver(config, folder, evaluate)
    history = _read_history(folder)
    if config.train.steps not in history:
        if driver.state.step < config.train.steps:
            driver.train()
        else:  # stopped between the last checkpoint and its evaluation
            driver.save(samples=False, checkpoint=False, evaluation=True)
        history = _read_history(folder)
    if config.train.steps not in history:
        raise SaganError(
            f"the evaluation of {folder} at its last step failed, as its log.jsonl says; mend the "
            "cause and run the same command again"
        )
    return history


def _require_same_evaluation(config: Config, folder: Path) -> None:
    """Refuses to set numbers side by side that were measured in two ways."""
    begun = folder / "config.toml"
    if not begun.exists():
        return
    if fields := settings.differences(settings.load_toml(begun).evaluation, config.evaluation):
        raise SaganError(
            f"{folder} was measured differently: evaluation.{', evaluation.'.join(fields)}; "
            "choose another --run or the settings it was begun with"
        )


def _read_history(folder: Path) -> MetricsByStep:
    found = log_records(folder)
    return {record["step"]: record["evaluation"] for record in found if "evaluation" in record}


def _summary_row(variant: Variant, histories: Sequence[MetricsByStep]) -> dict[str, str | float]:
    """Numbers at the end, mean and standard deviation over the seeds, and the best on the way."""
    size = {"resolution": variant.config.data.resolution, "num_classes": 0}
    networks = {
        "G": make_generator(variant.config.generator, **size),
        "D": make_discriminator(variant.config.discriminator, **size),
    }
    row: dict[str, str | float] = {"variant": variant.name, "what": variant.explanation}
    for name, network in networks.items():
        count = sum(parameter.numel() for parameter in network.parameters())
        row[f"parameters of {name}, class tables aside"] = count
    for name in histories[0][max(histories[0])]:
        ends = [history[max(history)][name] for history in histories]
        row[name] = statistics.mean(ends)
        if len(ends) > 1:
            row[f"{name}, spread"] = statistics.stdev(ends)
        metric = metric_of(name)
        best = {"higher": max, "lower": min}.get(metric.better) if metric else None
        if best is not None:
            row[f"{name}, best of all"] = best(
                numbers[name] for history in histories for numbers in history.values()
            )
    return row


def _write(
    folder: Path, rows: Sequence[dict[str, str | float]], histories: dict[str, list[MetricsByStep]]
) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    shown = [[_cell(value) for value in row.values()] for row in rows]
    lines = [list(rows[0]), ["---"] * len(rows[0]), *shown]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"
    write_text(folder / "table.csv", text.getvalue())
    write_text(folder / "table.md", table)
    draw_curves(histories, folder / "curves.png")
    return table


def _cell(value: str | float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return value if isinstance(value, str) else f"{value:.4g}"


def draw_curves(histories: dict[str, list[MetricsByStep]], path: Path) -> None:
    """Draws every number over the steps: a line per variant, the range over the seeds around it.

    Args:
        histories: By variant, one per seed.
        path: The PNG to write.
    """
    from matplotlib.figure import Figure

    first = next(iter(histories.values()))[0]
    names = list(first[max(first)])
    rows = -(-len(names) // 2)
    figure = Figure(figsize=(12, 4.2 * rows), layout="constrained")
    panels = figure.subplots(rows, min(2, len(names)), squeeze=False).flat
    for name, axes in zip(names, panels, strict=False):
        for variant, seeds in histories.items():
            # Runs of one length are measured at the same steps.
            steps = sorted(set.intersection(*(set(history) for history in seeds)))
            values = np.array([[history[step][name] for step in steps] for history in seeds])
            (line,) = axes.plot(steps, values.mean(axis=0), marker="o", label=variant)
            axes.fill_between(
                steps, values.min(axis=0), values.max(axis=0), alpha=0.15, color=line.get_color()
            )
        axes.set(title=name, xlabel="step")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in list(figure.axes)[len(names) :]:
        axes.set_visible(False)
    figure.axes[0].legend(frameon=False)
    figure.savefig(path, dpi=120, format="png")
