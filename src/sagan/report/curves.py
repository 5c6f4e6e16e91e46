"""Which curves of a run are shown, and in which charts: those of the report and of the studio."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sagan.evaluation.measures import metric_of
from sagan.inspection.timeline_figure import Curve
from sagan.report.history import History, Series
from sagan.runs.alarms import COLLAPSED_VARIETY, LITTLE_VARIETY
from sagan.runs.attention_log import AttentionMeasure, attention_keys

_LOSS_TERMS = {
    "discriminator_real": "discriminator, real",
    "discriminator_fake": "discriminator, fake",
    "generator": "generator",
    "r1": "R1",
    "r2": "R2",
}
_OF_ATTENTION: Mapping[AttentionMeasure, tuple[str, str]] = {
    "gamma": (
        "Attention gamma",
        "The weight of each attention layer: 0 at the start, which is off. Values away from 0, "
        "above or below, show that the network uses it.",
    ),
    "attention_entropy": (
        "Attention entropy",
        "How widely each layer looks, as a share of the greatest possible. At 1 it looks "
        "everywhere alike, at 0 at one place; both show little.",
    ),
    "attention_peak": (
        "Largest weight of the attention",
        "The share of its attention that a query gives to one place, on average. Near 1 the layer "
        "is saturated: it copies one place instead of weighing many.",
    ),
}


class ChartedCurves(NamedTuple):
    """Curves that are shown together."""

    title: str
    reading: str
    """What to look for."""
    curves: Mapping[str, Series]
    """By words for them."""
    is_noisy: bool = False
    """They change from line to line, so that a moving average says more."""


def curves_of_log(history: History) -> list[ChartedCurves]:
    """What the log holds: losses, attention, variety, metrics and speed; nothing empty."""
    curves = history.curves
    charts = [
        ChartedCurves(
            "Losses",
            "The two networks play against each other, so none of these needs to fall. In good "
            "runs they change little; a discriminator loss that stays at 0 means that it has won.",
            _titled(curves, _LOSS_TERMS),
            is_noisy=True,
        ),
        *(ChartedCurves(*words, _layers(curves, of)) for of, words in _OF_ATTENTION.items()),
        ChartedCurves(
            "Variety within a class",
            "How far apart pictures of a class are; 1 is as far as real ones. A lower quartile of "
            f"the classes below {LITTLE_VARIETY} is little, a class below {COLLAPSED_VARIETY} has "
            "collapsed.",
            _titled(curves, {"variety": "variety", "variety_least": "least class"}),
        ),
        *(
            ChartedCurves(name, _metric_reading(name), {name: series})
            for name, series in history.metrics.items()
        ),
        ChartedCurves(
            "Speed",
            "Real pictures per second. Dips are samples, evaluations or other work on the machine.",
            _titled(curves, {"images_per_second": "images/s"}),
        ),
    ]
    return [chart for chart in charts if chart.curves]


def curves_of_checkpoints(
    entropies: Sequence[Curve], peaks: Sequence[Curve]
) -> list[ChartedCurves]:
    """Entropy and largest weight as measured at the checkpoints of a run."""
    charts = []
    words = (_OF_ATTENTION["attention_entropy"], _OF_ATTENTION["attention_peak"])
    for (title, reading), found in zip(words, (entropies, peaks), strict=True):
        curves = {c.name: Series(np.array(c.steps), np.array(c.values)) for c in found}
        charts += [ChartedCurves(f"{title}, checkpoints", reading, curves)] if found else []
    return charts


def _layers(curves: Mapping[str, Series], measure: AttentionMeasure) -> dict[str, Series]:
    """One measure of every attention layer, by words for it."""
    keys = attention_keys(measure, curves)
    return {f"{layer.network}, layer {layer.place}": curves[key] for layer, key in keys.items()}


def _titled(curves: Mapping[str, Series], titles: Mapping[str, str]) -> dict[str, Series]:
    return {title: curves[name] for name, title in titles.items() if name in curves}


def _metric_reading(name: str) -> str:
    """What to look for in a curve of evaluations during training."""
    metric = metric_of(name)
    direction = {"lower": "It should fall. ", "higher": "It should rise. "}
    return (
        "Measured during training on the averaged generator, against training pictures. "
        f"{direction.get(metric.better, '') if metric else ''}Compare only within this curve: the "
        "settings below say how it was measured."
    )
