"""Section data: how fast pictures come, and how much of a training step that takes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import count, product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Side, Suite, median_ratio
from benchmarks.networks import noise
from benchmarks.options import Options, Size
from benchmarks.ours import Ours
from sagan.config import Config
from sagan.data import batch_indices, load_dataset
from sagan.data.pixels import read_pixels
from sagan.data.rules import rules_of
from sagan.images import save_png, to_float
from sagan.training.draws import draw_reals

STEP = "our training step"
BATCHES = 4
"""Batches in a dataset."""


def data(suite: Suite, options: Options) -> None:
    """Batches from a mapped file and from a folder, beside pictures decoded each time anew.

    The share is that of one batch in one of our training steps, as if nothing overlapped.
    """
    for size in options.sizes:
        with temporary_cache() as folder:
            sides = _sides(options, size, folder)
            subject = f"{size.title}, batch {options.batch_of(size)}"
            rows = suite.compare("data", subject, sides)
        steps = [row for row in rows if row.side == STEP]
        for row, step in product(rows, steps):
            if row is not step:
                row.share_of_step = median_ratio(row.seconds, step.seconds)


def _sides(options: Options, size: Size, folder: Path) -> list[Side]:
    batch, device, updates = options.batch_of(size), options.device, count()
    images, _ = noise(size, BATCHES * batch, torch.device("cpu"))
    np.save(folder / "pictures.npy", images.numpy())
    for number, image in enumerate(images.numpy()):
        save_png(image, folder / "pictures" / f"{number}.png")
    with device, options.autocast(options.precisions[-1]):
        model = Ours(size.resolution, size.num_classes, size.width)
    config = replace(model.config, train=replace(model.config.train, batch_size=batch))
    mapped, packed = (
        load_dataset(replace(config.data, source=str(folder / name)))
        for name in ("pictures.npy", "pictures")
    )
    files = sorted((folder / "pictures").iterdir())
    calls = {
        "memory map": lambda: draw_reals(mapped, config, next(updates)).on(device),
        "folder": lambda: draw_reals(packed, config, next(updates)).on(device),
        "PNG files decoded": lambda: _decoded(files, config, next(updates), device),
        STEP: partial(model.train_step, noise(size, batch, device)),
    }
    return [Side(name=name, call=call, images=batch) for name, call in calls.items()]


@contextmanager
def temporary_cache() -> Iterator[Path]:
    """A folder that is sagan's cache and disappears afterwards."""
    before = os.environ.get("SAGAN_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SAGAN_CACHE"] = folder
        try:
            yield Path(folder)
        finally:
            del os.environ["SAGAN_CACHE"]
            if before is not None:
                os.environ["SAGAN_CACHE"] = before


def _decoded(files: list[Path], config: Config, update: int, device: torch.device) -> Tensor:
    """A batch read the plain way."""
    train = config.train
    rows = batch_indices(len(files), train.batch_size, update, train.seed)
    rules = rules_of(config.data, channels=3)
    pictures = [read_pixels(files[row], rules) for row in rows]
    return to_float(torch.from_numpy(np.stack(pictures)).to(device))
