"""Decodes the pictures of a catalog, on all cores where that is worth it."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future
from itertools import islice
from mmap import mmap
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sagan.data.catalog import Catalog, Reader
from sagan.data.dataset import digests_of
from sagan.data.facts import FACTS, Facts, difference_hashes
from sagan.data.picture_files import UnreadableError
from sagan.data.pixels import quiet, unhashed_pixels
from sagan.data.rules import Rules
from sagan.errors import SaganError
from sagan.system.threads import usable_cores

_TRIAL = 0.1  # seconds of work in this process, to learn how long the rest will take
_WORTH = 1.5  # seconds of work that processes are started for
_PORTION = 0.2  # seconds of work that a process gets at a time
_MOST_BYTES = 2**24  # and about how much it gives back
_MOST_PICTURES = 1024
_MOST_ASIDE = 12  # portions that this process decodes while others start


class DecodedPortion(NamedTuple):
    """What became of some pictures that follow each other."""

    counts: list[int]
    """Frames of each; 0 where it cannot be read."""
    frames: np.ndarray
    """uint8 (n, C, H, W), of all together."""
    digests: np.ndarray
    """uint64 (n,)."""
    facts: np.ndarray
    """``FACTS`` (n,)."""
    reasons: list[tuple[int, str]]
    """Place among these pictures, and why it cannot be read."""

    def part(self, first: int, last: int) -> DecodedPortion:
        """Returns some of the pictures, by their places."""
        rows = slice(sum(self.counts[:first]), sum(self.counts[:last]))
        return DecodedPortion(
            self.counts[first:last],
            self.frames[rows],
            self.digests[rows],
            self.facts[rows],
            [(place - first, reason) for place, reason in self.reasons if first <= place < last],
        )


_Wanted = list[tuple[int, str]]
"""Numbers and names of pictures."""


def decoded(
    catalog: Catalog, numbers: Sequence[int], rules: Rules
) -> Generator[DecodedPortion, None, None]:
    """Decodes pictures by their numbers in the catalog; gives them in that order.

    Raises:
        SaganError: They are to stay as stored and differ in size, or a process was ended by the
            system; names the pictures that it may have been at.
    """
    from PIL import Image

    Image.preinit()  # imports what would otherwise count as the time of the first pictures
    names, read = catalog.names, catalog.read
    wanted = ((number, names[number]) for number in numbers)
    done, size, spent = 0, 1, 0.0
    while portion := list(islice(wanted, size)):
        started = time.monotonic()
        found = _decode(read, rules, portion)
        if done:  # the first may have opened or unpacked a file for all
            spent += time.monotonic() - started
        yield found
        done += len(portion)
        each = max(1e-6, spent / max(1, done - 1))
        most = _MOST_BYTES * len(portion) // max(1, found.frames.nbytes)
        most = max(1, min(most, _MOST_PICTURES, round(_PORTION / each)))
        if spent > _TRIAL and each * (len(numbers) - done) > _WORTH:
            yield from _in_processes(catalog, wanted, rules, most, each)
            return
        size = min(most, done)


def decode_one(catalog: Catalog, number: int, rules: Rules) -> DecodedPortion:
    """Decodes one picture."""
    return _decode(catalog.read, rules, [(number, catalog.names[number])])


def _decode(
    read: Reader, rules: Rules, wanted: _Wanted, note: mmap | None = None
) -> DecodedPortion:
    frames: list[np.ndarray] = []
    facts: list[Facts] = []
    counts, reasons, first = [], [], ""
    with quiet():
        for place, (number, name) in enumerate(wanted):
            if note is not None:
                note[:] = number.to_bytes(8)
            new = []
            try:
                new, fact = unhashed_pixels(read(number, name), rules, name=name)
                facts += [fact] * len(new)
            except UnreadableError as error:
                reasons.append((place, str(error) or "unreadable"))
            except OSError as error:
                reasons.append((place, error.strerror or str(error)))
            if frames and new and frames[0].shape != new[0].shape:
                raise unequal(name, new[0].shape, first, frames[0].shape)
            first = first or (name if new else "")
            frames += new
            counts.append(len(new))
    together = np.stack(frames) if frames else np.empty((0, 0, 0, 0), np.uint8)
    known = np.array(facts, FACTS)
    if frames:
        firsts = np.cumsum(counts) - counts
        known["hash"] = difference_hashes(together)[np.repeat(firsts, counts)]
    return DecodedPortion(counts, together, digests_of(together), known, reasons)


def unequal(
    name: str, shape: tuple[int, ...], other: str, other_shape: tuple[int, ...]
) -> SaganError:
    """The refusal of pictures that were to stay as they are and differ in size."""
    (height, width), (other_height, other_width) = shape[-2:], other_shape[-2:]
    return SaganError(
        f"the pictures are not of one size: {other} is {other_width} x {other_height}, {name} is "
        f"{width} x {height}; give a --resolution to crop and resize them to"
    )


_NOTHING_YET = b"\xff" * 8
_given: tuple[Reader, Rules, mmap]  # of a process that decodes; the last is its note


def _begin(read: Reader, rules: Rules, notes: Path, parent: int) -> None:
    global _given
    with (notes / str(os.getpid())).open("w+b") as file:
        file.write(_NOTHING_YET)
        file.flush()
        _given = read, rules, mmap(file.fileno(), 8)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """Ends this process soon after its parent, which may be killed without a word."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _decode_given(wanted: _Wanted) -> DecodedPortion:
    read, rules, note = _given
    return _decode(read, rules, wanted, note)


def _in_processes(
    catalog: Catalog, wanted: Iterator[tuple[int, str]], rules: Rules, size: int, each: float
) -> Iterator[DecodedPortion]:
    # Processes of loky are fresh: they share no locks with this one and do not run its script.
    from loky import ProcessPoolExecutor
    from loky.process_executor import BrokenProcessPool

    _start_tracker()
    workers = usable_cores()
    waiting: deque[Future[DecodedPortion]] = deque()
    aside = _MOST_ASIDE if each < _PORTION else 0  # large pictures need the memory
    with tempfile.TemporaryDirectory() as notes:
        pool = ProcessPoolExecutor(
            workers,
            initializer=_begin,
            initargs=(catalog.read, rules, Path(notes), os.getpid()),
            env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        try:
            while portion := list(islice(wanted, size)):
                if len(waiting) >= 2 * workers and aside and not waiting[0].done():
                    aside -= 1
                    waiting.append(_finished(_decode(catalog.read, rules, portion)))
                    continue
                waiting.append(pool.submit(_decode_given, portion))
                aside = aside if len(waiting) <= 2 * workers else 0
                while len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise SaganError(
                f"the system ended a process that was reading {_noted(catalog, Path(notes))}, "
                "perhaps for lack of memory; remove or shrink that picture and start again, which "
                "goes on from here"
            ) from error
        finally:
            pool.shutdown(kill_workers=True)


def _start_tracker() -> None:
    """Starts loky's process that cleans up after this one, so that it does so without a word."""
    from loky.backend import resource_tracker

    sys.warnoptions.append("ignore:resource_tracker:UserWarning")  # which it takes over
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.pop()


def _finished(portion: DecodedPortion) -> Future[DecodedPortion]:
    future: Future[DecodedPortion] = Future()
    future.set_result(portion)
    return future


def _noted(catalog: Catalog, notes: Path) -> str:
    told = {note.read_bytes() for note in notes.iterdir()} - {_NOTHING_YET}
    return " or ".join(catalog.names[int.from_bytes(n)] for n in sorted(told)) or "pictures"
