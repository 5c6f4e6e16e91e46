"""What is printed, when nobody is left to read it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


class Lasting:
    """A text stream whose reader may go away: what is written then is lost, without a word.

    Args:
        stream: To which all goes while somebody reads; None where the stream was closed before.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream or open(os.devnull, "w")  # noqa: SIM115

    def write(self, text: str) -> int:
        """Writes while there is a reader; returns the number of characters."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError):  # a pipe without a reader, a terminal that was closed
            self._give_up()
            return len(text)

    def writelines(self, lines: Any) -> None:
        """Writes some lines."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Hands on what was written while there is a reader."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._give_up()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _give_up(self) -> None:
        """Lets everything that goes to this stream vanish, also what is still in its buffer."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        if self._stream.closed:
            self._stream = open(os.devnull, "w")  # noqa: SIM115


@contextmanager
def outliving_readers() -> Iterator[None]:
    """Goes on when the terminal is closed or the reader of a pipe ends, as in ``2>&1 | head``."""
    names = [name for name in ("stdout", "stderr") if not isinstance(getattr(sys, name), Lasting)]
    before = {name: getattr(sys, name) for name in names}
    lasting = {name: Lasting(stream) for name, stream in before.items()}
    for name, stream in lasting.items():
        setattr(sys, name, stream)
    try:
        yield
    finally:
        for name, stream in lasting.items():
            stream.flush()
            if getattr(sys, name) is stream:
                setattr(sys, name, before[name])


def replace_closed_streams() -> None:
    """Gives the places of standard streams that are closed to nothing, before files get them.

    What a library writes to standard error would otherwise go into such a file.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
