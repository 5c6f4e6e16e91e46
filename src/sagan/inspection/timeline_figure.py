"""The figure of a run: gamma, entropy, peak, and one query's map from checkpoint to checkpoint."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sagan.images.chart import INK_NAME, blank_chart, drawn
from sagan.images.drawing import QUERY_COLOURS, attention_panel, numbered_queries, query_panel
from sagan.images.figure import percent
from sagan.sampling.attention import Attention

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL.Image import Image

_GRID = "#d0d7de"
_PANEL = 256
_DOT = 0.05
_FEWEST_COLUMNS = 6


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A quantity over the steps of a run."""

    name: str
    steps: Sequence[int]
    values: Sequence[float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """One checkpoint."""

    step: int
    attention: Mapping[str, Attention]
    """Name of the picture -> where one point of this one picture looks."""


def timeline_figure(
    gammas: Sequence[Curve],
    entropies: Sequence[Curve],
    peaks: Sequence[Curve],
    snapshots: Sequence[Snapshot],
    *,
    caption: str = "",
) -> np.ndarray:
    """Draws three charts over strips of pictures with a map per layer, one column a checkpoint.

    Args:
        gammas: The gate of each attention layer.
        entropies: Mean entropy of each attention layer, as a share of the greatest possible.
        peaks: Mean largest weight of each attention layer.
        snapshots: At least one, all with the same pictures' names and layers.
        caption: The title.

    Returns:
        uint8 (3, H, W).

    Raises:
        SaganError: matplotlib is absent.
    """
    strips = sum(1 + len(found.rows) for found in snapshots[0].attention.values())
    columns = max(len(snapshots), _FEWEST_COLUMNS)
    charts_height, strips_height = 3.2, 1.35 * strips
    size = (1.25 * columns + 0.5, charts_height + strips_height + 0.4)
    figure = blank_chart(size, dpi=130)
    figure.suptitle(caption, x=0.008, ha="left", size=13, color=INK_NAME)
    parts = figure.add_gridspec(2, 1, height_ratios=(charts_height, strips_height))
    upper, lower = figure.add_subfigure(parts[0]), figure.add_subfigure(parts[1])
    _draw_charts(upper.subplots(1, 3), gammas, entropies, peaks)
    _draw_strips(lower.subplots(strips, columns, squeeze=False), snapshots)
    lower.supxlabel(
        "heat: from no attention to the largest weight of the row", size=9, color=INK_NAME
    )
    return drawn(figure)


def _draw_charts(
    places: np.ndarray,
    gammas: Sequence[Curve],
    entropies: Sequence[Curve],
    peaks: Sequence[Curve],
) -> None:
    names = list(dict.fromkeys(curve.name for curve in [*gammas, *entropies, *peaks]))
    colours = {name: QUERY_COLOURS[i % len(QUERY_COLOURS)] for i, name in enumerate(names)}
    charts = {
        "gamma (0: unused)": gammas,
        "entropy (1: everywhere alike)": entropies,
        "largest weight (1: one place)": peaks,
    }
    for axes, (title, curves) in zip(places, charts.items(), strict=True):
        _draw_chart(axes, curves, colours, title)
        if curves is not gammas:
            axes.set_ylim(0, 1.05)


def _draw_chart(
    axes: "Axes", curves: Sequence[Curve], colours: Mapping[str, tuple[int, int, int]], title: str
) -> None:
    axes.set_title(title, size=10.5, color=INK_NAME, loc="left")
    axes.set_xlabel("step", size=9, color=INK_NAME)
    axes.grid(color=_GRID, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8.5, colors=INK_NAME)
    for curve in curves:
        colour = np.array(colours[curve.name]) / 255
        marker = "o" if len(curve.steps) <= 20 else None
        axes.plot(
            curve.steps, curve.values, color=colour, marker=marker, ms=4, lw=1.7, label=curve.name
        )
    if curves:
        axes.set_xlim(left=0)
        axes.legend(fontsize=8.5, frameon=False)
    else:
        axes.text(0.5, 0.5, "not in the log", transform=axes.transAxes, ha="center", color=INK_NAME)


def _draw_strips(axes: np.ndarray, snapshots: Sequence[Snapshot]) -> None:
    """One row per picture and one per map of it; a column a checkpoint."""
    for unused in axes.flat:
        unused.set_axis_off()
    tops = brightest(snapshots)
    for column, snapshot in enumerate(snapshots):
        panels = [panel for x in snapshot.attention.items() for panel in strip_panels(*x, tops)]
        axes[0, column].set_title(f"step {snapshot.step:,}", size=9, color=INK_NAME)
        for place, (name, below, panel) in zip(axes[:, column], panels, strict=True):
            place.imshow(np.asarray(panel), interpolation="antialiased")
            place.set_axis_on()
            place.set(xticks=[], yticks=[])
            place.set_xlabel(below, size=8.5, color=INK_NAME)
            for spine in place.spines.values():
                spine.set_color(_GRID)
            if column == 0:
                place.set_ylabel(name, size=8, color=INK_NAME)


def brightest(snapshots: Sequence[Snapshot]) -> dict[str, float]:
    """The largest weight of each map over the run, by the picture's name and the layer's."""
    tops: dict[str, float] = {}
    for snapshot in snapshots:
        for name, found in snapshot.attention.items():
            for place, rows in found.rows.items():
                tops[name + place] = max(tops.get(name + place, 0), rows.max())
    return tops


def strip_panels(
    name: str, found: Attention, tops: Mapping[str, float], size: int = _PANEL
) -> Iterator[tuple[str, str, "Image"]]:
    """The picture and its maps, each with the words beside it and below it.

    Args:
        name: Of the picture.
        found: Where one point of it looks.
        tops: As from :func:`brightest`.
        size: Longer side of a panel in pixels.
    """
    [picture], [[(x, y)]] = found.pictures, found.points
    [query] = numbered_queries([(x, y)], picture.shape[1:], _DOT)
    query = query._replace(number="")
    yield f"{name},\npoint {x},{y}", "", query_panel(picture, [query], size)
    for place in found.places:
        [[row]] = found.rows[place.name]
        panel = attention_panel(picture, query, row, size, tops[name + place.name])
        words = f"attention of the\n{found.network}, {place}"
        yield words, f"max {percent(row.max())}", panel
