"""What befalls a run from within: deaths and faults at chosen calls, set up before it begins.

The program itself knows nothing of this. What is patched are calls into the system and the few
functions where a run writes.
"""

import errno
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch


@dataclass(frozen=True, kw_only=True)
class Blow:
    """One thing that befalls one start of the command."""

    kind: str
    """A key of ``BLOWS``, or empty for none from within."""
    call: int = 0
    """At which call of the function, from 0."""
    share: float = 0.5
    """How much has been written by then."""

    def __str__(self) -> str:
        return " ".join(str(value) for value in asdict(self).values())


def die() -> None:
    """As a power cut, for this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def strike(blow: Blow, run: Path) -> None:
    """Sets up what is to befall this process."""
    if blow.kind:
        BLOWS[blow.kind](blow, run)


def _half_written(pattern: str) -> Callable[[Blow, Path], None]:
    """Death while a file is written: what is not yet in its place is cut off."""

    def set_up(blow: Blow, run: Path) -> None:
        replace, seen = os.replace, [0]

        def replaced(source: Any, target: Any, **given: Any) -> None:
            if pattern in str(target):
                seen[0] += 1
                if seen[0] == blow.call + 1:
                    os.truncate(source, int(blow.share * os.path.getsize(source)))
                    die()
            replace(source, target, **given)

        patch.object(os, "replace", replaced).start()

    return set_up


def _just_written(pattern: str) -> Callable[[Blow, Path], None]:
    """Death as soon as a file is in its place."""

    def set_up(blow: Blow, run: Path) -> None:
        replace, seen = os.replace, [0]

        def replaced(source: Any, target: Any, **given: Any) -> None:
            replace(source, target, **given)
            if pattern in str(target):
                seen[0] += 1
                if seen[0] == blow.call + 1:
                    die()

        patch.object(os, "replace", replaced).start()

    return set_up


def _in_a_line(blow: Blow, run: Path) -> None:
    """Death in the middle of a line of the log."""
    import json

    from sagan.runs.run import Run

    log, seen = Run.log, [0]

    def logged(self: Run, record: Any) -> None:
        seen[0] += 1
        if seen[0] == blow.call + 1:
            line = json.dumps(record)
            with self.log_path.open("a", encoding="utf-8") as file:
                file.write(line[: int(blow.share * len(line))])
            die()
        log(self, record)

    patch.object(Run, "log", logged).start()


def _in_an_evaluation(blow: Blow, run: Path) -> None:
    """Death before the features, or before the numbers are written down."""
    from sagan.evaluation.periodic import PeriodicEvaluation

    measure = PeriodicEvaluation.__call__

    def measured(self: PeriodicEvaluation, *arguments: Any) -> Any:
        if blow.share >= 0.5:
            measure(self, *arguments)
        die()

    patch.object(PeriodicEvaluation, "__call__", measured).start()


def _raising_evaluation(blow: Blow, run: Path) -> None:
    from sagan.evaluation.periodic import PeriodicEvaluation

    def fails(*_: object) -> None:
        raise RuntimeError("the feature network is out of order")

    patch.object(PeriodicEvaluation, "__call__", fails).start()


def _small_disk(blow: Blow, run: Path) -> None:
    """No file may grow beyond a share of a megabyte, whoever writes it."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(blow.share * 2**20), most))


def _full_disk(blow: Blow, run: Path) -> None:
    """The disk is full from a flush on."""
    flush, seen = os.fsync, [0]

    def flushed(file: Any) -> None:
        seen[0] += 1
        if seen[0] > blow.call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(file)

    patch.object(os, "fsync", flushed).start()


def _read_only(blow: Blow, run: Path) -> None:
    """The run folder may only be read, from a moment on."""
    places = {"open": 0, "os.rename": 1, "os.remove": 0, "os.mkdir": 0}
    seen, writes = [0], os.O_WRONLY | os.O_RDWR | os.O_CREAT
    own = os.path.realpath(run)

    def refused(event: str, arguments: Any) -> None:
        if event not in places or isinstance(arguments[places[event]], int):
            return
        if event == "open" and not arguments[2] & writes:
            return
        if os.path.realpath(arguments[places[event]]).startswith(own):
            seen[0] += 1
            if seen[0] > 2 * blow.call:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(run))

    sys.addaudithook(refused)


BLOWS: dict[str, Callable[[Blow, Path], None]] = {
    "inside a checkpoint": _half_written("/checkpoints/"),
    "after a checkpoint": _just_written("/checkpoints/"),
    "inside a sample": _half_written("/samples/"),
    "after a sample": _just_written("/samples/"),
    "inside the settings": _half_written("config.toml"),
    "after the settings": _just_written("config.toml"),
    "inside the survey": _half_written("data.json"),
    "inside a packing": _half_written("/packs/"),
    "after a packing": _just_written("/packs/"),
    "inside a line of the log": _in_a_line,
    "inside an evaluation": _in_an_evaluation,
    "raising evaluation": _raising_evaluation,
    "small disk": _small_disk,
    "full disk": _full_disk,
    "read-only folder": _read_only,
}
"""What to set up, by what happens then."""
DEATHS = tuple(kind for kind in BLOWS if kind.startswith(("inside", "after")))
FAULTS = ("raising evaluation", "small disk", "full disk", "read-only folder")
