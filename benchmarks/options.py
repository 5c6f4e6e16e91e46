"""What was asked for on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from benchmarks.adapters import Factory
from benchmarks.harness import Precision


@dataclass(frozen=True, kw_only=True)
class Size:
    """One size of both networks."""

    title: str
    resolution: int
    width: int
    num_classes: int
    batch: int
    cuda_batch: int


SIZES = {
    "demo": Size(
        title="demo, 32 px", resolution=32, width=16, num_classes=14, batch=32, cuda_batch=32
    ),
    "imagenet128": Size(
        title="ImageNet-128", resolution=128, width=64, num_classes=1000, batch=8, cuda_batch=256
    ),
    "imagenet64": Size(
        title="ImageNet-64", resolution=64, width=64, num_classes=1000, batch=16, cuda_batch=256
    ),
}


USUAL_SIZES = ("demo", "imagenet128")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Of all sections."""

    device: torch.device
    precisions: tuple[Precision, ...] = ("float32",)
    sizes: tuple[Size, ...] = tuple(SIZES[name] for name in USUAL_SIZES)
    batch: int | None = None
    """Instead of a size's own."""
    naive: bool = True
    against: Mapping[str, Factory] = field(default_factory=dict)
    """Other implementations by name."""
    in_a_row: int = 1
    """Training steps that are timed together."""
    compile: bool = False
    """Measure ours compiled, too."""

    def batch_of(self, size: Size) -> int:
        """Pictures in a training step."""
        return self.batch or (size.cuda_batch if self.device.type == "cuda" else size.batch)

    def autocast(self, precision: Precision) -> torch.autocast:
        """The context for a precision."""
        return torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"
        )
