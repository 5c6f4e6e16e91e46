"""The attention of a run as a whole: how widely it looks, and how it grew."""

from sagan.inspection.reach import LayerReach, attention_reach, reach_csv, reach_table
from sagan.inspection.reach_figure import reach_figure
from sagan.inspection.statistics import (
    PICTURES,
    LayerStatistics,
    attention_statistics,
    statistics_json,
    statistics_table,
)
from sagan.inspection.timeline import Growth, attention_growth, attention_timeline

__all__ = [
    "PICTURES",
    "Growth",
    "LayerReach",
    "LayerStatistics",
    "attention_growth",
    "attention_reach",
    "attention_statistics",
    "attention_timeline",
    "reach_csv",
    "reach_figure",
    "reach_table",
    "statistics_json",
    "statistics_table",
]
