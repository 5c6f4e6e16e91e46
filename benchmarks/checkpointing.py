"""How long training stands still for a checkpoint: written beside it, and written at once.

``python -m benchmarks.checkpointing`` takes the networks of ImageNet-128 with both optimisers. Both
ways are taken in turn, in one process, and the pause is the time until the next step could begin.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor

from sagan.config.presets import PRESETS, named_settings
from sagan.runs import checkpoint as checkpoints
from sagan.runs.checkpoint import Checkpoint
from sagan.runs.digests import first_not_finite
from sagan.system.device import keep_freed_memory, pick_device
from sagan.training.keeping import CheckpointWriter
from sagan.training.optimizer import NetworkAdam
from sagan.training.state import new_state


def state_of(preset: str, device: str) -> Checkpoint:
    """A checkpoint of fresh networks whose optimisers have moments."""
    config = named_settings(preset)
    state = new_state(config, 1000 if config.data.conditional else 0, pick_device(device))
    for name in ("generator_optimizer", "discriminator_optimizer"):
        optimizer: NetworkAdam = getattr(state, name)
        optimizer.restore(zeros_like(optimizer.expected()), name)
    return Checkpoint(config=config, class_names=(), step=1, parts=state.parts())


def zeros_like(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """As many zeros."""
    return {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}


def pause(checkpoint: Checkpoint, folder: Path, *, is_beside: bool) -> tuple[float, float, float]:
    """Seconds until training could go on, those of a processor, and until the file is in place."""
    writer = CheckpointWriter(is_beside=is_beside)
    named = {f"{part}.{n}": t for part, of in checkpoint.parts.items() for n, t in of.items()}
    begin, work = time.perf_counter(), time.thread_time()
    assert first_not_finite(named) is None
    writer.save(checkpoint, lambda one: checkpoints.save(one, folder / "c.safetensors"))
    paused, work = time.perf_counter() - begin, time.thread_time() - work
    writer.wait()
    return paused, work, time.perf_counter() - begin


def main() -> None:
    """Prints a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="imagenet128", choices=PRESETS)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", default=None, help="on the disk to write to")
    given = parser.parse_args()
    keep_freed_memory()  # as in a run
    checkpoint = state_of(given.preset, given.device)
    size = sum(t.nbytes for part in checkpoint.parts.values() for t in part.values())
    print(f"{given.preset}: {size / 1e6:,.0f} MB on {given.device}")
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        pause(checkpoint, Path(folder), is_beside=True)
        found = [
            [pause(checkpoint, Path(folder), is_beside=way) for way in (True, False)]
            for _ in range(given.pairs)
        ]
        begin = time.perf_counter()
        checkpoints.load(Path(folder) / "c.safetensors")
        reading = time.perf_counter() - begin
    for way, name in enumerate(("beside training", "at once")):
        paused, work, whole = zip(*[pair[way] for pair in found], strict=True)
        print(
            f"{name}: training stands still for {statistics.median(paused):.2f} s "
            f"({min(paused):.2f} to {max(paused):.2f}; {statistics.median(work):.2f} s of a "
            f"processor); in place after "
            f"{statistics.median(whole):.2f} s"
        )
    print(f"read again, checksums and finiteness included: {reading:.2f} s")


if __name__ == "__main__":
    main()
