"""What requests must show where others than this machine can ask: a token, given or drawn."""

import os
import secrets
from pathlib import Path
from typing import NamedTuple

from sagan.errors import SaganError
from sagan.studio.guard import is_loopback

TOKEN_VARIABLE = "SAGAN_TOKEN"
_LEAST_TOKEN = 16
_MOST_TOKEN = 512


class Token(NamedTuple):
    """What requests must show."""

    text: str
    """Empty where none is needed."""
    is_drawn: bool
    """Whether it was drawn here, and so must be printed."""


def token_for(host: str) -> str:
    """A new token where others than this machine can ask, else an empty one."""
    return "" if is_loopback(host) else secrets.token_urlsafe(24)


def chosen_token(host: str, file: Path | None = None) -> Token:
    """The token of the file, or of the variable SAGAN_TOKEN, or else a new one where one is needed.

    Args:
        host: Where the server listens; on this machine's own address nobody else can ask.
        file: Holds it and nothing else.

    Raises:
        SaganError: The file cannot be read, or the token is too short or has blanks in it.
    """
    given = _token_in(file) if file is not None else os.environ.get(TOKEN_VARIABLE, "")
    if not given and file is None:
        drawn = token_for(host)
        return Token(drawn, is_drawn=bool(drawn))
    is_plain = given.isascii() and given.isprintable() and not set(' ";,\\') & set(given)
    if not is_plain or not _LEAST_TOKEN <= len(given) <= _MOST_TOKEN:
        raise SaganError(
            f"the token of {file or TOKEN_VARIABLE} must be {_LEAST_TOKEN} to {_MOST_TOKEN} "
            "letters, digits or signs other than quotes, commas, semicolons and blanks; make "
            "one with: openssl rand -hex 24"
        )
    return Token(given, is_drawn=False)


def _token_in(file: Path) -> str:
    """The beginning of a file, without blanks around it."""
    try:
        with file.open("rb") as opened:
            return opened.read(_MOST_TOKEN + 2).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise SaganError(f"cannot read the token of {file}: {reason}; mend it") from error
