"""The command ablate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from sagan.cli.parsing import parse_seeds, require_range
from sagan.cli.program import app
from sagan.config import Config


@app.command
def ablate(
    preset: str | None = None,
    /,
    *,
    axis: Literal["attention", "normalization"],
    run: Path,
    seeds: str = "0",
    points: int = 6,
    config: Annotated[Config, Parameter(name="*")] = Config(),
) -> None:
    """Repeat the paper's comparisons: train variants of a preset, measure them alike, tabulate.

    The same command goes on after an interruption. The table, as CSV and Markdown, and the curves
    come to stand in the folder.

    Parameters
    ----------
    preset
        What the variants have in common: a preset or a .toml file; flags go on top.
    axis
        attention: none, at 8, 16, 32 and 64 pixels as far as the networks have them, and residual
        blocks of equal size at the same places (the paper's Table 1). normalization: spectral norm
        in the discriminator only, in both networks, in both with two learning rates (Figure 3).
    run
        The folder; every variant and seed gets a run folder in it.
    seeds
        Such as 0 or 0-2: a run of every variant with each, for a spread.
    points
        Measurements of each run; evaluation.metrics says of what.
    config
        Everything that decides the runs.
    """
    from sagan.ablation import run_ablation, variants
    from sagan.evaluation.periodic import periodic_evaluation

    require_range("--points", points, 1, config.train.steps)
    variants(config, axis)
    evaluate = periodic_evaluation(config.evaluation, config.train.device)
    chosen = parse_seeds(seeds)
    table = run_ablation(config, axis, run, evaluate=evaluate, seeds=chosen, points=points)
    print(table, end="")
    for name in ("table.csv", "table.md", "curves.png"):
        print(run / name)
