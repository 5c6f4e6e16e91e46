"""The command status."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sagan.cli.parsing import SWITCH
from sagan.cli.program import app
from sagan.errors import SaganError, printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from sagan.runs.status import Status, Unreadable

_SECONDS = 2.0
"""From one look to the next with --watch."""
_WIDTH = 10_000
"""Characters in a line where there is no terminal: none is broken."""

_LONG = ("run", "metrics", "alarms")
"""Columns whose cells may take several lines."""


@app.command
def status(
    runs: tuple[Path, ...],
    /,
    *,
    as_json: Annotated[bool, Parameter(name="--json"), SWITCH] = False,
    watch: Annotated[bool, SWITCH] = False,
) -> None:
    """Show how runs stand, side by side: state, speed, time left, alarms, newest metrics.

    Reads their folders and changes nothing; runs may be live or ended.

    Parameters
    ----------
    runs
        Run folders, or folders of run folders.
    as_json
        Print JSON.
    watch
        Look again every two seconds, until Ctrl-C.
    """
    from rich.console import Console

    from sagan.runs.status import Unreadable, status_as_json, statuses

    if as_json and watch:
        raise SaganError("--watch is for people and --json is for programs; leave one out")
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    if watch:
        _watch(runs, console)
        return
    found = statuses(runs)
    if as_json:
        print(json.dumps(status_as_json(found), indent=1))
    else:
        console.print(_sheet(found))
    if all(isinstance(one, Unreadable) for one in found):
        raise SaganError("no run is there; give a folder that sagan train wrote to")


def _watch(runs: Sequence[Path], console: Console) -> None:
    from rich.live import Live

    from sagan.runs.status import statuses

    try:
        if not console.is_terminal:
            while True:
                console.print(_sheet(statuses(runs)))
                time.sleep(_SECONDS)
        with Live(_sheet(statuses(runs)), console=console, auto_refresh=False) as live:
            while True:
                time.sleep(_SECONDS)
                live.update(_sheet(statuses(runs)), refresh=True)
    except KeyboardInterrupt:  # how it is meant to end
        return


def _sheet(found: Sequence[Status | Unreadable]) -> RenderableType:
    """A table of the runs, or all about one; below it alarms and problems, a line each."""
    from rich.console import Group
    from rich.text import Text

    from sagan.runs.status import Status

    runs = [one for one in found if isinstance(one, Status)]
    parts: list[RenderableType] = []
    if runs:
        parts.append(_all_about(runs[0]) if len(found) == 1 else _table(runs))
    for one in found:
        name = printable(one.folder)
        if not isinstance(one, Status):
            parts.append(Text(f"{name}: {one.problem}"))
            continue
        parts += [Text(f"{name}: {alarm}: {text}") for alarm, text in one.alarms.items()]
        if one.detail and one.state in ("diverged", "died"):
            parts.append(Text(f"{name} {one.state}: {one.detail}"))
    return Group(*parts)


def _table(runs: Sequence[Status]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    rows = [_facts(run) for run in runs]
    table = Table(box=None, pad_edge=False, header_style="bold")
    shown = [name for name in rows[0] if any(row[name] for row in rows)]
    for name in shown:
        table.add_column(name, no_wrap=name not in _LONG, overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[name]) for name in shown))
    return table


def _all_about(run: Status) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in _facts(run).items():
        if value:
            table.add_row(name, Text(value))
    return table


def _facts(run: Status) -> dict[str, str]:
    """What is shown of a run, by heading; empty where it is not known."""
    from sagan.system.memory import readable
    from sagan.system.progress import duration

    speed, losses = run.images_per_second, run.losses
    metrics = [f"{name} {value:.4g}" for name, value in run.metrics.items()]
    if run.variety is not None:
        metrics.append(f"variety {run.variety:.2f}")
    since = run.seconds_since
    judged = [
        losses[name] for name in ("discriminator_real", "discriminator_fake") if name in losses
    ]
    return {
        "run": printable(run.folder),
        "state": run.state,
        "step": f"{run.step:,} of {run.steps:,}",
        "images/s": "" if speed is None else f"{speed:,.{0 if speed >= 10 else 2}f}",
        "left": "" if run.seconds_left is None else duration(run.seconds_left),
        "D": f"{sum(judged):.2f}" if judged else "",
        "G": f"{losses['generator']:+.2f}" if "generator" in losses else "",
        "metrics": ", ".join(metrics),
        "alarms": ", ".join(run.alarms),
        "checkpoint": (run.checkpoint or "").removeprefix("step-").removesuffix(".safetensors"),
        "size": readable(run.bytes),
        "last sign": "" if since is None else f"{duration(since)} ago",
    }
