"""Sides measured in turn in one process, and the rows that come of it."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any, Literal

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.module_tracker import ModuleTracker

from benchmarks.machine import ceilings, synchronize

Precision = Literal["float32", "bfloat16"]
Call = Callable[[], object]
Shape = Sequence[int]


def nothing() -> None:
    """Prepares nothing."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of those that are compared."""

    name: str
    call: Call
    prepare: Call = nothing
    """Called before each timed call, not timed."""
    in_a_row: int = 1
    """Calls that are timed together, without waiting for the device after each."""
    images: int = 0
    """Pictures that one call goes through; 0 where there are none."""
    precision: Precision | None = None
    """Of its multiplications; None where they are not counted."""
    note: str = ""

    def row(self, section: str, subject: str) -> Row:
        """A row that waits for numbers."""
        return Row(
            section=section,
            subject=subject,
            side=self.name,
            precision=self.precision,
            in_a_row=self.in_a_row,
            images=self.images,
            note=self.note,
        )


@dataclass(kw_only=True)
class Row:
    """What was measured of one side; the JSON file has these fields and properties."""

    section: str
    subject: str
    side: str
    precision: Precision | None = None
    in_a_row: int = 1
    images: int = 0
    first_seconds: float | None = None
    """The first call, in which a compiled side compiles; not among those timed."""
    seconds: list[float] = field(default_factory=list)
    """Of a call in each round, in order; empty where the side could not run."""
    ratio: float | None = None
    """Median over the rounds of this side's time over that of the first side."""
    operations: int | None = None
    """Of one call, two for each multiply-accumulate; attention by its explicit formula."""
    peak_bytes: int | None = None
    """The most that a call had allocated at once, beyond what there was before it."""
    share_of_step: float | None = None
    """Median time over that of a training step, where that is the question."""
    note: str = ""

    @property
    def median(self) -> float | None:
        """Median time of a call in seconds."""
        return statistics.median(self.seconds) if self.seconds else None

    @property
    def images_per_second(self) -> float | None:
        """Pictures per second at the median time."""
        return self.images / self.median if self.median and self.images else None

    @property
    def gigaflops(self) -> float | None:
        """Achieved operations per second, in thousand millions."""
        return self.operations / self.median / 1e9 if self.median and self.operations else None

    def record(self) -> dict[str, Any]:
        """All of it as plain values."""
        derived = ("median", "images_per_second", "gigaflops")
        return asdict(self) | {name: getattr(self, name) for name in derived}


def timed(side: Side, device: torch.device, calls: int) -> float:
    """Seconds of a call among so many in a row, until the device has finished all of them."""
    side.prepare()
    synchronize(device)
    begin = time.perf_counter()
    for _ in range(calls):
        side.call()
    synchronize(device)
    return (time.perf_counter() - begin) / calls


def alternate(sides: Sequence[Side], rounds: int, device: torch.device) -> list[list[float]]:
    """Times every side once in each round, in order: one list per side."""
    times = [[timed(side, device, side.in_a_row) for side in sides] for _ in range(rounds)]
    return [list(column) for column in zip(*times, strict=True)]


def median_ratio(seconds: Sequence[float], base: Sequence[float]) -> float:
    """Median of the ratios of calls of the same round."""
    return statistics.median(one / other for one, other in zip(seconds, base, strict=True))


def _convolution(x: Shape, kernel: Shape, *_: Any, out_shape: Shape) -> int:
    return 2 * math.prod(out_shape) * math.prod(kernel[1:])


def _transposed_convolution(x: Shape, kernel: Shape, *_: Any, out_shape: Shape) -> int:
    return 2 * math.prod(x) * out_shape[1] * math.prod(kernel[2:])


_REORDERED = {
    torch.ops.mkldnn._convolution_pointwise: _convolution,
    torch.ops.mkldnn._convolution_transpose_pointwise: _transposed_convolution,
}
"""Operators of kernels in oneDNN's own order, which PyTorch's counter does not know."""


class _NoModules(ModuleTracker):
    """Follows no modules: that fails where one gets a parameter in inference mode."""

    def __enter__(self) -> _NoModules:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def operations(call: Call) -> int:
    """Counts what a call multiplies and adds, padding included: 2 per multiply-accumulate."""
    counter = FlopCounterMode(display=False, custom_mapping=_REORDERED)
    counter.mod_tracker = _NoModules()
    # A first call under the counter would keep the compiler off for good.
    with torch.compiler.set_stance("force_eager"), counter, sdpa_kernel(SDPBackend.MATH):
        call()
    return counter.get_total_flops()


