"""The paper's experiments: runs that differ in one choice, measured alike, in one table."""

from sagan.ablation.running import run_ablation
from sagan.ablation.summary import finished_histories, summaries
from sagan.ablation.variants import (
    USUAL_METRICS,
    Axis,
    Variant,
    measured_as_usual,
    variants,
)

__all__ = [
    "USUAL_METRICS",
    "Axis",
    "Variant",
    "finished_histories",
    "measured_as_usual",
    "run_ablation",
    "summaries",
    "variants",
]
