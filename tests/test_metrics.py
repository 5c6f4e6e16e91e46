import numpy as np
import pytest
import torch

from sagan.errors import SaganError
from sagan.evaluation import arrays
from sagan.evaluation.classifier import fit_classifier
from sagan.evaluation.metrics import (
    Gaussian,
    density_coverage,
    fit_gaussian,
    fit_manifold,
    frechet_distance,
    inception_score,
    kernel_distance,
    nearest_neighbours,
    precision_recall,
)
from sagan.evaluation.pretrained import import_torchvision


def normal(seed, count=2000, dim=8, mean=0.0, scale=1.0):
    return mean + scale * np.random.default_rng(seed).standard_normal((count, dim))


def correlated(seed, count, dim):
    return 0.3 + normal(seed, count, dim) @ normal(100 + seed, dim, dim) / dim**0.5


def modes(seed, number, count=50, dim=8):
    """Tight clusters far apart, one after another."""
    centres = normal(0, 20, dim, scale=10)[:number]
    return np.repeat(centres, count, axis=0) + normal(seed, number * count, dim, scale=0.1)


@pytest.fixture(scope="module")
def fidelity():
    """torch-fidelity's modules of metrics, by their short names."""
    if not import_torchvision():
        pytest.skip("torchvision is not installed")
    from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc

    return {"fid": metric_fid, "isc": metric_isc, "kid": metric_kid, "prc": metric_prc}


# Fréchet distance


def test_the_factor_is_one_of_the_covariance():
    for count in (5, 12, 300):
        features = correlated(0, count, 12)
        gaussian = fit_gaussian(features)
        assert gaussian.count == count
        assert gaussian.factor.shape == (min(count, 12), 12)
        np.testing.assert_allclose(gaussian.mean, features.mean(axis=0))
        covariance = np.cov(features, rowvar=False)
        np.testing.assert_allclose(gaussian.factor.T @ gaussian.factor, covariance, atol=1e-12)


def test_frechet_distance_of_diagonal_gaussians_is_the_closed_form():
    # |m1 - m2|^2 + sum (s1 - s2)^2
    first = Gaussian(np.zeros(4), np.diag([1.0, 2.0, 3.0, 4.0]), 100)
    second = Gaussian(np.array([0.0, 1.0, 0.0, 2.0]), np.diag([2.0, 2.0, 1.0, 4.0]), 100)
    assert frechet_distance(first, second) == pytest.approx(5 + 1 + 4, rel=1e-12)


@pytest.mark.parametrize("count", [10, 2000])
def test_frechet_distance_is_zero_to_itself_and_symmetric(count):
    first, second = normal(0, count, 20), normal(1, count, 20, mean=0.5, scale=2)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-10)
    assert frechet_distance(first, second) == pytest.approx(
        frechet_distance(second, first), rel=1e-12
    )


@pytest.mark.parametrize("count", [400, 30], ids=["full rank", "rank-deficient"])
def test_frechet_distance_equals_torch_fidelity_and_torchmetrics(fidelity, count):
    first, second = correlated(0, 500, 64), correlated(1, count, 64)
    statistics = [
        fidelity["fid"].fid_features_to_statistics(torch.from_numpy(features))
        for features in (first, second)
    ]
    theirs = fidelity["fid"].fid_statistics_to_metric(*statistics, verbose=False)
    expected = theirs["frechet_inception_distance"]
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-6)

    from torchmetrics.image.fid import FrechetInceptionDistance

    network = torch.nn.Identity()
    network.num_features = 64
    metric = FrechetInceptionDistance(feature=network)
    metric.update(torch.from_numpy(first), real=True)
    metric.update(torch.from_numpy(second), real=False)
    assert frechet_distance(first, second) == pytest.approx(metric.compute().item(), rel=1e-6)


def test_frechet_distance_is_finite_for_few_pictures_in_many_dimensions():
    few, many = normal(0, 10, 2048), normal(1, 20, 2048)
    assert 0 < frechet_distance(few, many) < 4 * 2048
    constant = np.full((10, 2048), 0.1)
    assert frechet_distance(constant, few) == pytest.approx(
        np.sum((few.mean(axis=0) - 0.1) ** 2) + few.var(axis=0, ddof=1).sum()
    )


