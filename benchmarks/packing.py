"""How fast pictures are packed and packed ones opened, and what memory that takes.

``python -m benchmarks.packing`` makes its own pictures; ``--scale 0.1`` takes a tenth of them. Each
row stands beside a plain loop over Pillow on one core, in the same run.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.data import temporary_cache
from sagan.data import Dataset, batch_indices, open_dataset
from sagan.data.dataset import dataset_of
from sagan.data.portable import write_portable

MANY = 1_000_000


def make_pictures(folder: Path, count: int, size: tuple[int, int], suffix: str) -> None:
    """Writes smooth pictures with some noise, of (width, height); several are equal."""
    from PIL import Image

    random = np.random.default_rng(0)
    contents = []
    for _ in range(min(count, 50)):
        small = Image.fromarray(random.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        smooth = np.asarray(small.resize(size, Image.Resampling.BICUBIC)).astype(np.int16)
        noisy = np.clip(smooth + random.integers(-6, 7, smooth.shape), 0, 255).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(noisy).save(stream, "JPEG" if suffix == ".jpg" else "PNG")
        contents.append(stream.getvalue())
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number:06}{suffix}").write_bytes(contents[number % len(contents)])


def plain_loop(folder: Path, side: int) -> np.ndarray:
    """What one would write: open, crop, resize, stack."""
    from PIL import Image, ImageOps

    pictures = []
    for path in sorted(folder.iterdir()):
        with Image.open(path) as image:
            image.draft("RGB", (2 * side, 2 * side))
            fitted = ImageOps.fit(image.convert("RGB"), (side, side), Image.Resampling.LANCZOS)
        pictures.append(np.asarray(fitted).transpose(2, 0, 1))
    return np.stack(pictures)


def packs(title: str, folder: Path, side: int) -> None:
    """Packs a folder; tells the rate, the plain loop's, and the memory of all processes."""
    count = len(list(folder.iterdir()))
    with temporary_cache():
        plain = seconds_of(lambda: plain_loop(folder, side))
        peak = Peak()
        ours = seconds_of(lambda: open_dataset(str(folder), side, channels=3))
        memory = peak.stop()
        show(
            title,
            f"{count / ours:,.0f} /s, {ours:.1f} s (plain loop {count / plain:,.0f} /s, "
            f"{plain:.1f} s), {memory / 2**20:,.0f} MiB in all processes",
        )
        again = seconds_of(lambda: open_dataset(str(folder), side, channels=3))
        first = min(folder.iterdir())
        (folder / f"000000a{first.suffix}").write_bytes(first.read_bytes())
        grown = seconds_of(lambda: open_dataset(str(folder), side, channels=3))
        show(f"{title}: opened again, one file added", f"{again:.2f} s, {grown:.2f} s")


def opens(scale: float, folder: Path) -> None:
    """Opens a portable file of a million pictures of 16 pixels in a new process."""
    count = max(1000, int(MANY * scale))
    path = folder / "many.sagan"
    images = np.random.default_rng(0).integers(0, 256, (count, 3, 16, 16), dtype=np.uint8)
    write_portable(dataset_of(images), path)
    code = (
        "import re, time; from sagan.data import open_dataset; begin = time.monotonic();"
        f"open_dataset({str(path)!r}); taken = time.monotonic() - begin;"
        "status = open('/proc/self/status').read();"
        "print(f'{taken:.2f} s,', int(re.search(r'VmHWM:\\s+(\\d+)', status)[1]) // 1024, 'MiB')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    show(f"opening a packed {count:,}", done.stdout.strip())


def batches(side: int, folder: Path) -> None:
    """Batches of 64 from a mapped file that the system has in memory."""
    images = np.random.default_rng(0).integers(0, 256, (5000, 3, side, side), dtype=np.uint8)
    write_portable(dataset_of(images), folder / f"{side}.sagan")
    sides: dict[str, Dataset] = {
        "packed": open_dataset(folder / f"{side}.sagan"),
        "chosen rows": open_dataset(folder / f"{side}.sagan", held_out=0.1),
        "in memory": dataset_of(images),
    }
    rates = []
    for name, data in sides.items():
        steps = max(50, 2**21 // side**2)
        taken = [seconds_of(partial(draw, data, steps)) for _ in range(3)]
        rates.append(f"{name} {64 * steps / min(taken):,.0f} /s")
    show(f"batches at {side}", ", ".join(rates))


def draw(data: Dataset, steps: int) -> None:
    """Reads batches of 64."""
    for step in range(steps):
        data.images[batch_indices(len(data), 64, step, 0)]


def seconds_of(work: Callable[[], object]) -> float:
    """Runs something once."""
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


class Peak:
    """Watches the memory of this process and those below it, above what it had."""

    def __init__(self) -> None:
        self._highest, self._ends = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ends.wait(0.1):
            self._highest = max(self._highest, sum(map(memory_of_process, family(os.getpid()))))

    def stop(self) -> int:
        """Returns the highest sum in bytes."""
        self._ends.set()
        self._thread.join()
        return self._highest


def family(process: int) -> list[int]:
    """A process and all below it."""
    try:
        tasks = Path(f"/proc/{process}/task").iterdir()
        children = " ".join((task / "children").read_text() for task in tasks).split()
    except OSError:
        return []
    return [process, *(one for child in children for one in family(int(child)))]


def memory_of_process(process: int) -> int:
    """Bytes of its own (USS and its share of what is shared), 0 if it has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def show(title: str, result: str) -> None:
    """Prints a row."""
    print(f"| {title} | {result} |", flush=True)


def main() -> None:
    """Measures everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    scale = parser.parse_args().scale
    with tempfile.TemporaryDirectory() as name, temporary_cache():
        folder = Path(name)
        sets = (
            ("JPEG of 500 x 400 to 64", 3000, (500, 400), ".jpg", 64),
            ("PNG of 32 x 32", 50_000, (32, 32), ".png", 32),
            ("PNG of 24 MP to 64", 8, (6000, 4000), ".png", 64),
        )
        for title, most, size, suffix, side in sets:
            count = max(8, int(most * scale))
            make_pictures(folder / title, count, size, suffix)
            packs(f"{count:,} {title}", folder / title, side)
        opens(scale, folder)
        for side in (32, 128):
            batches(side, folder)


if __name__ == "__main__":
    main()
