"""The paper's experiments: runs that differ in one choice, measured alike, in one table."""

import csv
import io
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from sagan import config as settings
from sagan.config import (
    AttentionForm,
    Config,
    DataConfig,
    LossConfig,
    NormalizedLayers,
    OptimizerConfig,
    map_sizes,
    network_shape,
)
from sagan.errors import SaganError
from sagan.evaluation.measures import metric_of
from sagan.evaluation.periodic import Evaluate
from sagan.inspection.timeline_figure import require_matplotlib
from sagan.nn.residual import make_discriminator, make_generator
from sagan.runs.locked import locked_run
from sagan.runs.run import log_records
from sagan.system.files import write_text
from sagan.training.driver import Driver

Axis = Literal["attention", "normalization", "models"]
MetricsByStep = dict[int, dict[str, float]]
"""Step -> numbers by name."""

PLACES = (8, 16, 32, 64)
"""Resolutions of the paper's Table 1, where the first map is 4 x 4."""


@dataclass(frozen=True)
class Variant:
    """One of the runs to compare."""

    name: str
    explanation: str
    config: Config


def variants(config: Config, axis: Axis) -> tuple[Variant, ...]:
    """What the paper compares, around given settings.

    ``attention``: none; attention at each of 8, 16, 32 and 64 pixels that both networks have; a
    residual block of equal size at the same places (Table 1); of pictures whose side is no power of
    2, the maps after as many doublings. ``normalization``: spectral norm in
    the discriminator only and in both networks, each with one learning rate and with two (Figure
    3); one rate is the generator's, two are the settings' own or, where those are equal, half and
    twice as much, the paper's 1 to 4. ``models``: AC-GAN, SNGAN with projection and SAGAN (Table
    2).

    Raises:
        SaganError: The architecture leaves no choice.
    """
    if "dcgan" in (config.generator.architecture, config.discriminator.architecture):
        raise SaganError("an ablation needs residual networks; choose another preset than dcgan's")
    made = {
        "attention": _attention_axis,
        "normalization": _normalization_axis,
        "models": _models_axis,
    }
    return made[axis](config)


def _attention_axis(config: Config) -> tuple[Variant, ...]:
    def changed(form: AttentionForm, *heights: int) -> Config:
        both = {"attention": heights, "attention_form": form}
        generator = replace(config.generator, **both)
        discriminator = replace(config.discriminator, attention_blocks=(), **both)
        return replace(config, generator=generator, discriminator=discriminator)

    lowest = max(8, config.discriminator.final_resolution)
    maps = map_sizes(config.data.size)
    doublings = {4 << number: size for number, size in enumerate(maps[:-1])}
    places = [doublings[place] for place in PLACES if lowest <= place and place in doublings]
    forms: dict[AttentionForm, str] = {"attention": "self-attention", "residual": "residual block"}
    found = [Variant("none", "no attention", changed("attention"))]
    for form, words in forms.items():
        for height, width in places:
            explanation = f"{words} at {height} x {width} in both networks"
            found.append(Variant(f"{form}-{height}", explanation, changed(form, height)))
    return tuple(found)


def _normalization_axis(config: Config) -> tuple[Variant, ...]:
    rate, two = config.optimizer.generator_lr, _two_rates(config)
    one = replace(config.optimizer, discriminator_lr=rate)
    rates: dict[str, tuple[str, OptimizerConfig]] = {
        "": (f"one learning rate {rate:g}", one),
        "-two-rates": (f"learning rates {two.generator_lr:g} and {two.discriminator_lr:g}", two),
    }
    networks: dict[str, tuple[str, NormalizedLayers]] = {
        "discriminator": ("the discriminator", "none"),
        "both": ("both networks", "all"),
    }
    return tuple(
        Variant(
            name + ending,
            f"spectral norm in {where}, {words}",
            replace(
                config,
                generator=replace(config.generator, spectral_norm=layers),
                discriminator=replace(config.discriminator, spectral_norm="all"),
                optimizer=optimizer,
            ),
        )
        for name, (where, layers) in networks.items()
        for ending, (words, optimizer) in rates.items()
    )


