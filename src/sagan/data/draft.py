"""A pack in the making, which survives its process; pictures that need not be decoded again."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from sagan.data.catalog import Catalog
from sagan.data.dataset import digests_of, fingerprint
from sagan.data.packfile import Pack, PackWriter, header_size, text_of
from sagan.data.pixels import FACTS
from sagan.data.rules import Rules
from sagan.data.workers import DecodedPicture, unequal
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

    def __init__(self, folder: Path, count: int, *, keeps_pictures: bool = True) -> None:
        """Begins a draft of about ``count`` pictures in a new folder."""
        self.unreadable: list[tuple[str, str]] = []
        self._folder, self._count, self._keeps_pictures = folder, count, keeps_pictures
        folder.mkdir(parents=True)
        self._file = (folder / _FILE).open("w+b")
        self._journal = (folder / _JOURNAL).open("w", encoding="ascii")
        self._writer: PackWriter | None = None
        self._shape: tuple[int, ...] = ()
        self._first = ""
        self._entries: list[int] = []
        self._kept: list[tuple[str, int, DecodedPicture]] = []
        self._digests: list[np.ndarray] = []
        self._facts: list[np.ndarray] = []
        self._begun = self._flushed = time.monotonic()

    def add(self, entry: int, name: str, stamp: int, picture: DecodedPicture) -> None:
        """Takes in what became of the next entry of the catalog."""
        if picture.reason:
            self.unreadable.append((name, picture.reason))
            return
        if not len(picture.frames):
            return
        if self._writer is None:
            self._begin(name, picture.frames.shape[1:])
        if picture.frames.shape[1:] != self._shape:
            raise unequal(name, picture.frames.shape, self._first, self._shape)
        if self._keeps_pictures and self._writer is not None:
            self._writer.append(picture.frames)
        self._entries += [entry] * len(picture.frames)
        self._kept.append((name, stamp, picture))
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self.flush()

    def _begin(self, name: str, shape: tuple[int, ...]) -> None:
        if self._keeps_pictures:
            size = self._count * int(np.prod(shape))
            require_space(self._folder, size, f"{self._count:,} packed pictures")
        self._first, self._shape, self._writer = name, shape, PackWriter(self._file, shape)

    def flush(self) -> None:
        """Hands everything to the system, where it outlives this process."""
        self._flushed = time.monotonic()
        if not self._kept:
            return
        self._file.flush()
        digests = np.concatenate([picture.digests for _, _, picture in self._kept])
        facts = np.concatenate([picture.facts for _, _, picture in self._kept])
        line = {
            "shape": self._shape,
            "names": [name for name, _, _ in self._kept],
            "stamps": [stamp for _, stamp, _ in self._kept],
            "counts": [len(picture.frames) for _, _, picture in self._kept],
            "digests": base64.b64encode(digests.tobytes()).decode(),
            "facts": base64.b64encode(facts.tobytes()).decode(),
        }
        self._journal.write(json.dumps(line) + "\n")
        self._journal.flush()
        self._digests.append(digests)
        self._facts.append(facts)
        self._kept.clear()

    def finish(self, catalog: Catalog, rules: Rules) -> Path:
        """Completes the pack and returns its file, still in the draft's folder.

        Raises:
            SaganError: There is no picture.
        """
        self.flush()
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
            "entry": np.array(self._entries, np.int64),
            "stamps": catalog.stamps.astype(np.uint64),
            "names": text_of(catalog.names),
        }
        shape = (len(digests), *self._shape)
        about = {
            "kind": catalog.kind,
            "root": str(catalog.root),
            "rules": rules.text(),
            "catalog": mark_of(catalog),
            "grey": bool(facts["grey"].all()),
            "unreadable": self.unreadable,
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


def mark_of(catalog: Catalog) -> str:
    """A mark that differs where a picture came, went, changed its place or was changed."""
    mark = hashlib.blake2b(text_of(catalog.names).data, digest_size=16)
    mark.update(catalog.stamps.astype("<u8").data)
    return mark.hexdigest()


class Known:
    """Pictures that were decoded before, by their names."""

    def __init__(
        self,
        places: dict[str, tuple[int, int, int]],
        images: np.ndarray,
        digests: np.ndarray,
        facts: np.ndarray,
    ) -> None:
        """Takes what lies in a pack or a draft.

        Args:
            places: Stamp, first row and number of rows of each picture.
            images: uint8 (N, C, H, W).
            digests: uint64 (N,).
            facts: ``FACTS`` (N,).
        """
        self._places, self._images = places, images
        self._digests, self._facts = digests, facts

    def has(self, name: str, stamp: int) -> bool:
        """Tells whether a picture is there unchanged."""
        return self._places.get(name, (None,))[0] == stamp

    def take(self, name: str) -> DecodedPicture | None:
        """Reads a picture; None if it is damaged."""
        _, first, count = self._places[name]
        rows = slice(first, first + count)
        found = DecodedPicture(self._images[rows], self._digests[rows], self._facts[rows])
        intact = (digests_of(found.frames) == found.digests).all()
        return found if intact else None


def known_of_pack(pack: Pack) -> Known:
    """The pictures of a finished pack."""
    entries = np.arange(len(pack.stamps))
    first = np.searchsorted(pack.entry, entries)
    count = np.searchsorted(pack.entry, entries, side="right") - first
    rows = zip(pack.stamps.tolist(), first.tolist(), count.tolist(), strict=True)
    places = {name: row for name, row in zip(pack.names, rows, strict=False) if row[2]}
    return Known(places, pack.images, pack.digests, pack.facts)


def known_of_draft(folder: Path, images: np.ndarray | None = None) -> Known | None:
    """The pictures of a draft that was left; None if it has none.

    Args:
        folder: The draft's.
        images: The pictures, where the draft leaves them where they came from.
    """
    places: dict[str, tuple[int, int, int]] = {}
    digests: list[bytes] = []
    facts: list[bytes] = []
    shape, rows = (), 0
    try:
        for line in (folder / _JOURNAL).read_text(encoding="ascii").splitlines():
            part: dict[str, Any] = json.loads(line)
            ends = rows + np.cumsum(part["counts"])
            digests.append(base64.b64decode(part["digests"]))
            facts.append(base64.b64decode(part["facts"]))
            firsts = ends - part["counts"]
            rest = zip(part["stamps"], firsts.tolist(), part["counts"], strict=True)
            places.update(zip(part["names"], rest, strict=True))
            shape, rows = tuple(part["shape"]), int(ends[-1])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # the last line may be cut off
    if not rows:
        return None
    try:
        if images is None:
            offset = header_size(shape)
            images = np.asarray(np.memmap(folder / _FILE, np.uint8, "r", offset, (rows, *shape)))
        return Known(
            places,
            images,
            np.frombuffer(b"".join(digests), np.uint64, rows),
            np.frombuffer(b"".join(facts), FACTS, rows),
        )
    except (OSError, ValueError):
        return None
