"""What a run does when it begins or goes on: it tells what is new, and finds what is still due."""

import os
import platform
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import torch

from sagan import config as settings
from sagan.config import Config
from sagan.data import Dataset
from sagan.data.looking import survey_of
from sagan.data.survey_text import survey_as_json, text
from sagan.errors import FaultError
from sagan.nn.initialization import undrawn
from sagan.runs.events import FINISHED, STARTED, events
from sagan.runs.folder import checkpoint_files
from sagan.runs.run import Run
from sagan.system.memory import is_out_of_memory
from sagan.training.footprint import require_memory
from sagan.training.measuring import EvaluationSchedule
from sagan.training.origin import Beginning, recorded_origin
from sagan.training.preparation import Preparation
from sagan.training.state import TrainingState, new_state

_OF_THE_BITS = {
    "device": "device",
    "processor": "processor",
    "threads": "threads",
    "torch": "PyTorch",
    "precision": "precision",
    "ranks": "processes",
}
"""What decides about the last bits of a result, and its name for a reader."""


def first_state(preparation: Preparation) -> TrainingState:
    """Builds the state of step 0, if no batch too large for the memory is asked for.

    Where the run has checkpoints its tensors are without values, for one of them to give.

    Raises:
        SaganError: There is too little memory for it, or for any batch of this size.
    """
    config, classes = preparation.config, preparation.num_classes
    is_new = not checkpoint_files(preparation.run.folder)
    try:
        with nullcontext() if is_new else undrawn():
            state = new_state(config, classes, preparation.device)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise FaultError(
            "memory ran out while the networks were made; choose smaller channels, or free "
            "memory and give the same command again"
        ) from error
    parts = state.parts().values()
    size = sum(tensor.nbytes for tensors in parts for tensor in tensors.values())
    require_memory(
        config,
        classes,
        size,
        preparation.memory,
        bfloat16=preparation.bfloat16,
        on_cpu=preparation.device.type == "cpu",
        ranks=preparation.ranks.count,
    )
    return state


def tell_settings(config: Config, run: Run, beginning: Beginning | None) -> None:
    """Prints what is unusual, and what is taken of the model to begin from, which is recorded."""
    for remark in config.remarks():
        sys.stderr.write(f"note: {remark}\n")
    if beginning is not None:
        beginning.record(run)
        sys.stderr.writelines(f"{line}\n" for line in beginning.lines())
    elif config.train.freeze_discriminator and not recorded_origin(run.folder):
        sys.stderr.write("note: train.freeze_discriminator is for runs that begin --from MODEL\n")
    if run.is_begun:
        sys.stderr.writelines(_other_length(settings.load_toml(run.settings_path), config))


def _other_length(begun: Config, config: Config) -> list[str]:
    """Says that learning rates which fall do so elsewhere when a run becomes longer or shorter."""
    steps, start = config.train.steps, config.optimizer.decay_start
    if begun.train.steps == steps or start >= 1:
        return []
    return [
        f"note: the learning rates now fall from step {round(start * steps):,} to {steps:,}, no "
        f"longer from {round(start * begun.train.steps):,} to {begun.train.steps:,} "
        "(optimizer.decay_start is a part of the whole run)\n"
    ]


def tell_pictures(dataset: Dataset, config: Config, run: Run) -> None:
    """Prints the survey and keeps it in the run folder, unless it is there already."""
    if dataset.origin and run.surveyed() != dataset.fingerprint:
        survey = survey_of(dataset, config.data)
        sys.stderr.write(f"{text(survey)}\n")
        run.keep_survey(survey_as_json(survey))


def rewind(run: Run, step: int) -> None:
    """Brings a run folder back to the step to go on from; says what of the log is set aside."""
    run.sweep_drafts()
    run.set_aside_after(step)
    if dropped := run.rewind_log(step):
        sys.stderr.write(
            f"note: {dropped} line{'s' * (dropped > 1)} of the log, after step {step} or not "
            f"readable, moved to {run.dropped_path}; all steps after {step} are made again\n"
        )


def where_it_computes(preparation: Preparation) -> dict[str, Any]:
    """The machine, and how it computes, for the log: equal ones give equal bits."""
    device = preparation.device
    on_gpu = device.type == "cuda"
    return {
        "host": socket.gethostname(),
        "time": datetime.now().astimezone().isoformat(" ", "seconds"),
        "device": torch.cuda.get_device_name(device) if on_gpu else device.type,
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "precision": "bfloat16" if preparation.bfloat16 else "float32",
        "ranks": preparation.ranks.count,
    }


@cache
def _processor() -> str:
    """The model, as its maker calls it, and the widest instructions that PyTorch uses there."""
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{model}, {torch.backends.cpu.get_cpu_capability()}"


def other_bits(records: Sequence[Mapping[str, Any]]) -> str:
    """Says where the bits of a run may differ from those of one that was never interrupted.

    Args:
        records: Of its log; of several starts at one step the last counts.

    Returns:
        One line; empty if all starts were alike.
    """
    starts = {record["step"]: record.get("where") for record in events(records, STARTED)}
    places = [where for _, where in sorted(starts.items()) if isinstance(where, dict)]
    changes = []
    for key, name in _OF_THE_BITS.items():
        values = [str(where[key]) for where in places if key in where]
        values = [v for v, before in zip(values, [None, *values], strict=False) if v != before]
        if len(values) > 1:
            changes.append(f"{name} {' -> '.join(values)}")
    if not changes:
        return ""
    return f"note: bits may differ from an uninterrupted run: {'; '.join(changes)}\n"


def still_due(
    run: Run, schedule: EvaluationSchedule, step: int, *, measures: bool
) -> dict[str, bool]:
    """What should have been written at the step to go on from and was not, as the process died.

    Args:
        run: Its folder.
        schedule: Of its evaluations.
        step: To go on from.
        measures: Whether there is anything that evaluates.

    Returns:
        Whether samples and an evaluation are due, which may have been put off from an earlier step.
    """
    train, records = run.config.train, run.records()
    is_last = step == train.steps
    if step == 0 or (is_last and is_finished(step, records)):
        return {"samples": False, "evaluation": False}
    wants_samples = is_last or train.samples_after(step)
    since = schedule.due_since(step) if measures else None
    return {
        "samples": wants_samples and _lacks_samples(run, step, records),
        "evaluation": since is not None and not _is_measured(records, since),
    }


def _lacks_samples(run: Run, step: int, records: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the sample grid of a step, or what the log says of it, is not there."""
    told = any(record["step"] == step and "variety" in record for record in records)
    return not (told and run.sample_path(step).is_file())


def _is_measured(records: Sequence[Mapping[str, Any]], since: int) -> bool:
    """Whether a log holds an evaluation from a step on, or why there is none."""
    names = ("evaluation", "evaluation_error")
    return any(record["step"] >= since and any(n in record for n in names) for record in records)


def is_finished(step: int, records: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a run that ends at a step did all it wanted to do there."""
    return any(record["step"] == step for record in events(records, FINISHED))
