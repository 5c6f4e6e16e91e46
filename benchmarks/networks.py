"""Sections train and sampling: whole networks, ours, the plain ones and others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from operator import methodcaller

import torch

from benchmarks.adapters import Batch, Factory, Model
from benchmarks.harness import Precision, Side, Suite
from benchmarks.naive import Naive, channels_last
from benchmarks.options import Options, Size
from benchmarks.ours import Ours
from sagan.errors import SaganError

SAMPLES = (1, 64)
SINGLE = 10
"""Single pictures that one timed call draws in a row, since one takes milliseconds."""


def train(suite: Suite, options: Options) -> None:
    """One training step."""
    for size in options.sizes:
        count = options.batch_of(size)
        batch = noise(size, count, options.device)
        step = methodcaller("train_step", batch)
        _measure(suite, options, size, "train", {count: step})


def sampling(suite: Suite, options: Options) -> None:
    """Pictures from latents: our folded generator, others in evaluation mode."""
    for size in options.sizes:
        _measure(suite, options, size, "sampling", {n: partial(_draw, n) for n in SAMPLES})


def _draw(count: int, model: Model) -> None:
    """A batch of pictures; single ones several times."""
    for _ in range(calls_of(count)):
        model.sample(count)


def calls_of(count: int) -> int:
    """Batches that a timed call of section sampling draws."""
    return SINGLE if count == 1 else 1


def noise(size: Size, count: int, device: torch.device) -> Batch:
    """Random pictures and labels."""
    shape = (count, 3, size.resolution, size.resolution)
    images = torch.randint(256, shape, dtype=torch.uint8, device=device)
    return images, torch.randint(size.num_classes, (count,), device=device)


def _measure(
    suite: Suite,
    options: Options,
    size: Size,
    section: str,
    calls: dict[int, Callable[[Model], object]],
) -> None:
    """Calls have the number of pictures in them as key."""
    for precision in options.precisions:
        models: list[tuple[str, Precision, Model]] = []
        for name, factory, its_precision in _contenders(options, section, precision):
            try:
                with options.device, options.autocast(its_precision):
                    model = factory(size.resolution, size.num_classes, size.width)
                models.append((name, its_precision, model))
            except (NotImplementedError, SaganError, torch.OutOfMemoryError) as error:
                reason = str(error).partition("\n")[0] or type(error).__name__
                suite.skip(section, size.title, name, reason)
        for images, call in calls.items():
            sides = [
                Side(
                    name=name,
                    call=partial(call, model),
                    images=images * (calls_of(images) if section == "sampling" else 1),
                    precision=its_precision,
                )
                for name, its_precision, model in models
            ]
            suite.compare(section, f"{size.title}, batch {images}", sides)


def _contenders(
    options: Options, section: str, precision: Precision
) -> Iterator[tuple[str, Factory, Precision]]:
    yield "ours", Ours, precision
    if options.compile:
        yield "ours, compiled", partial(Ours, compile=True), precision
    if options.naive:
        yield "naive", Naive, precision
        if precision == "bfloat16" and options.device.type == "cuda":
            yield "naive, channels_last", channels_last, precision
        if precision == "bfloat16" and section == "train":
            yield "naive in float32", Naive, "float32"
    for name, factory in options.against.items():
        yield name, factory, precision
