"""What is wrong with a run folder, and what to do about it; nothing in it is changed."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch

from sagan.config import Config
from sagan.data.opening import BUILT_IN, load_dataset, stored_pack
from sagan.data.packfile import damaged_stretch
from sagan.errors import FaultError, SaganError
from sagan.evaluation.record import read_record
from sagan.runs import checkpoint as checkpoints
from sagan.runs.checkpoint import Checkpoint
from sagan.runs.folder import (
    CHECKPOINTS,
    LOCK,
    SAMPLES,
    SETTINGS,
    checkpoint_files,
    sample_files,
    settings_of,
    step_of,
)
from sagan.runs.log import LOG, log_records
from sagan.runs.run import Run, drafts_in, require_run
from sagan.system.locks import holder_of, is_locked
from sagan.system.memory import readable
from sagan.training.measuring import EvaluationSchedule
from sagan.training.starting import still_due
from sagan.training.state import TrainingState, new_state

Severity = Literal["mistake", "fault", "note"]
_LINES = "images_per_second"
"""In the lines that a run logs every ``train.log_interval`` steps."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that somebody should know."""

    kind: Severity
    """A mistake of somebody, a fault of disk or machine, or something that does no harm."""
    where: str
    """A file, or what else it is about."""
    text: str
    """What is the matter."""
    remedy: str = ""
    """What to do; empty where there is nothing to do."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.text}" + f"; {self.remedy}" * bool(self.remedy)


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What was found in a run folder."""

    folder: str
    findings: Sequence[Finding]
    good: Sequence[int]
    """Steps of the checkpoints from which the run can go on."""

    @property
    def verdict(self) -> str:
        """All in one line."""
        counts = [
            f"{number} {kind}{'s' * (number > 1)}"
            for kind in ("mistake", "fault", "note")
            if (number := sum(found.kind == kind for found in self.findings))
        ]
        onward = f"the run goes on from step {self.good[-1]}" if self.good else "it begins anew"
        if any(found.kind == "mistake" for found in self.findings):
            onward = "the run cannot go on before that is mended"
        return f"{self.folder}: {', '.join(counts) or 'all is well'}; {onward}"

    @property
    def exit_code(self) -> int:
        """0, or that of a mistake or else of a fault."""
        kinds = {found.kind for found in self.findings}
        if "mistake" in kinds:
            return SaganError.exit_code
        return FaultError.exit_code if "fault" in kinds else 0

    def as_json(self) -> str:
        """Everything."""
        found = {
            "run": self.folder,
            "verdict": self.verdict,
            "good": list(self.good),
            "findings": [vars(finding) for finding in self.findings],
        }
        return json.dumps(found, indent=1)


def examine_run(folder: str | Path) -> Examination:
    """Reads everything in a run folder, and the pictures that it learned from.

    Args:
        folder: The run folder.

    Raises:
        SaganError: It is none.
    """
    folder = Path(folder)
    require_run(folder)
    try:
        run = Run(folder, settings_of(folder))
    except SaganError as error:
        remedy = "copy the settings out of a checkpoint's metadata, or begin another run"
        wrong = Finding(kind="mistake", where=SETTINGS, text=str(error), remedy=remedy)
        return Examination(folder=str(folder), findings=[wrong], good=())
    findings: list[Finding] = []
    good: list[Checkpoint] = []
    for file in checkpoint_files(folder):
        checkpoint = _good_checkpoint(run, file, findings)
        if checkpoint is not None:
            good.append(checkpoint)
    newest = good[-1] if good else None
    findings += _of_lock(folder)
    if newest is None:
        findings += _of_lost_checkpoints(run)
    findings += _set_aside(folder)
    findings += _of_log(run, newest)
    findings += _of_outputs(folder, newest)
    findings += _of_what_is_due(run, newest)
    findings += _of_pictures(run.config, newest)
    findings += _of_versions(newest)
    return Examination(
        folder=str(folder), findings=findings, good=[checkpoint.step for checkpoint in good]
    )


