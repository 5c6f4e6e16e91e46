"""The attention of a run as a whole: how widely it looks, and how it grew."""

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
    "LayerStatistics",
    "attention_growth",
    "attention_statistics",
    "attention_timeline",
    "statistics_json",
    "statistics_table",
]
