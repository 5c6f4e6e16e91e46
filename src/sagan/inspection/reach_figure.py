"""How far attention looks, over the steps, as curves."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sagan.images.chart import INK_NAME, blank_chart, drawn
from sagan.inspection.reach import LayerReach
from sagan.inspection.statistics import MEAN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANELS_BESIDE = 2
_MOST_HUES = 20  # classes with a colour of their own


def reach_figure(layers: Sequence[LayerReach]) -> np.ndarray:
    """Draws a panel for each layer: the mean over classes with a band over seeds, and each class.

    Returns:
        uint8 (3, H, W).

    Raises:
        SaganError: matplotlib is absent.
    """
    rows = -(-len(layers) // _PANELS_BESIDE)
    figure = blank_chart((13, 4.2 * rows + 1.2), dpi=110)
    figure.suptitle(
        "Attention beyond the 8 x 8 places around the query, over that of uniform attention",
        x=0.008,
        ha="left",
    )
    panels = figure.subplots(rows, _PANELS_BESIDE, squeeze=False, sharey=True).flat
    for axes, layer in zip(panels, layers, strict=False):
        _draw_layer(axes, layer)
    for axes in list(figure.axes)[len(layers) :]:
        axes.set_visible(False)
    handles, names = figure.axes[0].get_legend_handles_labels()
    shown = slice(_MOST_HUES + 1)
    figure.legend(
        handles[shown], names[shown], loc="outside lower center", ncols=6, fontsize=8, frameon=False
    )
    return drawn(figure)


def _draw_layer(axes: "Axes", layer: LayerReach) -> None:
    from matplotlib import colormaps

    axes.axhline(1, color="#888888", lw=1, ls="--")
    for number, name in enumerate(layer.shares):
        curve = layer.over_uniform(name)
        values, steps = np.array(list(curve.values())), list(curve)
        colour, width = colormaps["tab20"]((number - 1) % _MOST_HUES), 1.0
        if name == MEAN:
            colour, width = INK_NAME, 2.6
            lowest, highest = values.min(axis=1), values.max(axis=1)
            axes.fill_between(steps, lowest, highest, color=colour, alpha=0.15)
        order = 3 if name == MEAN else 2
        axes.plot(
            steps,
            values.mean(axis=1),
            marker="o",
            ms=3,
            label=name,
            color=colour,
            lw=width,
            zorder=order,
        )
    title = f"{layer.variant}: {layer.network} at {layer.place} (dashed: uniform)"
    axes.set_title(title, size=10, loc="left")
    axes.set_xlabel("step", size=9)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
