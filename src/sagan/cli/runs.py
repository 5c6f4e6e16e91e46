"""Commands about run folders: check."""

from pathlib import Path
from typing import Annotated

from sagan.cli.parsing import SWITCH
from sagan.cli.program import app
from sagan.errors import printable


@app.command
def check(run: Path, /, *, json: Annotated[bool, SWITCH] = False) -> int:
    """Read everything in a run folder and say what is wrong; nothing is changed.

    The exit code is 0 where all is well, 2 where something has to be mended before the run can go
    on, 1 where something is damaged that it can do without.

    Parameters
    ----------
    run
        The run folder.
    json
        Print the findings as JSON.
    """
    from sagan.training.examination import examine_run

    found = examine_run(run)
    if json:
        print(found.as_json())
    else:
        print(*(printable(str(finding)) for finding in found.findings), found.verdict, sep="\n")
    return found.exit_code
