"""The real side of a measurement."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from sagan.data.dataset import cache_file, read_cached
from sagan.evaluation import metrics
from sagan.evaluation.arrays import MANIFOLD_PICTURES, PROBED_PICTURES, choice
from sagan.evaluation.classifier import LinearClassifier, fit_classifier
from sagan.evaluation.extraction import Features, features_of, features_path
from sagan.evaluation.features import FeatureExtractor
from sagan.evaluation.metrics import Gaussian, Manifold
from sagan.evaluation.picture_sets import PictureSet

OF_REALS = "features of the real pictures"
"""Heads their progress line."""


@dataclass(kw_only=True, eq=False)
class Reference:
    """Real features, with what depends on them alone: computed once, kept in the cache."""

    features: Features
    class_names: tuple[str, ...]
    """() without classes."""
    extractor: FeatureExtractor
    """Where the features come from."""
    cache: Path | None
    """Beginning of the names of files to keep results in; None keeps none."""

    @cached_property
    def gaussian(self) -> Gaussian:
        """Of all pictures."""
        return self._kept("gaussian", lambda: metrics.fit_gaussian(self.features.features))

    def class_gaussian(self, label: int) -> Gaussian:
        """Of the pictures of one class."""
        rows = self.features.labels == label
        return self._kept(
            f"gaussian-class-{label}",
            lambda: metrics.fit_gaussian(self.features.features[rows]),
            # With fewer pictures than dimensions the factor is no smaller than the features.
            worthwhile=np.count_nonzero(rows) > self.features.features.shape[1],
        )

    @cached_property
    def manifold(self) -> Manifold:
        """Of at most 10,000 pictures."""
        return metrics.fit_manifold(choice(self.features.features, MANIFOLD_PICTURES))

    @cached_property
    def classifier(self) -> LinearClassifier:
        """Tells the classes apart."""
        features, _, labels = self.features
        return fit_classifier(features, labels, len(self.class_names))

    @cached_property
    def typical_distance(self) -> float:
        """Median distance from a real picture to the nearest other one."""
        probes = choice(self.features.features, PROBED_PICTURES)
        distances, _ = metrics.nearest_neighbours(probes, self.features.features, 2)
        return float(np.median(distances[:, 1]))

    def _kept(
        self, name: str, compute: Callable[[], Gaussian], *, worthwhile: bool = True
    ) -> Gaussian:
        if self.cache is None or not worthwhile:
            return compute()
        path = self.cache.with_name(f"{self.cache.name}-{name}.npz")

        def build() -> None:
            gaussian = compute()
            with cache_file(path) as file:
                np.savez(file, mean=gaussian.mean, factor=gaussian.factor, count=gaussian.count)

        def read(path: Path) -> Gaussian:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                return Gaussian(archive["mean"], archive["factor"], int(archive["count"]))

        return read_cached(path, read, build)


def reference_of(real: PictureSet | None, extractor: FeatureExtractor) -> Reference:
    """The reference of real pictures; an empty one of none, for metrics that need none."""
    if real is None:
        features = np.empty((0, extractor.feature_dim), np.float32)
        none = Features(features, np.empty((0, extractor.logit_dim), np.float32), np.empty(0, int))
        return Reference(features=none, class_names=(), extractor=extractor, cache=None)
    return Reference(
        features=features_of(real, extractor, OF_REALS),
        class_names=real.class_names,
        extractor=extractor,
        cache=features_path(real, extractor).with_suffix(""),
    )
