"""The figure of a run: gamma, entropy, and one query's map from checkpoint to checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sagan.errors import SaganError
from sagan.visualization.drawing import (
    QUERY_COLOURS,
    attention_panel,
    numbered_queries,
    query_panel,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK = "#24292f"
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
    reference: float | None = None
    """What uniform attention would give."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One checkpoint's picture, and where one point of it looks."""

    step: int
    picture: np.ndarray
    """uint8 (3, R, R)."""
    rows: Mapping[str, np.ndarray]
    """Name of the layer -> (K,) attention weights of the query."""


def require_matplotlib() -> None:
    """Checks for the extra that draws charts.

    Raises:
        SaganError: It is absent.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise SaganError(
            "charts need matplotlib, which is absent; run: pip install 'sagan[report]'"
        ) from error


def timeline_figure(
    gammas: Sequence[Curve],
    entropies: Sequence[Curve],
    frames: Sequence[Frame],
    point: tuple[int, int],
    *,
    caption: str = "",
) -> np.ndarray:
    """Draws two charts over a strip of pictures with a map per layer, one column a checkpoint.

    Args:
        gammas: The gate of each attention layer.
        entropies: Mean entropy of each attention layer, in nats.
        frames: At least one, all with the same layers.
        point: The query (x, y) in pixels.
        caption: The title.

    Returns:
        uint8 (3, H, W).

    Raises:
        SaganError: matplotlib is absent.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    strips, columns = 1 + len(frames[0].rows), max(len(frames), _FEWEST_COLUMNS)
    charts_height, strips_height = 3.2, 1.35 * strips
    figure = Figure(
        figsize=(1.25 * columns + 0.5, charts_height + strips_height + 0.4),
        dpi=130,
        facecolor="white",
        layout="constrained",
    )
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(caption, x=0.008, ha="left", size=13, color=_INK)
    parts = figure.add_gridspec(2, 1, height_ratios=(charts_height, strips_height))
    upper, lower = figure.add_subfigure(parts[0]), figure.add_subfigure(parts[1])
    names = list(dict.fromkeys(curve.name for curve in [*gammas, *entropies]))
    colours = {name: QUERY_COLOURS[i % len(QUERY_COLOURS)] for i, name in enumerate(names)}
    gate, entropy = upper.subplots(1, 2)
    _draw_chart(gate, gammas, colours, "gamma, the weight of the attention")
    _draw_chart(entropy, entropies, colours, "entropy of the attention (nats)")
    _draw_strips(lower.subplots(strips, columns, squeeze=False), frames, point)
    lower.supxlabel("heat: from no attention to the maximum of the panel", size=9, color=_INK)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].transpose(2, 0, 1).copy()


def _draw_chart(
    axes: Axes, curves: Sequence[Curve], colours: Mapping[str, tuple[int, int, int]], title: str
) -> None:
    axes.set_title(title, size=10.5, color=_INK, loc="left")
    axes.set_xlabel("step", size=9, color=_INK)
    axes.grid(color=_GRID, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8.5, colors=_INK)
    for curve in curves:
        colour = np.array(colours[curve.name]) / 255
        marker = "o" if len(curve.steps) <= 20 else None
        axes.plot(
            curve.steps, curve.values, color=colour, marker=marker, ms=4, lw=1.7, label=curve.name
        )
    for uniform in dict.fromkeys(c.reference for c in curves if c.reference is not None):
        label = f"uniform over {round(np.exp(uniform))} keys"
        axes.axhline(uniform, color=_INK, lw=1.1, ls="--", label=label)
    if curves:
        axes.set_xlim(left=0)
        axes.legend(fontsize=8.5, frameon=False)
    else:
        axes.text(0.5, 0.5, "not in the log", transform=axes.transAxes, ha="center", color=_INK)


def _draw_strips(axes: np.ndarray, frames: Sequence[Frame], point: tuple[int, int]) -> None:
    """One row of pictures and one of maps per layer; a column a checkpoint."""
    for unused in axes.flat:
        unused.set_axis_off()
    [query] = numbered_queries([point], frames[0].picture.shape[-1], _DOT)
    query = query._replace(number="")
    for column, frame in enumerate(frames):
        most = [""] + [f"max {100 * row.max():.1f} %" for row in frame.rows.values()]
        panels = {"the picture": query_panel(frame.picture, [query], _PANEL)}
        for name, row in frame.rows.items():
            panel = attention_panel(frame.picture, query, row, _PANEL)
            panels[f"its attention\nat {name}"] = panel
        axes[0, column].set_title(f"step {frame.step:,}", size=9, color=_INK)
        for strip, (name, panel) in enumerate(panels.items()):
            place = axes[strip, column]
            place.imshow(np.asarray(panel), interpolation="antialiased")
            place.set_axis_on()
            place.set(xticks=[], yticks=[])
            place.set_xlabel(most[strip], size=8.5, color=_INK)
            for spine in place.spines.values():
                spine.set_color(_GRID)
            if column == 0:
                place.set_ylabel(name, size=9, color=_INK)
