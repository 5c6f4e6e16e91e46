"""Progress of long work, on stderr."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SECONDS_BETWEEN_LINES = 30.0


@contextmanager
def progress(description: str, total: int) -> Iterator[Callable[..., None]]:
    """Shows a bar with the time left, or a line every half minute where there is no terminal.

    Gives a function to call with the number of items just done, by default 1; ``total`` is the
    number of all items to do. Work of less than a second shows no bar.
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    bar = Progress(console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task(description, total=total)
    begin = last_line = time.monotonic()
    done = 0

    def advance(items: int = 1) -> None:
        nonlocal last_line, done
        done += items
        bar.advance(task, items)
        now = time.monotonic()
        if now - begin > 1:
            bar.start()
        if not console.is_terminal and now - last_line > _SECONDS_BETWEEN_LINES:
            last_line = now
            left = (now - begin) / done * (total - done)
            sys.stderr.write(f"{description}: {done:,} of {total:,}, {duration(left)} left\n")

    try:
        yield advance
    finally:
        if bar.live.is_started:
            bar.stop()


def duration(seconds: float) -> str:
    """Writes a time as 0:07, 1:02:03 or 2 d 5 h."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
