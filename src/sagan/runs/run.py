"""A run folder that is written to, and the checkpoints that are read from one."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagan import config as settings
from sagan.config import Config
from sagan.errors import SaganError
from sagan.runs.events import FINISHED, STARTED, STOPPED, EventKind, events
from sagan.runs.folder import (
    DROPPED,
    SETTINGS,
    SURVEY,
    checkpoint_files,
    checkpoint_path,
    is_run,
    sample_files,
    sample_path,
    settings_of,
    step_of,
)
from sagan.runs.locked import ELSEWHERE, require_kept_settings, require_place_for_a_run
from sagan.runs.log import LOG, log_records, record_in
from sagan.runs.named import model_file
from sagan.system.files import replacing, write_text, writing

if TYPE_CHECKING:
    from sagan.runs.checkpoint import Checkpoint

_INTERVALS = ("log_interval", "watch_interval", "sample_interval", "checkpoint_interval")
_GUARDS = ("on_divergence", "most_rollbacks")
_KEEPING = ("keep_checkpoints", "keep_every", "keep_best")
_COMPUTING = ("device", "compile", "checkpoint_activations")
_MAY_CHANGE = ("steps", "log", *_COMPUTING, *_KEEPING, *_INTERVALS, *_GUARDS)
_DRAFTS = ("*.toml", "*.json*", "samples/*.png", "checkpoints/*.safetensors")
"""What is written aside before it takes its place, by the run alone."""
_UNNAMED = "checkpoints/.tmp??????"
"""What safetensors writes, aside of what it was told to write."""
_SAVED: tuple[EventKind, ...] = (STARTED, STOPPED, FINISHED)
"""What happens after the first step only where there is a checkpoint."""


class Run:
    """A run folder, new or to be continued; nothing is written before :meth:`begin`.

    Args:
        folder: The place.
        config: Must agree with the one the folder was begun with, but for what ``_MAY_CHANGE``
            lists, the evaluations, and where the pictures lie.

    Attributes:
        config: The same; channels that are left as found are those the folder was begun with.

    Raises:
        SaganError: The folder belongs to another config or is no run folder.
    """

    def __init__(self, folder: str | Path, config: Config) -> None:
        self.folder = Path(folder)
        self.config = config
        if self.is_begun:
            begun = settings_of(self.folder)
            if not config.data.channels:
                self.config = config.with_channels(begun.data.shape[0])
            self.require_same(begun)
        else:
            require_place_for_a_run(self.folder)

    def require_same(self, begun: Config) -> None:
        """Compares the settings with those that the run, or its checkpoint, was begun with.

        Raises:
            SaganError: They differ where a run may not change; names the fields.
        """
        allowed = {name: getattr(self.config.train, name) for name in _MAY_CHANGE}
        begun = begun.with_channels(begun.data.shape[0])
        begun = replace(
            begun,
            train=replace(begun.train, **allowed),
            data=replace(begun.data, source=self.config.data.source),
            evaluation=self.config.evaluation,
        )
        if different := settings.differences(begun, self.config):
            raise SaganError(
                f"{self.folder} was begun with other settings: {', '.join(different)}; "
                f"choose {self.another} or the settings it was begun with"
            )

    @property
    def another(self) -> str:
        """In words: another run, and how to begin it with what this one has learned so far."""
        if not checkpoint_files(self.folder):
            return "another --run"
        return f"another --run (--from {self.folder} begins it with these weights)"

    def begin(self) -> None:
        """Makes the folder and writes the settings.

        Raises:
            SaganError: It cannot be written.
        """
        with writing(f"to the run folder {self.folder}", ELSEWHERE):
            write_text(self.settings_path, settings.to_toml(self.config))

    @property
    def settings_path(self) -> Path:
        """Where the settings are."""
        return self.folder / SETTINGS

    @property
    def is_begun(self) -> bool:
        """Whether there are settings, which are written first."""
        return is_run(self.folder)

    def keep_survey(self, survey: Mapping[str, object]) -> None:
        """Writes down what the pictures are.

        Raises:
            SaganError: It cannot be written.
        """
        with writing(f"to the run folder {self.folder}", ELSEWHERE):
            write_text(self.folder / SURVEY, json.dumps(survey, indent=1) + "\n")

    def surveyed(self) -> str:
        """Fingerprint of the pictures that are written down; empty where there are none."""
        try:
            survey = json.loads((self.folder / SURVEY).read_bytes())
            return str(survey["fingerprint"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return ""

    @property
    def log_path(self) -> Path:
        """One JSON object per line."""
        return self.folder / LOG

    def sample_path(self, step: int) -> Path:
        """Where the sample grid of a step goes."""
        return sample_path(self.folder, step)

    def checkpoint_path(self, step: int) -> Path:
        """Where the checkpoint of a step goes."""
        return checkpoint_path(self.folder, step)

    def log(self, record: Mapping[str, object]) -> None:
        """Appends one line to the log."""
        with (
            writing(self.log_path, "free space"),
            self.log_path.open("a", encoding="utf-8") as file,
        ):
            file.write(json.dumps(record) + "\n")

    def rewind_log(self, step: int) -> int:
        """Moves the lines after ``step``, which a continued run writes again, to another file.

        So it does with lines that are garbled.

        Returns:
            How many.
        """
        if not self.log_path.exists():
            return 0
        log, kept, dropped = self.log_path.read_bytes(), [], []
        for line in log.splitlines():
            record = record_in(line)
            (kept if record and record["step"] <= step else dropped).append(line + b"\n")
        if dropped:
            before = self.dropped_path.read_bytes() if self.dropped_path.exists() else b""
            with replacing(self.dropped_path) as draft:
                draft.write_bytes(before + b"".join(dropped))
        if (rest := b"".join(kept)) != log:
            with replacing(self.log_path) as draft:
                draft.write_bytes(rest)
        return len(dropped)

    @property
    def dropped_path(self) -> Path:
        """Lines of the log whose steps were done again."""
        return self.folder / DROPPED

    def require_no_lost_checkpoints(self) -> None:
        """For a run without checkpoints: refuses if it once had some, as what it left tells.

        Raises:
            SaganError: Going on would begin anew and write over all that.
        """
        records = self.records()
        told = any(record["step"] for kind in _SAVED for record in events(records, kind))
        reached = max([record["step"] for record in records] or sample_files(self.folder) or [0])
        begun = settings_of(self.folder) if self.is_begun else self.config
        if told or reached > 2 * begun.train.checkpoint_interval:  # the first may be in writing
            raise SaganError(
                f"{self.folder} came to step {reached:,}, but has no checkpoints any more; put "
                "them back, or choose another --run; to begin again here, first move its "
                "log.jsonl and samples elsewhere"
            )

    def sweep_drafts(self) -> None:
        """Removes what a process that died was just writing; for the holder of the lock only."""
        for draft in drafts_in(self.folder):
            with suppress(OSError):
                draft.unlink()

    def records(self) -> list[dict[str, Any]]:
        """The lines of the log, as :func:`log_records` reads them."""
        return log_records(self.folder)

    def set_aside_after(self, step: int) -> None:
        """Renames checkpoints after a step, which are damaged if the run continues there.

        What was set aside before stays.
        """
        for file in checkpoint_files(self.folder):
            if step_of(file) > step:
                names = (f"{file.name}{'' if n == 1 else f'.{n}'}.damaged" for n in count(1))
                places = (file.with_name(name) for name in names)
                file.replace(next(place for place in places if not place.exists()))

    @property
    def last_good(self) -> str:
        """Where training could go on from, in words; the file is read and found whole."""
        from sagan.runs import checkpoint as checkpoints

        files = checkpoint_files(self.folder)
        for file in reversed(files):
            try:
                checkpoints.require_good(file)
                return f"the last good checkpoint is {file}"
            except SaganError:
                continue
        return "no checkpoint is good" if files else "there is no checkpoint yet"


def require_run(folder: Path) -> None:
    """Makes sure that a folder is one of a run.

    Raises:
        SaganError: It has no settings.
    """
    require_kept_settings(folder)
    if not is_run(folder):
        raise SaganError(f"{folder} is no run folder; give the one that sagan train wrote to")


def drafts_in(folder: Path) -> list[Path]:
    """What a run was writing when it was ended, half written."""
    names = (*(f"{name}.*.tmp" for name in _DRAFTS), _UNNAMED)
    return sorted(path for name in names for path in folder.glob(name))


def load_checkpoint(path: str | Path) -> tuple[Checkpoint, Path]:
    """Reads a checkpoint file, or the newest undamaged one of a run folder.

    Damaged files of a run folder are passed over, with a warning.

    Args:
        path: Where it is, or a name that :func:`sagan.runs.named.model_file` knows.

    Returns:
        The checkpoint and its path.

    Raises:
        SaganError: There is none, or it cannot be read.
    """
    from sagan.runs import checkpoint as checkpoints  # which loads torch

    path = model_file(path)
    if not path.is_dir():
        return checkpoints.load(path), path
    damaged: list[str] = []
    for file in reversed(checkpoint_files(path)):
        try:
            checkpoint = checkpoints.load(file)
        except checkpoints.DamagedError as error:
            damaged.append(error.reason)
            continue
        if damaged:
            told = f"{'; '.join(damaged)}; instead {file.name} is taken"
            warnings.warn(told, RuntimeWarning, stacklevel=1)  # from one place: told once
        return checkpoint, file
    if damaged:
        raise SaganError(
            f"all checkpoints of {path} are damaged ({damaged[0]}); restore one, or begin a new run"
        )
    raise SaganError(f"{path} holds no checkpoint yet; train first, or give another folder")
