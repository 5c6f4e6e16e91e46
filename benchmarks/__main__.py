"""The command: ``python -m benchmarks [--only train,sampling,...]`` from a clone's root."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks import machine
from benchmarks.adapters import load_factory
from benchmarks.attention import attention
from benchmarks.data import data
from benchmarks.features import features
from benchmarks.guards import guards
from benchmarks.harness import Precision, Suite
from benchmarks.networks import sampling, train
from benchmarks.options import SIZES, USUAL_SIZES, Options
from benchmarks.ranks import ranks
from benchmarks.startup import startup
from sagan.config import nearest
from sagan.errors import SaganError
from sagan.system.device import autocast, keep_freed_memory, pick_device
from sagan.system.files import write_text

SECTIONS: dict[str, Callable[[Suite, Options], None]] = {
    "train": train,
    "sampling": sampling,
    "attention": attention,
    "data": data,
    "guards": guards,
    "startup": startup,
    "features": features,
    "ranks": ranks,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures what the arguments ask for, prints tables, appends to the JSON file.

    Returns:
        The exit code: 2 after a mistake of the user, told in one line.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    given = _parser().parse_args(arguments)
    try:
        options = _options(given)
        sections = chosen(given.only, tuple(SECTIONS), "--only")
        suite = Suite(options.device, at_least_one(given.pairs, "--pairs"))
        path = given.json or _default_path(options)
        before = earlier_runs(path)
        _write(path, before)  # rather refused now than after half an hour
        try:
            run(suite, options, sections)
        finally:  # what there is after Ctrl-C, too
            _write(path, [*before, record(suite, arguments)])
    except SaganError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _write(path: Path, runs: Sequence[dict[str, Any]]) -> None:
    try:
        write_text(path, json.dumps(runs, indent=1) + "\n")
    except OSError as error:
        raise SaganError(f"cannot write {path}: {error.strerror or error}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Ours beside a reference, call by call in turn; medians of the paired calls.",
    )
    add = parser.add_argument
    add("--only", default=",".join(SECTIONS), help="sections, by comma (default: %(default)s)")
    sizes = f"of train, sampling and data: {', '.join(SIZES)} (default: %(default)s)"
    add("--sizes", default=",".join(USUAL_SIZES), help=sizes)
    add("--precision", default="float32,auto", help="(default: %(default)s)")
    add("--batch", type=int, help="pictures in a training step instead of each size's own")
    add("--pairs", type=int, default=9, help="timed calls of every side (default: %(default)s)")
    row = "training steps timed together, as a run has them (default: %(default)s)"
    add("--in-a-row", type=int, default=1, help=row)
    add("--device", default="auto", help="auto, cpu, cuda or mps")
    add(
        "--against",
        action="append",
        default=[],
        metavar="MODULE_OR_FILE:FACTORY",
        help="another implementation (benchmarks/adapters.py) in train and sampling; repeat it",
    )
    add("--without-naive", action="store_true", help="leave the plain reference out of these")
    add("--compile", action="store_true", help="ours compiled, too")
    add("--json", type=Path, help="file to append to (benchmarks/results/<date>-<hardware>.json)")
    return parser


def _options(given: argparse.Namespace) -> Options:
    device = pick_device(given.device)
    with autocast("auto", device):
        auto: Precision = "bfloat16" if torch.is_autocast_enabled(device.type) else "float32"
    named: dict[str, Precision] = {"float32": "float32", "auto": auto}
    names = chosen(given.precision, tuple(named), "--precision")
    return Options(
        device=device,
        precisions=tuple(dict.fromkeys(named[name] for name in names)),
        sizes=tuple(SIZES[name] for name in chosen(given.sizes, tuple(SIZES), "--sizes")),
        batch=None if given.batch is None else at_least_one(given.batch, "--batch"),
        in_a_row=at_least_one(given.in_a_row, "--in-a-row"),
        naive=not given.without_naive,
        against={machine.without_folders(name): load_factory(name) for name in given.against},
        compile=given.compile,
    )


def chosen(text: str, known: Sequence[str], flag: str) -> list[str]:
    """Splits names at commas.

    Raises:
        SaganError: One is unknown.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise SaganError(
                f"{flag} knows no {name!r}{nearest(name, known)}; choose of {', '.join(known)}"
            )
    return names


def at_least_one(number: int, flag: str) -> int:
    """Returns the number.

    Raises:
        SaganError: It is below 1.
    """
    if number < 1:
        raise SaganError(f"{flag} {number} is out of range; it must be at least 1")
    return number


def run(suite: Suite, options: Options, sections: Sequence[str]) -> None:
    """Prints a table after each section; one that misses something is skipped."""
    values = {**machine.hardware(suite.device), **machine.versions(), "pairs": suite.rounds}
    print(", ".join(f"{name} {_plain(value)}" for name, value in values.items()))
    keep_freed_memory()  # as sagan train does; it serves all sides
    print("ratio: a side's time over that of the first side, call by call; the median")
    for name in sections:
        try:
            SECTIONS[name](suite, options)
        except SaganError as error:
            suite.skip(name, "all", "ours", machine.without_folders(str(error)))
        print(f"\n## {name}\n\n{suite.table(name)}", flush=True)
    if "ceilings" in vars(suite):
        products = ", ".join(f"{name} {most:.0f}" for name, most in suite.ceilings.items())
        print(f"\nceiling (matrix products, GFLOP/s): {products}")


def _plain(value: object) -> object:
    return " ".join(map(str, value)) if isinstance(value, list) else value


def record(suite: Suite, arguments: Sequence[str]) -> dict[str, Any]:
    """Everything about a run as plain values."""
    command = shlex.join(["python", "-m", "benchmarks", *map(machine.without_folders, arguments)])
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "commit": machine.commit(),
        "hardware": machine.hardware(suite.device),
        "versions": machine.versions(),
        "ceilings_gigaflops": vars(suite).get("ceilings", {}),
        "rows": [row.record() for row in suite.rows],
    }


def earlier_runs(path: Path) -> list[Any]:
    """The runs that a file holds already; none where there is no file.

    Raises:
        SaganError: It holds something else.
    """
    if not path.exists():
        return []
    try:
        runs = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SaganError(f"cannot read {path} ({error}); give another --json") from error
    if not isinstance(runs, list):
        raise SaganError(f"{path} holds no list of runs; give another --json")
    return runs


def _default_path(options: Options) -> Path:
    name = f"{datetime.now(UTC):%Y-%m-%d}-{machine.slug(options.device)}.json"
    return machine.ROOT / "benchmarks" / "results" / name


if __name__ == "__main__":
    sys.exit(main())
