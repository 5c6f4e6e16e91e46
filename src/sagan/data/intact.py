"""Comparing all pictures of a large pack with their digests while they are used already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

from sagan.data.dataset import Dataset
from sagan.data.packfile import SUFFIX, damaged_stretch, is_small, mark_damaged
from sagan.errors import SaganError
from sagan.system.background import BackgroundWork


class PictureCheck:
    """Reads every picture of a dataset once, in a thread, where opening it looked at some only.

    Args:
        dataset: Pictures of files; those made in memory cannot be damaged.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._origin = dataset.origin
        self._reading: BackgroundWork | None = None
        self._ended = Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Begins to read, and gives up at the end of what is within."""
        if self._origin is not None and not is_small(self._origin.pack):
            self._reading = BackgroundWork(self._read)
        try:
            yield
        finally:
            self._ended.set()
            if self._reading is not None:
                self._reading.join()

    def raise_failed(self) -> None:
        """Tells what was found so far.

        Raises:
            SaganError: A picture is damaged.
        """
        if self._reading is not None:
            self._reading.raise_failed()

    def wait(self) -> None:
        """Waits until every picture was read.

        Raises:
            SaganError: One is damaged.
        """
        if self._reading is not None:
            self._reading.wait()

    def _read(self) -> None:
        assert self._origin is not None
        pack, catalog = self._origin.pack, self._origin.catalog
        rows = damaged_stretch(pack, self._ended.is_set)
        if rows is None:
            return
        where = f"of the pictures {rows.start:,} to {rows.stop - 1:,} in {pack.path}, one"
        if catalog.root.suffix == SUFFIX:
            raise SaganError(f"{where} is damaged; get the file anew")
        mark_damaged(pack)
        raise SaganError(
            f"{where} is damaged, and no checkpoint was written since the start; the same command "
            "packs it again and goes on"
        )
