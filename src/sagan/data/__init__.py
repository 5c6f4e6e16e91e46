"""Pictures to learn from: built-in or from files; uint8 arrays in memory or mapped."""

from sagan.config import Part
from sagan.data.dataset import Dataset, batch_indices
from sagan.data.opening import BUILT_IN, catalog_of, load_dataset, open_dataset

__all__ = [
    "BUILT_IN",
    "Dataset",
    "Part",
    "batch_indices",
    "catalog_of",
    "load_dataset",
    "open_dataset",
]
