"""The run folder: its names, its log, its checkpoints.

config.toml                          the settings
log.jsonl                            one line per logged step
samples/step-00001000.png            fixed seeds, one row per class
checkpoints/step-00001000.safetensors
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sagan import checkpoint as checkpoints
from sagan import config as settings
from sagan.checkpoint import Checkpoint
from sagan.config import Config
from sagan.errors import SaganError

_MAY_CHANGE = (
    "steps",
    "device",
    "log_interval",
    "sample_interval",
    "checkpoint_interval",
    "keep_checkpoints",
)


class Run:
    """A run folder, new or to be continued; nothing is written before :meth:`begin`.

    Args:
        folder: The place.
        config: Must agree with the one the folder was begun with, but for its length, intervals
            and device.

    Raises:
        SaganError: The folder belongs to another config or is no run folder.
    """

    def __init__(self, folder: str | Path, config: Config) -> None:
        self.folder = Path(folder)
        self.config = config
        settings_path = self.folder / "config.toml"
        if settings_path.exists():
            self.require_same(settings.load(settings_path))
        elif self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise SaganError(f"{folder} is no run folder and not empty; choose another --run")

    def require_same(self, begun: Config) -> None:
        """Compares the settings with those that the run, or its checkpoint, was begun with.

        Raises:
            SaganError: They differ where a run may not change; names the fields.
        """
        allowed = {name: getattr(self.config.train, name) for name in _MAY_CHANGE}
        begun = replace(begun, train=replace(begun.train, **allowed))
        if different := settings.differences(begun, self.config):
            raise SaganError(
                f"{self.folder} was begun with other settings: {', '.join(different)}; "
                "choose another --run or the settings it was begun with"
            )

    def begin(self) -> None:
        """Makes the folder and writes the settings.

        Raises:
            SaganError: It cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "config.toml").write_text(
                settings.to_toml(self.config), encoding="utf-8"
            )
        except OSError as error:
            raise SaganError(
                f"cannot write to the run folder {self.folder}: {error.strerror or error}; "
                "choose another --run or free space"
            ) from error

    @property
    def log_path(self) -> Path:
        """One JSON object per line."""
        return self.folder / "log.jsonl"

    def sample_path(self, step: int) -> Path:
        """Where the sample grid of a step goes."""
        return self.folder / "samples" / f"step-{step:08d}.png"

    def checkpoint_path(self, step: int) -> Path:
        """Where the checkpoint of a step goes."""
        return self.folder / "checkpoints" / f"step-{step:08d}.safetensors"

    def log(self, record: Mapping[str, object]) -> None:
        """Appends one line to the log."""
        try:
            with self.log_path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise SaganError(
                f"cannot write {self.log_path}: {error.strerror or error}; free space"
            ) from error

    def rewind_log(self, step: int) -> None:
        """Drops the lines after ``step``, which a continued run writes again."""
        if self.log_path.exists():
            lines = self.log_path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [
                line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step
            ]
            self.log_path.write_text("".join(kept), encoding="utf-8")

    def remove_old_checkpoints(self) -> None:
        """Keeps the newest ``train.keep_checkpoints`` files."""
        for path in checkpoint_files(self.folder)[: -self.config.train.keep_checkpoints]:
            path.unlink(missing_ok=True)


def checkpoint_files(folder: Path) -> list[Path]:
    """The checkpoints of a run folder, oldest first."""
    return sorted((folder / "checkpoints").glob("step-*.safetensors"))


def load_checkpoint(path: str | Path) -> tuple[Checkpoint, Path]:
    """Reads a checkpoint file, or the newest readable one of a run folder; returns it and its path.

    Raises:
        SaganError: There is none, or none can be read.
    """
    path = Path(path)
    if not path.is_dir():
        return checkpoints.load(path), path
    failure = SaganError(f"{path} holds no checkpoint yet; train first, or give another folder")
    for file in reversed(checkpoint_files(path)):
        try:
            return checkpoints.load(file), file
        except SaganError as error:
            failure = error
    raise failure
