"""The tables of docs/lab/results.md: several folders of ``sagan ablate`` side by side.

    python benchmarks/comparisons.py avatars=runs/avatars-attention fashion=runs/fashion-attention

Every folder is named after its pictures. Folders of one comparison become one table, with the mean
and the standard deviation over the seeds at the end of the runs; runs that are not finished are
left out, and a cell says how many seeds it has where others have more.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import get_args

from sagan.ablation import Axis, finished_histories, summaries, variants
from sagan.ablation.summary import MetricsByStep, markdown_table
from sagan.errors import SaganError
from sagan.evaluation.measures import known_metrics, numbers_of
from sagan.runs.folder import settings_of
from sagan.runs.seeds import runs_of_seeds

Histories = Mapping[str, list[MetricsByStep]]
"""Of finished runs, by variant."""


def order_of(folder: Path) -> tuple[Axis, list[str]]:
    """The comparison in a folder, and its variants as that has them in order.

    Raises:
        SaganError: There is no run of a comparison.
    """
    found = runs_of_seeds(folder)
    configs = [settings_of(next(iter(seeds.values()))) for seeds in found.values()]
    for axis, config in product(get_args(Axis), configs):
        with suppress(SaganError):  # the settings of AC-GAN do not say where SAGAN has attention
            names = [variant.name for variant in variants(config, axis)]
            if found.keys() <= set(names):
                return axis, names
    raise SaganError(f"{folder} holds no runs of sagan ablate; give one that does")


def table_of(names: list[str], folders: Mapping[str, Histories], metrics: tuple[str, ...]) -> str:
    """One comparison as Markdown: a row for each variant, the columns of each folder in turn."""
    most = max(len(seeds) for found in folders.values() for seeds in found.values())
    rows = []
    for name in names:
        row = {"variant": name}
        for pictures, found in folders.items():
            if name not in found:
                continue
            numbers = summaries(found[name])
            fewer = f" ({len(found[name])})" if len(found[name]) < most else ""
            for key in metrics:
                for title in numbers_of(key, {title: title for title in numbers}):
                    short = title.partition(" (")[0]
                    row[f"{pictures} {short}"] = numbers[title].over_seeds + fewer
        if len(row) > 1:
            rows.append(row)
    return f"seeds: {most}\n\n{markdown_table(rows)}"


def tables_of(named: Iterable[str], metrics: tuple[str, ...]) -> Iterator[str]:
    """A table for each comparison among PICTURES=FOLDER.

    Raises:
        SaganError: A folder holds no runs of a comparison.
    """
    tables: dict[Axis, dict[str, Histories]] = {}
    orders: dict[Axis, list[str]] = {}
    for text in named:
        pictures, _, path = text.rpartition("=")
        axis, order = order_of(Path(path))
        orders[axis] = list(dict.fromkeys([*orders.get(axis, []), *order]))
        if found := finished_histories(Path(path)):
            tables.setdefault(axis, {})[pictures or Path(path).name] = found
    for axis, folders in tables.items():
        yield f"{axis}, {table_of(orders[axis], folders, metrics)}"


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "folders", nargs="+", metavar="PICTURES=FOLDER", help="a folder, after its pictures' name"
    )
    usual = "fd,kid,is,pr,intra,accuracy"
    parser.add_argument("--metrics", default=usual, help=f"with commas between; by default {usual}")
    arguments = parser.parse_args()
    try:
        print(*tables_of(arguments.folders, known_metrics(arguments.metrics)), sep="\n")
    except SaganError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
