"""The models that are shown: found by name, opened when asked for, kept within bounds.

Importing this takes no torch, so that a server can begin to listen while torch is imported.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sagan.errors import SaganError, enumerated, printable
from sagan.runs.folder import checkpoint_files, step_of
from sagan.runs.named import is_name, model_file, shipped_model, shipped_of
from sagan.studio.guard import RefusedError
from sagan.system.memory import require_free

if TYPE_CHECKING:
    from sagan.nn.exposed import ExposedNetwork
    from sagan.runs.checkpoint import Checkpoint
    from sagan.sampling.live import LiveModel

DEFAULT_MODEL = "avatars64"
"""What is shown where nothing is named."""
DEFAULT_VIEW = "#seed=23&classes=13:1"
"""The part of its address that shows a telling picture of it."""
MOST_MODELS = 4
MOST_KEPT = 2**30
"""Bytes of the weights that stay in memory; the newest opened stays in any case."""
MOST_MAP = 2**27
"""Bytes of the attention maps of one picture."""

Stamp = tuple[int, int, int]
"""Node, time and size of a file: another stamp, another content."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A model that was named to be shown."""

    number: int
    """Its place among those named, from 0."""
    name: str
    """For people."""
    kind: Literal["run", "file", "shipped"]
    path: Path

    def require_present(self) -> None:
        """Looks whether it is still there.

        Raises:
            RefusedError: It is gone.
        """
        if not self.path.exists():
            raise RefusedError(
                410, f"{self.name} is gone from {self.path}; restore it, or show another"
            )

    def files(self) -> dict[int, Path]:
        """The checkpoints of a run by their steps, oldest first; {} of a file."""
        if self.kind != "run":
            return {}
        return {step_of(file): file for file in checkpoint_files(self.path)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Opened:
    """A checkpoint that is in memory."""

    live: LiveModel
    facts: Mapping[str, Any]
    """What the page is told of it."""
    size: int
    """Bytes of its weights."""


class Gallery:
    """The models that are shown, by number.

    Opening and drawing are for one thread alone.

    Args:
        names: Run folders, files, or names of models, MOST_MODELS at most.

    Raises:
        SaganError: A name means nothing, or there are too many.
    """

    def __init__(self, names: Sequence[str | Path]) -> None:
        if len(names) > MOST_MODELS:
            raise SaganError(f"{len(names)} models are too many; name {MOST_MODELS} at most")
        self.shown = tuple(_shown_by(number, name) for number, name in enumerate(names))
        self._kept: OrderedDict[tuple[Path, Stamp], Opened] = OrderedDict()
        self._damaged: set[tuple[Path, Stamp]] = set()

    def find(self, number: str) -> Shown:
        """The model of a number.

        Raises:
            RefusedError: There is none.
        """
        for shown in self.shown:
            if str(shown.number) == number:
                return shown
        raise RefusedError(
            404, f"there is no model {number!r}; there are 0 to {len(self.shown) - 1}"
        )

    def open(self, shown: Shown, step: int | None = None) -> Opened:
        """Opens a model, or takes the one in memory.

        Args:
            shown: One of these.
            step: Which checkpoint of a run; None takes the newest that can be read.

        Raises:
            RefusedError: It is gone, or there is none of that step.
            SaganError: It cannot be read or shown.
        """
        shown.require_present()
        if shown.kind != "run":
            found = self._at(shown.path)
            if step not in (None, found.live.step):
                raise RefusedError(
                    404, f"{shown.name} has one checkpoint, of step {found.live.step}"
                )
            return found
        files = shown.files()
        if step is None:
            return self._newest(shown, files)
        if step not in files:
            known = enumerated([f"{number:,}" for number in files])
            raise RefusedError(
                404, f"there is no checkpoint of step {step:,} in {shown.name}; there are {known}"
            )
        return self._at(files[step])

    def facts(self, shown: Shown, step: int | None = None) -> dict[str, Any]:
        """What the page is told of a model at a checkpoint; raises as :meth:`open`."""
        return {
            "id": str(shown.number),
            "name": shown.name,
            "kind": shown.kind,
            "steps": list(shown.files()),
            **self.open(shown, step).facts,
            "card": _card_of(shown),
        }

    def all_facts(self) -> tuple[list[dict[str, Any]], list[str]]:
        """What the page is told of all models, and a line for each that cannot be shown now.

        Raises:
            SaganError: None can be; as :meth:`open` for the first.
        """
        found: list[dict[str, Any]] = []
        faults: list[SaganError] = []
        for shown in self.shown:
            try:
                found.append(self.facts(shown))
            except SaganError as fault:
                faults.append(fault)
        if not found:
            raise faults[0]
        return found, [str(fault) for fault in faults]

    def load(self) -> None:
        """Opens all that is shown; raises as :meth:`open`."""
        for shown in self.shown:
            self.open(shown)

    def _newest(self, shown: Shown, files: Mapping[int, Path]) -> Opened:
        from sagan.runs.checkpoint import DamagedError

        for file in reversed(list(files.values())):
            try:
                return self._at(file)
            except DamagedError:
                continue
        if files:
            raise SaganError(f"all checkpoints of {shown.path} are damaged; restore one")
        raise SaganError(f"{shown.path} holds no checkpoint yet; train first, or show another")

    def _at(self, file: Path) -> Opened:
        from sagan.runs import checkpoint as checkpoints

        try:
            found = file.stat()
        except FileNotFoundError:
            raise RefusedError(410, f"{file} is gone; show another checkpoint") from None
        key = file, (found.st_ino, found.st_mtime_ns, found.st_size)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if key in self._damaged:
            raise checkpoints.DamagedError(f"{file} is damaged")
        require_free(3 * found.st_size, f"the model {file}", "show a smaller one, or fewer")
        try:
            opened = opened_of(checkpoints.load(file), file)
        except checkpoints.DamagedError:
            self._damaged.add(key)
            raise
        self._keep(key, opened)
        return opened

    def _keep(self, key: tuple[Path, Stamp], opened: Opened) -> None:
        for known in [known for known in self._kept if known[0] == key[0]]:
            del self._kept[known]
        while self._kept and opened.size + sum(o.size for o in self._kept.values()) > MOST_KEPT:
            self._kept.popitem(last=False)
        self._kept[key] = opened


def opened_of(checkpoint: Checkpoint, file: Path) -> Opened:
    """Makes a checkpoint ready to be shown.

    Raises:
        SaganError: It has maps that are too large, or no generator.
    """
    from sagan.sampling.generator import for_inference
    from sagan.sampling.live import LiveModel

    checkpoint = for_inference(checkpoint)
    live = LiveModel(checkpoint)
    facts = facts_of(live)
    largest = max(_map_bytes(facts[name]) for name in live.parameter_counts)
    if largest > MOST_MAP:
        raise SaganError(
            f"the attention of {file} has {largest / 2**20:,.0f} MiB a picture, more than can be "
            "shown live; draw chosen points: sagan attention"
        )
    size = sum(t.nbytes for part in checkpoint.parts.values() for t in part.values())
    return Opened(live=live, facts=facts, size=size)


def facts_of(live: LiveModel) -> dict[str, Any]:
    """What a page is told of a model, whoever draws with it: sizes, classes, layers, directions."""
    judge = live.discriminator
    counts = live.parameter_counts
    return {
        "step": live.step,
        "size": list(live.size),
        "channels": live.channels,
        "latentDim": live.latent_dim,
        "classes": [printable(name) for name in live.class_names],
        "directions": live.directions.tolist(),
        "generator": _network_facts(live.generator, counts["generator"]),
        "discriminator": _network_facts(judge, counts["discriminator"]) if judge else None,
    }


def _network_facts(network: ExposedNetwork, parameters: int) -> dict[str, Any]:
    layers = [
        {
            "name": place.name,
            "height": place.height,
            "width": place.width,
            "keys": [side // (1 + layer.layer.pooling) for side in (place.height, place.width)],
            "gamma": float(layer.layer.gamma),
        }
        for place, layer in zip(network.places, network.layers, strict=True)
    ]
    return {"parameters": parameters, "layers": layers}


def _map_bytes(network: Mapping[str, Any]) -> int:
    """Of the facts of a network: bytes of its maps of one picture."""
    return sum(
        4 * layer["height"] * layer["width"] * math.prod(layer["keys"])
        for layer in network["layers"]
    )


def _shown_by(number: int, given: str | Path) -> Shown:
    path = model_file(given)
    if not path.exists():
        raise SaganError(f"there is no file or folder {path}; check the path")
    kind = "shipped" if shipped_of(given) else "run" if path.is_dir() else "file"
    name = str(given) if is_name(given) else path.resolve().name
    return Shown(number=number, name=printable(name), kind=kind, path=path)


def _card_of(shown: Shown) -> dict[str, str] | None:
    if shown.kind != "shipped":
        return None
    card = shipped_model(shown.name)
    return {"licence": card.licence, "credits": "; ".join(card.credits)}
