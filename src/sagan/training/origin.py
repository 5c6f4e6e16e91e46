"""The model that a run begins from: its settings, and the record of it in the run folder.

The record holds the model, the SHA-256 of its file, its step, and what was taken of it.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sagan.config import UNKNOWN_SOURCE, Config, DataConfig
from sagan.config.presets import named_settings
from sagan.data.opening import is_one_place
from sagan.errors import SaganError
from sagan.runs.checkpoint import Checkpoint, DamagedError
from sagan.runs.folder import ORIGIN, checkpoint_files, is_run, settings_of
from sagan.runs.locked import ELSEWHERE
from sagan.runs.named import is_name, model_file
from sagan.runs.run import Run, load_checkpoint
from sagan.system.files import write_text, writing
from sagan.training.state import TrainingState
from sagan.training.transfer import Transfer, take_over

_OF_THE_NETWORKS = ("labels", "resolution", "width", "channels")
_OF_TRAINING = ("horizontal_flip", "augment")


@dataclass(frozen=True, kw_only=True)
class StartingModel:
    """A model that a run begins from, read."""

    model: str
    """What was named: the absolute path of a run folder or a file, or the name of a model."""
    file: Path
    """The checkpoint."""
    digest: str
    """SHA-256 of the file, 64 hex digits."""
    checkpoint: Checkpoint

    def begin(
        self, state: TrainingState, class_names: tuple[str, ...], data: DataConfig
    ) -> "Beginning":
        """Gives a new state the model's weights; class names and data are the run's.

        Raises:
            SaganError: They do not fit.
        """
        try:
            transfer = take_over(state, class_names, self.checkpoint)
        except SaganError as error:
            raise SaganError(f"{self.file}: {error}") from error
        return Beginning(
            model=self.model,
            file=str(self.file.absolute()),
            sha256=self.digest,
            step=self.checkpoint.step,
            transfer=transfer,
            read_otherwise=self.checkpoint.config.data.reading_unlike(data),
        )


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """Where a run comes from, as its folder records it; see :class:`StartingModel`."""

    model: str
    file: str
    sha256: str
    step: int
    transfer: Transfer
    """What it took."""
    read_otherwise: str
    """How the model's pictures were read, where the run reads its own otherwise."""

    def lines(self) -> list[str]:
        """The same for people."""
        lines = [f"  {line}" for line in self.transfer.lines()]
        if self.read_otherwise:
            lines.append(f"  not taken over, of how its pictures were read: {self.read_otherwise}")
        return [f"begins from {self.file}, step {self.step:,}", *lines]

    def record(self, run: Run) -> None:
        """Writes it into the run folder.

        Raises:
            SaganError: It cannot be written.
        """
        with writing(f"to the run folder {run.folder}", ELSEWHERE):
            write_text(run.folder / ORIGIN, json.dumps(asdict(self), indent=1) + "\n")


def origin_of(run: Run, model: str | Path | None) -> StartingModel | None:
    """Reads the model that a run begins from.

    Args:
        run: The run.
        model: A run folder, a checkpoint, an exported or converted file, or the name of a model;
            None for what the run folder records.

    Returns:
        None where nothing is to be taken: the run begins by itself, or has checkpoints of its own.

    Raises:
        SaganError: The run was begun otherwise, or the model cannot be read.
    """
    recorded = recorded_origin(run.folder)
    if model is None and not recorded:
        return None
    if model is not None and run.is_begun:
        _require_same_model(run, recorded, model)
    if checkpoint_files(run.folder):
        return None
    origin = _starting_model(recorded["model"] if model is None else model)
    if model is None and origin.digest != recorded["sha256"]:
        raise SaganError(
            f"{origin.file}, which {run.folder} begins from, is no longer what it was; give "
            f"--from {recorded['model']} to begin from it as it is, or choose another --run"
        )
    return origin


