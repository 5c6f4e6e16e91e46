"""The command report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sagan.cli.program import app


@app.command
def report(
    run: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
) -> None:
    """Write one HTML page about a run: verdict, pictures, curves, attention, neighbours, records.

    The page needs no network and can be sent to anybody as it is.

    Parameters
    ----------
    run
        The run folder.
    output
        The file to write; by default report.html in the run folder.
    """
    from sagan.report import write_report
    from sagan.system.files import require_output

    require_output(output or run / "report.html", ".html", ".htm")
    print(write_report(run, output))
