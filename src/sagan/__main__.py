"""The command ``sagan``, also as ``python -m sagan``: Ctrl-C ends it quietly from the first."""

import os
import signal
from typing import Any


def command() -> Any:
    """Entry point; imports take a moment, in which nothing has begun that could be saved."""
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    from sagan import cli

    signal.signal(signal.SIGINT, usual)
    return cli.main()


def _end(*_: object) -> None:
    os.write(2, b"stopped\n")
    os._exit(130)


if __name__ == "__main__":
    command()
