"""Sections train and sampling: whole networks, ours, the plain ones and others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from operator import methodcaller

import torch

from benchmarks.adapters import Batch, Factory, Model
from benchmarks.harness import Precision, Side, Suite
from benchmarks.naive import Naive, channels_last
from benchmarks.options import Options, Size
from benchmarks.ours import Ours
from sagan.errors import SaganError

SAMPLES = {1: 10, 64: 1}
"""Batch sizes that are drawn, and how many in a row: a single picture takes milliseconds."""


def train(suite: Suite, options: Options) -> None:
    """A training step."""
    for size in options.sizes:
        steps = {options.batch_of(size): options.in_a_row}
        _measure(suite, options, size, "train", steps, partial(_step, size, options.device))


def _step(size: Size, device: torch.device, count: int) -> Callable[[Model], object]:
    return methodcaller("train_step", noise(size, count, device))


def sampling(suite: Suite, options: Options) -> None:
    """Pictures from latents: our folded generator, others in evaluation mode."""
    for size in options.sizes:
        _measure(suite, options, size, "sampling", SAMPLES, partial(methodcaller, "sample"))


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
    batches: Mapping[int, int],
    call_of: Callable[[int], Callable[[Model], object]],
) -> None:
    """Batches: how many pictures, and how many such calls are timed in a row."""
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
        for images, in_a_row in batches.items():
            call = call_of(images)
            sides = [
                Side(
                    name=name,
                    call=partial(call, model),
                    in_a_row=in_a_row,
                    images=images,
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
