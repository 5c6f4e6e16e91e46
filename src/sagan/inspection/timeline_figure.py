"""The figure of a run: gamma, entropy, peak, and one query's map from checkpoint to checkpoint."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sagan.errors import SaganError
from sagan.images.drawing import QUERY_COLOURS, attention_panel, numbered_queries, query_panel
from sagan.images.figure import INK, percent
from sagan.sampling.attention import Attention
from sagan.system.extras import install

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL.Image import Image

_FOREGROUND = "#" + bytes(INK).hex()
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


def require_matplotlib() -> None:
    """Checks for the extra that draws charts.

    Raises:
        SaganError: It is absent.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise SaganError(f"charts need matplotlib; run: {install('report')}") from error


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
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    strips = sum(1 + len(found.rows) for found in snapshots[0].attention.values())
    columns = max(len(snapshots), _FEWEST_COLUMNS)
    charts_height, strips_height = 3.2, 1.35 * strips
    size = (1.25 * columns + 0.5, charts_height + strips_height + 0.4)
    figure = Figure(size, dpi=130, facecolor="white", layout="constrained")
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(caption, x=0.008, ha="left", size=13, color=_FOREGROUND)
    parts = figure.add_gridspec(2, 1, height_ratios=(charts_height, strips_height))
    upper, lower = figure.add_subfigure(parts[0]), figure.add_subfigure(parts[1])
    _draw_charts(upper.subplots(1, 3), gammas, entropies, peaks)
    _draw_strips(lower.subplots(strips, columns, squeeze=False), snapshots)
    lower.supxlabel(
        "heat: from no attention to the largest weight of the row", size=9, color=_FOREGROUND
    )
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].transpose(2, 0, 1).copy()


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
    axes.set_title(title, size=10.5, color=_FOREGROUND, loc="left")
    axes.set_xlabel("step", size=9, color=_FOREGROUND)
    axes.grid(color=_GRID, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8.5, colors=_FOREGROUND)
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
        axes.text(
            0.5, 0.5, "not in the log", transform=axes.transAxes, ha="center", color=_FOREGROUND
        )


def _draw_strips(axes: np.ndarray, snapshots: Sequence[Snapshot]) -> None:
    """One row per picture and one per map of it; a column a checkpoint."""
    for unused in axes.flat:
        unused.set_axis_off()
    tops = brightest(snapshots)
    for column, snapshot in enumerate(snapshots):
        panels = [panel for x in snapshot.attention.items() for panel in strip_panels(*x, tops)]
        axes[0, column].set_title(f"step {snapshot.step:,}", size=9, color=_FOREGROUND)
        for place, (name, below, panel) in zip(axes[:, column], panels, strict=True):
            place.imshow(np.asarray(panel), interpolation="antialiased")
            place.set_axis_on()
            place.set(xticks=[], yticks=[])
            place.set_xlabel(below, size=8.5, color=_FOREGROUND)
            for spine in place.spines.values():
                spine.set_color(_GRID)
            if column == 0:
                place.set_ylabel(name, size=8, color=_FOREGROUND)


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
