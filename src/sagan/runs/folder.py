"""Where the parts of a run lie in its folder, and what their files are called.

config.toml                          the settings
data.json                            what the pictures are
from.json                            the model that the run began from
log.jsonl                            one line per logged step, and events
log.dropped.jsonl                    lines of steps that were done again
run.lock                             who trains in it just now
samples/step-00001000.png            fixed seeds, one row per class, with its name
checkpoints/step-00001000.safetensors
evaluations/step-00001000-….json     what sagan evaluate measured
"""

import re
from pathlib import Path

from sagan.config import Config, load_toml
from sagan.errors import SaganError, enumerated
from sagan.runs.log import log_records

SETTINGS = "config.toml"
SURVEY = "data.json"
ORIGIN = "from.json"
DROPPED = "log.dropped.jsonl"
LOCK = "run.lock"
SAMPLES = "samples"
CHECKPOINTS = "checkpoints"
EVALUATIONS = "evaluations"
BEST = "best"
"""In the record of a measurement: the step that is the best by then, as text: no curve."""

_STEP = re.compile(r"step-(\d{8,})", re.ASCII)  # copies with other names are none of the run's


def is_run(folder: str | Path) -> bool:
    """Whether a folder is one of a run: it has settings, which are written first."""
    return Path(folder, SETTINGS).is_file()


def settings_of(folder: str | Path) -> Config:
    """The settings of a run.

    Raises:
        SaganError: They are missing, or cannot be read.
    """
    return load_toml(Path(folder, SETTINGS))


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step goes."""
    return folder / CHECKPOINTS / f"step-{step:08d}.safetensors"


def sample_path(folder: Path, step: int) -> Path:
    """Where the sample grid of a step goes."""
    return folder / SAMPLES / f"step-{step:08d}.png"


def checkpoint_files(folder: Path) -> list[Path]:
    """The checkpoints of a run folder, oldest first."""
    return [*_by_step(folder / CHECKPOINTS, ".safetensors").values()]


def sample_files(folder: Path) -> dict[int, Path]:
    """The sample grids of a run folder by their steps, oldest first."""
    return {
        step: path for step, path in _by_step(folder / SAMPLES, ".png").items() if path.is_file()
    }


def step_of(checkpoint: Path) -> int:
    """The step in the name of a checkpoint of a run."""
    return int(checkpoint.stem.removeprefix("step-"))


def best_step(folder: Path) -> int | None:
    """The step that was measured as the best, of those with a checkpoint; None where there is none.

    Runs with ``train.keep_best`` name it in the log.
    """
    there = {step_of(file) for file in checkpoint_files(folder)}
    marked = [(r["step"], str(r[BEST])) for r in log_records(folder) if BEST in r]
    # Earlier logs have the metric there, and mark the step of the record.
    steps = [int(mark) if mark.isdecimal() else step for step, mark in marked]
    return next((step for step in reversed(steps) if step in there), None)


def checkpoint_called(folder: Path, which: str) -> Path:
    """The checkpoint of a run that a word or a number means.

    Args:
        folder: The run folder.
        which: "best", "newest" or a step.

    Raises:
        SaganError: There is none; names those there are.
    """
    files = {str(step_of(file)): file for file in checkpoint_files(folder)}
    best = best_step(folder)
    named = {**files, "newest": next(reversed(files.values()), None)}
    named["best"] = None if best is None else files[str(best)]
    if file := named.get(which):
        return file
    reason = f"there is no checkpoint {which!r}"
    if which == "best":
        reason = "no checkpoint is known as the best; train with --train.keep-best fd"
    raise SaganError(f"{folder}: {reason}; there are {enumerated([*reversed(files)])}")


def _by_step(folder: Path, suffix: str) -> dict[int, Path]:
    files = {_STEP.fullmatch(path.stem): path for path in folder.glob(f"step-*{suffix}")}
    return dict(sorted((int(name[1]), path) for name, path in files.items() if name))
