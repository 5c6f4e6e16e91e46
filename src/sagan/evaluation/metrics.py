"""What sets of features say about pictures: pure functions of arrays, in float64.

Features are (N, D) arrays of any float type, memory maps too, of any network. They are read in
pieces, so that at D = 2048 no function needs much more than 300 MB beyond its arguments, and every
piece is checked: features that are NaN or infinite raise :class:`SaganError`.

>>> random = np.random.default_rng(0)
>>> real, fake = random.normal(size=(500, 8)), random.normal(0.5, size=(400, 8))
>>> print(f"{frechet_distance(real, fake):.2f}, {1000 * kernel_distance(real, fake).mean:.0f}")
2.40, 1292
>>> print("precision {:.2f}, recall {:.2f}".format(*precision_recall(real, fake)))
precision 0.79, recall 0.79
>>> print("density {:.2f}, coverage {:.2f}".format(*density_coverage(real, fake)))
density 0.72, coverage 0.71

What is compared with several sets is fitted once: a :class:`Gaussian`, a :class:`Manifold`.

>>> reference = fit_gaussian(real)
>>> distances = [frechet_distance(reference, other) for other in (real, fake)]
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from sagan.config.checks import require
from sagan.errors import SaganError
from sagan.evaluation.arrays import FLOAT32_SHARE, checked, feature_sets, pieces


class Estimate(NamedTuple):
    """Mean and standard deviation over subsets."""

    mean: float
    spread: float


@dataclass(frozen=True, eq=False)
class Gaussian:
    """A normal distribution; its covariance is ``factor.T @ factor``."""

    mean: np.ndarray
    """(D,)."""
    factor: np.ndarray
    """(min(N, D), D)."""
    count: int
    """N, the number of features it was fitted to."""


def fit_gaussian(features: np.ndarray) -> Gaussian:
    """Mean and unbiased covariance of features (N, D).

    Raises:
        SaganError: Fewer than 2 features, or not all are finite.
    """
    [features] = feature_sets(features)
    count, dim = features.shape
    if count < 2:
        raise SaganError(f"a covariance needs at least 2 pictures, here {count}; give more")
    origin = checked(features[0])  # makes equal features agree with their mean exactly
    mean = origin.copy()
    for _, piece in pieces(features):
        mean += np.sum(piece - origin, axis=0) / count
    if count <= dim:
        return Gaussian(mean, (checked(features) - mean) / np.sqrt(count - 1), count)
    covariance = np.zeros((dim, dim))
    for _, piece in pieces(features):
        centred = piece - mean
        covariance += centred.T @ centred / (count - 1)
    values, vectors = np.linalg.eigh(covariance)
    return Gaussian(mean, np.sqrt(values.clip(min=0))[:, None] * vectors.T, count)


def frechet_distance(first: Gaussian | np.ndarray, second: Gaussian | np.ndarray) -> float:
    """Fréchet distance between two Gaussians, or those of two sets of features; 0 at best.

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1^1/2 S2 S1^1/2)^1/2). With S = F^T F the trace of the last
    term is the sum of the singular values of F1 F2^T, so it is real and finite also with fewer
    features than dimensions. It falls as the counts grow: compare at equal ones.

    Source: Heusel et al. 2017, equation 6.
    """
    feature_sets(
        *(side.mean[None] if isinstance(side, Gaussian) else side for side in (first, second))
    )
    first, second = (
        side if isinstance(side, Gaussian) else fit_gaussian(side) for side in (first, second)
    )
    shift = np.sum((first.mean - second.mean) ** 2)
    spread = np.sum(first.factor**2) + np.sum(second.factor**2)
    overlap = np.linalg.norm(first.factor @ second.factor.T, "nuc")
    return max(0.0, float(shift + spread - 2 * overlap))


def kernel_distance(
    first: np.ndarray,
    second: np.ndarray,
    *,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 2020,
) -> Estimate:
    """Squared maximum mean discrepancy with the kernel (x y / D + 1)^3, unbiased.

    About 0 for equal laws at any count, and then often a little below.

    Args:
        first: (N, D), N >= 2.
        second: (M, D), M >= 2.
        subsets: Number of random subsets averaged over.
        subset_size: Features in each; at most min(N, M) are taken.
        seed: Of the draws, without replacement; the same draws as torch-fidelity's.

    Raises:
        SaganError: Fewer than 2 features, or not all are finite.

    Source: Binkowski et al. 2018, section 4.
    """
    first, second = feature_sets(first, second)
    require(subsets >= 1, "subsets", subsets, "at least 1")
    require(subset_size >= 2, "subset_size", subset_size, "at least 2")
    size = min(subset_size, len(first), len(second))
    if size < 2:
        raise SaganError(f"the kernel distance needs at least 2 pictures, here {size}; give more")
    random = np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        x, y = (
            checked(side[random.choice(len(side), size, replace=False)]) for side in (first, second)
        )
        within = _mean_off_diagonal(_kernel(x, x)) + _mean_off_diagonal(_kernel(y, y))
        values.append(float(within - 2 * _kernel(x, y).mean()))
    return Estimate(float(np.mean(values)), float(np.std(values)))


def _kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    base = first @ second.T / first.shape[1] + 1
    return base * base * base  # many times faster than base**3


def _mean_off_diagonal(kernel: np.ndarray) -> float:
    return (kernel.sum() - np.trace(kernel)) / (len(kernel) * (len(kernel) - 1))


def inception_score(logits: np.ndarray, *, splits: int = 10, seed: int = 2020) -> Estimate:
    """Inception score, exp(E KL(p(y|x) || p(y))): 1 at worst, the number of classes at best.

    Args:
        logits: (N, classes), of a classifier.
        splits: Parts of the shuffled pictures that are scored apart.
        seed: Of the shuffling; the same as torch-fidelity's.

    Raises:
        SaganError: Fewer pictures than splits, or logits that are not finite.

    Source: Salimans et al. 2016, section 4.
    """
    [logits] = feature_sets(logits)
    require(splits >= 1, "splits", splits, "at least 1")
    count = len(logits)
    if count < splits:
        raise SaganError(f"{count} pictures are too few for {splits} splits; give more")
    order = np.random.RandomState(seed).permutation(count)
    borders = [split * count // splits for split in range(splits + 1)]
    scores = [_inception_score(logits[order[start:stop]]) for start, stop in pairwise(borders)]
    return Estimate(float(np.mean(scores)), float(np.std(scores)))


def _inception_score(logits: np.ndarray) -> float:
    """The divergence as the entropy of the mean less the mean of the entropies."""
    marginal = np.zeros(logits.shape[1])
    information = 0.0
    for _, piece in pieces(logits):
        shifted = piece - piece.max(axis=1, keepdims=True)
        log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        probabilities = np.exp(log_probabilities)
        marginal += probabilities.sum(axis=0) / len(logits)
        information += np.sum(probabilities * log_probabilities) / len(logits)
    seen = marginal[marginal > 0]
    return float(np.exp(information - np.sum(seen * np.log(seen))))


def nearest_neighbours(
    queries: np.ndarray, references: np.ndarray, count: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """The references nearest to each query.

    Args:
        queries: (Q, D).
        references: (R, D).
        count: Number of neighbours, at most R.

    Returns:
        Euclidean distances (Q, count), ascending and 0 between features that are equal
        to float32's precision, and the neighbours' rows in ``references``, int64 (Q, count).

    Raises:
        SaganError: More neighbours than references, or features that are not finite.
    """
    queries, references = feature_sets(queries, references)
    require(count >= 1, "count", count, "at least 1")
    if count > len(references):
        raise SaganError(
            f"{len(references)} pictures are too few for {count} neighbours; give more"
        )
    nearest = np.full((len(queries), count), np.inf)
    indices = np.zeros((len(queries), count), dtype=np.int64)
    for rows, columns, distances in _distance_blocks(queries, references):
        names = np.broadcast_to(np.arange(columns.start, columns.stop), distances.shape)
        distances = np.concatenate([nearest[rows], distances], axis=1)
        names = np.concatenate([indices[rows], names], axis=1)
        chosen = np.argpartition(distances, count - 1, axis=1)[:, :count]
        nearest[rows] = np.take_along_axis(distances, chosen, axis=1)
        indices[rows] = np.take_along_axis(names, chosen, axis=1)
    order = np.argsort(nearest, axis=1)
    return np.take_along_axis(nearest, order, axis=1), np.take_along_axis(indices, order, axis=1)


@dataclass(frozen=True, eq=False)
class Manifold:
    """Where features lie: the union of balls around them that reach to their neighbours.

    Source: Kynkäänniemi et al. 2019, section 2.
    """

    features: np.ndarray
    """(N, D)."""
    neighbour_distances: np.ndarray
    """(N, K), of each feature to its K nearest others, ascending."""

    def radii(self, neighbours: int) -> np.ndarray:
        """Radii (N,) of the balls that reach to the given neighbour, 1 to K.

        Raises:
            SaganError: It was not fitted for that many.
        """
        known = self.neighbour_distances.shape[1]
        require(1 <= neighbours <= known, "neighbours", neighbours, f"from 1 to {known}")
        return self.neighbour_distances[:, neighbours - 1]


def fit_manifold(features: np.ndarray, neighbours: int = 5) -> Manifold:
    """The manifold of features (N, D), for balls that reach to up to so many neighbours.

    It takes as long as comparing with another set does; keep it to compare with several sets.

    Raises:
        SaganError: No more features than neighbours, or not all are finite.
    """
    [features] = feature_sets(features)
    require(neighbours >= 1, "neighbours", neighbours, "at least 1")
    distances, _ = nearest_neighbours(features, features, neighbours + 1)
    return Manifold(features, distances[:, 1:])  # each is its own nearest neighbour


def _manifold(features: Manifold | np.ndarray, neighbours: int) -> Manifold:
    return features if isinstance(features, Manifold) else fit_manifold(features, neighbours)


def precision_recall(
    real: Manifold | np.ndarray, fake: Manifold | np.ndarray, neighbours: int = 3
) -> tuple[float, float]:
    """Share of fakes within the real manifold, and of real pictures within the fake one.

    Source: Kynkäänniemi et al. 2019, equations 1 and 2.
    """
    feature_sets(*(s.features if isinstance(s, Manifold) else s for s in (real, fake)))
    real, fake = _manifold(real, neighbours), _manifold(fake, neighbours)
    real_radii, fake_radii = real.radii(neighbours), fake.radii(neighbours)
    realistic = np.zeros(len(fake.features), dtype=bool)
    recalled = np.zeros(len(real.features), dtype=bool)
    for rows, columns, distances in _distance_blocks(fake.features, real.features):
        realistic[rows] |= (distances <= real_radii[columns]).any(axis=1)
        recalled[columns] |= (distances <= fake_radii[rows, None]).any(axis=0)
    return float(realistic.mean()), float(recalled.mean())


def density_coverage(
    real: Manifold | np.ndarray, fake: np.ndarray, neighbours: int = 5
) -> tuple[float, float]:
    """Number of real balls around a fake, and share of real balls that hold a fake.

    Density is divided by ``neighbours``: about 1 for equal laws, more where fakes crowd the dense
    parts. Balls include their surface, as in :func:`precision_recall`; in the authors' code they
    do not, which tells only where distances are equal.

    Args:
        real: The manifold, or features (M, D) to fit it to.
        fake: (N, D).
        neighbours: How far the balls reach.

    Source: Naeem et al. 2020, section 3.
    """
    real = _manifold(real, neighbours)
    _, fake = feature_sets(real.features, fake)
    if not len(fake):
        raise SaganError("there is no generated picture to measure; give some")
    radii = real.radii(neighbours)
    held = np.zeros(len(real.features), dtype=np.int64)
    for _, columns, distances in _distance_blocks(fake, real.features):
        held[columns] += (distances <= radii[columns]).sum(axis=0)
    return float(held.sum() / (neighbours * len(fake))), float((held > 0).mean())


def _distance_blocks(
    queries: np.ndarray, references: np.ndarray
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Euclidean distances between pieces of both, with their rows and columns.

    Features that agree to float32's precision are at distance 0, in whichever piece.
    """
    for rows, query in pieces(queries):
        for columns, reference in pieces(references):
            lengths = np.sum(query**2, axis=1)[:, None] + np.sum(reference**2, axis=1)
            squared = lengths - 2 * (query @ reference.T)
            squared[squared < FLOAT32_SHARE**2 * lengths] = 0
            yield rows, columns, np.sqrt(squared, out=squared)
