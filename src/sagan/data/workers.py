"""Decodes the pictures of a catalog, on all cores where that is worth it."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sagan.data.catalog import Catalog, Reader
from sagan.data.dataset import digests_of
from sagan.data.pixels import FACTS, Facts, UnreadableError, pixels
from sagan.data.rules import Rules
from sagan.errors import SaganError

_TRIAL = 0.25  # seconds of work in this process, to learn how long the rest will take
_WORTH = 1.5  # seconds of work that processes are started for
_PORTION = 0.2  # seconds of work that a process gets at a time
_MOST_BYTES = 2**24  # and about how much it gives back
_MOST_PICTURES = 256


class DecodedPicture(NamedTuple):
    """What became of one picture."""

    frames: np.ndarray
    """uint8 (n, C, H, W); n is 0 where it cannot be read."""
    digests: np.ndarray
    """uint64 (n,)."""
    facts: np.ndarray
    """``FACTS`` (n,)."""
    reason: str = ""
    """Why it cannot be read."""


class _Portion(NamedTuple):
    """Several pictures, as they cross from one process to another."""

    counts: list[int]
    all: DecodedPicture
    reasons: list[str]

    def pictures(self) -> Iterator[DecodedPicture]:
        last = 0
        for count, reason in zip(self.counts, self.reasons, strict=True):
            first, last = last, last + count
            frames, digests, facts, _ = self.all
            yield DecodedPicture(frames[first:last], digests[first:last], facts[first:last], reason)


def decoded(
    catalog: Catalog, numbers: Sequence[int], rules: Rules
) -> Generator[DecodedPicture, None, None]:
    """Decodes pictures by their numbers in the catalog; gives them in that order.

    Raises:
        SaganError: They are to stay as stored and differ in size, or a process was ended by the
            system; names the pictures that it may have been at.
    """
    begin, spent = 0, 0.0
    while begin < len(numbers):
        started = time.monotonic()
        portion = _decode(catalog.read, rules, [(n, catalog.names[n]) for n in [numbers[begin]]])
        spent += time.monotonic() - started
        yield from portion.pictures()
        begin += 1
        each = spent / begin
        if spent > _TRIAL and each * (len(numbers) - begin) > _WORTH:
            size = max(1, _MOST_BYTES // max(1, portion.all.frames.nbytes))
            size = min(size, _MOST_PICTURES, max(1, round(_PORTION / each)))
            yield from _in_processes(catalog, numbers[begin:], rules, size)
            return


def decode_one(catalog: Catalog, number: int, rules: Rules) -> DecodedPicture:
    """Decodes one picture."""
    portion = _decode(catalog.read, rules, [(number, catalog.names[number])])
    return next(portion.pictures())


def _decode(
    read: Reader, rules: Rules, wanted: Sequence[tuple[int, str]], note: int | None = None
) -> _Portion:
    frames: list[np.ndarray] = []
    facts: list[Facts] = []
    counts, reasons, first = [], [], ""
    for number, name in wanted:
        if note is not None:
            os.lseek(note, 0, os.SEEK_SET)
            os.write(note, f"{number:20}".encode())
        new, reason = [], ""
        try:
            new, fact = pixels(read(number, name), rules, name=name)
            facts += [fact] * len(new)
        except UnreadableError as error:
            reason = str(error) or "unreadable"
        except OSError as error:
            reason = error.strerror or str(error)
        if frames and new and frames[0].shape != new[0].shape:
            raise unequal(name, new[0].shape, first, frames[0].shape)
        first = first or (name if new else "")
        frames += new
        counts.append(len(new))
        reasons.append(reason)
    together = np.stack(frames) if frames else np.empty((0, 0, 0, 0), np.uint8)
    return _Portion(
        counts, DecodedPicture(together, digests_of(together), np.array(facts, FACTS)), reasons
    )


def unequal(
    name: str, shape: tuple[int, ...], other: str, other_shape: tuple[int, ...]
) -> SaganError:
    """The refusal of pictures that were to stay as they are and differ in size."""
    (height, width), (other_height, other_width) = shape[-2:], other_shape[-2:]
    return SaganError(
        f"the pictures are not of one size: {other} is {other_width} x {other_height}, {name} is "
        f"{width} x {height}; give a --resolution to crop and resize them to"
    )


_given: tuple[Reader, Rules, int]  # of a process that decodes; the last is an open file


def _begin(read: Reader, rules: Rules, notes: Path, parent: int) -> None:
    global _given
    note = os.open(notes / str(os.getpid()), os.O_WRONLY | os.O_CREAT)
    _given = read, rules, note
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """Ends this process soon after its parent, which may be killed without a word."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _decode_given(wanted: Sequence[tuple[int, str]]) -> _Portion:
    read, rules, note = _given
    return _decode(read, rules, wanted, note)


def _in_processes(
    catalog: Catalog, numbers: Sequence[int], rules: Rules, size: int
) -> Iterator[DecodedPicture]:
    # Processes of loky are fresh: they share no locks with this one and do not run its script.
    from loky import ProcessPoolExecutor, cpu_count
    from loky.process_executor import BrokenProcessPool

    workers = cpu_count()
    portions = (
        [(number, catalog.names[number]) for number in numbers[begin : begin + size]]
        for begin in range(0, len(numbers), size)
    )
    waiting: deque[Future[_Portion]] = deque()
    with tempfile.TemporaryDirectory() as notes:
        pool = ProcessPoolExecutor(
            workers,
            initializer=_begin,
            initargs=(catalog.read, rules, Path(notes), os.getpid()),
            env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        try:
            for portion in portions:
                waiting.append(pool.submit(_decode_given, portion))
                if len(waiting) > 2 * workers:
                    yield from waiting.popleft().result().pictures()
            while waiting:
                yield from waiting.popleft().result().pictures()
        except BrokenProcessPool as error:
            raise SaganError(
                f"the system ended a process that was reading {_noted(catalog, Path(notes))}, "
                "perhaps for lack of memory; remove or shrink that picture and start again, which "
                "goes on from here"
            ) from error
        finally:
            pool.shutdown(kill_workers=True)


def _noted(catalog: Catalog, notes: Path) -> str:
    numbers = sorted({int(note.read_text() or 0) for note in notes.iterdir()})
    return " or ".join(catalog.names[number] for number in numbers) or "pictures"
