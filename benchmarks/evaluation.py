"""Speed of streamed feature extraction against the feature network's own batches.

    python benchmarks/evaluation.py

Both work through the same pictures, alternating: `features_of`, which reads, extracts and writes a
file, and the bare network on batches that lie in memory. Then one evaluation with an empty cache
and one of another model's pictures against the same real ones.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time

import torch

from sagan.data.avatars import load_avatars
from sagan.evaluation.evaluate import evaluate
from sagan.evaluation.extraction import BATCH_SIZE, features_of, features_path
from sagan.evaluation.measures import METRICS
from sagan.evaluation.pictures import Pictures, stored
from sagan.evaluation.sides import Sides
from sagan.features import FeatureExtractor, load_extractor

COUNT = 2000
PAIRS = 7


def seconds_of_network(extractor: FeatureExtractor, images: torch.Tensor) -> float:
    """Time of the bare network over all pictures."""
    begin = time.perf_counter()
    for batch in images.split(BATCH_SIZE):
        extractor(batch)
    return time.perf_counter() - begin


def seconds_of_stream(extractor: FeatureExtractor, pictures: Pictures) -> float:
    """Time of a streamed extraction into a new file."""
    features_path(pictures, extractor).unlink(missing_ok=True)
    begin = time.perf_counter()
    features_of(pictures, extractor, "extraction")
    return time.perf_counter() - begin


def seconds_of_evaluation(judged: Pictures, real: Pictures, extractor: FeatureExtractor) -> float:
    """Time of all metrics."""
    sides = Sides(
        identity={"kind": "pictures", "path": "avatars", "step": None},
        protocol={},
        sets=[judged],
        seeds=(),
        real=real,
    )
    begin = time.perf_counter()
    evaluate(sides, extractor, tuple(METRICS))
    return time.perf_counter() - begin


def main() -> None:
    """Prints the medians."""
    extractor = load_extractor()
    first, second, third = (load_avatars(32, COUNT, seed=seed) for seed in (1, 2, 3))
    images = torch.from_numpy(first.images)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["SAGAN_CACHE"] = cache
        seconds_of_network(extractor, images[:BATCH_SIZE])
        pairs = [
            (seconds_of_network(extractor, images), seconds_of_stream(extractor, stored(first)))
            for _ in range(PAIRS)
        ]
        network, stream = (COUNT / statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(bare / streamed for bare, streamed in pairs)
        threads = torch.get_num_threads()
        print(f"torch {torch.__version__}, {threads} threads, {PAIRS} pairs of {COUNT} avatars")
        print(f"feature network  {network:.0f} images/s")
        print(f"streamed         {stream:.0f} images/s, median ratio {ratio:.2f}")
        features_path(stored(first), extractor).unlink()
        before = seconds_of_evaluation(stored(second), stored(first), extractor)
        after = seconds_of_evaluation(stored(third), stored(first), extractor)
        print(f"evaluation, all metrics, {COUNT} against {COUNT}: {before:.1f} s")
        print(f"the same real pictures again: {after:.1f} s, {1 - after / before:.0%} less")


if __name__ == "__main__":
    main()
