"""Which files one picture crosses, from a folder of pictures to a PNG of a new one.

``python -m benchmarks.house`` goes that way twice and lists every file of which a function runs the
second time (so that imports do not count), with the lines of the whole file and those of the
functions that ran. It does so for two ways: by the pieces, where the caller trains, saves and
draws, and as the commands do it, with run folder, progress, guards and sample grids.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType

import numpy as np
import torch

from sagan import cli
from sagan import config as settings
from sagan.config import Config
from sagan.data import load_dataset
from sagan.data.dataset import cache_folder
from sagan.images import grid, save_png
from sagan.runs.checkpoint import Checkpoint, save
from sagan.sampling.generator import load_generator
from sagan.system.device import autocast, pick_device
from sagan.training.loop import train_steps
from sagan.training.state import new_state, refresh_average

SOURCE = Path(cli.__file__).parents[1]
Way = Callable[[Config, Path], None]


def by_the_pieces(config: Config, folder: Path) -> None:
    """Trains a step, saves a checkpoint and draws from it, without the driver around the loop."""
    device = pick_device("cpu")
    dataset = load_dataset(config.data)
    frequencies = torch.from_numpy(dataset.label_frequencies)
    state = new_state(config, len(dataset.class_names), device)
    for _ in train_steps(
        state,
        dataset,
        config,
        label_frequencies=frequencies,
        device=device,
        autocast=autocast("float32", device),
    ):
        pass
    refresh_average(state, frequencies, config.train.seed)
    checkpoint = Checkpoint(
        config=config, class_names=dataset.class_names, step=state.step, parts=state.parts()
    )
    save(checkpoint, folder / "model.safetensors")
    pictures = load_generator(folder / "model.safetensors").sample(range(4), 0)
    save_png(grid(pictures, 2), folder / "grid.png")


def by_the_commands(config: Config, folder: Path) -> None:
    """``sagan train`` and ``sagan sample``."""
    file = folder / "settings.toml"
    file.write_text(settings.to_toml(config))
    for command in (
        ["train", str(file), "--run", str(folder / "run")],
        ["sample", str(folder / "run"), "-o", str(folder / "grid.png")],
    ):
        with contextlib.redirect_stdout(io.StringIO()):
            try:
                cli.main(command)
            except SystemExit as end:
                if end.code:
                    raise


def crossed(way: Way) -> dict[Path, set[CodeType]]:
    """The files of the package that a way leads through, each with its functions that ran."""
    found: dict[Path, set[CodeType]] = {}

    def see(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        is_function = code.co_flags & inspect.CO_OPTIMIZED  # not the body of a module or class
        if event == "call" and is_function and code.co_filename.startswith(str(SOURCE)):
            found.setdefault(Path(code.co_filename), set()).add(code)

    with _pictures() as config, tempfile.TemporaryDirectory() as first:
        way(config, Path(first))
        shutil.rmtree(cache_folder())  # so that the pictures are read again
        with tempfile.TemporaryDirectory() as second:
            threading.setprofile(see)
            sys.setprofile(see)
            try:
                way(config, Path(second))
            finally:
                sys.setprofile(None)
                threading.setprofile(None)  # pyright: ignore[reportArgumentType]
    return found


@contextlib.contextmanager
def _pictures() -> Iterator[Config]:
    """Settings of a tiny run on a folder of pictures, with a cache of its own."""
    with tempfile.TemporaryDirectory() as name:
        random = np.random.default_rng(0)
        for number in range(8):
            pixels = random.integers(0, 256, (3, 32, 32), dtype=np.uint8)
            save_png(pixels, Path(name, "pictures", "ab"[number % 2], f"{number}.png"))
        config = settings.from_dict(
            {
                "data": {"source": str(Path(name, "pictures")), "resolution": 32},
                "generator": {"base_channels": 8, "latent_dim": 16, "attention": [16]},
                "discriminator": {"base_channels": 8, "attention": [16]},
                "train": {"steps": 1, "batch_size": 4, "precision": "float32", "device": "cpu"},
            }
        )
        before = os.environ.get("SAGAN_CACHE")
        os.environ["SAGAN_CACHE"] = str(Path(name, "cache"))
        try:
            yield config
        finally:
            del os.environ["SAGAN_CACHE"]
            if before is not None:
                os.environ["SAGAN_CACHE"] = before


def table(found: dict[Path, set[CodeType]]) -> str:
    """A line per file, and the sums."""
    rows = []
    for path, functions in sorted(found.items()):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        ran = {n for code in functions for *_, n in code.co_lines() if n is not None}
        rows.append((str(path.relative_to(SOURCE)), lines, len(ran)))
    total = (f"{len(rows)} files", sum(row[1] for row in rows), sum(row[2] for row in rows))
    head = f"{'file':32}{'lines':>8}{'of functions that ran':>24}"
    return "\n".join(
        [head, *(f"{name:32}{all_:8,}{ran:24,}" for name, all_, ran in [*rows, total])]
    )


def main() -> None:
    """Prints the table of both ways."""
    for way in (by_the_pieces, by_the_commands):
        print(f"{way.__name__.replace('_', ' ')}\n{table(crossed(way))}\n")


if __name__ == "__main__":
    main()
