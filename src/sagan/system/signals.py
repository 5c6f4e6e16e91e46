"""How a person stops long work."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """Whether somebody has asked for the end."""

    requested = False


@contextmanager
def interruption() -> Iterator[Interruption]:
    """Lets the first Ctrl-C finish the step; a second one acts at once.

    Outside of the main thread nobody hears it.
    """
    asked = Interruption()
    if threading.current_thread() is not threading.main_thread():  # only it can listen
        yield asked
        return
    previous = signal.getsignal(signal.SIGINT)

    def request(number: int, frame: FrameType | None) -> None:
        sys.stderr.write("\nfinishing this step, then saving; Ctrl-C again stops at once\n")
        asked.requested = True
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, request)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, previous)
