"""Events in the log of a run: what happened to it, beside the numbers of its steps.

An event is a record like any other line of the log, with its ``step``, whose key ``event`` names
its kind.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

EventKind = Literal["started", "alarm", "cleared", "rolled-back", "stopped", "diverged", "finished"]

STARTED: EventKind = "started"
"""The run began or went on at this step; ``where`` tells on what machine, and how it computes."""
ALARM: EventKind = "alarm"
"""Something looks wrong: ``alarm`` names it, ``detail`` says it in a line."""
CLEARED: EventKind = "cleared"
"""What ``alarm`` names looks right again."""
ROLLED_BACK: EventKind = "rolled-back"
"""After a divergence the run went back to this step."""
STOPPED: EventKind = "stopped"
"""Somebody, named by ``by``, asked for the end; all up to this step is saved."""
DIVERGED: EventKind = "diverged"
"""A loss, a gradient or a weight is not finite and the run ended; ``detail`` says it in a line."""
FINISHED: EventKind = "finished"
"""All steps are done."""


def event(kind: EventKind, step: int, **facts: object) -> dict[str, object]:
    """The record of an event, as it goes into the log."""
    return {"step": step, "event": kind, **facts}


def events(records: Iterable[Mapping[str, Any]], kind: EventKind) -> list[Mapping[str, Any]]:
    """Those records of a log that tell events of a kind, in their order."""
    return [record for record in records if record.get("event") == kind]
