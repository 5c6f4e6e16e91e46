"""What lies in the cache folder: listed, cleared, and swept where nobody needs it any more."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sagan.data.dataset import cache_folder
from sagan.data.packfile import DAMAGED, SUFFIX, about_pack

DRAFT = ".draft"
"""Ends the name of a draft's folder."""
LIST = ".unreadable.txt"
"""Ends the name of a list of pictures that cannot be read."""
ARRAY = ".array"
"""Ends the name of what was unpacked."""

_DAYS = 7  # that drafts and what was unpacked are kept after their last use
_GIVEN_UP = 3600  # seconds without a byte


def drafts_of(path: Path) -> list[Path]:
    """The drafts of a pack that is being made or was given up; the newest last."""
    return sorted(path.parent.glob(f"{path.stem}.*{DRAFT}"))


def keep_largest(drafts: Sequence[Path]) -> list[Path]:
    """Removes all drafts but the largest, from which packing goes on, and returns that."""
    chosen = sorted(drafts, key=_bytes_of)[-1:]
    for draft in drafts:
        if draft not in chosen:
            shutil.rmtree(draft, ignore_errors=True)
    return chosen


@dataclass(frozen=True, kw_only=True)
class CachedPack:
    """One packed set in the cache folder."""

    path: Path
    """A file, or the folder of a draft."""
    size: int
    """Bytes."""
    root: str = ""
    """The source, or what else it is; empty where that is not known."""
    shape: tuple[int, ...] = ()
    """(N, C, H, W); () where that is not known."""
    is_draft: bool = False
    """Whether it is unfinished."""


def cached_packs() -> list[CachedPack]:
    """Lists the packed sets of the cache folder, and with them everything on the way to them.

    These are drafts, and arrays and archives that were unpacked.
    """
    found = []
    for path in sorted((cache_folder() / "packs").glob(f"*{SUFFIX}")):
        about = about_pack(path)
        root, shape = str(about.get("root", "")), tuple(about.get("shape", ()))
        found.append(CachedPack(path=path, size=_bytes_of(path), root=root, shape=shape))
    for path in _drafts():
        found.append(CachedPack(path=path, size=_bytes_of(path), is_draft=True))
    for path in _unpacked_files():
        found.append(CachedPack(path=path, size=_bytes_of(path), root="unpacked for packing"))
    for path in _given_up():
        found.append(CachedPack(path=path, size=_bytes_of(path), root="unfinished, given up"))
    return found


def _drafts() -> list[Path]:
    return sorted((cache_folder() / "packs").glob(f"*{DRAFT}"))


def _unpacked_files() -> list[Path]:
    return sorted((cache_folder() / "unpacked").glob(f"*{ARRAY}"))


def _given_up() -> list[Path]:
    """Files that were begun and not written to for an hour."""
    oldest = time.time() - _GIVEN_UP
    found = []
    for path in sorted(cache_folder().rglob("*.tmp")):
        with suppress(OSError):
            if path.stat().st_mtime < oldest:
                found.append(path)
    return found


def clear(chosen: Iterable[CachedPack]) -> int:
    """Removes packed sets from the cache; those that a process is just making stay.

    Returns:
        Bytes that were freed.
    """
    return sum(one.size for one in chosen if _remove(one.path))


def sweep() -> None:
    """Removes what nobody has gone on with, or has used, for a week."""
    oldest = time.time() - 24 * 3600 * _DAYS
    with suppress(OSError):
        for path in (*_drafts(), *_unpacked_files()):
            if path.stat().st_mtime < oldest:
                _remove(path)
        for path in _given_up():
            _remove(path)


def _remove(path: Path) -> bool:
    from filelock import FileLock, Timeout

    stem = path.name.partition(".")[0]
    lock = FileLock(path.with_name(f"{stem}.lock"))
    try:
        with lock.acquire(blocking=False):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
                for suffix in (LIST, DAMAGED):
                    path.with_suffix(suffix).unlink(missing_ok=True)
            if len(list(path.parent.glob(f"{stem}.*"))) == 1:
                Path(lock.lock_file).unlink()
    except (Timeout, OSError):
        return False
    return True


def _bytes_of(path: Path) -> int:
    total = 0
    for file in path.glob("*") if path.is_dir() else [path]:
        with suppress(FileNotFoundError):  # others may be packing, or clearing
            total += file.stat().st_blocks * 512
    return total