def peak_bytes(call: Call, device: torch.device) -> int | None:
    """The most a call has allocated at once, beyond what there was before; None if unknown.

    Calls twice and looks at the second call. On a CPU it is a running sum over the events of the
    allocator, which kernels use for their scratch tensors too; what oneDNN allocates by itself is
    not among them.
    """
    if device.type == "cpu":
        return _peak_of_events(call)
    call()
    if device.type != "cuda":
        return None
    synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    call()
    synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _peak_of_events(call: Call) -> int:
    # The first call is in the profile because blocks of before it are freed without an event.
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True, acc_events=True
    ) as profile:
        call()
        with torch.profiler.record_function("second call"):
            call()
    assert profile.profiler is not None
    assert profile.profiler.kineto_results is not None
    events = profile.profiler.kineto_results.events()
    begin = next(event.start_ns() for event in events if event.name() == "second call")
    changes = [
        event.nbytes()  # pyright: ignore[reportAttributeAccessIssue]
        for event in sorted(events, key=lambda event: event.start_ns())
        if event.name() == "[memory]" and event.start_ns() >= begin
    ]
    return max(accumulate(changes, initial=0))


class Suite:
    """Measures sides in groups and keeps their rows.

    Args:
        device: Where the sides compute.
        rounds: Timed calls of every side.
    """

    def __init__(self, device: torch.device, rounds: int) -> None:
        self.device = device
        self.rounds = rounds
        self.rows: list[Row] = []

    @cached_property
    def ceilings(self) -> dict[str, float]:
        """What the machine multiplies at best, see :func:`benchmarks.machine.ceilings`."""
        return ceilings(self.device)

    def ceiling(self, precision: Precision) -> float:
        """The one for a row: convolutions in float32 take TF32 where cuDNN may."""
        is_tf32 = precision == "float32" and "tf32" in self.ceilings
        return self.ceilings["tf32" if is_tf32 else precision]

    def skip(self, section: str, subject: str, side: str, reason: str) -> None:
        """Keeps a row that says why there are no numbers."""
        self.rows.append(
            Row(section=section, subject=subject, side=side, note=f"skipped: {reason}")
        )

    def compare(self, section: str, subject: str, sides: Sequence[Side]) -> list[Row]:
        """Warms every side up, counts its operations and memory, then times them in turn.

        A side that runs out of memory is skipped. Ratios are to the first side.
        """
        running: list[tuple[Side, Row]] = []
        for side in sides:
            row = side.row(section, subject)
            try:
                self._warm_up(side, row)
                running.append((side, row))
            except torch.OutOfMemoryError:
                self.skip(section, subject, side.name, "out of memory")
        rows = self._timed(running, self.rounds)
        if running and running[0][0] is not sides[0]:
            for row in rows:
                row.ratio = None
        return rows

    def once(self, section: str, subject: str, sides: Sequence[Side]) -> list[Row]:
        """Times every side a single time, in order and without warming up."""
        return self._timed([(side, side.row(section, subject)) for side in sides], 1)

    def _timed(self, running: list[tuple[Side, Row]], rounds: int) -> list[Row]:
        sides = [side for side, _ in running]
        rows = [row for _, row in running]
        for row, seconds in zip(rows, alternate(sides, rounds, self.device), strict=True):
            row.seconds = seconds
            row.ratio = median_ratio(seconds, rows[0].seconds)
        self.rows += rows
        return rows

    def _warm_up(self, side: Side, row: Row) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        row.first_seconds = timed(side, self.device, 1)
        if side.precision is not None:
            row.operations = operations(side.call)
            row.peak_bytes = peak_bytes(side.call, self.device)

    def table(self, section: str) -> str:
        """The rows of a section in Markdown, without the columns that would be empty."""
        rows = [self._cells(row) for row in self.rows if row.section == section]
        names = [name for name in rows[0] if any(cells[name] for cells in rows)] if rows else []
        lines = [names, ["---"] * len(names), *([cells[name] for name in names] for cells in rows)]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

    def _cells(self, row: Row) -> dict[str, str]:
        share = None
        if row.gigaflops and row.precision:
            share = row.gigaflops / self.ceiling(row.precision)
        values = {
            "in a row": (row.in_a_row if row.in_a_row > 1 else None, str),
            "first call": (row.first_seconds, "{:.1f} s".format),
            "time": (row.median, lambda seconds: f"{seconds * 1e3:.1f} ms"),
            "ratio": (row.ratio, "{:.2f}".format),
            "images/s": (row.images_per_second, "{:.1f}".format),
            "GFLOP": (row.operations, lambda count: f"{count / 1e9:.1f}"),
            "GFLOP/s": (row.gigaflops, "{:.0f}".format),
            "of the ceiling": (share, "{:.0%}".format),
            "peak": (row.peak_bytes, lambda count: f"{count / 1e6:.1f} MB"),
            "of a step": (row.share_of_step, "{:.1%}".format),
        }
        texts = {"": row.subject, "side": row.side, "precision": row.precision or ""}
        for name, (value, text) in values.items():
            texts[name] = "" if value is None else text(value)
        return texts | {"note": row.note}
