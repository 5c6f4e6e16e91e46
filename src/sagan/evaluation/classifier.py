"""A linear classifier in closed form: which class features are of."""

from dataclasses import dataclass

import numpy as np

from sagan.errors import SaganError
from sagan.evaluation.arrays import FLOAT32_SHARE, pieces


@dataclass(frozen=True, eq=False)
class LinearClassifier:
    """Scores features by ``features @ weight.T + bias``; the class of the highest score wins."""

    weight: np.ndarray
    """(classes, D)."""
    bias: np.ndarray
    """(classes,)."""

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Classes of features (N, D): int64 (N,)."""
        labels = np.empty(len(features), dtype=np.int64)
        for rows, piece in pieces(features):
            labels[rows] = (piece @ self.weight.T + self.bias).argmax(axis=1)
        return labels


def fit_classifier(features: np.ndarray, labels: np.ndarray, num_classes: int) -> LinearClassifier:
    """Linear discriminant analysis with shrunk correlations: closed form, nothing to tune.

    The classes share one covariance and are equally likely, however many pictures they have.
    Correlations are shrunk towards 0 by the share that is expected to be chance, so fewer
    pictures than dimensions will do.

    Args:
        features: (N, D).
        labels: Integers (N,) below ``num_classes``; each class occurs.
        num_classes: Number of classes.

    Raises:
        SaganError: A class without pictures, or features that are not finite.

    Source: Ahdesmäki & Strimmer 2010, there with variances shrunk too; the share is that of
    Schäfer & Strimmer 2005, the sum of Var(r_ij) over the sum of r_ij^2, i != j.
    """
    counts = np.bincount(labels, minlength=num_classes)
    if not counts.all():
        raise SaganError(f"class {counts.argmin()} has no picture; give some or leave it out")
    count, dim = features.shape
    means, variance = np.zeros((num_classes, dim)), np.zeros(dim)
    for rows, piece in pieces(features):
        means += np.eye(num_classes)[labels[rows]].T @ piece / counts[:, None]
    for rows, piece in pieces(features):
        variance += np.sum((piece - means[labels[rows]]) ** 2, axis=0) / count
    scale = np.sqrt(variance)
    scale[scale <= FLOAT32_SHARE * np.abs(means).max(axis=0)] = 1  # constant within the classes

    correlation = np.zeros((dim, dim))
    products = 0.0  # mean square of x_i x_j, summed over i != j
    for rows, piece in pieces(features):
        standard = (piece - means[labels[rows]]) / scale
        correlation += standard.T @ standard / count
        squares = standard**2
        products += np.sum(squares.sum(axis=1) ** 2 - np.sum(squares**2, axis=1)) / count
    np.fill_diagonal(correlation, 0)
    signal = np.sum(correlation**2) or 1.0  # no correlation at all: nothing to shrink
    correlation *= 1 - np.clip((products / signal - 1) / count, 1 / count, 1)
    np.fill_diagonal(correlation, 1)
    weight = np.linalg.solve(correlation, (means / scale).T).T / scale
    return LinearClassifier(weight, -np.sum(weight * means, axis=1) / 2)
