"""The command models."""

import json as json_text
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

from sagan.cli.parsing import SWITCH
from sagan.cli.program import app
from sagan.runs.named import ShippedModel, shipped_model, shipped_models
from sagan.system.tables import aligned

_HEADINGS = ("model", "pixels", "classes", "pictures seen", "FD", "recall", "MB", "draws")


@app.command
def models(name: str | None = None, /, *, json: Annotated[bool, SWITCH] = False) -> None:
    """List the models that come with the package, or show the card of one.

    Their names stand wherever a model is asked for: sagan sample avatars64. Where a file or folder
    of that name exists, that is taken.

    Parameters
    ----------
    name
        The model whose card to show.
    json
        Print everything that is known as JSON.
    """
    found = shipped_models() if name is None else (shipped_model(name),)
    if json:
        listed = [_as_json(model) for model in found]
        print(json_text.dumps(listed if name is None else listed[0], indent=1, ensure_ascii=False))
    elif name is not None:
        print(found[0])
    else:
        print(_overview(found))


def _as_json(model: ShippedModel) -> dict[str, Any]:
    return {**asdict(model), "megabytes": round(model.megabytes, 2), "file": str(model.file)}


def _overview(found: Sequence[ShippedModel]) -> str:
    """A line per model, and below them how the numbers were measured."""
    between = ">" * (len(_HEADINGS) - 2)
    lines = aligned([_HEADINGS, *map(_row, found)], f"<{between}<")
    for protocol in dict.fromkeys(model.protocol for model in found):
        names = ", ".join(model.name for model in found if model.protocol == protocol)
        lines += ["", f"Measured of {names}: {protocol}."]
    return "\n".join(lines)


def _row(model: ShippedModel) -> tuple[str, ...]:
    height, width = model.size
    fd = next((value for key, value in model.records.items() if key.startswith("FD ")), None)
    recall = model.records.get("recall")
    return (
        model.name,
        f"{height} x {width}",
        str(len(model.class_names)),
        f"{model.pictures_seen:,}",
        "-" if fd is None else f"{fd:.1f}",
        "-" if recall is None else f"{recall:.3f}",
        f"{model.megabytes:.1f}",
        model.title,
    )
