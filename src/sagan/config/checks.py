"""What settings are checked with."""

from __future__ import annotations

import difflib
from typing import Any

from sagan.errors import SaganError


def require(condition: bool, name: str, value: object, allowed: str) -> None:
    """Refuses a value.

    Raises:
        SaganError: The condition does not hold; names the setting, its value and what is allowed.
    """
    if not condition:
        raise SaganError(f"{name} = {value!r} is out of range; it must be {allowed}")


def nearest(word: str, known: Any) -> str:
    """Returns ' (did you mean X?)' for the most similar known word, or nothing."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean {matches[0]}?)" if matches else ""