@pytest.mark.parametrize("count", [3, 30])
def test_frechet_distance_of_constant_features_is_their_squared_distance(count):
    first, second = fit_gaussian(np.full((count, 8), 0.1)), fit_gaussian(np.full((count, 8), 0.3))
    assert not first.factor.any()
    assert frechet_distance(first, second) == pytest.approx(8 * 0.04)


# Kernel distance


def test_kernel_distance_is_near_zero_for_equal_laws_and_grows_with_the_shift():
    same = [kernel_distance(normal(i), normal(50 + i), subsets=5).mean for i in range(10)]
    assert abs(np.mean(same)) < 2 * np.std(same)
    shifts = [kernel_distance(normal(0), normal(1, mean=m), subsets=5) for m in (0.2, 0.5, 1)]
    assert 0 < shifts[0].mean < shifts[1].mean < shifts[2].mean
    assert shifts[2].spread > 0


def test_kernel_distance_equals_the_double_sum():
    first, second = normal(0, 5, 3), normal(1, 5, 3)

    def mean(a, b, skip):
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if not (skip and i == j)]
        return np.mean([(a[i] @ b[j] / 3 + 1) ** 3 for i, j in pairs])

    expected = mean(first, first, True) + mean(second, second, True) - 2 * mean(first, second, 0)
    assert kernel_distance(first, second, subsets=1).mean == pytest.approx(expected)


def test_kernel_distance_equals_torch_fidelity(fidelity):
    first, second = correlated(0, 300, 48), correlated(1, 250, 48)
    for size, asked in ((100, 100), (250, 1000)):  # at most the smaller set
        ours = kernel_distance(first, second, subsets=10, subset_size=asked)
        theirs = fidelity["kid"].kid_features_to_metric(
            *map(torch.from_numpy, (first, second)),
            kid_subsets=10,
            kid_subset_size=size,
            verbose=False,
        )
        assert ours == pytest.approx(tuple(theirs.values()), rel=1e-6)


# Inception score


def test_inception_score_equals_torch_fidelity(fidelity):
    logits = normal(0, 1003, 20, scale=3)
    theirs = fidelity["isc"].isc_features_to_metric(torch.from_numpy(logits))
    assert inception_score(logits) == pytest.approx(tuple(theirs.values()), rel=1e-6)


def test_inception_score_is_the_number_of_classes_at_best_and_1_at_worst():
    sure = 1e4 * np.eye(5)[np.arange(1000) % 5]  # no overflow, no logarithm of 0
    assert inception_score(sure, splits=1) == pytest.approx((5, 0))
    assert inception_score(sure[::5]) == pytest.approx((1, 0))
    assert inception_score(np.zeros((100, 5))) == pytest.approx((1, 0))


# Neighbours


def test_nearest_neighbours_equal_the_sorted_distances():
    queries, references = normal(0, 40, 5), normal(1, 60, 5)
    all_distances = np.linalg.norm(queries[:, None] - references, axis=2)
    distances, indices = nearest_neighbours(queries, references, 7)
    np.testing.assert_array_equal(indices, np.argsort(all_distances, axis=1)[:, :7])
    np.testing.assert_allclose(distances, np.sort(all_distances, axis=1)[:, :7])


def test_copies_are_found_at_distance_0():
    references = normal(0, 1500, 64, mean=3).astype(np.float32)
    distances, indices = nearest_neighbours(references[[1400, 3]], references)
    assert distances.tolist() == [[0], [0]]
    assert indices.tolist() == [[1400], [3]]


def test_precision_and_recall_equal_torch_fidelity(fidelity):
    whole = np.random.default_rng(0).integers(0, 20, (200, 12)).astype(np.float32)
    cases = [
        (normal(0, 300, 6), normal(1, 250, 6, scale=0.8)),
        (whole[:120], whole[110:]),  # exact in float32, ties and copies included
    ]
    for real, fake in cases:
        theirs = fidelity["prc"].prc_features_to_metric(
            *map(torch.from_numpy, (fake, real)), verbose=False
        )
        ours = precision_recall(fit_manifold(real), fit_manifold(fake))
        assert ours == pytest.approx((theirs["precision"], theirs["recall"]), abs=1e-6)
        assert 0 < min(ours) <= max(ours) < 1


