"""The run folder: its names, its log, its checkpoints.

config.toml                          the settings
data.json                            what the pictures are
log.jsonl                            one line per logged step, and events
log.dropped.jsonl                    lines of steps that were done again
run.lock                             who trains in it just now
samples/step-00001000.png            fixed seeds, one row per class, with its name
checkpoints/step-00001000.safetensors
evaluations/step-00001000-….json     what sagan evaluate measured
"""

import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from sagan import config as settings
from sagan.config import Config
from sagan.errors import SaganError
from sagan.runs import checkpoint as checkpoints
from sagan.runs.checkpoint import Checkpoint
from sagan.runs.events import FINISHED, STARTED, STOPPED, EventKind, events
from sagan.runs.named import model_file
from sagan.system.files import replacing, write_text, writing
from sagan.system.locks import holding

_INTERVALS = ("log_interval", "sample_interval", "checkpoint_interval")
_LOCK = "run.lock"
_ELSEWHERE = "choose another --run or free space"
_DRAFT = re.compile(r"(config\.toml|data\.json|from\.json|log\..*|step-\d+\..*)\.\d+\.tmp")
_SAVED: tuple[EventKind, ...] = (STARTED, STOPPED, FINISHED)
"""What happens after the first step only where there is a checkpoint."""
_MAY_CHANGE = ("steps", "device", "compile", "keep_checkpoints", *_INTERVALS)


