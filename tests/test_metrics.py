import numpy as np
import pytest

from sagan.metrics import frechet_distance, kernel_distance


def normal(seed, count=2000, dim=8, mean=0.0, scale=1.0):
    return mean + scale * np.random.default_rng(seed).standard_normal((count, dim))


def test_frechet_distance_of_two_gaussians_is_the_closed_form():
    # Diagonal covariances: |m1 - m2|^2 + sum (s1 - s2)^2.
    first = normal(0, 200_000, 4) * [1, 2, 3, 4]
    second = normal(1, 200_000, 4) * [2, 2, 1, 4] + [0, 1, 0, 2]
    assert frechet_distance(first, second) == pytest.approx(5 + 1 + 4, rel=0.02)


def test_frechet_distance_is_zero_to_itself_and_symmetric():
    first, second = normal(0), normal(1, mean=0.5, scale=2)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(first, second) == pytest.approx(frechet_distance(second, first))


def test_frechet_distance_equals_the_matrix_square_root():
    first, second = normal(0) @ normal(2, 8, 8), normal(1) @ normal(3, 8, 8)
    s1, s2 = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    values = np.linalg.eigvals(s1 @ s2)
    difference = first.mean(0) - second.mean(0)
    expected = difference @ difference + np.trace(s1 + s2) - 2 * np.sqrt(values.real).sum()
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("count", [2, 10])
def test_frechet_distance_is_finite_with_fewer_features_than_dimensions(count):
    value = frechet_distance(normal(0, count, 50), normal(1, count, 50))
    assert np.isfinite(value)
    assert value > 0
    constant = np.ones((count, 50))
    assert frechet_distance(constant, normal(1, 100, 50)) == pytest.approx(100, rel=0.3)


def test_kernel_distance_is_near_zero_for_equal_laws_and_grows_with_the_shift():
    same = [kernel_distance(normal(2 * i), normal(2 * i + 1)) for i in range(10)]
    assert abs(np.mean(same)) < 2 * np.std(same)
    shifts = [kernel_distance(normal(0), normal(1, mean=m)) for m in (0.2, 0.5, 1.0)]
    assert 0 < shifts[0] < shifts[1] < shifts[2]


def test_kernel_distance_equals_the_double_sum():
    first, second = normal(0, 5, 3), normal(1, 4, 3)

    def mean(a, b, skip):
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if not (skip and i == j)]
        return np.mean([(a[i] @ b[j] / 3 + 1) ** 3 for i, j in pairs])

    expected = mean(first, first, True) + mean(second, second, True) - 2 * mean(first, second, 0)
    assert kernel_distance(first, second) == pytest.approx(expected)
