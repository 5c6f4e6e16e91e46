"""Measuring a generator while it learns, and at the end within the time there is."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from sagan.config import EvaluationConfig
from sagan.data import Dataset
from sagan.errors import SaganError
from sagan.evaluation.extraction import extract, features_of, features_path
from sagan.evaluation.features import FeatureExtractor, load_extractor
from sagan.evaluation.measures import SUBSET_SIZE, SUBSETS, known_metrics, measurement_of
from sagan.evaluation.opening import labels_as_in
from sagan.evaluation.picture_sets import PictureSet, generated, stored
from sagan.evaluation.reference import OF_REALS, Reference, reference_of
from sagan.evaluation.sharing import Sharing, shared_among
from sagan.images import as_rgb
from sagan.sampling.generator import TrainedGenerator
from sagan.system.progress import duration
from sagan.system.ranks import ALONE, Ranks
from sagan.system.signals import Interruption

FEWEST_PICTURES = 500
"""With fewer, a measurement that has to be short says too little; those between are multiples."""
LEAST_EVALUATION_SECONDS = 3.0
"""Less than loading the feature network and measuring with so few takes anywhere."""
_PROBED = 64
_PRODUCTS = 3 * SUBSETS
"""Matrix products of the kernel distance, which takes most of the arithmetic."""


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What one measurement during training found."""

    numbers: Mapping[str, float]
    """By name in print."""
    by_class: Mapping[str, Mapping[str, float]]
    """The numbers that classes have of their own: by name, then by class."""
    pictures: int
    """On the side that has fewer."""
    notes: Sequence[str] = ()
    """What a reader should know of the numbers."""
    protocol: str = ""
    """The features, and the pictures on both sides."""


Evaluate = Callable[[TrainedGenerator, Dataset, float], Evaluated]
"""(averaged generator, training pictures, seconds that it may take) -> what was found."""


