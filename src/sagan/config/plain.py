"""Settings as plain values and as TOML."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from sagan.config.checks import nearest
from sagan.config.networks import RESIDUAL_ONLY
from sagan.config.whole import Config
from sagan.errors import SaganError

Settings = Mapping[str, Mapping[str, Any]]
"""Nested plain values: section, then field."""


def joined(*layers: Settings) -> dict[str, dict[str, Any]]:
    """One set of settings of several, the later above the earlier.

    Where a later one makes a network a dcgan, what it has no choice in is left out of the earlier.
    """
    together: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for section, values in layer.items():
            below = together.get(section, {})
            if values.get("architecture") == "dcgan":
                below = {key: value for key, value in below.items() if key not in RESIDUAL_ONLY}
            together[section] = {**below, **values}
    return together


def load_toml(path: str | Path) -> Config:
    """Reads a TOML file whose tables are the sections of :class:`Config`.

    Raises:
        SaganError: The file is missing, is no TOML, or holds an unknown or impossible value.
    """
    path = Path(path)
    if not path.is_file():
        raise SaganError(f"there is no file {path}; check the path")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, RecursionError, ValueError) as error:
        raise SaganError(f"cannot read {path} as TOML: {error}") from error
    try:
        return from_dict(values)
    except SaganError as error:
        raise SaganError(f"{path}: {error}") from error


def to_toml(config: Config) -> str:
    """Writes every field as TOML."""
    import tomlkit

    document = tomlkit.document()
    for section in fields(config):
        table = tomlkit.table()
        values = getattr(config, section.name)
        for item in fields(values):
            value = getattr(values, item.name)
            table.add(item.name, list(value) if isinstance(value, tuple) else value)
        document.add(section.name, table)
    return tomlkit.dumps(document)


def to_dict(config: Any) -> dict[str, Any]:
    """Nested plain values: tables, lists, strings, numbers, booleans."""
    return asdict(
        config,
        dict_factory=lambda items: {k: list(v) if isinstance(v, tuple) else v for k, v in items},
    )


def from_dict(values: dict[str, Any]) -> Config:
    """Builds a config from nested plain values; absent fields take their defaults.

    Raises:
        SaganError: A key is unknown (names the nearest), a value has the wrong type or range.
    """
    return _build(Config, values, "")


def _build(cls: type, values: object, prefix: str) -> Any:
    whole = prefix.rstrip(".") or "the config"
    if not isinstance(values, dict):
        raise SaganError(f"{whole} must be a table of settings, not {values!r}")
    types = get_type_hints(cls)
    for key in values:
        if key not in types:
            raise SaganError(
                f"unknown setting {prefix}{key}{nearest(str(key), types)}; "
                f"{whole} has {', '.join(types)}"
            )
    given = {
        key: _build(types[key], value, f"{prefix}{key}.") if is_dataclass(types[key]) else value
        for key, value in values.items()
    }
    return cls(**given)


def differences(first: Any, second: Any, prefix: str = "") -> list[str]:
    """Names every field in which two configs (or sections) differ, with both values."""
    found = []
    for item in fields(first):
        one, other = getattr(first, item.name), getattr(second, item.name)
        if is_dataclass(one):
            found += differences(one, other, f"{prefix}{item.name}.")
        elif one != other:
            found.append(f"{prefix}{item.name} ({one!r} and {other!r})")
    return found
