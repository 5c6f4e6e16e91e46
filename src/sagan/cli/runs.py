"""Commands about run folders: status, check."""

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
from sagan.runs.log import LOSSES

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from sagan.runs.status import Status, Unreadable

_BETWEEN_LOOKS = 2.0
"""From one look to the next with --watch."""
_WIDTH = 10_000
"""Characters in a line where there is no terminal: none is broken."""


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
    if all(isinstance(one, Unreadable) for one in found):
        problems = "; ".join(f"{one.folder}: {text}" for one in found for text in _lines_below(one))
        raise SaganError(f"{problems}; give a folder that sagan train wrote to")
    if as_json:
        print(json.dumps(status_as_json(found), indent=1))
    else:
        console.print(_side_by_side(found))


def _watch(runs: Sequence[Path], console: Console) -> None:
    from rich.live import Live

    from sagan.runs.status import statuses

    try:
        if not console.is_terminal:
            while True:
                console.print(_side_by_side(statuses(runs)))
                time.sleep(_BETWEEN_LOOKS)
        with Live(_side_by_side(statuses(runs)), console=console, auto_refresh=False) as live:
            while True:
                time.sleep(_BETWEEN_LOOKS)
                live.update(_side_by_side(statuses(runs)), refresh=True)
    except KeyboardInterrupt:  # how it is meant to end
        return


def _side_by_side(found: Sequence[Status | Unreadable]) -> RenderableType:
    """A table of the runs, or all about one; below it alarms and problems, a line each."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from sagan.runs.status import Status

    names = _short_names([one.folder for one in found])
    runs = [one for one in found if isinstance(one, Status)]
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=len(found) > 1)
    if len(found) == len(runs) == 1:
        for name, value in _all_about(runs[0]).items():
            table.add_row(name, Text(value))
    elif runs:
        rows = [{"run": names[run.folder], **_in_short(run)} for run in runs]
        for name in (shown := [name for name in rows[0] if any(row[name] for row in rows)]):
            table.add_column(name, no_wrap=name != "run", overflow="fold")
        for row in rows:
            table.add_row(*(Text(row[name]) for name in shown))
    lines = [f"{names[one.folder]}: {text}" for one in found for text in _lines_below(one)]
    return Group(*([table] if runs else []), *map(Text, lines))


def _short_names(folders: Sequence[str]) -> dict[str, str]:
    """What runs are called here: the names of their folders, where these differ."""
    names = [Path(folder).absolute().name for folder in folders]
    are_enough = len(set(names)) == len(set(folders))
    return {f: printable(n if are_enough else f) for f, n in zip(folders, names, strict=True)}


def _lines_below(one: Status | Unreadable) -> list[str]:
    """What is said of a run below the table."""
    from sagan.runs.status import Unreadable

    if isinstance(one, Unreadable):
        return [one.problem]
    ended = [f"{one.state}: {one.detail}"] if one.state in ("diverged", "died") else []
    return [*ended, *(f"{name}: {detail}" for name, detail in one.alarms.items())]


def _in_short(run: Status) -> dict[str, str]:
    """What is shown of a run beside others, by heading; empty where it is not known."""
    from sagan.system.memory import readable
    from sagan.system.progress import duration

    speed, losses = run.images_per_second, run.losses
    reals, fakes, drawn = (losses.get(name) for name in LOSSES)
    judged = None if reals is None or fakes is None else reals + fakes
    return {
        "state": run.state,
        "step": f"{run.step:,}/{run.steps:,}",
        "images/s": "" if speed is None else f"{speed:,.{0 if speed >= 10 else 2}f}",
        "left": "" if run.seconds_left is None else duration(run.seconds_left),
        "D": "" if judged is None else f"{judged:.2f}",
        "G": "" if drawn is None else f"{drawn:+.2f}",
        "metric": next((f"{name} {value:.4g}" for name, value in run.metrics.items()), ""),
        "variety": "" if run.variety is None else f"{run.variety:.2f}",
        "alarms": f"{len(run.alarms) or ''}",
        "size": readable(run.bytes),
        "last sign": "" if run.seconds_since is None else f"{duration(run.seconds_since)} ago",
    }


def _all_about(run: Status) -> dict[str, str]:
    """What is shown of a single run."""
    known = {"run": printable(run.folder), **_in_short(run)}
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in run.metrics.items())
    del known["metric"]
    known["metrics"] = f"{numbers} (step {run.metrics_step:,})" if run.metrics_step else ""
    known["checkpoint"] = run.checkpoint or ""
    return {name: value for name, value in known.items() if value}


@app.command
def check(
    run: Path, /, *, as_json: Annotated[bool, Parameter(name="--json"), SWITCH] = False
) -> int:
    """Read everything in a run folder and say what is wrong; nothing is changed.

    The exit code is 0 where all is well, 2 where something has to be mended before the run can go
    on, 1 where something is damaged that it can do without.

    Parameters
    ----------
    run
        The run folder.
    as_json
        Print the findings as JSON.
    """
    from sagan.training.examination import examine_run

    found = examine_run(run)
    if as_json:
        print(found.as_json())
    else:
        print(*(printable(str(finding)) for finding in found.findings), found.verdict, sep="\n")
    return found.exit_code
