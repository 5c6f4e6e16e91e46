"""How a run grew, for the scrubber: its checkpoints, and the charts of its log, thinned."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sagan.errors import SaganError
from sagan.runs.folder import LOCK, settings_of
from sagan.runs.log import LOG
from sagan.studio.models import Shown
from sagan.system.locks import is_locked
from sagan.system.spacing import with_both_ends

MOST_CURVE_POINTS = 500
"""Of a curve."""
_FORM = 2  # of the answer, which browsers keep from one version of the program to the next
MOST_LOG = 2**28
"""Bytes of a log that is read."""


def timeline_mark(shown: Shown) -> str:
    """Changes with everything that :func:`timeline_of` reads."""
    log = shown.path / LOG
    try:
        state = log.stat()
    except OSError:
        state = None
    written = state and (state.st_mtime_ns, state.st_size)
    told = (_FORM, *shown.files(), written, is_locked(shown.path / LOCK))
    return f'"{hash(told) & 2**64 - 1:x}"'


def timeline_of(shown: Shown) -> dict[str, Any]:
    """The checkpoints of a run, whether it is going on, and the charts of its log.

    Raises:
        RefusedError: The run is gone.
        SaganError: Its log is too large or cannot be read.
    """
    from sagan.report.curves import curves_of_log
    from sagan.report.history import read_history

    shown.require_present()
    log = shown.path / LOG
    if log.exists() and not log.is_file():
        raise SaganError(f"{log} is no file; move it away")
    if log.exists() and log.stat().st_size > MOST_LOG:
        raise SaganError(f"{log} is larger than {MOST_LOG >> 20} MiB, the most that is shown live")
    try:
        history = read_history(shown.path)
    except OSError as error:
        raise SaganError(f"cannot read {log}: {error.strerror}; mend that first") from error
    charts = [
        {
            "title": chart.title,
            "reading": chart.reading,
            "curves": [{"name": name, **_thinned(*of)} for name, of in chart.curves.items()],
        }
        for chart in curves_of_log(history)
    ]
    is_done = history.step >= _all_steps(shown.path)
    running = is_locked(shown.path / LOCK) and not is_done
    return {"steps": list(shown.files()), "running": running, "charts": charts}


def _all_steps(folder: Path) -> int:
    try:
        return settings_of(folder).train.steps
    except (SaganError, OSError):
        return 0


def _thinned(steps: np.ndarray, values: np.ndarray) -> Mapping[str, list[float]]:
    kept = with_both_ends(len(steps), MOST_CURVE_POINTS)
    return {"steps": steps[kept].tolist(), "values": values[kept].tolist()}
