"""Section features: streamed feature extraction beside the feature network's own batches.

Both work through the same pictures: `features_of`, which reads, extracts and writes a file, and the
bare network on batches that lie in memory. Then one evaluation with an empty cache and one of
another model's pictures against the same real ones.
"""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.data import temporary_cache
from benchmarks.harness import Side, Suite
from benchmarks.options import Options
from sagan.data.avatars import load_avatars
from sagan.evaluation.evaluate import evaluate_pictures
from sagan.evaluation.extraction import EXTRACTION_BATCH_SIZE, features_of, features_path
from sagan.evaluation.features import FeatureExtractor, load_extractor
from sagan.evaluation.measures import METRICS
from sagan.evaluation.opening import EvaluationPictures
from sagan.evaluation.picture_sets import PictureSet, stored

COUNT = 2000


def features(suite: Suite, options: Options) -> None:
    """Extraction, then all metrics.

    Raises:
        SaganError: The feature network is not installed.
    """
    extractor = load_extractor(device=options.device.type)
    datasets = [load_avatars(32, COUNT, seed=seed) for seed in (1, 2, 3)]
    first, second, third = map(stored, datasets)
    images = torch.from_numpy(datasets[0].images)
    with temporary_cache():
        file = features_path(first, extractor)
        streamed = Side(
            name="streamed",
            call=partial(features_of, first, extractor, "extraction"),
            prepare=partial(file.unlink, missing_ok=True),
            images=COUNT,
        )
        bare = Side(name="bare network", call=partial(_extract, extractor, images), images=COUNT)
        suite.compare("features", f"extraction, {COUNT} pictures", [streamed, bare])
        file.unlink()
        judged = {"empty cache": second, "the same real pictures again": third}
        sides = [
            Side(name=name, call=partial(_evaluate, pictures, first, extractor), images=2 * COUNT)
            for name, pictures in judged.items()
        ]
        suite.once("features", f"all metrics, {COUNT} against {COUNT}", sides)


def _extract(extractor: FeatureExtractor, images: torch.Tensor) -> None:
    for batch in images.split(EXTRACTION_BATCH_SIZE):
        extractor(batch)


def _evaluate(judged: PictureSet, real: PictureSet, extractor: FeatureExtractor) -> None:
    pictures = EvaluationPictures(
        identity={"kind": "pictures", "path": "avatars", "step": None},
        protocol={},
        sets=[judged],
        seeds=(),
        real=real,
    )
    evaluate_pictures(pictures, extractor, tuple(METRICS))
