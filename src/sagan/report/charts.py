"""Curves as inline SVG that takes its colours from the page around it."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sagan.errors import SaganError
from sagan.evaluation.measures import metric_of
from sagan.inspection.timeline_figure import Curve
from sagan.report.history import History, Series
from sagan.runs.alarms import COLLAPSED_VARIETY, LITTLE_VARIETY
from sagan.runs.attention_log import AttentionMeasure, attention_keys

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOSS_CURVES = {
    "discriminator_real": "discriminator, real",
    "discriminator_fake": "discriminator, fake",
    "generator": "generator",
}
_OF_ATTENTION: tuple[tuple[AttentionMeasure, str, str], ...] = (
    (
        "gamma",
        "Attention gamma",
        "The weight of each attention layer: 0 at the start, which is off. Values away from 0, "
        "above or below, show that the network uses it.",
    ),
    (
        "attention_entropy",
        "Attention entropy",
        "How widely each layer looks, as a share of the greatest possible. At 1 it looks "
        "everywhere alike, at 0 at one place; both show little.",
    ),
    (
        "attention_peak",
        "Largest weight of the attention",
        "The share of its attention that a query gives to one place, on average. Near 1 the layer "
        "is saturated: it copies one place instead of weighing many.",
    ),
)
MOST_POINTS = 600
SMOOTHING = 0.04  # width of the moving average, as a share of the points
# Stand for the colours of the page, which the browser puts in.
_TEXT_COLOUR = "#010101"
_SERIES_COLOURS = tuple(f"#01010{number}" for number in range(2, 8))
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": _TEXT_COLOUR,
    "axes.labelcolor": _TEXT_COLOUR,
    "axes.edgecolor": _TEXT_COLOUR,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "grid.color": _TEXT_COLOUR,
    "grid.alpha": 0.12,
    "grid.linewidth": 0.6,
    "xtick.color": _TEXT_COLOUR,
    "ytick.color": _TEXT_COLOUR,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}


@dataclass(frozen=True)
class Chart:
    """Curves over the steps, with what a reader should look for."""

    title: str
    reading: str
    description: str
    """For those who cannot see it."""
    svg: str


def draw_charts(history: History) -> list[Chart]:
    """Draws what the log holds: losses, attention, variety, metrics and speed.

    Raises:
        SaganError: The log holds no curve.
    """
    curves = history.curves
    chosen = [
        (
            "Losses",
            "The two networks play against each other, so none of these needs to fall. In good "
            "runs they change little; a discriminator loss that stays at 0 means that it has won.",
            _titled(curves, _LOSS_CURVES),
            True,
        ),
        *((title, reading, _layers(curves, of), False) for of, title, reading in _OF_ATTENTION),
        (
            "Variety within a class",
            "How far apart pictures of a class are; 1 is as far as real ones. A lower quartile of "
            f"the classes below {LITTLE_VARIETY} is little, a class below {COLLAPSED_VARIETY} has "
            "collapsed.",
            _titled(curves, {"variety": "variety", "variety_least": "least class"}),
            False,
        ),
        *((name, _metric_reading(name), {name: it}, False) for name, it in history.metrics.items()),
        (
            "Speed",
            "Real pictures per second. Dips are samples, evaluations or other work on the machine.",
            _titled(curves, {"images_per_second": "images/s"}),
            False,
        ),
    ]
    charts = [_chart(history.step, *parts) for parts in chosen if parts[2]]
    if not charts:
        raise SaganError("the log holds no curve yet; train some steps first")
    return charts


def growth_charts(entropies: Sequence[Curve], peaks: Sequence[Curve]) -> list[Chart]:
    """Draws entropy and largest weight as measured at the checkpoints of a run."""
    measured = {"attention_entropy": entropies, "attention_peak": peaks}
    charts = []
    for key, title, reading in _OF_ATTENTION:
        if found := measured.get(key):
            curves = {c.name: Series(np.array(c.steps), np.array(c.values)) for c in found}
            step = int(max(curve.steps[-1] for curve in curves.values()))
            charts.append(_chart(step, f"{title}, checkpoints", reading, curves, False))
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


def _chart(step: int, title: str, reading: str, curves: Mapping[str, Series], noisy: bool) -> Chart:
    ends = [f"{name} from {v[0]:.3g} to {v[-1]:.3g}" for name, (_, v) in curves.items()]
    description = f"{title} up to step {step:,}: {'; '.join(ends)}."
    return Chart(title, reading, description, svg=_svg(step, title, curves, noisy))


def _svg(step: int, title: str, curves: Mapping[str, Series], noisy: bool) -> str:
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": title}):
        figure = Figure(figsize=(4.8, 2.7), layout="constrained")
        axes = figure.add_subplot()
        for number, (name, curve) in enumerate(curves.items()):
            colour = _SERIES_COLOURS[number % len(_SERIES_COLOURS)]
            _plot(axes, name, thinned(curve), colour, noisy)
        if "variety" in curves:
            _mark(axes, 1, _TEXT_COLOUR, "as varied as real pictures")
            _mark(axes, COLLAPSED_VARIETY, _SERIES_COLOURS[1], "collapsed below")
        axes.set_xlim(0, max(step, 1))
        if "images/s" in curves:
            axes.set_ylim(bottom=0)
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
        if len(curves) > 1:
            figure.legend(loc="outside upper left", ncols=3, handlelength=1.4, columnspacing=1.4)
        file = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    return _inline(file.getvalue())


def _plot(axes: "Axes", name: str, curve: Series, colour: str, noisy: bool) -> None:
    marker = "o" if len(curve.steps) <= 20 and not noisy else ""
    if noisy:
        axes.plot(*curve, color=colour, alpha=0.22, linewidth=1)
        curve = smoothed(curve)
    axes.plot(*curve, color=colour, label=name, marker=marker, markersize=3.5, clip_on=False)


def _mark(axes: "Axes", height: float, colour: str, text: str) -> None:
    """A dashed line with words on it; the axis reaches from 0 to above it."""
    axes.axhline(height, color=colour, linestyle=(0, (4, 3)), linewidth=1)
    end = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
    axes.annotate(text, (1, height), xytext=(-2, 3), color=colour, ha="right", **end)
    axes.set_ylim(0, max(axes.get_ylim()[1], 1.15 * height))


def thinned(curve: Series, most: int = MOST_POINTS) -> Series:
    """Replaces runs of neighbouring points by their means, so that at most ``most`` are left."""
    if len(curve.steps) <= most:
        return curve
    starts = np.arange(most) * len(curve.steps) // most
    counts = np.diff(np.append(starts, len(curve.steps)))
    return Series(*(np.add.reduceat(numbers.astype(float), starts) / counts for numbers in curve))


def smoothed(curve: Series) -> Series:
    """The moving average, over fewer points at both ends."""
    half = max(1, round(SMOOTHING * len(curve.steps) / 2))
    sums = np.cumsum([0.0, *curve.values])
    place = np.arange(len(curve.values))
    reach = np.minimum(half, np.minimum(place, place[::-1]))
    return Series(curve.steps, (sums[place + reach + 1] - sums[place - reach]) / (2 * reach + 1))


def _inline(document: str) -> str:
    """The svg element alone, its colours those of the page, its identifiers used once."""
    svg = document[document.index("<svg") :]
    svg = svg.replace(_TEXT_COLOUR, "currentColor")
    for number, colour in enumerate(_SERIES_COLOURS, 1):
        svg = svg.replace(colour, f"var(--series-{number})")
    svg = re.sub(r'<g id="[^"]+">', "<g>", svg)
    svg = re.sub(r' height="[^"]*pt"', "", svg, count=1)
    return re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg)
