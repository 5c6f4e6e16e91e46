"""A pack in the making, which survives its process; pictures that need not be decoded again."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sagan.data.catalog import Catalog
from sagan.data.dataset import digests_of, fingerprint
from sagan.data.facts import FACTS
from sagan.data.packfile import Pack, PackWriter, header_size, text_of
from sagan.data.picture_files import decoders
from sagan.data.rules import Rules
from sagan.data.workers import DecodedPortion, unequal
from sagan.errors import SaganError
from sagan.system.memory import require_space

_FLUSH_SECONDS = 1.0  # of work that a sudden end may cost
_FILE = "pictures"
_JOURNAL = "journal.jsonl"


class Draft:
    """A folder with the pack as far as it is written, and a journal of what that is.

    Pictures are flushed before the journal names them. A journal's line is a JSON object with the
    names, stamps and numbers of frames of some pictures, and the frames' digests and facts as
    base64.
    """

    def __init__(self, folder: Path, catalog: Catalog, *, keeps_pictures: bool = True) -> None:
        """Begins a draft of a catalog's pictures in a new folder."""
        self.unreadable: list[tuple[str, str]] = []
        self._folder, self._catalog, self._keeps_pictures = folder, catalog, keeps_pictures
        folder.mkdir(parents=True)
        self._file = (folder / _FILE).open("w+b")
        self._journal = (folder / _JOURNAL).open("w", encoding="ascii")
        self._writer: PackWriter | None = None
        self._shape: tuple[int, ...] = ()
        self._first = ""
        self._unwritten: list[tuple[np.ndarray, np.ndarray]] = []
        self._entries: list[np.ndarray] = []
        self._digests: list[np.ndarray] = []
        self._facts: list[np.ndarray] = []
        self._noted = 0
        self._begun = self._flushed = time.monotonic()

    def add(self, begin: int, portion: DecodedPortion) -> None:
        """Takes in what became of the entries of the catalog from ``begin`` on."""
        names = self._catalog.names
        self.unreadable += [(names[begin + place], reason) for place, reason in portion.reasons]
        counts = np.array(portion.counts, np.int64)
        entries = begin + np.flatnonzero(counts)
        if not len(entries):
            return
        shape = portion.frames.shape[1:]
        name = names[int(entries[0])]
        if self._writer is None:
            self._begin(name, shape)
        if shape != self._shape:
            raise unequal(name, shape, self._first, self._shape)
        if self._keeps_pictures and self._writer is not None:
            self._writer.append(portion.frames)
        counts = counts[counts > 0]
        self._unwritten.append((entries, counts))
        self._entries.append(np.repeat(entries, counts))
        self._digests.append(portion.digests)
        self._facts.append(portion.facts)
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self.flush()

    def _begin(self, name: str, shape: tuple[int, ...]) -> None:
        count = len(self._catalog)
        if self._keeps_pictures:
            require_space(self._folder, count * math.prod(shape), f"{count:,} packed pictures")
        self._first, self._shape = name, shape
        self._writer = PackWriter(self._file, shape, count if self._keeps_pictures else 0)

    def flush(self) -> None:
        """Hands everything to the system, where it outlives this process."""
        self._flushed = time.monotonic()
        if not self._unwritten:
            return
        self._file.flush()
        entries, counts = (np.concatenate(parts) for parts in zip(*self._unwritten, strict=True))
        self._unwritten.clear()
        digests = np.concatenate(self._digests[self._noted :])
        facts = np.concatenate(self._facts[self._noted :])
        self._digests[self._noted :], self._facts[self._noted :] = [digests], [facts]
        self._noted = len(self._digests)
        names = self._catalog.names
        line = {
            "shape": self._shape,
            "names": [names[entry] for entry in entries.tolist()],
            "stamps": self._catalog.stamps[entries].tolist(),
            "counts": counts.tolist(),
            "digests": base64.b64encode(digests.tobytes()).decode(),
            "facts": base64.b64encode(facts.tobytes()).decode(),
        }
        self._journal.write(json.dumps(line) + "\n")
        self._journal.flush()

    def finish(self, rules: Rules) -> Path:
        """Completes the pack and returns its file, still in the draft's folder.

        Raises:
            SaganError: There is no picture.
        """
        self.flush()
        catalog = self._catalog
        if self._writer is None:
            example = "".join(f" ({name}: {reason})" for name, reason in self.unreadable[:1])
            raise SaganError(
                f"none of the {len(catalog):,} pictures in {catalog.root} can be read{example}; "
                "give other pictures"
            )
        digests, facts = np.concatenate(self._digests), np.concatenate(self._facts)
        labels = np.zeros(len(digests), np.int64)
        arrays = {
            "labels": labels,
            "class_names": np.array([], np.str_),
            "digests": digests,
            "facts": facts,
            "entry": np.concatenate(self._entries),
            "stamps": catalog.stamps.astype(np.uint64),
            "names": text_of(catalog.names),
        }
        shape = (len(digests), *self._shape)
        about = {
            "kind": catalog.kind,
            "root": str(catalog.root),
            "rules": rules.text(),
            "range": rules.range,
            "catalog": mark_of(catalog),
            "grey": bool(facts["grey"].all()),
            "unreadable": self.unreadable,
            "decoders": decoders(),
            "shape": shape,
            "seconds": round(time.monotonic() - self._begun, 1),
            "fingerprint": fingerprint(shape, digests, labels, ()),
        }
        self._writer.finish(arrays, about)
        self.close()
        return self._folder / _FILE

    def close(self) -> None:
        """Closes its files, which stay."""
        self._file.close()
        self._journal.close()


