"""What the attention of either network looks at, as numbers and pictures."""

from sagan.inspection.capture import attention_layers
from sagan.inspection.statistics import (
    PICTURES,
    LayerStatistics,
    attention_statistics,
    statistics_json,
    statistics_table,
)
from sagan.inspection.timeline import attention_timeline
from sagan.inspection.views import (
    View,
    attention_figure_of,
    attention_figure_of_picture,
    attention_rows,
    draw_view,
    view_of_picture,
    view_of_seed,
)

__all__ = [
    "PICTURES",
    "LayerStatistics",
    "View",
    "attention_figure_of",
    "attention_figure_of_picture",
    "attention_layers",
    "attention_rows",
    "attention_statistics",
    "attention_timeline",
    "draw_view",
    "statistics_json",
    "statistics_table",
    "view_of_picture",
    "view_of_seed",
]
