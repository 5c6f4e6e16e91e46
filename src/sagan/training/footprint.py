"""The memory of a training step, told without computing anything.

The loop itself runs, both updates with everything that belongs to them, on tensors that have a
shape and a device but no memory, while the bytes that they would occupy are added up.
"""

import math
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from sagan.config import Config, places, plan
from sagan.config.effort import memory_of_a_step
from sagan.errors import SaganError
from sagan.system.memory import Memory, readable
from sagan.training.loop import trial_steps
from sagan.training.preparation import Preparation

MARGIN: Final = 1.25
"""What fits is smaller than the memory by this factor: for what the estimate does not see."""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Peak memory of a training step: ``fixed + per_picture * batch``, in bytes."""

    fixed: int
    per_picture: int
    portions: int = 1
    """Into which a batch is divided."""

    def of(self, batch_size: int) -> int:
        """The peak for a batch size, in bytes."""
        return self.fixed + self.per_picture * batch_size

    def shared(self, ranks: int) -> "Footprint":
        """Of each of several processes, for a batch of all."""
        portions, per_picture = self.portions * ranks, self.per_picture // ranks
        return replace(self, per_picture=per_picture, portions=portions)

    def fits(self, batch_size: int, memory: int) -> bool:
        """Tells whether a batch fits into so many bytes, with :data:`MARGIN`."""
        return MARGIN * self.of(batch_size) <= memory

    def largest_batch(self, memory: int) -> int:
        """The largest batch that fits into so many bytes; 0 if even 2 pictures do not."""
        largest = int((memory / MARGIN - self.fixed) // self.per_picture)
        largest -= largest % self.portions
        return largest if largest >= 2 else 0

    def remedy(self, memory: int) -> str:
        """What to do where a batch does not fit into so many bytes."""
        largest = self.largest_batch(memory)
        if not largest:
            return "not even 2 pictures fit: choose narrower networks or a device with more memory"
        return (
            f"choose --train.batch-size {largest} or smaller, or more portions (--train.accumulate)"
        )


def footprint(
    config: Config, num_classes: int, *, bfloat16: bool, on_cpu: bool = True
) -> Footprint:
    """Estimates the peak from a batch of the configured size and one of twice that size.

    See :func:`peak_bytes`; takes twice its time. On other devices the maps of attention that
    penalties keep there are added by formula, which has not been compared with the truth.
    """
    batch = config.train.batch_size
    twice = replace(config, train=replace(config.train, batch_size=2 * batch))
    peak = peak_bytes(config, num_classes, bfloat16=bfloat16)
    per_picture = (peak_bytes(twice, num_classes, bfloat16=bfloat16) - peak) // batch
    if not on_cpu and config.loss.penalizes_gradients:
        maps = memory_of_a_step(config, "gpu") - memory_of_a_step(config)
        peak, per_picture = peak + int(maps), per_picture + int(maps / batch)
    return Footprint(
        fixed=peak - per_picture * batch,
        per_picture=per_picture,
        portions=config.train.accumulate,
    )


def footprint_on(there: Preparation, config: Config) -> Footprint:
    """The estimate for the device and the classes of a run."""
    on_cpu = there.device.type == "cpu"
    return footprint(config, there.num_classes, bfloat16=there.bfloat16, on_cpu=on_cpu)


def peak_bytes(config: Config, num_classes: int, *, bfloat16: bool) -> int:
    """Estimates the peak memory of a training step; takes two or three seconds.

    Parameters, gradients, Adam's moments, the averaged generator, singular vectors, pictures and
    whatever the passes keep; every step has its penalties. Pictures of the dataset, sample grids,
    evaluations and Python itself are left out. Counted is what PyTorch's CPU kernels ask for, in
    the precision of the run; on other devices this has not been compared with the truth.

    Against the peak that PyTorch's profiler finds on a CPU the estimate is 0.96 to 1.00 of it, for
    networks of width 8 at 32 pixels and batches from 4 to 64; and 0.97 for the defaults, ImageNet's
    128 pixels, with batches of 4 and 8. The kernels' own scratch memory is not seen by either:
    against the growth of the process the latter are 0.83 to 0.87.

    Args:
        config: The settings.
        num_classes: 0 when unconditional.
        bfloat16: Forward passes compute in bfloat16.

    Returns:
        Bytes.
    """
    # Moments and gradients are all there from the second step on.
    train = replace(config.train, steps=2, discriminator_steps=1, compile=False)
    config = replace(config, train=train, loss=replace(config.loss, penalty_interval=1))
    device = torch.device("cpu")
    black = np.broadcast_to(np.uint8(0), (2 * train.batch_size, *config.data.shape))  # one byte
    numbers = torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16)
    steps = trial_steps(black, config, num_classes, device, numbers)
    with FakeTensorMode(allow_non_fake_inputs=True), _Tally() as tally:
        for _ in steps:
            pass
    return tally.peak


def upper_bound(config: Config, state_bytes: int) -> int:
    """A number that :func:`peak_bytes` certainly stays below, at once.

    Found by trying: the presets, with and without every regulariser, need at most six times the
    memory of the state and, for each picture, 80 feature maps of full size and the widest layer;
    attention under penalties keeps ten of its maps on GPUs. The bound allows for more than twice as
    much.

    Args:
        config: The settings.
        state_bytes: Of :meth:`TrainingState.parts`.
    """
    networks = (config.generator, config.discriminator)
    width = max(net.base_channels * max(net.channels, default=1) for net in networks)
    features = 200 * math.prod(config.data.size) * width
    maps = 0
    if config.loss.penalizes_gradients:
        stages = [stage for net in networks for stage in plan(net, config.data.size)]
        maps = sum(20 * (place.height * place.width) ** 2 for place in places(stages).values())
    return 15 * state_bytes + 4 * config.train.batch_size * (features + maps)


def require_memory(
    config: Config,
    num_classes: int,
    state_bytes: int,
    memory: Memory | None,
    *,
    bfloat16: bool,
    on_cpu: bool = True,
    ranks: int = 1,
) -> None:
    """Refuses a batch that can never fit; one that might is let through.

    Costs nothing unless :func:`upper_bound` leaves a doubt. Several processes are judged one by
    one, also where they share a memory.

    Raises:
        SaganError: The estimated peak exceeds all the memory there is.
    """
    if memory is None or upper_bound(config, state_bytes) <= memory.total:
        return
    need = footprint(config, num_classes, bfloat16=bfloat16, on_cpu=on_cpu).shared(ranks)
    batch = config.train.batch_size
    if need.of(batch) > memory.total:
        raise SaganError(
            f"a training step with batches of {batch:,} needs about {readable(need.of(batch))} and "
            f"there are {readable(memory.total)} in all; {need.remedy(memory.total)}"
        )


def out_of_memory(preparation: Preparation, reached: int, another: str, last_good: str) -> str:
    """What to do where memory ran out in a step, in words.

    Args:
        preparation: Of the run.
        reached: Steps done.
        another: Another run, in words.
        last_good: Where training could go on from, in words.
    """
    config = preparation.config
    batch, memory = config.train.batch_size, preparation.memory
    need = footprint_on(preparation, config).shared(preparation.ranks.count)
    free, remedy = "", f"begin {another} with a smaller --train.batch-size"
    if memory is not None:
        free = f" and {readable(memory.available)} were free at the start"
        if not need.fits(batch, memory.available):
            remedy = f"begin {another}: {need.remedy(memory.available)}"
    return (
        f"step {reached + 1}: memory ran out with batches of {batch}, whose estimated need is "
        f"{readable(need.of(batch))}{free}; {last_good}; {remedy}, or free memory and give the "
        "same command again"
    )


class _Tally(TorchDispatchMode):
    """Adds up the bytes of all tensors that are alive, and remembers the most there were."""

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            return 0.0  # .item() of a fake tensor: any number will do
        kwargs = dict(kwargs or {})
        if "generator" in kwargs:
            kwargs["generator"] = None  # nothing is drawn
        results = func(*args, **kwargs)
        for result in tree_iter(results):
            if isinstance(result, Tensor):
                self._add(result.untyped_storage())
        return results

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self.live += size
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._remove, key, size)

    def _remove(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size
