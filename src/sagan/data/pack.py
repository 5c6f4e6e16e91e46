"""Packed pictures in the cache: decoded once, kept up to date, shared by all processes."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import numpy as np

from sagan.data.cached import DRAFT, LIST, drafts_of, keep_largest, sweep
from sagan.data.catalog import Catalog
from sagan.data.dataset import cache_folder
from sagan.data.draft import Draft, Known, known_of_draft, known_of_pack, mark_of
from sagan.data.packfile import DAMAGED, SUFFIX, Pack, about_pack, is_intact, open_pack
from sagan.data.picture_files import decoders
from sagan.data.rules import Rules
from sagan.data.workers import decode_one, decoded
from sagan.errors import SaganError, printable
from sagan.system.files import write_text, writing
from sagan.system.progress import progress
from sagan.system.spacing import with_both_ends

_PIXELS = 1  # raise it when the same pictures and rules give other pixels
_TOGETHER = 1024  # pictures that are copied at once
_COMPARED = 8  # pictures, to see whether they stay as they are
REMEDY = "set SAGAN_CACHE to a folder with free space that you may write"


def packed(catalog: Catalog, rules: Rules, *, broken: float) -> Pack:
    """Packs the pictures of a catalog, or opens them as they were packed before.

    Only pictures that are new or were changed are decoded, also after a sudden end. Where another
    process packs the same, this one waits for it.

    Args:
        catalog: The pictures.
        rules: What is done to them.
        broken: Share of the pictures that may be unreadable.

    Raises:
        SaganError: More are unreadable, there are none, the disk is too full, the cache cannot be
            written, or pictures are to stay as stored and differ in size.
    """
    if not len(catalog):
        raise SaganError(f"{catalog.root} ({catalog.kind}) holds no pictures; give others")
    path = place_of(catalog, rules)
    images = catalog.images if stay_where_they_are(catalog, rules) else None
    pack = fresh_pack(path, catalog, images)
    if pack is None or _too_many(pack, catalog, broken):
        with _locked(path):
            pack = fresh_pack(path, catalog, images, is_told=False)
            if pack is None or _too_many(pack, catalog, broken):
                pack = _pack_anew(path, catalog, rules, images)
    if _too_many(pack, catalog, broken):
        raise _refusal(pack, catalog, broken)
    return pack


def place_of(catalog: Catalog, rules: Rules) -> Path:
    """The file in the cache, named by source, parts and rules; labels do not matter.

    What is no path, such as hf:NAME, is the same everywhere.
    """
    chosen = [] if catalog.split_of is None else np.unique(catalog.split_of).tolist()
    parts = [catalog.splits[number] for number in chosen]
    root = os.path.realpath(catalog.root) if catalog.root.exists() else str(catalog.root)
    key = repr((_PIXELS, root, catalog.chosen_by, parts, rules.text()))
    name = hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:32]
    return cache_folder() / "packs" / f"{name}{SUFFIX}"


def stay_where_they_are(catalog: Catalog, rules: Rules) -> bool:
    """Tells whether a source stores its pictures just as they are wanted, so that none is copied.

    It compares a few decoded pictures with the stored ones.
    """
    images = catalog.images
    if images is None:
        return False
    size = images.shape[-2:] if rules.size is None else rules.size
    if images.dtype != np.uint8 or images.shape[1:] != (rules.channels, *size):
        return False
    for number in with_both_ends(len(catalog), _COMPARED).tolist():
        frames = decode_one(catalog, number, rules).frames
        if len(frames) != 1 or not np.array_equal(frames[0], images[number]):
            return False
    return True


def fresh_pack(
    path: Path, catalog: Catalog, images: np.ndarray | None = None, *, is_told: bool = True
) -> Pack | None:
    """Opens a pack of the cache; None where there is none, or another or a damaged one.

    Args:
        path: The file.
        catalog: The pictures that it should have.
        images: The pictures, where the file leaves them where they came from.
        is_told: Whether to tell the user of damage.
    """
    try:
        pack = open_pack(path, images)
    except SaganError:
        return None
    if pack.about.get("catalog") != mark_of(catalog):
        return None
    if pack.unreadable and pack.about.get("decoders") != decoders():
        return None  # another version may read them
    if path.with_suffix(DAMAGED).exists() or not is_intact(pack):
        if is_told:
            _tell(f"the packed pictures of {catalog.root} are damaged; packing them again")
        return None
    return pack


def found_grey(catalog: Catalog, rules: Rules) -> bool | None:
    """Tells whether the pictures are all grey, where they are packed; None where they are not."""
    about = about_pack(place_of(catalog, rules))
    return about.get("grey") if about.get("catalog") == mark_of(catalog) else None


def _pack_anew(path: Path, catalog: Catalog, rules: Rules, images: np.ndarray | None) -> Pack:
    with writing(f"to the cache folder {path.parent}", REMEDY):
        sweep()
        left = keep_largest(drafts_of(path))
        known = _known(path, left, images)
        owner = f"{os.getpid()}@{socket.gethostname()}"
        folder = path.with_name(f"{path.stem}.{time.time_ns()}.{owner}{DRAFT}")
        draft = Draft(folder, catalog, keeps_pictures=images is None)
        try:
            _fill(draft, catalog, rules, known)
            os.replace(draft.finish(rules), path)
            path.with_suffix(DAMAGED).unlink(missing_ok=True)
        except BaseException:
            with suppress(OSError):
                draft.flush()
            raise
        finally:
            draft.close()
        for done in (*left, folder):
            shutil.rmtree(done, ignore_errors=True)
    return open_pack(path, images)


def _known(path: Path, drafts: Sequence[Path], images: np.ndarray | None) -> list[Known]:
    found = [known_of_draft(folder, images) for folder in drafts]
    with suppress(SaganError):
        found.append(known_of_pack(open_pack(path, images)))
    return [known for known in found if known is not None]


def _fill(draft: Draft, catalog: Catalog, rules: Rules, known: Sequence[Known]) -> None:
    homes, places = np.full((2, len(catalog)), -1)
    for number, one in enumerate(known):
        found = one.places(catalog)
        chosen = (homes < 0) & (found >= 0)
        homes[chosen], places[chosen] = number, found[chosen]
    missing = np.flatnonzero(homes < 0).tolist()
    size = "" if rules.size is None else f" at {rules.size[1]} x {rules.size[0]}"
    title = f"Packing pictures{size} (once)"
    with closing(decoded(catalog, missing, rules)) as new, progress(title, len(missing)) as advance:
        rest = None
        for begin, end in _runs(homes, places):
            if homes[begin] >= 0:
                home, place = known[homes[begin]], int(places[begin])
                _copy(draft, catalog, rules, home, place, range(begin, end))
                continue
            while begin < end:
                portion = rest if rest and rest.counts else next(new)
                count = min(end - begin, len(portion.counts))
                draft.add(begin, portion.part(0, count))
                rest = portion.part(count, len(portion.counts))
                begin += count
                advance(count)


def _runs(homes: np.ndarray, places: np.ndarray) -> Iterator[tuple[int, int]]:
    """First entry and end of what is missing, or lies in one place in the same order."""
    follows = (homes[1:] == homes[:-1]) & ((homes[1:] < 0) | (np.diff(places) == 1))
    ends = [*(np.flatnonzero(~follows) + 1).tolist(), len(homes)]
    return zip([0, *ends[:-1]], ends, strict=True)


def _copy(
    draft: Draft, catalog: Catalog, rules: Rules, home: Known, place: int, entries: range
) -> None:
    """Takes over what was decoded before; what is damaged is decoded again."""
    for begin in entries[::_TOGETHER]:
        some = entries[begin - entries.start :][:_TOGETHER]
        portion, intact = home.take(place + begin - entries.start, len(some))
        if intact.all():
            draft.add(begin, portion)
            continue
        for number, is_whole in enumerate(intact.tolist()):
            entry = begin + number
            one = portion.part(number, number + 1) if is_whole else None
            draft.add(entry, one or decode_one(catalog, entry, rules))


# --- too many broken pictures


def _too_many(pack: Pack, catalog: Catalog, broken: float) -> bool:
    return len(pack.unreadable) > broken * len(catalog)


def _refusal(pack: Pack, catalog: Catalog, broken: float) -> SaganError:
    listed = pack.path.with_suffix(LIST)
    write_text(listed, "".join(f"{name}\t{reason}\n" for name, reason in pack.unreadable))
    first = "; ".join(f"{name}: {reason}" for name, reason in pack.unreadable[:3])
    share = len(pack.unreadable) / len(catalog)
    return SaganError(
        f"{len(pack.unreadable):,} of {len(catalog):,} pictures in {catalog.root} cannot be read "
        f"({first}), and data.broken allows {broken:.4g} of them; {listed} names all: repair or "
        f"remove them, or pass over them with --data.broken {math.ceil(share * 1000) / 1000:g}"
    )


# --- one process at a time


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    with writing(f"to the cache folder {path.parent}", REMEDY):
        path.parent.mkdir(parents=True, exist_ok=True)
        # The system drops the lock of a process that has ended, however it ended.
        lock = FileLock(path.with_suffix(".lock"))
        try:
            lock.acquire(blocking=False)
        except Timeout:
            holders = [_holder(draft) for draft in drafts_of(path)[-1:]]
            _tell(f"another process{''.join(holders)} packs these pictures; waiting for it")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _holder(draft: Path) -> str:
    process, _, host = draft.name.split(".", 2)[2].removesuffix(DRAFT).partition("@")
    return f" ({process} on {host})"


def _tell(line: str) -> None:
    sys.stderr.write(f"{printable(line)}\n")