def _good_checkpoint(run: Run, file: Path, findings: list[Finding]) -> Checkpoint | None:
    """A checkpoint without its numbers, if the run could go on from it."""
    where = f"checkpoints/{file.name}"
    try:
        checkpoint = checkpoints.require_good(file)
    except checkpoints.DamagedError as error:
        remedy = "remove it, or restore it from a copy"
        findings.append(
            Finding(kind="fault", where=where, text=_without(error, file), remedy=remedy)
        )
        return None
    except SaganError as error:
        findings.append(Finding(kind="mistake", where=where, text=_without(error, file)))
        return None
    if checkpoint.step != step_of(file):
        text = f"it is of step {checkpoint.step}"
        remedy = "it was renamed or copied there: remove it"
        findings.append(Finding(kind="mistake", where=where, text=text, remedy=remedy))
        return None
    try:
        run.require_same(checkpoint.config)
        state = _state_without_numbers(checkpoint.config, len(checkpoint.class_names))
        state.require_fitting(checkpoint.parts, checkpoint.step)
    except SaganError as error:
        findings.append(Finding(kind="mistake", where=where, text=str(error)))
        return None
    return checkpoint


@lru_cache(maxsize=1)
def _state_without_numbers(config: Config, num_classes: int) -> TrainingState:
    with torch.device("meta"):
        return new_state(config, num_classes, torch.device("meta"))


def _without(error: SaganError, file: Path) -> str:
    told = str(error).removeprefix(str(file)).removeprefix(":").strip()
    return told.rpartition("; ")[0] or told


def _of_lock(folder: Path) -> Iterator[Finding]:
    lock = folder / LOCK
    if not lock.exists():
        return
    holder = holder_of(lock) or "a process"
    if is_locked(lock):
        text = (
            f"{holder} trains in this folder, so that what is just being written looks unfinished"
        )
        yield Finding(kind="note", where=LOCK, text=text, remedy="check again when it has ended")
    else:
        text = f"{holder} died while it trained"
        yield Finding(kind="note", where=LOCK, text=text, remedy="the next start takes over")


def _of_lost_checkpoints(run: Run) -> Iterator[Finding]:
    """Says that a run without a good checkpoint is refused, as when it is to go on."""
    where = CHECKPOINTS
    if checkpoint_files(run.folder):
        remedy = "restore one, or begin another run"
        yield Finding(kind="mistake", where=where, text="none of them is good", remedy=remedy)
        return
    try:
        run.require_no_lost_checkpoints()
    except SaganError as error:
        yield Finding(kind="mistake", where=where, text=str(error))


def _set_aside(folder: Path) -> Iterator[Finding]:
    drafts = drafts_in(folder)
    if drafts:
        size = readable(sum(path.stat().st_size for path in drafts))
        text = f"{len(drafts)} half written, {size}"
        remedy = "the next start of the run removes them"
        yield Finding(kind="note", where=str(drafts[0].name), text=text, remedy=remedy)
    for path in sorted(folder.glob("checkpoints/*.damaged")):
        text = f"set aside when the run went on from before it, {readable(path.stat().st_size)}"
        yield Finding(kind="note", where=f"checkpoints/{path.name}", text=text, remedy="remove it")


def _of_log(run: Run, newest: Checkpoint | None) -> Iterator[Finding]:
    if not run.log_path.exists():
        if newest is not None and newest.step >= run.config.train.log_interval:
            yield Finding(kind="fault", where=LOG, text="it is gone; the curves are lost")
        return
    records = log_records(run.folder)
    garbled = len(run.log_path.read_bytes().splitlines()) - len(records)
    if garbled:
        text = f"{garbled} line{'s' * (garbled > 1)} cannot be read"
        remedy = "they are passed over, and set aside when the run goes on"
        yield Finding(kind="fault", where=LOG, text=text, remedy=remedy)
    last = max((record["step"] for record in records), default=0)
    step = newest.step if newest else 0
    steps = [record["step"] for record in records if _LINES in record]
    yield from _of_steps(steps, run.config, step)
    if last > step:
        text = f"it goes on to step {last}, after the newest good checkpoint"
        remedy = f"the run makes steps {step + 1} to {last} again when it goes on"
        yield Finding(kind="note", where=LOG, text=text, remedy=remedy)


