"""Names in the log of what the attention layers of a run do."""

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

AttentionMeasure = Literal["gamma", "attention_entropy", "attention_peak"]
"""The layer's scale; the entropy of its rows as a share of the greatest possible, 0..1; the mean
largest weight of a row, 0..1."""


class LoggedLayer(NamedTuple):
    """An attention layer of a run."""

    network: str
    """generator or discriminator."""
    place: str
    """Name of its place, such as 16 or 8-2."""


def attention_key(measure: AttentionMeasure, layer: LoggedLayer) -> str:
    """The name of a number in the log.

    Example:
        >>> attention_key("gamma", LoggedLayer("generator", "16"))
        'generator_gamma_16'
    """
    return f"{layer.network}_{measure}_{layer.place}"


def attention_keys(measure: AttentionMeasure, names: Iterable[str]) -> dict[LoggedLayer, str]:
    """Those of some names in the log that tell a measure, by layer."""
    pattern = re.compile(rf"(generator|discriminator)_{measure}_(\d+(?:-\d+)?)")
    found = {name: pattern.fullmatch(name) for name in names}
    return {LoggedLayer(match[1], match[2]): name for name, match in found.items() if match}
