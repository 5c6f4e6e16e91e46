"""The paper's Figure 1 for one picture, and its numbers: where places of the picture look.

In the attention matrix a row is a query, the place being drawn, and a column is a key, a place it
looks at. Each row is a softmax over the keys and sums to 1. Keys are 2x2 max-pooled, so that one
key stands for a block twice as wide as a query cell. Both grids are numbered row by row.

These are pure functions of arrays; the rows are computed where the network runs.
"""

from sagan.visualization.drawing import QUERY_COLOURS, attention_panel
from sagan.visualization.figure import attention_figure
from sagan.visualization.maps import attended_regions, heat_map
from sagan.visualization.queries import choose_query_points, grid_points, query_index
from sagan.visualization.spread import NEIGHBOURHOOD, Spread, attention_spread, uniform_spread
from sagan.visualization.timeline import Curve, Frame, Look, require_matplotlib, timeline_figure

__all__ = [
    "NEIGHBOURHOOD",
    "QUERY_COLOURS",
    "Curve",
    "Frame",
    "Look",
    "Spread",
    "attended_regions",
    "attention_figure",
    "attention_panel",
    "attention_spread",
    "choose_query_points",
    "grid_points",
    "heat_map",
    "query_index",
    "require_matplotlib",
    "timeline_figure",
    "uniform_spread",
]
