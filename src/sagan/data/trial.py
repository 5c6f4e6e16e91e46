"""A few pictures of a source, read as all will be: how they look, and how long all will take."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from sagan.data.catalog import Catalog
from sagan.data.facts import FACTS
from sagan.data.rules import Rules
from sagan.data.workers import decode_one
from sagan.system.memory import require_free
from sagan.system.spacing import with_both_ends
from sagan.system.threads import usable_cores


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """Pictures of a source, evenly chosen and read as all will be."""

    images: np.ndarray
    """uint8 (M, C, H, W)."""
    entry: np.ndarray
    """int64 (M,): their numbers in the catalog."""
    facts: np.ndarray
    """``FACTS`` (M,)."""
    digests: np.ndarray
    """uint64 (M,) of their pixels."""
    unreadable: list[tuple[str, str]]
    """Name and reason of those that cannot be read."""
    size: int
    """What all pictures of the catalog will take in bytes."""
    seconds: float
    """And in time, on all cores."""


def tried(catalog: Catalog, rules: Rules, count: int = 64) -> Trial:
    """Reads some pictures of a catalog.

    Args:
        catalog: The pictures.
        rules: What is done to each; they must say a size.
        count: How many at most; they are evenly spread, so that classes have their shares.

    Raises:
        SaganError: They would not fit into memory.
    """
    assert rules.size
    chosen: list[int] = with_both_ends(len(catalog), count).tolist()
    shape = (rules.channels, *rules.size)
    need = 2 * len(chosen) * math.prod(shape)
    remedy = "choose a smaller --data.resolution, or look at fewer"
    require_free(need, f"{len(chosen):,} pictures of this size", remedy)
    images, entry, facts, digests, unreadable = [], [], [], [], []
    begin = time.perf_counter()
    for number in chosen:
        picture = decode_one(catalog, number, rules)
        if picture.reasons:
            unreadable += [(catalog.names[number], reason) for _, reason in picture.reasons]
            continue
        images.append(picture.frames)
        entry += [number] * len(picture.frames)
        facts.append(picture.facts)
        digests.append(picture.digests)
    share = len(chosen) / max(1, len(catalog))
    pictures = np.concatenate([np.zeros((0, *shape), np.uint8), *images])
    return Trial(
        images=pictures,
        entry=np.array(entry, np.int64),
        facts=np.concatenate([np.zeros(0, FACTS), *facts]),
        digests=np.concatenate([np.zeros(0, np.uint64), *digests]),
        unreadable=unreadable,
        size=round(pictures.nbytes / share) if len(chosen) else 0,
        seconds=(time.perf_counter() - begin) / (share or 1) / usable_cores(),
    )