def recorded_origin(folder: Path) -> dict[str, Any]:
    """What a run folder records of the model that it began from; empty if from none.

    Raises:
        SaganError: The record cannot be read.
    """
    path = folder / ORIGIN
    if not path.exists():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SaganError(f"cannot read {path}: {error}; restore it") from error
    if not isinstance(values, dict) or not all(
        isinstance(values.get(key), str) for key in ("model", "sha256")
    ):
        raise SaganError(f"{path} names no model; restore it")
    return values


def model_settings(model: str | Path) -> Config:
    """The settings that a model was made with, with the channels that its pictures have.

    Raises:
        SaganError: It cannot be read.
    """
    checkpoint, _ = _checkpoint(model)
    return checkpoint.config


def run_settings(
    config: Config | str | Path | None,
    folder: str | Path,
    *,
    source: str | None = None,
    start_from: str | Path | None = None,
) -> Config:
    """The settings of a run, from what names them.

    Args:
        config: Settings, which stay; the name of a preset or the path of a ``.toml`` file; None for
            those of the run, where it is begun, or of the model.
        folder: The run folder.
        source: The pictures, where they are named apart.
        start_from: The model to begin from. A run that is begun has its networks already.

    Raises:
        SaganError: There are no such settings, or nothing names any.
    """
    chosen = None if config is None else named_settings(config)
    if chosen is None and is_run(folder):
        chosen = settings_of(folder)
    elif start_from is not None and not isinstance(config, Config):
        model = settings_of(folder) if is_run(folder) else model_settings(start_from)
        return starting_settings(model, chosen, source=source)
    if chosen is None:
        raise SaganError("nothing names the settings; give a preset, or a model to start from")
    if source is None:
        return chosen
    return replace(chosen, data=replace(chosen.data, source=source))


def starting_settings(
    model: Config, chosen: Config | None = None, *, source: str | None = None
) -> Config:
    """The settings of a run that begins from a model.

    The networks, the size of the pictures and whether there are classes are the model's. The rest
    is as chosen; if nothing is, it is the model's too, but for what belongs to its pictures where
    others are named.

    Args:
        model: The model's.
        chosen: Those of a preset or a file.
        source: The pictures, where they are named apart.

    Raises:
        SaganError: Nothing says which pictures to learn from.
    """
    rest = chosen or model
    data = rest.data
    if source is None and data.source == UNKNOWN_SOURCE:
        raise SaganError(
            "the model does not say which pictures it learned from; give yours with --data.source"
        )
    if chosen is None and source is not None and not is_one_place(source, data.source):
        data = DataConfig(source=source, **_some(data, _OF_TRAINING))
    elif source is not None:
        data = replace(data, source=source)
    return replace(
        rest,
        generator=model.generator,
        discriminator=model.discriminator,
        data=replace(data, **_some(model.data, _OF_THE_NETWORKS)),
    )


def _some(data: DataConfig, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(data, name) for name in names}


def _require_same_model(run: Run, recorded: dict[str, Any], model: str | Path) -> None:
    """Refuses to go on from another model; the same one may have moved, or been trained further."""
    way_on = f"leave --from out to continue {run.folder}, or choose another --run"
    if not recorded:
        raise SaganError(f"{run.folder} was not begun from a model; {way_on}")
    is_named = recorded["model"] == _absolute(model)
    if not is_named and recorded["sha256"] != _starting_model(model).digest:
        raise SaganError(f"{run.folder} begins from {recorded['model']}, not {model}; {way_on}")


def _starting_model(model: str | Path) -> StartingModel:
    checkpoint, file = _checkpoint(model)
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return StartingModel(model=_absolute(model), file=file, digest=digest, checkpoint=checkpoint)


def _checkpoint(model: str | Path) -> tuple[Checkpoint, Path]:
    path = model_file(Path(model).expanduser())
    try:
        return load_checkpoint(path)
    except DamagedError as error:
        if path.suffix == ".safetensors":
            raise
        raise SaganError(
            f"{path} is no checkpoint of this program; if another repository wrote it, turn it "
            f"into one: sagan convert {path} -o model.safetensors"
        ) from error


def _absolute(model: str | Path) -> str:
    """A path as an absolute one; a name stays."""
    return str(model) if is_name(model) else os.path.abspath(os.path.expanduser(model))
