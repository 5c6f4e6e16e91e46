"""Pictures that are copies of each other, and those that nearly are."""

from itertools import combinations

import numpy as np

BITS_APART = 2
"""In how many of 64 bits the hashes of pictures that look alike differ at most."""
_NEIGHBOURS = 64  # compared in a bucket, so that a set of blank pictures takes no longer
_PIECES = (0, 16, 32, 48)


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


def lookalikes(hashes: np.ndarray) -> np.ndarray:
    """Groups pictures whose hashes differ in two bits at most, directly or through others.

    A hash of 0, that of a picture that nowhere grows brighter to the right, such as a blank one,
    says nothing and is passed over. The time grows with N log N: hashes of 64 bits that differ in
    two have at least two of their four pieces in common, so that only those that share two pieces
    are compared, and of many that share them the nearest in order.

    Args:
        hashes: uint64 (N,), difference hashes.

    Returns:
        int64 (N,): for each picture the lowest number of its group; its own if nothing is like it.
    """
    known, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    pairs = [_pairs(known, kept) for kept in combinations(_PIECES, 2)]
    group = _joined_groups(len(known), np.concatenate(pairs, axis=1))
    lowest = np.full(len(known), len(hashes))
    np.minimum.at(lowest, group, first)
    found = lowest[group][inverse]
    return np.where(hashes == 0, np.arange(len(hashes)), found)


def _pairs(hashes: np.ndarray, kept: tuple[int, ...]) -> np.ndarray:
    """Places (2, P) of ascending hashes that share two pieces and differ in two bits at most."""
    key = np.zeros_like(hashes)
    for shift in kept:
        key = (key << np.uint64(16)) | ((hashes >> np.uint64(shift)) & np.uint64(0xFFFF))
    order = np.argsort(key, kind="stable")
    ordered, key = hashes[order], key[order]
    found = [np.zeros((2, 0), np.int64)]
    for step in range(1, min(_NEIGHBOURS, len(hashes) - 1) + 1):
        near = np.flatnonzero(key[step:] == key[:-step])
        if not len(near):
            break
        different = ordered[near] ^ ordered[near + step]
        for _ in range(BITS_APART):
            different &= different - np.uint64(1)  # clears the lowest bit
        near = near[(different == 0) & (ordered[near] != 0)]
        found.append(np.stack([order[near], order[near + step]]))
    return np.concatenate(found, axis=1)


def _joined_groups(count: int, pairs: np.ndarray) -> np.ndarray:
    """Gives connected items one number, that of the lowest: int64 (count,)."""
    group = np.arange(count)
    while True:
        lower = np.minimum(group[pairs[0]], group[pairs[1]])
        before = group.copy()
        for end in pairs:
            np.minimum.at(group, group[end], lower)
            np.minimum.at(group, end, lower)
        group = group[group]
        if np.array_equal(group, before):
            return group
