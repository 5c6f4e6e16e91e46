"""Some of many, evenly chosen."""

import numpy as np


def with_both_ends(length: int, most: int) -> np.ndarray:
    """At most ``most`` places in ``length``, evenly spaced, the first and the last among them.

    Returns:
        int64 (min(length, most),), ascending.
    """
    return np.linspace(0, length - 1, min(length, most)).round().astype(np.int64)


def from_the_first(length: int, most: int) -> np.ndarray:
    """The first places of at most ``most`` equal parts of ``length``.

    Returns:
        int64 (min(length, most),), ascending.
    """
    shown = min(length, most)
    return np.arange(shown) * length // shown
