"""Features as arrays: read in pieces, checked, and a fixed choice of them."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from sagan.errors import SaganError

PIECE_ROWS = 1024
"""Rows read at a time."""
FLOAT32_SHARE = 1e-6
"""Relative differences below this are rounding errors of float32."""
MANIFOLD_PICTURES = 10_000
"""Most pictures in a manifold."""
PROBED_PICTURES = 1000
"""Most pictures whose nearest neighbours are searched."""


def feature_sets(*sides: Any) -> tuple[np.ndarray, ...]:
    """Sets of features as arrays (N, D), of one network; memory maps stay as they are.

    Raises:
        SaganError: They have another shape, or are no plain real numbers.
    """
    try:
        found = tuple(side if isinstance(side, np.ndarray) else np.asarray(side) for side in sides)
    except (TypeError, ValueError, RuntimeError) as error:
        raise SaganError(f"features are no array of numbers ({error}); make them one") from error
    for features in found:
        if features.ndim != 2 or features.shape[1] != found[0].shape[1]:
            shapes = " and ".join(str(each.shape) for each in found)
            also = ", and the same D on both sides" if len(found) > 1 else ""
            raise SaganError(
                f"the arrays have the shape {shapes}; give a row for each picture, (N, D){also}"
            )
        if features.dtype.kind not in "fiub" or isinstance(features, np.ma.MaskedArray):
            raise SaganError(
                f"features are {type(features).__name__}s of {features.dtype}; give real numbers, "
                "none of them masked"
            )
    return found


def pieces(features: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Reads features piece by piece: which rows they are, and the features, checked."""
    for start in range(0, len(features), PIECE_ROWS):
        rows = slice(start, min(start + PIECE_ROWS, len(features)))
        yield rows, checked(features[rows])


def checked(features: np.ndarray) -> np.ndarray:
    """The same in float64, checked."""
    features = np.asarray(features, dtype=np.float64)
    if not np.isfinite(features).all():
        raise SaganError("features are NaN or infinite; check the network and compute them again")
    return features


def choice(features: np.ndarray, count: int) -> np.ndarray:
    """All rows, or a fixed random choice of ``count``, in their order."""
    if len(features) <= count:
        return features
    return features[np.sort(np.random.default_rng(0).permutation(len(features))[:count])]
