"""A lock that names its holder: one process at a time, also of several hosts with one disk."""

import errno
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any, NamedTuple

from sagan.errors import FaultError, printable

BEAT = 30.0
"""Seconds after which a holder says again that it lives: it touches the file."""
SILENCE = 180.0
"""Seconds without that after which a holder on another host is taken for dead."""
_LOOK = 1.0  # seconds from one look at another host's lock to the next
_MOST = 4096  # bytes that a holder writes of itself

_held: dict[Path, IO[bytes]] = {}


class Holder(NamedTuple):
    """Who holds a lock."""

    pid: int
    """Number of the process."""
    host: str
    """Name of its machine."""
    since: str
    """When it began, as a clock there said."""

    def __str__(self) -> str:
        return printable(f"process {self.pid} on {self.host} since {self.since}")


@contextmanager
def holding(path: Path) -> Iterator[None]:
    """Holds a lock while it lasts; this process may do so several times over.

    The system frees it however the process ends. On a disk that several hosts share without sharing
    locks, a holder touches the file every half minute; one that has not for three minutes is dead.
    The times of two files of that disk are compared, so that no host's clock matters. The file is
    removed at the end, and its folder with it if it was made for it and has stayed empty.

    Raises:
        FaultError: Another process holds it.
        OSError: The file cannot be written.
    """
    path = Path(os.path.realpath(path))
    if path in _held:
        yield
        return
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _taken(path)
    _held[path] = file
    over = threading.Event()
    threading.Thread(target=_beat, args=(file, over), daemon=True).start()
    try:
        yield
    finally:
        over.set()
        del _held[path]
        with suppress(OSError):
            path.unlink()  # while it is held, so that nobody holds a file that is about to go
        file.close()
        with suppress(OSError):
            for folder in made:
                folder.rmdir()


def holder_of(path: Path) -> Holder | None:
    """Who holds a lock, or held it when its process died; None where the file says nothing."""
    try:
        with path.open("rb") as file:
            said = json.loads(file.read(_MOST))
        return Holder(int(said["pid"]), str(said["host"]), str(said["since"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def is_locked(path: Path) -> bool:
    """Whether a living process holds a lock; one of another host, if it lived of late."""
    if Path(os.path.realpath(path)) in _held:
        return True
    try:
        with path.open("rb") as file:
            locked = _locks(file, shared=True)
            return locked is False or _may_live(path, holder_of(path), knows=bool(locked))
    except OSError:
        return False


def _taken(path: Path) -> IO[bytes]:
    """The file, locked and with this process in it."""
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
        try:
            locked = _locks(file)
            if not _is_there(file, path):  # its holder has just removed it
                file.close()
                continue
            if locked is False:
                raise _in_use(path)
            if before := holder_of(path):
                _await_death(path, before, knows=bool(locked))
            file.seek(0)
            file.truncate()
            file.write(_this_process())
            return file
        except BaseException:
            file.close()
            raise


def _await_death(path: Path, before: Holder, *, knows: bool) -> None:
    """Makes sure that a holder which left its name is dead."""
    beat = path.stat().st_mtime_ns
    if _may_live(path, before, knows=knows):
        sys.stderr.write(f"{path.parent}: waiting for a sign of life of {before}\n")
    while _may_live(path, before, knows=knows):
        time.sleep(_LOOK)
        if path.stat().st_mtime_ns != beat:
            raise _in_use(path)
    sys.stderr.write(f"note: {path.parent} is taken over from {before}, which died in it\n")


def _may_live(path: Path, holder: Holder | None, *, knows: bool) -> bool:
    """Whether a holder gave a sign of life of late, unless the system knows that it is dead."""
    if holder is None or (knows and holder.host == _this_host()):
        return False
    return _silence(path) < SILENCE


def _in_use(path: Path) -> FaultError:
    holder = holder_of(path)
    who = str(holder or "another process")
    stop = f" or stop it (kill {holder.pid})" if holder and holder.host == _this_host() else ""
    return FaultError(f"{path.parent} is in use by {who}; wait for its end{stop}")


def _locks(file: IO[bytes], *, shared: bool = False) -> bool | None:
    """Takes the system's lock of a file; None where there are no locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    for pause in (0.1, 0.2, None):  # somebody may just be looking whether it is held
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                return None
        else:
            return True
        if pause and not shared:
            time.sleep(pause)
    return False


def _is_there(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _silence(path: Path) -> float:
    """Seconds since a file was touched, by the clock of its disk."""
    probe = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        probe.write_bytes(b"")
        return probe.stat().st_mtime - path.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _beat(file: IO[bytes], over: threading.Event) -> None:
    while not over.wait(BEAT):
        with suppress(OSError, ValueError):
            os.utime(file.fileno() if os.utime in os.supports_fd else file.name)


def _this_process() -> bytes:
    since = datetime.now().astimezone().isoformat(" ", "seconds")
    said: dict[str, Any] = {"pid": os.getpid(), "host": _this_host(), "since": since}
    return json.dumps(said).encode() + b"\n"


def _this_host() -> str:
    return socket.gethostname()


def _forget() -> None:
    """In a child: the lock is the parent's, and ends with it even if the child lives on."""
    for file in _held.values():
        with suppress(OSError):
            file.close()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
