"""Where the log of a run goes besides ``log.jsonl``: programs that draw its curves and pictures.

Each writes into the run folder unless its own environment variable names another place, none sends
anything away unless it is told to, and none can end a run: what fails is switched off.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import secrets
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from sagan import config as settings
from sagan.config import Config
from sagan.config.training import TrackerName
from sagan.errors import SaganError, printable
from sagan.images import as_rgb, image_of
from sagan.runs.events import ALARM, EventKind
from sagan.sampling.generator import TrainedGenerator
from sagan.system.extras import install
from sagan.system.files import write_text

_PROJECT: Final = "sagan"
_FIGURE_PANEL: Final = 128
"""Longer side, in pixels, of a panel in a figure of the attention."""


class Tracker(Protocol):
    """What is told of a run; a method may raise anything."""

    remark: str
    """How to look at it, for people."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a step, all finite; parts of a name are divided by ``/``."""

    def images(self, step: int, name: str, picture: np.ndarray) -> None:
        """A picture of a step: uint8 (3, H, W)."""

    def event(self, step: int, kind: EventKind, text: str) -> None:
        """Something that happened to the run, in one line."""

    def close(self) -> None:
        """Writes what is still held back."""


class TensorBoard:
    """Event files in the folder ``tensorboard`` of a run."""

    def __init__(self, folder: Path, config: Config, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        place = folder / "tensorboard"
        # Drops what an interrupted run has told of the steps that now come again.
        self._writer = SummaryWriter(str(place), purge_step=step + 1 if step else None)
        if not step:
            table = "".join(f"    {line}\n" for line in settings.to_toml(config).splitlines())
            self._writer.add_text("settings", table, 0)
        self.remark = f"tensorboard --logdir {place}"

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """As :class:`Tracker`."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def images(self, step: int, name: str, picture: np.ndarray) -> None:
        """As :class:`Tracker`."""
        self._writer.add_image(name, picture, step)

    def event(self, step: int, kind: EventKind, text: str) -> None:
        """As :class:`Tracker`."""
        self._writer.add_text(f"event/{kind}", text, step)

    def close(self) -> None:
        """As :class:`Tracker`."""
        self._writer.close()


class Wandb:
    """Weights & Biases, offline unless WANDB_MODE says otherwise; in the folder ``wandb``."""

    def __init__(self, folder: Path, config: Config, step: int) -> None:
        mode: Any = os.environ.get("WANDB_MODE", "offline")
        for name in ("CACHE", "CONFIG", "DATA"):
            os.environ.setdefault(f"WANDB_{name}_DIR", str(folder.absolute() / "wandb"))
        wandb: Any = import_module("wandb")
        self._image: Callable[..., Any] = wandb.Image
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            name=folder.absolute().name,
            id=_lasting_id(folder),
            dir=os.environ.get("WANDB_DIR", str(folder)),
            mode=mode,
            resume="allow",
            config=settings.to_dict(config),
            settings=wandb.Settings(
                console="off", silent=mode == "offline", disable_git=True, disable_code=True
            ),
        )
        # Its own count of steps only grows, and a run may go back.
        self._run.define_metric("step", hidden=True)
        self._run.define_metric("*", step_metric="step")
        self.remark = f"wandb sync {folder / 'wandb'}/offline-run-*" if mode == "offline" else mode

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """As :class:`Tracker`."""
        self._run.log({"step": step, **values})

    def images(self, step: int, name: str, picture: np.ndarray) -> None:
        """As :class:`Tracker`."""
        self._run.log({"step": step, name: self._image(image_of(picture))})

    def event(self, step: int, kind: EventKind, text: str) -> None:
        """As :class:`Tracker`."""
        self._run.log({"step": step, f"event/{kind}": text})
        if kind == ALARM:
            self._run.alert(title=f"{self._run.name}, step {step}", text=text)

    def close(self) -> None:
        """As :class:`Tracker`."""
        self._run.finish()


class Trackio:
    """Trackio: one SQLite file in the folder ``trackio``, or where TRACKIO_DIR says."""

    def __init__(self, folder: Path, config: Config, step: int) -> None:
        place = os.environ.setdefault("TRACKIO_DIR", str(folder.absolute() / "trackio"))
        self._trackio: Any = import_module("trackio")  # reads the variable once
        with redirect_stdout(io.StringIO()):
            self._run: Any = self._trackio.init(
                project=_PROJECT,
                name=f"{folder.absolute().name}-{_lasting_id(folder)}",
                resume="allow",
                config=settings.to_dict(config),
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        self.remark = f"TRACKIO_DIR={place} trackio show --project {_PROJECT}"

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """As :class:`Tracker`."""
        self._run.log(dict(values), step=step)

    def images(self, step: int, name: str, picture: np.ndarray) -> None:
        """As :class:`Tracker`."""
        self._run.log({name: self._trackio.Image(image_of(picture))}, step=step)

    def event(self, step: int, kind: EventKind, text: str) -> None:
        """As :class:`Tracker`."""
        self._run.log({f"event/{kind}": text}, step=step)

    def close(self) -> None:
        """As :class:`Tracker`."""
        with redirect_stdout(io.StringIO()):
            self._trackio.finish()


_TRACKERS: Final[dict[TrackerName, Callable[[Path, Config, int], Tracker]]] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "trackio": Trackio,
}


def require_trackers(names: Sequence[TrackerName]) -> None:
    """Makes sure, before any work, that the packages of some trackers are installed.

    Raises:
        SaganError: One is not; names the command that installs it.
    """
    for name in names:
        if find_spec(name) is None:
            raise SaganError(
                f"train.log {name} needs a package that is absent; run: {install(name)}"
            )


class Trackers:
    """Hands what a run logs to those trackers that its settings name, and never raises.

    Args:
        folder: Of the run.
        config: Its settings; ``train.log`` names the trackers.
    """

    def __init__(self, folder: Path, config: Config) -> None:
        self._folder = folder
        self._config = config
        self._open: dict[TrackerName, Tracker] = {}

    def open(self, step: int) -> None:
        """Begins, or goes on at the same place; ``step`` steps are done."""
        for name in self._config.train.log:
            self._attempt(name, lambda name=name: self._begin(name, step))
            if name in self._open:
                sys.stderr.write(f"note: to look at {name}: {self._open[name].remark}\n")

    def record(self, record: Mapping[str, Any]) -> None:
        """Hands on a record of the log: its numbers, or the event that it is."""
        step, kind = record["step"], record.get("event")
        if kind is not None:
            text = event_in_words(record)
            self._each(lambda tracker: tracker.event(step, kind, text))
        elif values := numbers_of_record(record):
            self._each(lambda tracker: tracker.scalars(step, values))

    def look(self, step: int, generator: TrainedGenerator, grid: np.ndarray) -> None:
        """Hands on a sample grid, uint8 (C, H, W), and a figure of the generator's attention."""
        if not self._open:
            return
        self._picture(step, "samples", grid)
        if generator.has_attention():
            try:
                figure = generator.attention(0, 0).drawn(_FIGURE_PANEL)
            except SaganError as error:
                warnings.warn(f"no figure of the attention: {error}", RuntimeWarning, stacklevel=2)
            else:
                self._picture(step, "attention", figure)

    def close(self) -> None:
        """Ends all; then nothing is handed on any more."""
        self._each(lambda tracker: tracker.close())
        self._open.clear()

    def _begin(self, name: TrackerName, step: int) -> None:
        self._open[name] = _TRACKERS[name](self._folder, self._config, step)

    def _picture(self, step: int, name: str, picture: np.ndarray) -> None:
        picture = as_rgb(picture)
        self._each(lambda tracker: tracker.images(step, name, picture))

    def _each(self, tell: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._open.items()):
            self._attempt(name, lambda tracker=tracker: tell(tracker))

    def _attempt(self, name: TrackerName, act: Callable[[], None]) -> None:
        """Does it, or switches the tracker off with a warning."""
        try:
            act()
        except Exception as error:
            self._open.pop(name, None)
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            told = f"{name} fails and is switched off; the run and its log.jsonl go on: {reason}"
            warnings.warn(told, RuntimeWarning, stacklevel=2)


def numbers_of_record(record: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The finite numbers of a record, but its step; those of a table within as ``table/name``.

    Example:
        >>> numbers_of_record({"step": 9, "generator": 0.5, "evaluation": {"fd": 294.0}})
        {'generator': 0.5, 'evaluation/fd': 294.0}
    """
    found: dict[str, float] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            found |= numbers_of_record(value, f"{prefix}{name}/")
        elif isinstance(value, bool) or not isinstance(value, int | float):
            continue
        elif math.isfinite(value) and (prefix or name != "step"):
            found[prefix + name] = float(value)
    return found


def event_in_words(record: Mapping[str, Any]) -> str:
    """What an event says, in one line: an alarm with its detail, of others all their facts."""
    if record["event"] == ALARM:
        return printable(f"{record.get('alarm')}: {record.get('detail')}")
    facts = {name: value for name, value in record.items() if name not in ("step", "event")}
    return printable(json.dumps(facts)) if facts else record["event"]


def _lasting_id(folder: Path) -> str:
    """The id under which trackers know a run, also when it is continued; kept in its folder."""
    path = folder / "tracking-id.txt"
    known = path.read_text("utf-8", errors="replace").strip() if path.is_file() else ""
    if not re.fullmatch("[0-9a-f]{8}", known):
        known = secrets.token_hex(4)
        write_text(path, f"{known}\n")
    return known
