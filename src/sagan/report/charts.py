"""Curves as inline SVG that takes its colours from the page around it."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sagan.errors import SaganError
from sagan.inspection.timeline_figure import Curve
from sagan.report.curves import ChartedCurves, curves_of_checkpoints, curves_of_log
from sagan.report.history import History, Series
from sagan.runs.alarms import COLLAPSED_VARIETY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
    """Draws what the log holds.

    Raises:
        SaganError: The log holds no curve.
    """
    if not (charts := curves_of_log(history)):
        raise SaganError("the log holds no curve yet; train some steps first")
    return [_chart(history.step, charted) for charted in charts]


def growth_charts(entropies: Sequence[Curve], peaks: Sequence[Curve]) -> list[Chart]:
    """Draws entropy and largest weight as measured at the checkpoints of a run."""
    charts = curves_of_checkpoints(entropies, peaks)
    last = max((max(curve.steps) for curve in (*entropies, *peaks)), default=0)
    return [_chart(last, charted) for charted in charts]


def _chart(step: int, charted: ChartedCurves) -> Chart:
    title, curves = charted.title, charted.curves
    ends = [f"{name} from {v[0]:.3g} to {v[-1]:.3g}" for name, (_, v) in curves.items()]
    description = f"{title} up to step {step:,}: {'; '.join(ends)}."
    svg = _svg(step, title, curves, charted.is_noisy)
    return Chart(title, charted.reading, description, svg)


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
