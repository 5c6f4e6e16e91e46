"""Measuring a generator while it learns."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from sagan.config import EvaluationConfig
from sagan.data import Dataset
from sagan.evaluation.extraction import features_of, features_path
from sagan.evaluation.features import load_extractor
from sagan.evaluation.measures import known_metrics, measurement_of
from sagan.evaluation.opening import labels_as_in
from sagan.evaluation.picture_sets import generated, stored
from sagan.evaluation.reference import reference_of
from sagan.sampling.generator import TrainedGenerator


def periodic_evaluation(
    config: EvaluationConfig, device: str
) -> Callable[[TrainedGenerator, Dataset], dict[str, float]]:
    """Prepares what a training run calls from time to time.

    The feature network is loaded at once, onto ``device``, so that what is missing is said before
    the first step.

    Returns:
        (generator, real pictures) -> numbers by name; both sides have ``config.samples`` pictures,
        the generated ones the seeds from 0 on.

    Raises:
        SaganError: The feature network cannot be had, or a metric is unknown.
    """
    metrics = known_metrics(config.metrics)
    weights = Path(config.weights) if config.weights else None
    extractor = load_extractor(config.extractor, weights=weights, device=device)
    reference = cache(lambda real: reference_of(stored(real, config.samples), extractor))

    def evaluate(generator: TrainedGenerator, dataset: Dataset) -> dict[str, float]:
        labels, _ = labels_as_in(dataset, generator, config.samples)
        pictures = generated(generator, labels)
        try:
            fake = features_of(pictures, extractor, "features of generated pictures")
            found = measurement_of(reference(dataset), fake, metrics)
        finally:
            features_path(pictures, extractor).unlink(missing_ok=True)
        return {name: reading.value for name, reading in found.values.items()}

    return evaluate