class PeriodicEvaluation:
    """What a training run calls to measure itself, an :data:`Evaluate`.

    Nothing is loaded before it is needed.

    Args:
        config: What to measure, with how many pictures and which network.
        device: Where that network computes.
        ranks: Those that share the work; the first one has the files and computes the numbers.
        asked: Whether a signal has asked this process for the end, which cuts the work off.

    Raises:
        SaganError: A metric is unknown.
    """

    def __init__(
        self,
        config: EvaluationConfig,
        device: str,
        ranks: Ranks = ALONE,
        asked: Interruption | None = None,
    ) -> None:
        self._config = config
        self._ranks = ranks
        self._asked = asked or Interruption()
        self._device = device
        self._metrics = known_metrics(config.metrics)
        self._references: dict[tuple[str, int], Reference] = {}

    @cached_property
    def extractor(self) -> FeatureExtractor:
        """The feature network.

        Raises:
            SaganError: It cannot be had.
        """
        weights = Path(self._config.weights) if self._config.weights else None
        return load_extractor(self._config.extractor, weights=weights, device=self._device)

    def __call__(
        self, generator: TrainedGenerator, dataset: Dataset, seconds: float = math.inf
    ) -> Evaluated:
        """Measures a generator with the seeds from 0 on, classes as frequent as in the data.

        Both sides have ``samples`` pictures, fewer where ``seconds`` of the first rank ask for it.
        All ranks call this, and get the same.

        Raises:
            SaganError: The feature network cannot be had, or even few pictures take longer.
            StoppedError: A signal came to one of them.
        """
        with shared_among(self._ranks, self._asked) as sharing:
            with self._asked.acting_at_once():
                own = self._own(generator, dataset, seconds, sharing)
            [found, *_] = sharing.exchange(own)
        assert found is not None
        return found

    def _own(
        self, generator: TrainedGenerator, dataset: Dataset, seconds: float, sharing: Sharing
    ) -> Evaluated | None:
        """Does the share of this rank; the first one gets what was found."""
        is_first = self._ranks.is_first
        own_count = self._count(generator, dataset, seconds) if is_first else 0
        [count, *_] = sharing.exchange(own_count)
        labels, _ = labels_as_in(dataset, generator, count)
        pictures = generated(generator, labels)
        try:
            extract(pictures, self.extractor, "features of generated pictures", sharing)
            is_new = (dataset.fingerprint, count) not in self._references
            [lacks_reals, *_] = sharing.exchange(is_new)
            if lacks_reals:
                extract(stored(dataset, count), self.extractor, OF_REALS, sharing)
            return self._measured(pictures, dataset, count) if is_first else None
        finally:
            if is_first:
                features_path(pictures, self.extractor).unlink(missing_ok=True)

    def _measured(self, pictures: PictureSet, dataset: Dataset, count: int) -> Evaluated:
        fake = features_of(pictures, self.extractor, "")
        found = measurement_of(self._reference(dataset, count), fake, self._metrics)
        samples, notes = self._config.samples, []
        if count < samples:
            notes.append(f"measured with {count:,} pictures, since {samples:,} would take too long")
        if len(dataset) < count:
            notes.append(f"there are {len(dataset):,} training pictures to compare {count:,} with")
        return Evaluated(
            numbers={name: reading.value for name, reading in found.values.items()},
            by_class={name: of for name, (_, _, of) in found.values.items() if of},
            pictures=min(count, len(dataset)),
            notes=[*notes, *found.notes],
            protocol=f"{self.extractor.name} {self.extractor.weights_sha256[:8]}, "
            f"{count} drawn, {min(count, len(dataset))} real",
        )

    def _reference(self, dataset: Dataset, count: int) -> Reference:
        key = dataset.fingerprint, count
        if key not in self._references:
            self._references[key] = reference_of(stored(dataset, count), self.extractor)
        return self._references[key]

    def _count(self, generator: TrainedGenerator, dataset: Dataset, seconds: float) -> int:
        if seconds == math.inf:
            return self._config.samples
        return self._affordable(generator, dataset, seconds)

    def _affordable(self, generator: TrainedGenerator, dataset: Dataset, seconds: float) -> int:
        """How many pictures a measurement may have to take no longer."""
        samples = self._config.samples
        fewest = min(FEWEST_PICTURES, samples)
        begin, needed = time.perf_counter(), LEAST_EVALUATION_SECONDS
        if seconds >= LEAST_EVALUATION_SECONDS:
            per_picture, per_product = self._pace(generator, dataset)
            spent = time.perf_counter() - begin
            multiples = range(
                (samples - 1) // FEWEST_PICTURES * FEWEST_PICTURES, 0, -FEWEST_PICTURES
            )
            for count in (samples, *multiples):
                arithmetic = _PRODUCTS * per_product * (min(count, SUBSET_SIZE) / SUBSET_SIZE) ** 2
                needed = spent + count * per_picture / self._ranks.count + arithmetic
                if needed <= seconds:
                    return count
        raise SaganError(
            f"with {fewest:,} pictures it would take {duration(math.ceil(needed))} or more, "
            f"evaluation.time_share leaves {duration(seconds)}"
        )

    def _pace(self, generator: TrainedGenerator, dataset: Dataset) -> tuple[float, float]:
        """Seconds for a picture of both sides, and for a product of two subsets' features."""
        probed = min(_PROBED, len(dataset))
        labels, _ = labels_as_in(dataset, generator, probed)

        def features() -> None:
            for pictures in (
                generator.sample(range(probed), labels),
                dataset.images[np.arange(probed)],
            ):
                self.extractor(torch.from_numpy(as_rgb(pictures)))[0].cpu()

        one, other = np.ones((2, SUBSET_SIZE, self.extractor.feature_dim))
        return _seconds_of(features) / probed, _seconds_of(lambda: np.matmul(one, other.T))


def _seconds_of(function: Callable[[], object]) -> float:
    """What a second call takes: in a first one much happens that never happens again."""
    function()
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def periodic_evaluation(
    config: EvaluationConfig,
    device: str,
    ranks: Ranks = ALONE,
    asked: Interruption | None = None,
) -> PeriodicEvaluation:
    """Prepares what a training run calls from time to time.

    The feature network is loaded at once, onto ``device``, so that what is missing is said before
    the first step.

    Raises:
        SaganError: The feature network cannot be had, or a metric is unknown.
    """
    evaluation = PeriodicEvaluation(config, device, ranks, asked)
    _ = evaluation.extractor
    return evaluation
