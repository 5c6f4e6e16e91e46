"""Settings as earlier versions wrote them."""

from typing import Any


def modernized(values: dict[str, Any]) -> dict[str, Any]:
    """Gives nested plain values of an earlier version the names and values of this one.

    data.conditional, true or false, became data.labels; spectral_norm was true or false.
    """
    values = {
        name: _with_layers_named(section) if name in ("generator", "discriminator") else section
        for name, section in values.items()
    }
    data = values.get("data")
    if isinstance(data, dict) and isinstance(data.get("conditional"), bool):
        labels = "found" if data["conditional"] else "none"
        rest = {name: value for name, value in data.items() if name != "conditional"}
        return {**values, "data": {"labels": labels, **rest}}
    return values


def _with_layers_named(network: Any) -> Any:
    if isinstance(network, dict) and isinstance(network.get("spectral_norm"), bool):
        return {**network, "spectral_norm": "all" if network["spectral_norm"] else "none"}
    return network
