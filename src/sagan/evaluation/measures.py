"""The metrics: each a function of a reference and the features of other pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from sagan.config import nearest
from sagan.errors import SaganError
from sagan.evaluation.extraction import Features
from sagan.evaluation.metrics import (
    density_coverage,
    fit_gaussian,
    fit_manifold,
    frechet_distance,
    inception_score,
    kernel_distance,
    nearest_neighbours,
    precision_recall,
)
from sagan.evaluation.record import Better
from sagan.evaluation.reference import MANIFOLD_PICTURES, PROBED_PICTURES, Reference, choice

SUBSETS = 100
SUBSET_SIZE = 1000
SPLITS = 10
PRECISION_NEIGHBOURS = 3
COVERAGE_NEIGHBOURS = 5
SHOWN_NEIGHBOURS = 16


class Reading(NamedTuple):
    """One number of one set of pictures."""

    value: float
    better: Better
    within: float | None = None
    """Its standard deviation over subsets or splits."""


@dataclass(kw_only=True)
class Measurement:
    """All numbers of one set of pictures."""

    values: dict[str, Reading] = field(default_factory=dict)
    details: dict[str, dict[str, float]] = field(default_factory=dict)
    """By class."""
    neighbours: list[tuple[int, int, float]] = field(default_factory=list)
    """Row of a picture, row of the nearest real one, their distance over the typical one."""
    notes: list[str] = field(default_factory=list)


def measure(reference: Reference, fake: Features, metrics: Iterable[str]) -> Measurement:
    """Takes the chosen metrics of one set of pictures.

    Args:
        reference: The real side.
        fake: The other side, its labels numbered as the reference's; -1 where the class is not
            among them.
        metrics: Names in :data:`METRICS`.
    """
    found = Measurement()
    for name in metrics:
        METRICS[name](reference, fake, found)
    return found


def _frechet(reference: Reference, fake: Features, found: Measurement) -> None:
    gaussian = fit_gaussian(fake.features)
    name = reference.extractor.distance_name
    distance = frechet_distance(reference.gaussian, gaussian)
    found.values[name] = Reading(distance, "lower")
    count, dimensions = min(reference.gaussian.count, gaussian.count), len(gaussian.mean)
    if count <= dimensions:
        found.notes.append(
            f"{name} is biased upwards: {count} pictures for {dimensions} features; "
            "KID has no such bias"
        )
    if not gaussian.factor.any():
        found.notes.append("all measured pictures are alike")


def _kernel(reference: Reference, fake: Features, found: Measurement) -> None:
    size = min(SUBSET_SIZE, len(fake.features), len(reference.features.features))
    estimate = kernel_distance(
        reference.features.features, fake.features, subsets=SUBSETS, subset_size=size
    )
    name = f"KID x 1000{_suffix(reference)}"
    found.values[name] = Reading(1e3 * estimate.mean, "lower", 1e3 * estimate.spread)
    if size < SUBSET_SIZE:
        found.notes.append(f"KID over subsets of {size} instead of {SUBSET_SIZE} pictures")


def _inception(reference: Reference, fake: Features, found: Measurement) -> None:
    if not fake.logits.shape[1]:
        found.notes.append(f"no inception score: {reference.extractor.title} names no classes")
        return
    estimate = inception_score(fake.logits, splits=min(SPLITS, len(fake.logits)))
    found.values[f"IS{_suffix(reference)}"] = Reading(estimate.mean, "higher", estimate.spread)


def _suffix(reference: Reference) -> str:
    """What keeps numbers of other networks from being read as those of Inception."""
    return reference.extractor.distance_name.removeprefix("FID").removeprefix("FD")


def _has_neighbours(reference: Reference, fake: Features, found: Measurement) -> bool:
    enough = min(len(fake.features), len(reference.features.features)) > COVERAGE_NEIGHBOURS
    if not enough:
        found.notes.append(f"no precision or density of {COVERAGE_NEIGHBOURS} pictures or fewer")
    return enough


def _precision(reference: Reference, fake: Features, found: Measurement) -> None:
    if not _has_neighbours(reference, fake, found):
        return
    manifold = fit_manifold(choice(fake.features, MANIFOLD_PICTURES))
    precision, recall = precision_recall(reference.manifold, manifold, PRECISION_NEIGHBOURS)
    found.values["precision"] = Reading(precision, "higher")
    found.values["recall"] = Reading(recall, "higher")


def _density(reference: Reference, fake: Features, found: Measurement) -> None:
    if not _has_neighbours(reference, fake, found):
        return
    shown = choice(fake.features, MANIFOLD_PICTURES)
    density, coverage = density_coverage(reference.manifold, shown, COVERAGE_NEIGHBOURS)
    found.values["density"] = Reading(density, "higher")
    found.values["coverage"] = Reading(coverage, "higher")


def _intra(reference: Reference, fake: Features, found: Measurement) -> None:
    """The paper's intra FID: the distance within every class (section 4, Evaluation metrics)."""
    distances: dict[str, float] = {}
    few = []
    for label, name in enumerate(reference.class_names):
        rows = fake.labels == label
        if min(np.count_nonzero(rows), np.count_nonzero(reference.features.labels == label)) < 2:
            few.append(name)
            continue
        gaussian = fit_gaussian(fake.features[rows])
        distances[name] = frechet_distance(reference.class_gaussian(label), gaussian)
    if few:
        found.notes.append(
            f"left out of the distance within classes for want of pictures: {', '.join(few)}"
        )
    if distances:
        name = f"intra-class {reference.extractor.distance_name}"
        found.details[name] = distances
        found.values[name] = Reading(float(np.mean(list(distances.values()))), "lower")