@lru_cache(maxsize=2)
def mark_of(catalog: Catalog) -> str:
    """A mark that differs where a picture came, went, changed its place or was changed."""
    mark = hashlib.blake2b(text_of(catalog.names).data, digest_size=16)
    mark.update(catalog.stamps.astype("<u8").data)
    return mark.hexdigest()


class Known:
    """Pictures that were decoded before, by their names."""

    def __init__(
        self,
        names: Sequence[str],
        stamps: np.ndarray,
        counts: np.ndarray,
        images: np.ndarray,
        digests: np.ndarray,
        facts: np.ndarray,
    ) -> None:
        """Takes what lies in a pack or a draft.

        Args:
            names: Of the M entries in the order of their pictures; of equal ones the last counts.
            stamps: uint64 (M,).
            counts: int64 (M,): pictures of each.
            images: uint8 (N, C, H, W).
            digests: uint64 (N,).
            facts: ``FACTS`` (N,).
        """
        self._place_of = {name: place for place, name in enumerate(names)}
        self._stamps, self._counts, self._images = stamps, counts, images
        self._firsts = np.cumsum(counts) - counts
        self._digests, self._facts = digests, facts

    def places(self, catalog: Catalog) -> np.ndarray:
        """Finds the pictures of a catalog: int64, the place of each here, or -1 if it is not."""
        found = (self._place_of.get(name, -1) for name in catalog.names)
        places = np.fromiter(found, np.int64, len(catalog))
        is_same = (self._stamps[places] == catalog.stamps) & (self._counts[places] > 0)
        return np.where(is_same, places, -1)

    def take(self, place: int, count: int) -> tuple[DecodedPortion, np.ndarray]:
        """Reads pictures that follow each other here; tells which of them are intact: bool."""
        counts = self._counts[place : place + count]
        first = self._firsts[place]
        rows = slice(first, first + counts.sum())
        found = DecodedPortion(
            counts.tolist(), self._images[rows], self._digests[rows], self._facts[rows], []
        )
        is_wrong = digests_of(found.frames) != found.digests
        wrong = np.repeat(np.arange(count), counts)[is_wrong]
        return found, ~np.isin(np.arange(count), wrong)


def known_of_pack(pack: Pack) -> Known:
    """The pictures of a finished pack."""
    counts = np.bincount(pack.entry, minlength=len(pack.stamps))
    return Known(pack.names, pack.stamps, counts, pack.images, pack.digests, pack.facts)


def known_of_draft(folder: Path, images: np.ndarray | None = None) -> Known | None:
    """The pictures of a draft that was left; None if it has none.

    Args:
        folder: The draft's.
        images: The pictures, where the draft leaves them where they came from.
    """
    names: list[str] = []
    stamps: list[int] = []
    counts: list[int] = []
    digests: list[bytes] = []
    facts: list[bytes] = []
    shape = ()
    try:
        for line in (folder / _JOURNAL).read_text(encoding="ascii").splitlines():
            part: dict[str, Any] = json.loads(line)
            digests.append(base64.b64decode(part["digests"]))
            facts.append(base64.b64decode(part["facts"]))
            names += part["names"]
            stamps += part["stamps"]
            counts += part["counts"]
            shape = tuple(part["shape"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # the last line may be cut off
    rows = sum(counts)
    if not rows:
        return None
    try:
        if images is None:
            offset = header_size(shape)
            images = np.asarray(np.memmap(folder / _FILE, np.uint8, "r", offset, (rows, *shape)))
        return Known(
            names,
            np.array(stamps, np.uint64),
            np.array(counts, np.int64),
            images,
            np.frombuffer(b"".join(digests), np.uint64, rows),
            np.frombuffer(b"".join(facts), FACTS, rows),
        )
    except (OSError, ValueError):
        return None