def _of_steps(steps: Sequence[int], config: Config, reached: int) -> Iterator[Finding]:
    """Lines of losses that come twice, in another order, or are missing up to a step."""
    ways = [after - before for before, after in zip([0, *steps], steps, strict=False)]
    if repeated := len(steps) - len(set(steps)):
        text = f"{repeated} steps come twice, so that two processes wrote to it"
        remedy = "let one process at a time train in a folder"
        yield Finding(kind="fault", where=LOG, text=text, remedy=remedy)
    elif any(way < 0 for way in ways):
        yield Finding(kind="fault", where=LOG, text="its lines are not in the order of steps")
    usual = max(config.train.log_interval, int(median(ways or [0])))
    gaps = [step for step, way in zip(steps, ways, strict=True) if way > usual]
    if gaps:
        text = f"lines are missing before step {gaps[0]}"
        text += f" and at {len(gaps) - 1} other places" * (len(gaps) > 1)
        yield Finding(kind="note", where=LOG, text=text)
    if reached - max(steps, default=0) >= usual:
        text = f"lines are missing at its end, up to step {reached}"
        yield Finding(kind="note", where=LOG, text=text)


def _of_outputs(folder: Path, newest: Checkpoint | None) -> Iterator[Finding]:
    for step, path in sorted(sample_files(folder).items()):
        if reason := _fault_of(lambda path=path: _require_picture(path)):
            remedy = f"remove it; sagan sample draws step {step} again if its checkpoint is there"
            yield Finding(kind="fault", where=f"samples/{path.name}", text=reason, remedy=remedy)
    for path in sorted(folder.glob("evaluations/*.json")):
        if reason := _fault_of(lambda path=path: read_record(path)):
            where = f"evaluations/{path.name}"
            yield Finding(kind="fault", where=where, text=reason, remedy="remove it")
    later = [step for step in sample_files(folder) if step > (newest.step if newest else 0)]
    if later:
        text = f"{len(later)} of steps after the newest good checkpoint"
        yield Finding(kind="note", where=SAMPLES, text=text)


def _of_what_is_due(run: Run, newest: Checkpoint | None) -> Iterator[Finding]:
    """What a process that died did not come to write at the step to go on from."""
    if newest is None or is_locked(run.folder / LOCK):
        return
    config, step = run.config, newest.step
    schedule = EvaluationSchedule(config.evaluation, config.train.steps)
    due = still_due(run, schedule, step, measures=config.evaluation.samples > 0)
    for name, is_due in due.items():
        if is_due:
            text = f"due at step {step} and missing"
            yield Finding(kind="note", where=name, text=text, remedy="sagan train makes it first")


def _fault_of(read: Callable[[], object]) -> str:
    try:
        read()
    except (SaganError, OSError, ValueError, SyntaxError) as error:
        return f"it cannot be read ({str(error).partition(';')[0]})"
    return ""


def _require_picture(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as picture:
        picture.load()


def _of_pictures(config: Config, newest: Checkpoint | None) -> Iterator[Finding]:
    data = config.data if newest is None else newest.config.data
    source = str(config.data.source)
    try:
        pack = stored_pack(replace(data, source=source))
    except SaganError as error:
        kind = "fault" if isinstance(error, FaultError) else "mistake"
        yield Finding(kind=kind, where="pictures", text=str(error))
        return
    if pack is None and source not in BUILT_IN:
        text = f"those of {source} are not packed as they are now, and were not compared"
        yield Finding(kind="note", where="pictures", text=text, remedy="sagan train packs them")
        return
    if pack is not None and (rows := damaged_stretch(pack, lambda: False)) is not None:
        text = f"of pictures {rows.start:,} to {rows.stop - 1:,} in {pack.path}, one is damaged"
        remedy = f"remove that file; sagan train packs {source} again"
        yield Finding(kind="fault", where="pictures", text=text, remedy=remedy)
        return
    if newest is not None:
        try:
            dataset = load_dataset(config.data)
        except SaganError as error:
            yield Finding(kind="mistake", where="pictures", text=str(error))
            return
        if dataset.fingerprint != newest.dataset_fingerprint:
            text = f"{source} holds others than those of the newest checkpoint"
            remedy = "restore them, or begin another run with --from"
            yield Finding(kind="mistake", where="pictures", text=text, remedy=remedy)


def _of_versions(newest: Checkpoint | None) -> Iterator[Finding]:
    here: dict[str, Any] = {
        "sagan": importlib.metadata.version("sagan"),
        "torch": str(torch.__version__),
    }
    written = {} if newest is None else newest.versions
    for name in here.keys() & written.keys():
        if here[name] != written[name]:
            text = f"the newest checkpoint is of {name} {written[name]}, and this is {here[name]}"
            remedy = "the run goes on, but perhaps not to the same bits"
            yield Finding(kind="note", where="versions", text=text, remedy=remedy)
