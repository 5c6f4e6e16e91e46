"""In what a run differs from the same run that nothing befell."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def differences(run: Path, reference: Path, last: int, *, log: bool = True) -> Iterator[str]:
    """What is not as in the undisturbed run.

    Args:
        run: Its folder.
        reference: That of the undisturbed one.
        last: The step at which both end.
        log: Whether every line must be there, not only none twice. An evaluation may be missing
            where the log says why.
    """
    found, wanted = (_files(place, "checkpoints/*.safetensors") for place in (run, reference))
    if len(found) != len(wanted):  # one that was stopped has that of another step
        yield f"checkpoints {sorted(found)} in place of {sorted(wanted)}"
    name = f"checkpoints/step-{last:08d}.safetensors"
    if different := _different_tensors(run / name, reference / name):
        yield f"{len(different)} tensors differ, such as {different[0]}"
    yield from _different_lines(run, reference, log=log)
    found, wanted = (_files(place, "samples/*.png") for place in (run, reference))
    missing = sorted(name for name in wanted if found.get(name) != wanted[name])
    if missing:
        yield f"samples {missing} are missing or differ"
    if drafts := [path.name for path in run.rglob("*.tmp*")]:
        yield f"drafts {drafts} are left"


def _files(run: Path, pattern: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.glob(pattern)}


def _different_tensors(file: Path, reference: Path) -> list[str]:
    from safetensors.numpy import load_file

    if not file.is_file():
        return [file.name]
    found, wanted = load_file(file), load_file(reference)
    return [
        key
        for key in sorted(found.keys() | wanted.keys())
        if key not in found
        or key not in wanted
        or found[key].tobytes() != wanted[key].tobytes()
        or found[key].dtype != wanted[key].dtype
    ]


def _lines(run: Path) -> dict[tuple[int, tuple[str, ...]], list[dict[str, Any]]]:
    """The log's records that are no events, by step and kind; garbled lines have the step -1."""
    found = defaultdict(list)
    for line in (run / "log.jsonl").read_bytes().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            record = {"step": -1}
        if "event" in record:
            continue
        record = {key: record[key] for key in record if "second" not in key}
        found[record["step"], tuple(sorted(record))].append(record)
    return found


def _different_lines(run: Path, reference: Path, *, log: bool) -> Iterator[str]:
    found, wanted = _lines(run), _lines(reference)
    for (step, keys), records in found.items():
        if len(records) > 1:
            yield f"step {step} is {len(records)} times in the log"
        elif step < 0:
            yield "a line of the log is garbled"
        elif (step, keys) in wanted and records != wanted[step, keys]:
            yield f"step {step} has other numbers in the log"
    told = {step for step, keys in found if "evaluation_error" in keys}
    for step, keys in sorted(wanted.keys() - found.keys()) if log else ():
        if "evaluation" not in keys:
            yield f"step {step} ({keys[0]}...) is missing in the log"
        elif step not in told:
            yield f"the evaluation of step {step} is missing, and nothing says why"
