"""What the runs of a comparison came to, as one table."""

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sagan.evaluation.measures import metric_of
from sagan.runs.folder import settings_of
from sagan.runs.log import finite_numbers, log_records
from sagan.runs.seeds import runs_of_seeds

MetricsByStep = dict[int, dict[str, float]]
"""What was measured of one run: step -> numbers by name."""


class Summary(NamedTuple):
    """One number at the end of the runs of a variant."""

    mean: float
    spread: float | None
    """Standard deviation over the seeds; None with one."""
    best: float | None
    """Of all measurements of all seeds; None where neither more nor less is better."""

    @property
    def over_seeds(self) -> str:
        """Mean ± spread."""
        spread = "" if self.spread is None else f" ± {_rounded_to(self.spread, 2)}"
        return _rounded_to(self.mean, 4) + spread

    def __str__(self) -> str:
        return self.over_seeds + (
            "" if self.best is None else f" (best {_rounded_to(self.best, 4)})"
        )


VariantRow = Mapping[str, str | int | Summary]
"""What is told of one variant, by column."""


def measured_by_step(folder: Path) -> MetricsByStep:
    """What the log of a run says was measured."""
    return {
        line["step"]: finite_numbers(line["evaluation"])
        for line in log_records(folder)
        if isinstance(line.get("evaluation"), dict)
    }


def finished_histories(folder: Path) -> dict[str, list[MetricsByStep]]:
    """Of the runs in a folder that were measured at their end: one for each seed, by variant."""
    found: dict[str, list[MetricsByStep]] = {}
    for name, seeds in runs_of_seeds(folder).items():
        histories = [(measured_by_step(run), settings_of(run)) for run in seeds.values()]
        ended = [history for history, config in histories if config.train.steps in history]
        if ended:
            found[name] = ended
    return found


def names_in(histories: Sequence[MetricsByStep]) -> list[str]:
    """The numbers that were measured at the end of all runs."""
    ends = [history[max(history)] for history in histories]
    return [name for name in (ends[0] if ends else {}) if all(name in end for end in ends)]


def summaries(histories: Sequence[MetricsByStep]) -> dict[str, Summary]:
    """Every number by name: at the end, over the seeds, and the best on the way."""
    found = {}
    for name in names_in(histories):
        ends = [history[max(history)][name] for history in histories]
        every = [numbers[name] for one in histories for numbers in one.values() if name in numbers]
        metric = metric_of(name)
        best = {"higher": max, "lower": min}.get(metric.better) if metric else None
        found[name] = Summary(
            mean=statistics.mean(ends),
            spread=statistics.stdev(ends) if len(ends) > 1 else None,
            best=best(every) if best else None,
        )
    return found


def summary_csv(rows: Sequence[VariantRow]) -> str:
    """The rows with a column for each mean, spread and best."""
    flat: list[dict[str, str | float]] = []
    for row in rows:
        flat.append({})
        for name, value in row.items():
            if not isinstance(value, Summary):
                flat[-1][name] = value
                continue
            parts = {"": value.mean, ", spread": value.spread, ", best of all": value.best}
            flat[-1] |= {name + what: x for what, x in parts.items() if x is not None}
    text = io.StringIO()
    columns = dict.fromkeys(column for row in flat for column in row)
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def markdown_table(rows: Sequence[VariantRow]) -> str:
    """The rows with a cell for each number: mean ± spread (best)."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    shown = [[_cell(row.get(column, "")) for column in columns] for row in rows]
    lines = [columns, ["---"] * len(columns), *shown]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _rounded_to(number: float, digits: int) -> str:
    """So many digits, without a power of ten up to a million."""
    return f"{float(f'{number:.{digits}g}'):g}"


def _cell(value: str | int | Summary) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
