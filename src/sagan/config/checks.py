"""What settings are checked with."""

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

from sagan.errors import SaganError, printable


def require(condition: bool, name: str, value: object, allowed: str) -> None:
    """Refuses a value.

    Raises:
        SaganError: The condition does not hold; names the setting, its value and what is allowed.
    """
    if not condition:
        raise SaganError(f"{name} = {value!r} is out of range; it must be {allowed}")


def checking(section: str, settings: Any) -> Callable[[str, bool, str], None]:
    """Returns :func:`require` for the fields of a section: ``check(name, condition, allowed)``."""

    def check(name: str, condition: bool, allowed: str) -> None:
        require(condition, f"{section}.{name}", getattr(settings, name), allowed)

    return check


def require_finite(section: str, settings: Any) -> None:
    """Refuses numbers without bound, and whole ones that fit into no file.

    Raises:
        SaganError: Names the setting.
    """
    for item in fields(settings):
        value, name = getattr(settings, item.name), f"{section}.{item.name}"
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float):
                require(math.isfinite(number), name, number, "a finite number")
            elif isinstance(number, int):
                require(abs(number) < 2**63, name, number, "a number of 64 bits")


def fits(value: object, kind: Any) -> bool:
    """Whether a value that JSON brought is of a kind, such as ``Mapping[str, float | None]``.

    A whole number is a number too; true and false are none.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return any(fits(value, one) for one in inner)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    if origin is Mapping:
        return isinstance(value, dict) and all(fits(of, inner[1]) for of in value.values())
    if origin in (Sequence, tuple):
        return isinstance(value, list | tuple) and all(fits(one, inner[0]) for one in value)
    if kind is float:
        return type(value) in (int, float)
    return type(value) is (NoneType if kind is None else kind)


def require_class_names(names: Any) -> tuple[str, ...]:
    """Refuses what cannot name classes, on a terminal, in a file and in a page.

    Raises:
        SaganError: They are no list of texts, two are the same, or one holds control characters or
            bytes that are no UTF-8; names it, escapes shown.
    """
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise SaganError("class names must be a list of texts; mend the file")
    for name in names:
        if printable(name) != name:
            raise SaganError(
                f"the class '{printable(name)}' has characters in its name that cannot be shown; "
                "rename it"
            )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SaganError(f"two classes are called {twice!r}; rename one")
    return tuple(names)


def nearest(word: str, known: Any) -> str:
    """Returns ' (did you mean X?)' for the most similar known word, or nothing."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean {matches[0]}?)" if matches else ""
