"""What runs of several lengths reached: FD and recall over the pictures seen, drawn and as a table.

    python -m benchmarks.budgets "30 minutes=runs/half" "3 hours=runs/long" -o budgets.png

Each run's own measurements on the way, with 2,000 pictures a side by default. The distances of
pictures of 32 and of 64 pixels are not of one scale.
"""

from argparse import ArgumentParser
from pathlib import Path

from sagan.evaluation.measures import numbers_of
from sagan.images import save_png
from sagan.images.chart import blank_chart, drawn
from sagan.report.history import History, Series, read_history
from sagan.runs.folder import settings_of

_SHOWN = ("fd", "pr")
_TICKS = (50_000, 200_000, 800_000)


def _measured(history: History) -> dict[str, Series]:
    """FD, precision and recall of a run by their names."""
    return {name: of for key in _SHOWN for name, of in numbers_of(key, history.metrics).items()}


def _main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN")
    parser.add_argument("-o", "--output", type=Path, default=Path("budgets.png"))
    given = parser.parse_args()
    found: dict[str, tuple[int, dict[str, Series]]] = {}
    for word in given.runs:
        name, _, folder = word.partition("=")
        train = settings_of(folder).train
        found[name] = (train.pictures_per_step, _measured(read_history(Path(folder))))
    titles = list(dict.fromkeys(title for _, metrics in found.values() for title in metrics))
    chart = blank_chart((4.2 * len(titles), 3.4), dpi=110)
    print(f"| run | pictures seen | {' | '.join(titles)} |\n{'|---' * (len(titles) + 2)}|")
    for title, axes in zip(titles, chart.subplots(1, len(titles), squeeze=False).flat, strict=True):
        for name, (per_step, metrics) in found.items():
            steps, values = metrics[title]
            axes.plot(steps * per_step, values, marker="o", label=name)
        axes.set(title=title, xlabel="pictures seen", xscale="log")
        axes.set_xticks(_TICKS, [f"{tick:,}" for tick in _TICKS])
        axes.set_xticks([], minor=True)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    lines = chart.axes[0].get_lines()
    chart.legend(handles=lines, loc="outside upper center", ncols=len(lines), frameon=False)
    for name, (per_step, metrics) in found.items():
        for place, step in enumerate(metrics[titles[0]].steps):
            numbers = (f"{metrics[title].values[place]:.4g}" for title in titles)
            print(f"| {name} | {step * per_step:,} | {' | '.join(numbers)} |")
    print(save_png(drawn(chart), given.output))


if __name__ == "__main__":
    _main()