class Run:
    """A run folder, new or to be continued; nothing is written before :meth:`begin`.

    Args:
        folder: The place.
        config: Must agree with the one the folder was begun with, but for its length, its
            intervals, the device, the evaluations, and where the pictures lie.

    Attributes:
        config: The same; channels that are left as found are those the folder was begun with.

    Raises:
        SaganError: The folder belongs to another config or is no run folder.
    """

    def __init__(self, folder: str | Path, config: Config) -> None:
        self.folder = Path(folder)
        self.config = config
        if self.is_begun:
            begun = settings.load_toml(self.settings_path)
            if not config.data.channels:
                self.config = config.with_channels(begun.data.shape[0])
            self.require_same(begun)
        elif not _may_become_a_run(self.folder):
            raise SaganError(f"{folder} is no run folder and not empty; choose another --run")

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
        with writing(f"to the run folder {self.folder}", _ELSEWHERE):
            write_text(self.settings_path, settings.to_toml(self.config))

    @property
    def settings_path(self) -> Path:
        """Where the settings are."""
        return self.folder / "config.toml"

    @property
    def is_begun(self) -> bool:
        """Whether there are settings, which are written first."""
        return self.settings_path.exists()

    def keep_survey(self, survey: Mapping[str, object]) -> None:
        """Writes down what the pictures are.

        Raises:
            SaganError: It cannot be written.
        """
        with writing(f"to the run folder {self.folder}", _ELSEWHERE):
            write_text(self.folder / "data.json", json.dumps(survey, indent=1) + "\n")

    def surveyed(self) -> str:
        """Fingerprint of the pictures that are written down; empty where there are none."""
        try:
            survey = json.loads((self.folder / "data.json").read_bytes())
            return str(survey["fingerprint"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return ""

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
            record = _record(line)
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
        return self.folder / "log.dropped.jsonl"

    def require_no_lost_checkpoints(self) -> None:
        """For a run without checkpoints: refuses if it once had some, as what it left tells.

        Raises:
            SaganError: Going on would begin anew and write over all that.
        """
        records = self.records()
        told = any(record["step"] for kind in _SAVED for record in events(records, kind))
        reached = max([record["step"] for record in records] or sample_files(self.folder) or [0])
        begun = settings.load_toml(self.settings_path) if self.is_begun else self.config
        if told or reached > 2 * begun.train.checkpoint_interval:  # the first may be in writing
            raise SaganError(
                f"{self.folder} came to step {reached:,}, but has no checkpoints any more; put "
                "them back, or choose another --run; to begin again here, first move its "
                "log.jsonl and samples elsewhere"
            )

    def sweep_drafts(self) -> None:
        """Removes what a process that died was just writing; for the holder of the lock only."""
        for folder in (self.folder, self.folder / "checkpoints", self.folder / "samples"):
            for path in folder.glob("*.tmp"):
                if _DRAFT.fullmatch(path.name):
                    with suppress(OSError):
                        path.unlink()

    def records(self) -> list[dict[str, Any]]:
        """The lines of the log, as :func:`log_records` reads them."""
        return log_records(self.folder)

    def set_aside_after(self, step: int) -> None:
        """Renames checkpoints after a step, which are damaged if the run continues there."""
        for file in checkpoint_files(self.folder):
            if file > self.checkpoint_path(step):
                file.replace(file.with_name(file.name + ".damaged"))

    @property
    def last_good(self) -> str:
        """Where training could go on from, in words."""
        files = checkpoint_files(self.folder)
        return f"the last good checkpoint is {files[-1]}" if files else "there is no checkpoint yet"

    def remove_old_checkpoints(self, newest: int) -> None:
        """Keeps ``train.keep_checkpoints`` files, the newest of which belongs to a given step."""
        files = [p for p in checkpoint_files(self.folder) if p <= self.checkpoint_path(newest)]
        for path in files[: -self.config.train.keep_checkpoints]:
            path.unlink(missing_ok=True)


@contextmanager
def locked_run(folder: str | Path) -> Iterator[None]:
    """Keeps other processes from training in a run folder, which is made if it is not there.

    Of the processes of one training the first keeps it for all (torchrun numbers them by RANK). A
    folder that cannot be one is left alone; :class:`Run` will refuse it.

    Raises:
        FaultError: A process trains in it already; names it.
        SaganError: It cannot be written.
    """
    folder = Path(folder)
    with ExitStack() as held:
        if os.environ.get("RANK", "0") == "0" and _may_become_a_run(folder):
            with writing(f"to the run folder {folder}", _ELSEWHERE):
                held.enter_context(holding(folder / _LOCK))
        yield


def _may_become_a_run(folder: Path) -> bool:
    """Whether a folder is one of a run, or may become one: it is empty, or not there."""
    if not folder.is_dir():
        return not folder.exists()
    files = {path.name for path in folder.iterdir()}
    return "config.toml" in files or all(name.startswith(_LOCK) for name in files)


def log_records(folder: str | Path) -> list[dict[str, Any]]:
    """What a run has logged so far; nothing where it has no log.

    Lines that are cut off, are no UTF-8 or hold no object with a whole ``step`` are passed over.

    Returns:
        A dictionary per line, each with its ``step``.

    Raises:
        OSError: The log exists and cannot be read.
    """
    path = Path(folder) / "log.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [record for line in lines if (record := _record(line))]


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line.decode())
    except (ValueError, RecursionError):  # brackets by the thousand recurse too deeply
        return None
    step = record.get("step") if isinstance(record, dict) else None
    return record if type(step) is int and 0 <= step < 2**53 else None


def require_run(folder: Path) -> None:
    """Makes sure that a folder is one of a run.

    Raises:
        SaganError: It has no settings.
    """
    if not (folder / "config.toml").is_file():
        raise SaganError(f"{folder} is no run folder; give the one that sagan train wrote to")


def checkpoint_files(folder: Path) -> list[Path]:
    """The checkpoints of a run folder, oldest first; copies with other names are none of them."""
    files = (folder / "checkpoints").glob("step-*.safetensors")
    return sorted(path for path in files if path.stem.removeprefix("step-").isdigit())


def sample_files(folder: Path) -> dict[int, Path]:
    """The sample grids of a run folder by their steps; copies with other names are none of them."""
    files = {path.stem.removeprefix("step-"): path for path in folder.glob("samples/step-*.png")}
    return {int(step): path for step, path in files.items() if step.isdecimal() and path.is_file()}


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
    path = model_file(path)
    if not path.is_dir():
        return checkpoints.load(path), path
    for file in reversed(checkpoint_files(path)):
        try:
            return checkpoints.load(file), file
        except checkpoints.DamagedError as error:
            warnings.warn(str(error), RuntimeWarning, stacklevel=2)
    if checkpoint_files(path):
        raise SaganError(f"all checkpoints of {path} are damaged; restore one, or begin a new run")
    raise SaganError(f"{path} holds no checkpoint yet; train first, or give another folder")
