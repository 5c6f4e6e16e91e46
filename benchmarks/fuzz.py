"""Hostile command lines by the thousand: tracebacks, hangs, and what was touched.

    python -m benchmarks.fuzz --lines 5000 --seed 1

The lines are made by ``tests/hostile_lines.py``, as those of ``tests/test_fuzz.py``, with other
seeds. What is wrong is printed with its line.
"""

import argparse
import faulthandler
import shlex
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import conftest
import hostile_lines
import hostile_shelf

_MUCH_MEMORY = 2**29
_NATIVE_HANG = 120.0


def main() -> None:
    """Runs lines; prints each fault as it comes, and the counts in the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--command", default=None)
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        shelf = prepared_shelf(Path(folder))
        grammar = hostile_lines.Grammar(shelf, options.seed, traces=True)
        runner = hostile_lines.Runner(shelf, longer=60)
        for _ in range(options.lines):
            words = grammar.line(options.command)
            shown = shlex.join(_short(hostile_lines.printable(word)) for word in words)
            faulthandler.dump_traceback_later(_NATIVE_HANG, exit=True)
            print(f"{shown}", file=sys.stderr, flush=True)
            line = runner.run(words)
            faulthandler.cancel_dump_traceback_later()
            counts[f"exit {line.code}"] += 1
            fault = line.fault
            if not fault and line.growth > _MUCH_MEMORY:
                fault = f"takes {line.growth / 2**20:,.0f} MiB more"
            if fault:
                counts[fault.split()[0]] += 1
                last = _short(line.err.strip().rsplit("\n", 1)[-1])
                print(f"{fault}\n    {line.seconds:.1f} s  {shown}\n    {last!r}", flush=True)
            elif options.verbose:
                print(f"{line.code} {line.seconds:.2f} {shown}\n   {line.err!r}", flush=True)
    print(f"{options.lines:,} lines of seed {options.seed}:", dict(sorted(counts.items())))


def _short(text: str) -> str:
    return text if len(text) < 300 else f"{text[:100]}...({len(text):,} letters)"


def prepared_shelf(folder: Path) -> hostile_shelf.Shelf:
    """Makes pictures, trains a run of two steps and spoils copies of both."""
    import numpy as np

    from sagan.config import EvaluationConfig
    from sagan.images import save_png
    from sagan.training.run import train

    rng = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 128)):
        for number in range(8):
            pixels = rng.integers(low, low + 128, (3, 32, 32), dtype=np.uint8)
            save_png(pixels, folder / "pictures" / name / f"{number}.png")
    config = replace(conftest.tiny(steps=2), evaluation=EvaluationConfig(samples=0))
    train(config, folder / "run", source=str(folder / "pictures"))
    (folder / "shelf").mkdir()
    return hostile_shelf.Shelf(folder / "shelf", folder / "run", folder / "pictures")


if __name__ == "__main__":
    main()
