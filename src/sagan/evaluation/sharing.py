"""A measurement shared among the ranks of a training; what ends it on one ends it on all."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from sagan.errors import SaganError, StoppedError
from sagan.system.ranks import ALONE, Ranks
from sagan.system.signals import Interruption

_Exchanged = TypeVar("_Exchanged")


class Sharing:
    """What the ranks tell each other while they measure; every rank exchanges equally often.

    Args:
        ranks: Those that share the work.
        asked: Whether a signal has asked this rank for the end.
    """

    def __init__(self, ranks: Ranks = ALONE, asked: Interruption | None = None) -> None:
        self.ranks = ranks
        self._asked = asked or Interruption()
        self._is_over = False

    def exchange(self, value: _Exchanged) -> list[_Exchanged]:
        """The values of all ranks, by rank.

        Raises:
            SaganError: Another rank has failed.
            FaultError: Another rank has ended.
            StoppedError: A rank was asked for the end.
        """
        return self._exchange(value, "")

    def tell(self, error: BaseException) -> None:
        """Tells what ended the work of this rank to the others, who get it at their next exchange.

        Raises:
            StoppedError: This or another rank was asked for the end, which is then that of all.
        """
        if not self._is_over:
            self._exchange(None, str(error) or type(error).__name__, is_own=True)

    def _exchange(self, value: _Exchanged, fault: str, *, is_own: bool = False) -> list[_Exchanged]:
        with self._asked.acting_later():
            self._is_over = True
            found = self.ranks.from_all((value, fault, self._asked.by))
            if by := next((by for *_, by in found if by), ""):
                raise StoppedError(f"stopped by {by}; the same command continues")
            for rank, (_, other, _) in enumerate(found):
                if other and not is_own:
                    raise SaganError(f"{other} (on rank {rank})")
            self._is_over = False
        return [one for one, *_ in found]


@contextmanager
def shared_among(ranks: Ranks, asked: Interruption) -> Iterator[Sharing]:
    """Shares the work of the block; where one rank fails, the block fails on all of them.

    Raises:
        StoppedError: A signal has asked one of them for the end.
    """
    sharing = Sharing(ranks, asked)
    try:
        yield sharing
    except (Exception, StoppedError) as error:
        sharing.tell(error)
        raise
