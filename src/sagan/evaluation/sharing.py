"""A measurement shared among the ranks of a training, in which a failure of one is told to all."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from sagan.errors import SaganError
from sagan.system.ranks import ALONE, Ranks

_Exchanged = TypeVar("_Exchanged")


class Sharing:
    """What the ranks tell each other while they measure; every rank exchanges equally often.

    Args:
        ranks: Those that share the work.
    """

    def __init__(self, ranks: Ranks = ALONE) -> None:
        self.ranks = ranks
        self._is_over = False

    def exchange(self, value: _Exchanged) -> list[_Exchanged]:
        """The values of all ranks, by rank.

        Raises:
            SaganError: Another rank has failed.
            FaultError: Another rank has ended.
        """
        return self._exchange(value, "")

    def tell(self, error: Exception) -> None:
        """Tells a failure of this rank to the others, who get it at their next exchange."""
        if not self._is_over:
            self._exchange(None, str(error) or type(error).__name__, is_own=True)

    def _exchange(self, value: _Exchanged, fault: str, *, is_own: bool = False) -> list[_Exchanged]:
        self._is_over = True
        found = self.ranks.from_all((value, fault))
        for rank, (_, other) in enumerate(found):
            if other and not is_own:
                raise SaganError(f"{other} (on rank {rank})")
        self._is_over = False
        return [one for one, _ in found]


@contextmanager
def shared_among(ranks: Ranks) -> Iterator[Sharing]:
    """Shares the work of the block; where one rank fails, the block fails on all of them."""
    sharing = Sharing(ranks)
    try:
        yield sharing
    except Exception as error:
        sharing.tell(error)
        raise