def _models_axis(config: Config) -> tuple[Variant, ...]:
    """As their papers have them, on the networks, batches and pictures of the settings.

    AC-GAN has the logarithmic loss, a second head and no spectral norm; SNGAN the hinge loss,
    projection, and spectral norm in the discriminator alone. Neither has attention or two rates.
    """
    rate = config.optimizer.generator_lr
    alike = replace(config.optimizer, discriminator_lr=rate)
    plain_generator = replace(config.generator, attention=(), spectral_norm="none")
    plain = replace(config.discriminator, attention=(), attention_blocks=())
    acgan = replace(
        config,
        loss=LossConfig(name="non-saturating"),
        generator=plain_generator,
        discriminator=replace(plain, spectral_norm="none", conditioning="auxiliary"),
        optimizer=alike,
    )
    hinge = LossConfig(name="hinge")
    sngan = replace(
        config,
        loss=hinge,
        generator=plain_generator,
        discriminator=replace(plain, spectral_norm="all"),
        optimizer=alike,
    )
    both = {"spectral_norm": "all"}
    sagan = replace(
        config,
        loss=hinge,
        generator=replace(config.generator, **both),
        discriminator=replace(config.discriminator, **both),
        optimizer=_two_rates(config),
    )
    return (
        Variant("acgan", f"AC-GAN, one learning rate {rate:g}", acgan),
        Variant("sngan-projection", f"SNGAN with projection, one learning rate {rate:g}", sngan),
        Variant("sagan", "SAGAN: attention, spectral norm in both networks, two rates", sagan),
    )


def _two_rates(config: Config) -> OptimizerConfig:
    """Those of the settings; where they are equal, half and twice as much, the paper's 1 to 4."""
    rates = config.optimizer
    if rates.generator_lr != rates.discriminator_lr:
        return rates
    rate = rates.generator_lr
    return replace(rates, generator_lr=rate / 2, discriminator_lr=2 * rate)


def run_ablation(
    config: Config,
    axis: Axis,
    folder: str | Path,
    *,
    evaluate: Evaluate,
    seeds: Sequence[int] = (0,),
    points: int = 6,
) -> str:
    """Trains and measures every variant with every seed, each in a run folder of its own.

    Finished runs are kept and unfinished ones continued, so that the same call goes on after an
    interruption. Writes ``table.csv``, ``table.md`` and ``curves.png`` into the folder.
    ``evaluate`` measures an averaged generator, ``points`` times in a run, evenly spaced.

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
        with locked_run(run_folder):
            history = _history(run_config, run_folder, evaluate)
        histories.setdefault(variant.name, []).append(history)
    begun = settings.load_toml(folder / f"{chosen[0].name}-seed{seeds[0]}" / "config.toml").data
    rows = [_summary_row(variant, begun, histories[variant.name]) for variant in chosen]
    return _write(folder, rows, histories)


def _history(config: Config, folder: Path, evaluate: Evaluate) -> MetricsByStep:
    begun = folder / "config.toml"
    if begun.exists() and (
        fields := settings.differences(settings.load_toml(begun).evaluation, config.evaluation)
    ):
        raise SaganError(
            f"{folder} was measured differently: evaluation.{', evaluation.'.join(fields)}; "
            "choose another --run or the settings it was begun with"
        )
    driver = Driver(config, folder, evaluate)
    history = _read_history(folder)
    if config.train.steps not in history:
        if driver.is_finished:  # its last evaluation failed
            driver.begin()
            driver.outputs.save(samples=False, checkpoint=False, evaluation=True)
            driver.outputs.measure()
        else:
            driver.train()
        history = _read_history(folder)
    if config.train.steps not in history:
        raise SaganError(
            f"the evaluation of {folder} at its last step failed, as its log.jsonl says; mend the "
            "cause and run the same command again"
        )
    return history


def _read_history(folder: Path) -> MetricsByStep:
    return {
        line["step"]: line["evaluation"] for line in log_records(folder) if "evaluation" in line
    }


def _summary_row(
    variant: Variant, data: DataConfig, histories: Sequence[MetricsByStep]
) -> dict[str, str | float]:
    """Numbers at the end, mean and standard deviation over the seeds, and the best on the way."""
    shape = network_shape(data, 0)
    generator = make_generator(variant.config.generator, **shape)
    discriminator = make_discriminator(variant.config.discriminator, **shape)
    row: dict[str, str | float] = {"variant": variant.name, "what": variant.explanation}
    for name, network in (("G", generator), ("D", discriminator)):
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
            numbers = [found[name] for history in histories for found in history.values()]
            row[f"{name}, best of all"] = best(numbers)
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

    ``histories`` holds one per seed by variant; ``path`` is the PNG to write.
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
            lowest, highest = values.min(axis=0), values.max(axis=0)
            axes.fill_between(steps, lowest, highest, alpha=0.15, color=line.get_color())
        axes.set(title=name, xlabel="step")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in list(figure.axes)[len(names) :]:
        axes.set_visible(False)
    figure.axes[0].legend(frameon=False)
    figure.savefig(path, dpi=120, format="png")