def _accuracy(reference: Reference, fake: Features, found: Measurement) -> None:
    counts = np.bincount(reference.features.labels, minlength=len(reference.class_names))
    if len(counts) < 2 or counts.min() < 2:
        found.notes.append("no class accuracy: it needs two classes of two real pictures at least")
        return
    known = fake.labels >= 0
    hits = reference.classifier.predict(fake.features[known]) == fake.labels[known]
    if len(hits):
        found.values["class accuracy"] = Reading(float(hits.mean()), "higher")


def _neighbours(reference: Reference, fake: Features, found: Measurement) -> None:
    """How close pictures come to their nearest real one, against how close real ones do."""
    real = reference.features.features
    typical = max(reference.typical_distance, 1e-12)
    distances, _ = nearest_neighbours(choice(fake.features, PROBED_PICTURES), real)
    ratio = float(np.median(distances)) / typical
    found.values["nearest-neighbour ratio"] = Reading(ratio, "near the floor")
    shown = np.linspace(0, len(fake.features) - 1, min(SHOWN_NEIGHBOURS, len(fake.features)))
    rows = shown.round().astype(int)
    distances, nearest_rows = nearest_neighbours(fake.features[rows], real)
    found.neighbours = [
        (int(row), int(other), float(distance) / typical)
        for row, other, distance in zip(rows, nearest_rows[:, 0], distances[:, 0], strict=True)
    ]


METRICS: Mapping[str, Callable[[Reference, Features, Measurement], None]] = {
    "fd": _frechet,
    "kid": _kernel,
    "is": _inception,
    "pr": _precision,
    "dc": _density,
    "intra": _intra,
    "accuracy": _accuracy,
    "neighbours": _neighbours,
}
"""Fréchet distance (FID with Inception's features), kernel distance, inception score, precision and
recall, density and coverage, Fréchet distance within classes, share of pictures in which the class
asked for is recognised, distance to the nearest real picture."""


def known_metrics(names: Iterable[str]) -> tuple[str, ...]:
    """Checks names of metrics; none, or "all", means all.

    Raises:
        SaganError: There is none of a name; lists the known ones.
    """
    chosen = tuple(dict.fromkeys(names))
    for name in chosen:
        if name not in METRICS and name != "all":
            raise SaganError(
                f"there is no metric {name!r}{nearest(name, METRICS)}; "
                f"known are {', '.join(METRICS)}, or all"
            )
    return tuple(METRICS) if not chosen or "all" in chosen else chosen


PARAMETERS: Mapping[str, str] = {
    "kid": f"{SUBSETS} subsets of {SUBSET_SIZE}",
    "is": f"{SPLITS} shuffled splits",
    "pr": f"{PRECISION_NEIGHBOURS} nearest, {MANIFOLD_PICTURES} pictures at most",
    "dc": f"{COVERAGE_NEIGHBOURS} nearest, {MANIFOLD_PICTURES} pictures at most",
    "neighbours": f"median over {PROBED_PICTURES}",
}
"""What the numbers of a metric depend on besides the features."""
