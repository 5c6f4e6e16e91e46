"""Distances between sets of features, as pure functions in float64."""

from __future__ import annotations

import numpy as np


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Fréchet distance between two Gaussians fitted to features.

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1^1/2 S2 S1^1/2)^1/2), by symmetric eigen-decomposition, so it
    is real and finite also with fewer features than dimensions.

    Args:
        first: (N, D), N >= 2.
        second: (M, D), M >= 2.

    Source: Heusel et al. 2017, equation 6.
    """
    mean1, covariance1 = _gaussian(first)
    mean2, covariance2 = _gaussian(second)
    values, vectors = np.linalg.eigh(covariance1)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    overlap = np.sqrt(np.linalg.eigvalsh(root @ covariance2 @ root).clip(min=0)).sum()
    difference = mean1 - mean2
    return float(
        difference @ difference + np.trace(covariance1) + np.trace(covariance2) - 2 * overlap
    )


def _gaussian(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    features = features.astype(np.float64)
    return features.mean(axis=0), np.cov(features, rowvar=False)


def kernel_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Squared maximum mean discrepancy with the kernel (x y / D + 1)^3, unbiased.

    Args:
        first: (N, D), N >= 2.
        second: (M, D), M >= 2.

    Source: Binkowski et al. 2018, section 4, there averaged over subsets; here over all pairs.
    """
    first, second = first.astype(np.float64), second.astype(np.float64)
    return (
        _mean_off_diagonal(first) + _mean_off_diagonal(second) - 2 * _kernel(first, second).mean()
    )


def _kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first @ second.T / first.shape[1] + 1) ** 3


def _mean_off_diagonal(features: np.ndarray) -> float:
    kernel = _kernel(features, features)
    count = len(features)
    return float((kernel.sum() - np.trace(kernel)) / (count * (count - 1)))
