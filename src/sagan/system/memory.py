"""How much memory a device has and how much is free, as on the disk; what means that it is full."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sagan.errors import SaganError

if TYPE_CHECKING:
    import torch

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")
_MEMORY = Path("/proc/meminfo")
_REFUSALS = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")
"""In messages of PyTorch on CPUs (Linux and macOS, Windows), on GPUs, and of cuBLAS."""
_FREE_SPACE = (
    "free space (sagan data --cache lists packed pictures), or set SAGAN_CACHE to a folder "
    "elsewhere"
)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Memory of a device in bytes."""

    total: int
    """The most that one process could get: RAM and swap, within the limits of its cgroups."""
    available: int
    """Free now, without swapping."""


def memory_of(device: torch.device) -> Memory | None:
    """Asks the system. None where it does not tell, as for Apple's GPUs."""
    if device.type == "cuda":
        import torch

        available, total = torch.cuda.mem_get_info(device)
        return Memory(total=total, available=available)
    return _main_memory() if device.type == "cpu" else None


def require_free(size: float, what: str, remedy: str) -> None:
    """Judges a size before the memory is taken.

    Args:
        size: Bytes of main memory.
        what: For the message.
        remedy: For the message.

    Raises:
        SaganError: There is less.
    """
    memory = _main_memory()
    if memory is not None and size > memory.available:
        raise SaganError(
            f"{what} would take {readable(size)} of memory and {readable(memory.available)} are "
            f"free; {remedy}"
        )


def require_space(folder: Path, size: int, what: str, remedy: str = _FREE_SPACE) -> None:
    """Judges a size before the disk is filled.

    Args:
        folder: Where it is to be, which need not be there yet.
        size: Bytes.
        what: For the message.
        remedy: For the message.

    Raises:
        SaganError: The disk has less, or would have almost nothing left.
    """
    free = shutil.disk_usage(next(p for p in (folder, *folder.parents) if p.exists())).free
    if 1.02 * size + 2**24 > free:
        raise SaganError(
            f"{what} would take {readable(size)} and {readable(free)} are free in {folder}; "
            f"{remedy}"
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Tells whether an error means that a device is out of memory."""
    import torch

    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _REFUSALS)


def readable(size: float) -> str:
    """Writes a number of bytes as 12.3 GiB or 45 MiB."""
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:.3g} MiB"


def _main_memory() -> Memory | None:
    if not _MEMORY.exists():
        return _installed_memory()
    lines = (line.split() for line in _MEMORY.read_text().splitlines())
    sizes = {words[0].rstrip(":"): 1024 * int(words[1]) for words in lines if words[2:] == ["kB"]}
    total, available = sizes["MemTotal"] + sizes.get("SwapTotal", 0), sizes["MemAvailable"]
    for limit, used in _limits():
        total, available = min(total, limit), min(available, limit - used)
    return Memory(total=total, available=max(0, available))


def _installed_memory() -> Memory | None:
    """Without /proc, all installed memory counts as free."""
    try:
        installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    return Memory(total=installed, available=installed)


def _limits() -> Iterator[tuple[int, int]]:
    """Limit and use, in bytes, of every cgroup that contains this process (version 1 or 2).

    Cached files that the kernel can drop at once do not count as used.
    """
    names = ("memory.max", "memory.current", "inactive_file")
    old_names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    lines = _OWN_CGROUPS.read_text().splitlines() if _OWN_CGROUPS.exists() else []
    for _, controllers, own in (line.split(":", 2) for line in lines):
        if controllers and "memory" not in controllers.split(","):
            continue
        root, (limit, usage, cached) = (
            (_CGROUPS / "memory", old_names) if controllers else (_CGROUPS, names)
        )
        group = root / own.lstrip("/")
        # In a container this may be the host's path, of which only the root exists here.
        for folder in (group, *(above for above in group.parents if above.is_relative_to(root))):
            try:
                bound = (folder / limit).read_text().strip()
                if bound != "max":
                    yield int(bound), _used(folder, usage, cached)
            except OSError:
                continue


def _used(group: Path, usage: str, cached: str) -> int:
    statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    return int((group / usage).read_text()) - int(statistics.get(cached, 0))
