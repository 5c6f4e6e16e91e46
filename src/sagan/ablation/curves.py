"""What was measured, over the steps."""

from pathlib import Path

import numpy as np

from sagan.ablation.summary import MetricsByStep, names_in


def draw_curves(histories: dict[str, list[MetricsByStep]], path: Path) -> None:
    """Draws every number over the steps: a line per variant, the range over the seeds around it.

    ``histories`` holds one per seed by variant; ``path`` is the PNG to write.
    """
    from matplotlib.figure import Figure

    names = names_in([history for seeds in histories.values() for history in seeds])
    rows = -(-len(names) // 2)
    figure = Figure(figsize=(12, 4.2 * rows), layout="constrained")
    panels = figure.subplots(rows, min(2, len(names)), squeeze=False).flat
    for name, axes in zip(names, panels, strict=False):
        for variant, seeds in histories.items():
            if not seeds:  # all of them have diverged
                continue
            # Runs of one length are measured at the same steps.
            steps = sorted(set.intersection(*(set(history) for history in seeds)))
            values = np.array([[history[step][name] for step in steps] for history in seeds])
            (line,) = axes.plot(steps, values.mean(axis=0), marker="o", label=variant)
            lowest, highest = values.min(axis=0), values.max(axis=0)
            axes.fill_between(steps, lowest, highest, alpha=0.15, color=line.get_color())
        axes.set(title=name, xlabel="step")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in list(figure.axes)[len(names) :]:
        axes.set_visible(False)
    figure.axes[0].legend(frameon=False)
    figure.savefig(path, dpi=120, format="png")