def test_density_and_coverage_are_their_definition():
    real, fake = normal(0, 100, 3), normal(1, 80, 3, mean=0.5)
    radii = np.sort(np.linalg.norm(real[:, None] - real, axis=2), axis=1)[:, 4]
    inside = np.linalg.norm(fake[:, None] - real, axis=2) <= radii
    found = density_coverage(fit_manifold(real), fake, neighbours=4)
    assert found == pytest.approx((inside.sum() / (4 * 80), inside.any(axis=0).mean()))


def test_equal_laws_have_density_1_and_almost_full_coverage():
    density, coverage = density_coverage(fit_manifold(normal(0)), normal(1))
    assert density == pytest.approx(1, abs=0.05)
    assert coverage == pytest.approx(1 - 2**-5, abs=0.02)  # 1 - 2^-k for as many fakes as reals


def test_a_collapsed_generator_has_high_precision_and_low_recall():
    real, fake = normal(0, 500), normal(1, 500, scale=0.05)
    precision, recall = precision_recall(fit_manifold(real), fit_manifold(fake))
    assert precision == 1
    assert recall == 0
    density, coverage = density_coverage(fit_manifold(real), fake)
    assert density > 2
    assert coverage < 0.5


def test_coverage_is_the_share_of_modes_that_are_not_missing():
    real = fit_manifold(modes(1, 20))
    assert density_coverage(real, modes(2, 20))[1] > 0.9
    assert density_coverage(real, modes(2, 5, count=200))[1] == pytest.approx(0.25, abs=0.01)


def test_identical_pictures_have_a_manifold_of_their_own():
    alike = np.full((30, 8), 0.1, np.float32)
    point = fit_manifold(alike)
    assert not point.radii(5).any()
    assert precision_recall(point, point) == (1, 1)
    assert precision_recall(fit_manifold(normal(0, 30)), point)[1] == 0


# Classes


def test_the_classifier_tells_apart_what_a_plane_separates():
    features, labels = modes(1, 6), np.repeat(np.arange(6), 50)
    classifier = fit_classifier(features, labels, 6)
    predicted = classifier.predict(modes(2, 6))
    assert predicted.dtype == np.int64
    np.testing.assert_array_equal(predicted, labels)
    assert classifier.predict(features[:0]).shape == (0,)


def test_the_classifier_finds_a_small_difference_below_large_correlated_noise():
    labels = np.arange(4000) % 2
    noise = normal(0, 4000, 2) * [10, 0.1]
    features = np.stack([noise[:, 0], noise[:, 0] + noise[:, 1] + 0.5 * labels], axis=1)
    accuracy = (fit_classifier(features, labels, 2).predict(features) == labels).mean()
    assert accuracy == pytest.approx(0.994, abs=0.004)  # a normal variable below 2.5


def test_the_classifier_needs_fewer_pictures_than_dimensions():
    labels = np.arange(20) % 2
    features, unseen = (normal(seed, 20, 300) + labels[:, None] for seed in (0, 1))
    np.testing.assert_array_equal(fit_classifier(features, labels, 2).predict(unseen), labels)


@pytest.mark.parametrize("count", [2, 4])
def test_the_classifier_needs_few_pictures(count):
    features, labels = normal(0, count, 50), np.arange(count) % 2
    np.testing.assert_array_equal(fit_classifier(features, labels, 2).predict(features), labels)


def test_the_classifier_counts_classes_alike():
    features, labels = normal(0, 10_100, 1), np.repeat([0, 1], [10_000, 100])
    features[labels == 1] += 2
    predicted = fit_classifier(features, labels, 2).predict(np.array([[0.8], [1.2]]))
    assert predicted.tolist() == [0, 1]


def test_the_classifier_bears_constant_features():
    labels = np.arange(20) % 2
    alike = np.full((20, 3), 0.1)
    telling = np.hstack([alike, labels[:, None]])
    np.testing.assert_array_equal(fit_classifier(telling, labels, 2).predict(telling), labels)
    assert np.isfinite(fit_classifier(alike, labels, 2).weight).all()


