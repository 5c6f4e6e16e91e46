"""How fast pictures are packed and packed ones opened, and what memory that takes.

``python -m benchmarks.packing`` makes its own pictures; ``--scale 0.1`` takes a tenth of them. Each
row stands beside a plain loop over Pillow on one core, in the same run.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

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
    for _ in range(min(count, 50 if size[0] < 1000 else 2)):
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


def packs(title: str, source: Path, side: int, rounds: int) -> None:
    """Packs a folder and the plain loop in turn, each in a new process; takes the best of each.

    Tells both rates, the processor time of all processes together, their memory at its highest,
    and how long the folder takes to open again, also with one file more.
    """
    count = len(list(source.iterdir()))
    plain, ours, again, grown = [], [], [], []
    for _ in range(rounds):
        loop = f"plain_loop(Path({str(source)!r}), {side})"
        plain.append(measured(loop, "from benchmarks.packing import Path, plain_loop")[0])
        with temporary_cache():
            opening = f"open_dataset({str(source)!r}, {side}, channels=3)"
            ours.append(measured(opening))
            again.append(measured(opening)[0].seconds)
            first = min(source.iterdir())
            extra = source / f"000000a{first.suffix}"
            extra.write_bytes(first.read_bytes())
            grown.append(measured(opening)[0].seconds)
            extra.unlink()
    best = min(one for one, _ in ours)
    theirs = min(plain)
    show(
        title,
        f"{count / best.seconds:,.0f} /s, {best.seconds:.1f} s, {best.processor_seconds:.1f} s of "
        f"all cores (plain loop {count / theirs.seconds:,.0f} /s, {theirs.seconds:.1f} s, "
        f"{theirs.processor_seconds:.1f} s), {max(m for _, m in ours) / 2**20:,.0f} MiB in all "
        f"processes; opened again {min(again):.2f} s, one file added {min(grown):.2f} s",
    )


class Times(NamedTuple):
    """How long something took."""

    seconds: float
    processor_seconds: float
    """Of the process and those below it."""


def measured(work: str, imports: str = "from sagan.data import open_dataset") -> tuple[Times, int]:
    """Evaluates something in a new process; also its memory, with all below it, at its highest."""
    code = (
        f"import os, time; {imports}; begin = time.monotonic(), sum(os.times()[:4]); {work};"
        "print(time.monotonic() - begin[0], sum(os.times()[:4]) - begin[1])"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    highest = 0
    while process.poll() is None:
        highest = max(highest, sum(map(memory_of_process, family(process.pid))))
        time.sleep(0.1)
    output = process.communicate()[0]
    return Times(*map(float, output.split())), highest


def packs_arrays(folder: Path, scale: float) -> None:
    """Packs a gzipped IDX file such as MNIST's, at 32 and at 28 pixels."""
    count = max(1000, int(60_000 * scale))
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    labels = np.arange(count, dtype=np.uint8) % 10
    for name, array in (("images-idx3", images), ("labels-idx1", labels)):
        with gzip.open(folder / f"train-{name}-ubyte.gz", "wb", 1) as file:
            file.write(bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape))
            file.write(array.tobytes())
    for side in (32, 28):
        with temporary_cache():
            times, memory = measured(f"open_dataset({str(folder)!r}, {side})")
        show(
            f"{count:,} of MNIST, gzipped, to {side}",
            f"{times.seconds:.1f} s, {memory / 2**20:,.0f} MiB in all processes",
        )


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
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    scale = given.scale
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
            packs(f"{count:,} {title}", folder / title, side, given.rounds)
        packs_arrays(folder / "arrays", scale)
        opens(scale, folder)
        for side in (32, 128):
            batches(side, folder)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    show("load of the machine", f"{load}, itself included, on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
