"""The command ``sagan``, also as ``python -m sagan``: signals end it quietly from the first."""

import os
import signal
import sys
from contextlib import suppress
from typing import Any

_TRAINING = ("train", "ablate", "demo")
"""Commands that a scheduler may stop: it is told that the same command is to be given again."""


def command() -> Any:
    """Entry point; imports take a moment, in which nothing has begun that could be saved."""
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    if sys.argv[1:2] and sys.argv[1] in _TRAINING:
        for name in ("SIGTERM", "SIGHUP", "SIGUSR1"):
            number = getattr(signal, name, None)  # Windows lacks some
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _end)
    from sagan import cli

    signal.signal(signal.SIGINT, usual)
    return cli.main()


def _end(number: int, *_: object) -> None:
    is_typed = number == signal.SIGINT
    with suppress(OSError):  # nobody is left to read it
        os.write(2, b"stopped\n" if is_typed else b"stopped; the same command continues\n")
    os._exit(130 if is_typed else 75)


if __name__ == "__main__":
    command()