# All


def test_what_is_fitted_beforehand_gives_the_same():
    real, fake = normal(0, 60), normal(1, 50, mean=0.3)
    manifold = fit_manifold(real)
    assert frechet_distance(fit_gaussian(real), fake) == frechet_distance(real, fake)
    assert precision_recall(manifold, fit_manifold(fake)) == precision_recall(real, fake)
    assert density_coverage(manifold, fake) == density_coverage(real, fake)


def everything(first, second):
    """All numbers of two sets of features."""
    real, fake = fit_manifold(first), fit_manifold(second)
    labels = np.arange(len(first)) % 3
    return np.hstack(
        [
            frechet_distance(first, second),
            kernel_distance(first, second, subsets=3),
            inception_score(first, splits=2),
            precision_recall(real, fake),
            density_coverage(real, second),
            np.hstack(nearest_neighbours(first, second, 4)).ravel(),
            fit_classifier(first, labels, 3).predict(second),
        ]
    )


def test_numbers_do_not_depend_on_the_size_of_pieces_or_on_the_storage(monkeypatch, tmp_path):
    first, second = (features.astype(np.float32) for features in (normal(0, 90), normal(1, 80)))
    whole = everything(first, second)
    monkeypatch.setattr(arrays, "PIECE_ROWS", 7)
    np.testing.assert_allclose(everything(first, second), whole, rtol=1e-9)
    first.tofile(tmp_path / "features")
    mapped = np.memmap(tmp_path / "features", np.float32, "r", shape=first.shape)
    np.testing.assert_array_equal(everything(mapped, second), everything(first, second))


MEASUREMENTS = {
    "gaussian": fit_gaussian,
    "kernel": lambda features: kernel_distance(features, normal(0, 50)),
    "score": inception_score,
    "manifold": fit_manifold,
    "density": lambda features: density_coverage(fit_manifold(normal(0, 50)), features),
    "neighbours": lambda features: nearest_neighbours(normal(0, 50), features),
    "classifier": lambda features: fit_classifier(features, np.arange(50) % 2, 2),
    "prediction": fit_classifier(normal(0, 50), np.arange(50) % 2, 2).predict,
}


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", MEASUREMENTS)
def test_features_that_are_not_finite_are_refused(name, value):
    features = normal(1, 50)
    features[20, 3] = value
    with pytest.raises(SaganError, match="NaN or infinite; check the network"):
        MEASUREMENTS[name](features)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_gaussian(normal(0, 1)), "at least 2 pictures, here 1"),
        (lambda: kernel_distance(normal(0, 9), normal(0, 1)), "at least 2 pictures, here 1"),
        (lambda: inception_score(normal(0, 9)), "9 pictures are too few for 10 splits"),
        (lambda: fit_manifold(normal(0, 5)), "5 pictures are too few for 6 neighbours"),
        (lambda: fit_classifier(normal(0, 2), np.array([0, 2]), 3), "class 1 has no picture"),
    ],
)
def test_too_few_pictures_are_refused(call, message):
    with pytest.raises(SaganError, match=message):
        call()


def test_features_of_another_form_are_refused():
    one, other = normal(0, 20), normal(1, 20, dim=5)
    for compare in (frechet_distance, kernel_distance, precision_recall, density_coverage):
        with pytest.raises(SaganError, match="the same D on both sides"):
            compare(one, other)
        with pytest.raises(SaganError, match="give a row for each picture"):
            compare(one[0], one[0])
        with pytest.raises(SaganError, match="real numbers"):
            compare(one * 1j, one)
        with pytest.raises(SaganError, match="none of them masked"):
            compare(np.ma.masked_less(one, 0), one)
        assert compare(one.tolist(), one.tolist()) == compare(one, one)
    with pytest.raises(SaganError, match="neighbours = 5"):
        density_coverage(fit_manifold(one, 3), one, neighbours=5)
    with pytest.raises(SaganError, match="no generated picture"):
        density_coverage(one, one[:0])
    with pytest.raises(SaganError, match="splits = 0"):
        inception_score(one, splits=0)
    with pytest.raises(SaganError, match="subsets = 0"):
        kernel_distance(one, one, subsets=0)
