"""What settings are checked with."""

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from os import PathLike, fsdecode
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

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


def require_choice(name: str, value: object, kind: Any) -> None:
    """Refuses what is none of the words of a ``Literal``.

    Raises:
        SaganError: Names the setting, its value and the words.
    """
    choices = get_args(kind)
    require(type(value) is str and value in choices, name, value, " or ".join(choices))


def settle(section: str, settings: Any) -> None:
    """Makes the fields of a section what their annotations say.

    Lists become tuples, NumPy's numbers and arrays plain ones, whole numbers fractions where one is
    meant, and paths text.

    Raises:
        SaganError: One cannot be; names the setting.
    """
    for name, kind in _kinds(type(settings)).items():
        given = getattr(settings, name)
        value = _settled(kind, given, f"{section}.{name}")
        if value is not given:
            object.__setattr__(settings, name, value)


@cache
def _kinds(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _settled(kind: Any, value: Any, name: str) -> Any:
    value = value.tolist() if hasattr(value, "tolist") else value
    if get_origin(kind) is tuple:
        item_kind = get_args(kind)[0]
        if not isinstance(value, list | tuple):
            plural = _PLURALS[str if get_origin(item_kind) is Literal else item_kind]
            raise SaganError(f"{name} must be a list of {plural}, not {value!r}")
        items = tuple(_settled(item_kind, item, name) for item in value)
        return value if items == value and [*map(type, items)] == [*map(type, value)] else items
    if get_origin(kind) is Literal:
        require_choice(name, value, kind)
    elif kind is float and type(value) is int:
        value = float(value) if abs(value) < 2**63 else value
    elif kind is str and isinstance(value, PathLike):
        value = fsdecode(value)
    elif type(value) is not kind:
        raise SaganError(f"{name} must be {_KINDS[kind]}, not {value!r}")
    if type(value) is float:
        require(math.isfinite(value), name, value, "a finite number")
    elif type(value) is int:
        require(abs(value) < 2**63, name, value, "a number of 64 bits")
    return value


_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
_PLURALS = {int: "whole numbers", float: "numbers", str: "texts"}


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
