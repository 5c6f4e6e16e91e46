"""Errors meant for the person at the keyboard."""

import re
from collections.abc import Sequence

_MOST_NAMED = 5
_UNSEEN = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class SaganError(ValueError):
    """A fault of the input, told in one line that names the cause and the remedy.

    The command prints the message without a traceback.

    Attributes:
        exit_code: With which the command ends: 2, or that of a subclass.
        is_told: Another process says the same, so that this one need not.
    """

    exit_code = 2
    is_told = False

    def __str__(self) -> str:
        return printable(super().__str__())


class FaultError(SaganError):
    """What nobody typed wrong: the disk, the memory, or another process of the run failed."""

    exit_code = 1


class DivergedError(SaganError):
    """The training has left all finite numbers; the update that did it was not made."""

    exit_code = 3


class StoppedError(KeyboardInterrupt):
    """Somebody asked a run to stop: the step was finished and saved; the same command goes on.

    The code is that by which schedulers know that the work is to be taken up again (``EX_TEMPFAIL``
    of ``sysexits.h``).
    """

    exit_code = 75
    is_told = False


def enumerated(names: Sequence[str]) -> str:
    """The first few of many names: "a, b, c, d, e and 3 more"; "none" if there are none."""
    shown, more = ", ".join(names[:_MOST_NAMED]) or "none", len(names) - _MOST_NAMED
    return f"{shown} and {more:,} more" if more > 0 else shown


def printable(text: str) -> str:
    """Writes as escapes what a terminal would obey or cannot show.

    That is control characters, line breaks, marks that turn the direction of writing, and bytes of
    a file name that are no UTF-8.
    """
    return _UNSEEN.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
