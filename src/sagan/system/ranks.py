"""The processes of one training, its ranks: who they are, and what they tell each other.

``torchrun`` starts them and says by environment variables which rank each is. A command that is
started alone is the only rank; then nothing here communicates, and torch.distributed is not loaded.
"""

from __future__ import annotations

import atexit
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sagan.errors import DivergedError, FaultError, SaganError, StoppedError

if TYPE_CHECKING:
    from torch import Tensor

_Value = TypeVar("_Value")

PATIENCE = timedelta(minutes=30)
"""How long a rank waits for another that lives: it may be packing pictures or measuring."""


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """One process among those of a training. All ranks call the methods that speak of all."""

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

    def together(self, work: Callable[[], _Value]) -> _Value:
        """Does something on every rank; where it fails on one, all end with what that one says.

        The ranks leave at the same time.

        Raises:
            SaganError: It has failed here; or elsewhere, by the name of that rank.
        """
        if not self.are_many:
            return work()
        result, failure = None, None
        try:
            result = work()
        except (Exception, StoppedError) as error:
            failure = error
        told_by_all = self.from_all(None if failure is None else _as_told(failure))
        if failure is not None:
            if isinstance(failure, (SaganError, StoppedError)) and not self.is_first:
                failure.is_told = told_by_all[0] == told_by_all[self.rank]
            raise failure
        for rank, found in enumerate(told_by_all):
            if found is not None:
                code, message = found
                kind = next(k for k in _ERROR_KINDS if k.exit_code == code)
                raise self.of_all(kind(f"rank {rank}: {message}"))
        return cast(_Value, result)

    def decided_by_first(self, decide: Callable[[], _Value]) -> _Value:
        """What the first rank decides, on all.

        Raises:
            SaganError: It cannot.
        """
        decided = self.together(lambda: decide() if self.is_first else None)
        return cast(_Value, self.from_first(decided))

    def one_per_host_first(self, work: Callable[[], _Value]) -> _Value:
        """Does something on every rank, on the first of each machine before the others of it.

        The others find in the cache what it has put there.

        Raises:
            SaganError: As for :meth:`together`.
        """
        leads = self.local_rank == 0
        first = self.together(lambda: work() if leads else None)
        if not self.are_many:
            return cast(_Value, first)
        second = self.together(lambda: None if leads else work())
        return cast(_Value, first if leads else second)

    def of_all(self, error: SaganError | StoppedError) -> SaganError | StoppedError:
        """An error that all ranks end with, and the first one says."""
        error.is_told = not self.is_first
        return error

    def gathered(self, tensor: Tensor) -> Tensor:
        """The tensors of all ranks, alike in shape, by rank: (count, ...)."""
        import torch
        from torch import distributed

        if not self.are_many:
            return tensor[None]
        parts = [torch.empty_like(tensor) for _ in range(self.count)]
        with told():
            distributed.all_gather(parts, tensor)
        return torch.stack(parts)

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
        torch.ops.aten._foreach_copy_.default(
            list(tensors), [p.view_as(t) for p, t in zip(parts, tensors, strict=True)]
        )


ALONE = Ranks()
"""A process that was not started by torchrun."""


_ERROR_KINDS = (FaultError, DivergedError, SaganError, StoppedError)


def _as_told(error: BaseException) -> tuple[int, str]:
    """Exit code and message, for the other ranks."""
    if isinstance(error, (SaganError, StoppedError)):
        return error.exit_code, str(error)
    return FaultError.exit_code, f"{type(error).__name__}: {error}".splitlines()[0]


def rank_of_torchrun() -> int | None:
    """The rank that torchrun has given this process; None where it is alone."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return None
    return int(os.environ["RANK"]) if "RANK" in os.environ else None


@contextmanager
def ranks_of_torchrun() -> Iterator[Ranks]:
    """Joins the other ranks, if torchrun has started some; only the first one prints meanwhile.

    They stay together until their processes end, so that a program may train twice.

    Raises:
        FaultError: They cannot be reached.
    """
    rank = rank_of_torchrun()
    if rank is None:
        yield ALONE
        return
    from torch import distributed
    from torch._C._distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    import_module("torch.distributed.nn.functional")  # after the start, it would keep the group
    ranks = Ranks(
        rank=rank,
        count=int(os.environ["WORLD_SIZE"]),
        local_rank=int(os.environ.get("LOCAL_RANK", 0)),
    )
    if not distributed.is_initialized():
        with told():
            store, *_ = next(rendezvous("env://", rank, ranks.count, timeout=PATIENCE))
            distributed.init_process_group(
                _backend(),
                timeout=PATIENCE,
                store=PrefixStore(f"sagan-{_attempt(ranks.count)}", store),
                rank=rank,
                world_size=ranks.count,
            )
        atexit.register(_leave)
    try:
        with _silent_unless(ranks.is_first):
            yield ranks
    except (DivergedError, StoppedError) as error:  # of which all ranks know
        error.is_told = not ranks.is_first
        raise


def _leave() -> None:
    """Ends gloo's threads while Python lives: one that frees a tensor later aborts the process."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()


def _attempt(count: int) -> str:
    """How often torchrun has started all ranks again, where one of it started all.

    A store that it keeps has the addresses of those that died, too. Each host counts for itself;
    where there are several, every start has a store of its own (docs/scale.md).
    """
    are_of_one_host = os.environ.get("LOCAL_WORLD_SIZE") == str(count)
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if are_of_one_host else "0"


def _backend() -> str:
    import torch
    from torch import distributed

    if not torch.cuda.is_available():
        return "gloo"
    if not distributed.is_nccl_available():
        raise SaganError(
            "PyTorch sees GPUs here, but has no NCCL, by which several processes average on them; "
            "install a PyTorch with NCCL, or train on CPUs (CUDA_VISIBLE_DEVICES= hides the GPUs)"
        )
    return "cpu:gloo,cuda:nccl"


@contextmanager
def _silent_unless(speaks: bool) -> Iterator[None]:
    if speaks:
        yield
        return
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        redirect_stdout(nowhere),
        redirect_stderr(nowhere),
    ):
        yield


@contextmanager
def told() -> Iterator[None]:
    """Says it in one line where another rank has gone.

    Raises:
        FaultError: It has.
    """
    try:
        yield
    except RuntimeError as error:
        said = f"{error}\n".splitlines()[0] or type(error).__name__
        said = re.sub(r"^\[\S+:\d+\] ", "", said).partition(". ")[0]  # the line in a source file
        raise FaultError(
            "another process of this training has ended or cannot be reached; what it said itself "
            f"is the cause (here: {said}); the same command goes on from the newest checkpoint"
        ) from error
