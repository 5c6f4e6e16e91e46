"""The processes of one training, its ranks: who they are, and what they tell each other.

``torchrun`` starts them and says by environment variables which rank each is. A command that is
started alone is the only rank; then nothing here communicates, and torch.distributed is not loaded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from torch import Tensor

from sagan.errors import FaultError

PATIENCE = timedelta(minutes=30)
"""How long a rank waits for another that lives: it may be packing pictures or measuring."""


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """One process among those of a training. Every method with a word for all is called by all."""

    rank: int = 0
    """Of this process, from 0."""
    count: int = 1
    """Of all."""
    local_rank: int = 0
    """Of this process among those of its machine, from 0: the number of its GPU."""

    @property
    def is_first(self) -> bool:
        """Whether this one writes and prints."""
        return self.rank == 0

    @property
    def are_many(self) -> bool:
        """Whether there is another."""
        return self.count > 1

    def any_of_all(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag, whether it is up on any rank."""
        if not self.are_many:
            return flags
        import torch
        from torch import distributed

        raised = torch.tensor(flags, dtype=torch.int32)
        with told():
            distributed.all_reduce(raised, distributed.ReduceOp.MAX)
        return tuple(bool(flag) for flag in raised.tolist())

    def from_first(self, value: Any) -> Any:
        """The first rank's value, on all; plain values only."""
        if not self.are_many:
            return value
        from torch import distributed

        box = [value]
        with told():
            distributed.broadcast_object_list(box, src=0)
        return box[0]

    def from_all(self, value: Any) -> list[Any]:
        """The value of every rank, by rank; plain values only."""
        if not self.are_many:
            return [value]
        from torch import distributed

        values: list[Any] = [None] * self.count
        with told():
            distributed.all_gather_object(values, value)
        return values

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replaces float32 tensors on one device by their mean over all ranks, all at once."""
        if not self.are_many:
            return
        import torch
        from torch import distributed

        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with told():
            distributed.all_reduce(flat)
        flat /= self.count
        parts = flat.split([tensor.numel() for tensor in tensors])
        torch._foreach_copy_(
            list(tensors), [p.view_as(t) for p, t in zip(parts, tensors, strict=True)]
        )


ALONE = Ranks()
"""A process that was not started by torchrun."""


@contextmanager
def ranks_of_torchrun() -> Iterator[Ranks]:
    """Joins the other ranks, if torchrun has started some, and parts from them at the end.

    Raises:
        FaultError: They cannot be reached.
    """
    count = int(os.environ.get("WORLD_SIZE", 1))
    if count == 1 or "RANK" not in os.environ:
        yield ALONE
        return
    import torch
    from torch import distributed

    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with told():
        distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield Ranks(
            rank=int(os.environ["RANK"]),
            count=count,
            local_rank=int(os.environ.get("LOCAL_RANK", 0)),
        )
    finally:
        distributed.destroy_process_group()


@contextmanager
def told() -> Iterator[None]:
    """Says it in one line where another rank has gone.

    Raises:
        FaultError: It has.
    """
    try:
        yield
    except RuntimeError as error:
        raise FaultError(
            "another process of this training has ended or cannot be reached; what it said itself "
            f"is the cause (here: {str(error).splitlines()[0]}); the same command goes on from the "
            "newest checkpoint"
        ) from error
