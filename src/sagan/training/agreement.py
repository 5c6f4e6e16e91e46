"""What the ranks of a training must have in common: at the start, and the tensors on the way."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Final

import torch
from torch import Tensor

from sagan.config import to_dict
from sagan.errors import FaultError, SaganError, enumerated
from sagan.system.ranks import Ranks
from sagan.training.preparation import Preparation
from sagan.training.state import TrainingState

CHECK_INTERVAL: Final = 100
"""Steps from one comparison of all tensors to the next; each reads them once."""
_WHOLE_NUMBERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
_MAY_DIFFER = ("data.source", "train.device")
_RUNNING = ("running_mean", "running_var")


class OwnFaults:
    """What goes wrong in that which a rank does by itself, until all ranks end with it together.

    Alone, it ends the work where it happens.

    Args:
        ranks: Those that train together.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._first: Exception | None = None

    @property
    def are_there(self) -> bool:
        """Whether one is kept."""
        return self._first is not None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keeps a fault of what is within, which it ends, for :meth:`raise_kept`."""
        try:
            yield
        except Exception as error:
            if not self._ranks.are_many:
                raise
            self._first = self._first or error

    def raise_kept(self) -> None:
        """Raises the first fault that was kept, if there is one; to be called by all together.

        Raises:
            Exception: What went wrong.
        """
        first, self._first = self._first, None
        if first is not None:
            raise first


def require_same_start(preparation: Preparation, step: int) -> None:
    """Makes sure that all ranks begin the same training; with one rank nothing happens.

    Only where the pictures lie and the device may differ.

    Args:
        preparation: Of this rank.
        step: From which it goes on.

    Raises:
        SaganError: They do not, on all ranks; names what differs and on which.
    """
    ranks = preparation.ranks
    if not ranks.are_many:
        return
    mine = {
        "version of sagan": version("sagan"),
        "version of torch": str(torch.__version__),
        **{
            f"{section}.{name}": value
            for section, values in to_dict(preparation.config).items()
            for name, value in values.items()
            if f"{section}.{name}" not in _MAY_DIFFER
        },
        "fingerprint of the pictures": preparation.dataset.fingerprint,
        "classes": preparation.dataset.class_names,
        "step of the newest checkpoint": step,
    }
    first, *others = ranks.from_all(mine)
    for rank, facts in enumerate(others, 1):
        names = sorted({*first, *facts})
        found = [
            f"{name} ({facts.get(name)!r} there, {first.get(name)!r} on rank 0)"
            for name in names
            if facts.get(name) != first.get(name)
        ]
        if found:
            raise ranks.of_all(
                SaganError(
                    f"rank {rank} would train otherwise: {enumerated(found)}; give all processes "
                    "the same command, pictures, run folder and versions"
                )
            )


def require_same_state(state: TrainingState, preparation: Preparation) -> None:
    """Makes sure that all ranks have the same numbers; with one rank nothing happens.

    Compared are 64 bits of each tensor, computed where it lies.

    Raises:
        FaultError: They have not, on all ranks; names the first tensor, the step and the ranks.
    """
    ranks = preparation.ranks
    if not ranks.are_many:
        return
    shares_statistics = preparation.config.train.batch_statistics == "all"
    tensors = dict(common_tensors(state, shares_statistics=shares_statistics))
    digests = torch.stack([_digest(tensor) for tensor in tensors.values()]).cpu()
    of_all = ranks.gathered(digests)
    differs = of_all != of_all[0]
    if not differs.any():
        return
    worst = int(differs.any(0).int().argmax())
    who = [f"rank {rank}" for rank in range(ranks.count) if differs[rank, worst]]
    raise ranks.of_all(
        FaultError(
            f"step {state.step}: {list(tensors)[worst]} of {enumerated(who)} is not that of rank "
            "0, so one of them computes wrongly (memory, GPU, another library); "
            f"{preparation.run.last_good}; the same command goes on from there"
        )
    )


def common_tensors(
    state: TrainingState, *, shares_statistics: bool
) -> Iterator[tuple[str, Tensor]]:
    """What is the same on all ranks, by part and name.

    That is all but the averaged generator's buffers, of which the first rank alone makes use, and
    running statistics of the generator, unless these are shared.
    """
    averaged = {name for name, _ in state.generator_ema.named_parameters()}
    for part, tensors in state.parts().items():
        for name, tensor in tensors.items():
            if part == "generator_ema" and name not in averaged:
                continue
            if name.endswith(_RUNNING) and not shares_statistics:
                continue
            yield f"{part}.{name}", tensor


def _digest(tensor: Tensor) -> Tensor:
    """The sum of a tensor's bits, read as whole numbers and weighed by place: int64, a scalar.

    Without the weights, rows that have changed places would be the same.
    """
    bits = tensor.detach().view(_WHOLE_NUMBERS[tensor.element_size()]).flatten().long()
    weights = torch.arange(1, 2 * len(bits), 2, device=bits.device)  # odd: each bit counts
    return (bits * weights).sum()
