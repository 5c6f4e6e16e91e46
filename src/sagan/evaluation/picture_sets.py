"""What is measured: generated or stored pictures, read in the same way."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sagan.data import Dataset
from sagan.evaluation.arrays import choice
from sagan.sampling.generator import TrainedGenerator


@dataclass(frozen=True, kw_only=True, eq=False)
class PictureSet:
    """A numbered set of labelled pictures of one size."""

    fingerprint: str
    """16 hex digits that depend on every picture."""
    labels: np.ndarray
    """int64 (N,), values in [0, len(class_names)); all 0 without classes."""
    class_names: tuple[str, ...]
    """One name per label; () without classes."""
    read: Callable[[int, int], np.ndarray]
    """(start, stop) -> uint8 (stop - start, C, H, W)."""

    def __len__(self) -> int:
        return len(self.labels)


def stored(dataset: Dataset, count: int | None = None) -> PictureSet:
    """Pictures of a dataset: all, or a fixed random choice of ``count`` in their order."""
    everything = np.arange(len(dataset))
    rows = everything if count is None else choice(everything, count)
    all_taken = len(rows) == len(dataset)
    return PictureSet(
        fingerprint=dataset.fingerprint if all_taken else f"{dataset.fingerprint}-{count}",
        labels=dataset.labels[rows],
        class_names=dataset.class_names,
        read=lambda start, stop: dataset.images[rows[start:stop]],
    )


def generated(
    generator: TrainedGenerator,
    labels: np.ndarray,
    first_seed: int = 0,
    truncation: float | None = None,
) -> PictureSet:
    """Pictures of a generator, drawn when they are read: picture i has the seed first_seed + i.

    ``labels`` are int64 (N,), ``first_seed`` is at least 0.
    """
    digest = hashlib.sha256(repr((first_seed, truncation, generator.class_names)).encode())
    digest.update(labels.astype("<i8").data)
    for name, tensor in generator.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return PictureSet(
        fingerprint=digest.hexdigest()[:16],
        labels=labels,
        class_names=generator.class_names,
        read=lambda start, stop: generator.sample(
            range(first_seed + start, first_seed + stop), labels[start:stop], truncation=truncation
        ),
    )


def proportional_labels(shares: Sequence[float] | np.ndarray, count: int) -> np.ndarray:
    """Gives every class its share of ``count`` labels, as exactly as whole numbers allow.

    Returns:
        int64 (count,), sorted.
    """
    ends = np.round(np.cumsum(np.asarray(shares, dtype=np.float64) / np.sum(shares)) * count)
    return np.searchsorted(ends, np.arange(count), side="right").astype(np.int64)
