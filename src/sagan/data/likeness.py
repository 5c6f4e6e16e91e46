"""Pictures that are copies of each other, and those that nearly are."""

import math
from itertools import combinations

import numpy as np

from sagan.data.dataset import PictureArray
from sagan.data.facts import averages

BITS_APART = 4
"""In how many of 64 bits the hashes of pictures that look alike differ at most."""
AGREEMENT = 0.995
"""Of pictures that look alike, at least; see :func:`agreement`."""
_CELLS = 16  # along the sides of what is compared
_NEIGHBOURS = 16  # compared in a bucket, so that a set of blank pictures takes no longer
_MOST_PAIRS = 2**22  # the same for sets of many that are nearly alike
_PIECES = ((0, 11), (11, 11), (22, 11), (33, 11), (44, 10), (54, 10))  # first bit and length
_VALUES_AT_ONCE = 2**24


def copies(digests: np.ndarray) -> np.ndarray:
    """Finds copies by the digests of the pixels.

    Args:
        digests: uint64 (N,).

    Returns:
        int64 (N,): for each picture the number of the first one with the same digest; its own if
        it is the first.
    """
    _, first, inverse = np.unique(digests, return_index=True, return_inverse=True)
    return first[inverse]


def lookalikes(hashes: np.ndarray, pictures: PictureArray | None = None) -> np.ndarray:
    """Finds pictures that look like an earlier one, such as copies saved again or resized.

    Their hashes differ in four bits at most, and the pictures agree. A picture that is like an
    earlier one stands for no others: A like B and B like C does not make C like A.

    A hash of 0, that of a picture that nowhere grows brighter to the right, such as a blank one,
    says nothing and is passed over. The time grows with N log N: hashes of 64 bits that differ in
    four have at least two of their six pieces in common, so that only those that share two pieces
    are compared, and of many that share them the nearest in order.

    Args:
        hashes: uint64 (N,), difference hashes.
        pictures: uint8 (N, C, H, W); without them the hashes decide alone.

    Returns:
        int64 (N,): for each picture the number of the first one that it is like and that is itself
        like no earlier one; its own if nothing is like it.
    """
    pairs = _pairs(hashes)
    if pictures is not None and pairs.size:
        at_once = max(1, _VALUES_AT_ONCE // math.prod(pictures.shape[1:]))
        agree = [
            agreement(pictures, pairs[first : first + at_once]) >= AGREEMENT
            for first in range(0, len(pairs), at_once)
        ]
        pairs = pairs[np.concatenate(agree)]
    like = np.arange(len(hashes))
    for earlier, later in pairs.tolist():
        if like[earlier] == earlier and like[later] == later:
            like[later] = earlier
    return like


def agreement(pictures: PictureArray, pairs: np.ndarray) -> np.ndarray:
    """How well pictures agree in 16 x 16 cells, whatever their brightness in all.

    Lin's concordance of the means of the cells: 1 where they are the same, less where colours,
    contrast or outlines differ.

    Args:
        pictures: uint8 (N, C, H, W).
        pairs: int64 (P, 2), numbers of pictures.

    Returns:
        float32 (P,), in [-1, 1].

    Source: L. Lin, "A concordance correlation coefficient to evaluate reproducibility",
    Biometrics 45 (1989).
    """
    numbers, places = np.unique(pairs, return_inverse=True)
    cells = pictures[numbers].astype(np.float32)
    for side in pictures.shape[:1:-1]:  # first along the width
        parts = averages(side, min(side, _CELLS))
        cells = (cells.reshape(-1, side) @ parts.T).reshape(*cells.shape[:3], -1).swapaxes(2, 3)
    cells = cells.reshape(len(numbers), -1)
    cells -= cells.mean(axis=1, keepdims=True)
    one, other = (cells[place] for place in places.reshape(-1, 2).T)
    squares = (one * one).sum(axis=1) + (other * other).sum(axis=1)
    return 2 * (one * other).sum(axis=1) / np.maximum(squares, 1e-9)


def _pairs(hashes: np.ndarray) -> np.ndarray:
    """Numbers (P, 2) of pictures with near hashes, the lower first; in the order of the second."""
    found, count = [np.zeros((0, 2), np.int64)], 0
    for kept in combinations(_PIECES, 2):
        new = _pairs_that_share(hashes, kept)
        found.append(new[: max(0, _MOST_PAIRS - count)])
        count += len(found[-1])
    earlier, later = np.concatenate(found).T
    later, earlier = np.divmod(np.unique(later * len(hashes) + earlier), max(1, len(hashes)))
    return np.stack([earlier, later], axis=1)


def _pairs_that_share(hashes: np.ndarray, kept: tuple[tuple[int, int], ...]) -> np.ndarray:
    key = np.zeros_like(hashes)
    for first, length in kept:
        piece = (hashes >> np.uint64(first)) & np.uint64((1 << length) - 1)
        key = (key << np.uint64(length)) | piece
    order = np.lexsort((hashes, key))
    order = order[hashes[order] != 0]
    ordered, key = hashes[order], key[order]
    found = [np.zeros((0, 2), np.int64)]
    for step in range(1, min(_NEIGHBOURS, len(order) - 1) + 1):
        near = np.flatnonzero(key[step:] == key[:-step])
        if not len(near):
            break
        different = ordered[near] ^ ordered[near + step]
        for _ in range(BITS_APART):
            different &= different - (different != 0)  # clears the lowest bit
        near = near[different == 0]
        found.append(np.sort(np.stack([order[near], order[near + step]], axis=1), axis=1))
    return np.concatenate(found)
