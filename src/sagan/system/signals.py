"""How a person, a scheduler or a lost terminal ends long work."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from sagan.errors import StoppedError

REQUESTS = ("SIGTERM", "SIGHUP", "SIGUSR1")
"""Those that ask for the end besides Ctrl-C (SIGINT): schedulers and closed terminals send them.
Windows has some of them only."""

_Handler = Callable[[int, FrameType | None], None]


class Interruption:
    """Whether somebody has asked for the end."""

    def __init__(self) -> None:
        self._by = ""
        self._acts_at_once = False

    @property
    def requested(self) -> bool:
        """Whether a signal has come."""
        return self._by != ""

    @property
    def by(self) -> str:
        """Its name, such as SIGTERM; empty if none has come."""
        return self._by

    @contextmanager
    def acting_at_once(self) -> Iterator[None]:
        """For work that may be cut off anywhere, since it will be done again.

        Raises:
            StoppedError: A signal comes meanwhile, or came before.
        """
        before, self._acts_at_once = self._acts_at_once, True
        try:
            if self.requested:
                raise self._stopped()
            yield
        finally:
            self._acts_at_once = before

    @contextmanager
    def acting_later(self) -> Iterator[None]:
        """Within :meth:`acting_at_once`, for what must not be cut off; a signal acts after it.

        Raises:
            StoppedError: One came meanwhile.
        """
        before, self._acts_at_once = self._acts_at_once, False
        try:
            yield
        finally:
            self._acts_at_once = before
        if before and self.requested:
            raise self._stopped()

    def forget(self) -> None:
        """Begins to listen anew."""
        self._by = ""

    def hear(self, number: int) -> None:
        """Takes note of a signal."""
        self._by = signal.Signals(number).name
        if self._acts_at_once:
            raise self._stopped()
        again = "; Ctrl-C again stops at once" if self._by == "SIGINT" else ""
        _say_anyway(f"\nfinishing this step, then saving{again}\n")

    def _stopped(self) -> StoppedError:
        return StoppedError(f"stopped by {self._by}; the same command continues")


@contextmanager
def interruption(asked: Interruption | None = None) -> Iterator[Interruption]:
    """Lets the first signal finish the step.

    A second Ctrl-C acts at once; others do nothing more, since schedulers repeat them. A signal
    that was ignored before stays so: ``nohup`` means it. Outside of the main thread nobody hears
    any.

    Args:
        asked: Takes note of them, instead of a new one.
    """
    asked = asked or Interruption()
    asked.forget()
    usual = signal.getsignal(signal.SIGINT)

    def request(number: int, _: FrameType | None) -> None:
        if not asked.requested:
            asked.hear(number)
        elif number == signal.SIGINT:
            signal.signal(signal.SIGINT, usual)
            signal.raise_signal(signal.SIGINT)

    with _handling(request, "SIGINT", *REQUESTS):
        yield asked


@contextmanager
def ending_at_once() -> Iterator[None]:
    """Ends quietly at any signal but Ctrl-C, which does so anyway: nothing needs to be saved here.

    Raises:
        StoppedError: One has come. Repeated ones are then ignored.
    """
    came = []

    def end(number: int, _: FrameType | None) -> None:
        if not came:
            came.append(number)
            name = signal.Signals(number).name
            raise StoppedError(f"stopped by {name}; the same command continues")

    with _handling(end, *REQUESTS):
        yield


@contextmanager
def _handling(handler: _Handler, *names: str) -> Iterator[None]:
    """Handles signals, those that this system has and that are not ignored, in the main thread."""
    before = {}
    if threading.current_thread() is threading.main_thread():  # only it can listen
        numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
        before = {number: signal.getsignal(number) for number in numbers}
        before = {n: was for n, was in before.items() if was not in (signal.SIG_IGN, None)}
    try:
        for number in before:
            signal.signal(number, handler)
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)


def _say_anyway(text: str) -> None:
    # The signal may have come in the middle of another write, or there is nobody to read.
    with suppress(RuntimeError, OSError, ValueError, AttributeError):
        sys.stderr.write(text)
