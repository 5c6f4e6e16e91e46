"""The metrics: one table that says all about each; a new one is an entry more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from sagan.config import nearest
from sagan.errors import SaganError
from sagan.evaluation import metrics
from sagan.evaluation.arrays import MANIFOLD_PICTURES, PROBED_PICTURES, choice
from sagan.evaluation.record import Better
from sagan.system.spacing import with_both_ends

if TYPE_CHECKING:  # which need torch, unlike the table
    from sagan.evaluation.extraction import Features
    from sagan.evaluation.features import FeatureExtractor
    from sagan.evaluation.reference import Reference

SUBSETS = 100
SUBSET_SIZE = 1000
SPLITS = 10
PRECISION_NEIGHBOURS = 3
COVERAGE_NEIGHBOURS = 5
FEWEST_FOR_SPREAD = 300
"""Pictures of a class, drawn and real, from which on its distance is set against its spread: with
fewer, real pictures too seem far from one another."""
SHOWN_NEIGHBOURS = 16
SPREAD_TITLE = "intra-class FD over spread"
"""Of the second number of ``intra``."""

_Number = TypeVar("_Number")


class Reading(NamedTuple):
    """One number of one set of pictures."""

    value: float
    within: float | None = None
    """Its standard deviation over subsets or splits."""
    by_class: Mapping[str, float] = MappingProxyType({})
    """The number of every class."""


@dataclass(kw_only=True)
class Measurement:
    """All numbers of one set of pictures."""

    values: dict[str, Reading] = field(default_factory=dict)
    """By name in print."""
    neighbours: list[tuple[int, int, float]] = field(default_factory=list)
    """Row of a picture, row of the nearest real one, their distance over the typical one."""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Metric:
    """What a metric is called, which way it is better, and how it is measured."""

    key: str
    """Name on the command line, such as fd."""
    titles: tuple[str, ...]
    """Of its numbers; {network} names the feature network, where that is not Inception."""
    meaning: str
    """In a few words, for the help."""
    better: Better
    measure: Callable[[Reference, Features, Measurement], Sequence[Reading]]
    """(real side, side to judge, where notes go) -> a reading for each title; none where it cannot
    be measured."""
    protocol: str = ""
    """What the numbers depend on besides the features."""
    needs_reference: bool = True
    """Real pictures are needed."""

    def names(self, extractor: FeatureExtractor) -> list[str]:
        """The titles in print; numbers of other networks must not be read as Inception's."""
        if extractor.name == "inception":
            return [title.format(network="").replace("FD", "FID") for title in self.titles]
        return [title.format(network=f" ({extractor.title})") for title in self.titles]


def measurement_of(reference: Reference, fake: Features, keys: Iterable[str]) -> Measurement:
    """Takes the chosen metrics of one set of pictures, by their keys in :data:`METRICS`.

    Labels of ``fake`` are numbered as the reference's; -1 where the class is not among them.
    """
    found = Measurement()
    for key in keys:
        readings = METRICS[key].measure(reference, fake, found)
        found.values.update(zip(METRICS[key].names(reference.extractor), readings, strict=False))
    return found


def metric_of(name: str) -> Metric | None:
    """The metric to which a number belongs, by its name in a record or a log."""
    title = name.partition(" (")[0].replace("FID", "FD")
    titles = (title, title + "{network}")
    return next((found for found in METRICS.values() if set(titles) & set(found.titles)), None)


def numbers_of(key: str, numbers: Mapping[str, _Number]) -> dict[str, _Number]:
    """Those of named numbers, as records and logs have them, that belong to a metric."""
    return {name: of for name, of in numbers.items() if metric_of(name) is METRICS[key]}


def known_metrics(names: str | Iterable[str]) -> tuple[str, ...]:
    """Checks keys of metrics, a list or separated by commas; none, or "all", means all.

    Raises:
        SaganError: There is none of a name; lists the known ones.
    """
    names = names.split(",") if isinstance(names, str) else names
    chosen = tuple(dict.fromkeys(name.strip() for name in names))
    for name in chosen:
        if name not in METRICS and name != "all":
            raise SaganError(
                f"there is no metric {name!r}{nearest(name, METRICS)}; "
                f"known are {', '.join(METRICS)}, or all"
            )
    return tuple(METRICS) if not chosen or "all" in chosen else chosen


def _measure_fd(reference: Reference, fake: Features, found: Measurement) -> list[Reading]:
    gaussian = metrics.fit_gaussian(fake.features)
    distance = metrics.frechet_distance(reference.gaussian, gaussian)
    count, dimensions = min(reference.gaussian.count, gaussian.count), len(gaussian.mean)
    if count <= dimensions:
        found.notes.append(
            f"{METRICS['fd'].names(reference.extractor)[0]} is biased upwards: {count} pictures "
            f"for {dimensions} features; KID has no such bias"
        )
    if not gaussian.factor.any():
        found.notes.append("all measured pictures are alike")
    return [Reading(distance)]


def _measure_kid(reference: Reference, fake: Features, found: Measurement) -> list[Reading]:
    real = reference.features.features
    size = min(SUBSET_SIZE, len(fake.features), len(real))
    estimate = metrics.kernel_distance(real, fake.features, subsets=SUBSETS, subset_size=size)
    if size < SUBSET_SIZE:
        found.notes.append(f"KID over subsets of {size} instead of {SUBSET_SIZE} pictures")
    return [Reading(1e3 * estimate.mean, 1e3 * estimate.spread)]


def _measure_is(reference: Reference, fake: Features, found: Measurement) -> list[Reading]:
    if not fake.logits.shape[1]:
        found.notes.append(f"no inception score: {reference.extractor.title} names no classes")
        return []
    estimate = metrics.inception_score(fake.logits, splits=min(SPLITS, len(fake.logits)))
    return [Reading(estimate.mean, estimate.spread)]


def _has_neighbours(reference: Reference, fake: Features, found: Measurement) -> bool:
    enough = min(len(fake.features), len(reference.features.features)) > COVERAGE_NEIGHBOURS
    if not enough:
        found.notes.append(f"no precision or density of {COVERAGE_NEIGHBOURS} pictures or fewer")
    return enough


def _measure_pr(reference: Reference, fake: Features, found: Measurement) -> list[Reading]:
    if not _has_neighbours(reference, fake, found):
        return []
    manifold = metrics.fit_manifold(choice(fake.features, MANIFOLD_PICTURES))
    numbers = metrics.precision_recall(reference.manifold, manifold, PRECISION_NEIGHBOURS)
    return [*map(Reading, numbers)]


def _measure_dc(reference: Reference, fake: Features, found: Measurement) -> list[Reading]:
    if not _has_neighbours(reference, fake, found):
        return []
    shown = choice(fake.features, MANIFOLD_PICTURES)
    return [*map(Reading, metrics.density_coverage(reference.manifold, shown, COVERAGE_NEIGHBOURS))]


def _measure_intra(reference: Reference, fake: Features, found: Measurement) -> list[Reading]:
    """The paper's intra FID: the distance within every class (section 4, Evaluation metrics).

    The second number is the distance over the variance of the real features of the class, whose
    unit is the distance of the class's average picture, drawn for every seed.
    """
    distances: dict[str, float] = {}
    shares: dict[str, float] = {}
    few = []
    for label, name in enumerate(reference.class_names):
        rows = fake.labels == label
        count = min(np.count_nonzero(rows), np.count_nonzero(reference.features.labels == label))
        if count < 2:
            few.append(name)
            continue
        gaussian = metrics.fit_gaussian(fake.features[rows])
        real = reference.class_gaussian(label)
        distances[name] = metrics.frechet_distance(real, gaussian)
        if count >= FEWEST_FOR_SPREAD and (variance := float(np.sum(real.factor**2))):
            shares[name] = distances[name] / variance
    if few:
        found.notes.append(f"distance within classes without {', '.join(few)}: too few pictures")
    found_numbers = [numbers for numbers in (distances, shares) if numbers]
    return [Reading(float(np.mean(list(of.values()))), by_class=of) for of in found_numbers]


def _measure_accuracy(reference: Reference, fake: Features, found: Measurement) -> list[Reading]:
    counts = np.bincount(reference.features.labels, minlength=len(reference.class_names))
    if len(counts) < 2 or counts.min() < 2:
        found.notes.append("no class accuracy: it needs two classes of two real pictures at least")
        return []
    known = fake.labels >= 0
    hits = reference.classifier.predict(fake.features[known]) == fake.labels[known]
    return [Reading(float(hits.mean()))] if len(hits) else []


def _measure_neighbours(reference: Reference, fake: Features, found: Measurement) -> list[Reading]:
    """How close pictures come to their nearest real one, against how close real ones do."""
    real = reference.features.features
    typical = max(reference.typical_distance, 1e-12)
    probed, _ = metrics.nearest_neighbours(choice(fake.features, PROBED_PICTURES), real)
    rows = with_both_ends(len(fake.features), SHOWN_NEIGHBOURS)
    distances, nearest_rows = metrics.nearest_neighbours(fake.features[rows], real)
    found.neighbours = [
        (int(row), int(other), float(distance) / typical)
        for row, other, distance in zip(rows, nearest_rows[:, 0], distances[:, 0], strict=True)
    ]
    return [Reading(float(np.median(probed)) / typical)]


_TABLE = (
    Metric("fd", ("FD{network}",), "Fréchet distance; FID with Inception", "lower", _measure_fd),
    Metric(
        "kid",
        ("KID x 1000{network}",),
        "kernel distance",
        "lower",
        _measure_kid,
        protocol=f"{SUBSETS} subsets of {SUBSET_SIZE}",
    ),
    Metric(
        "is",
        ("IS{network}",),
        "inception score",
        "higher",
        _measure_is,
        protocol=f"{SPLITS} shuffled splits",
        needs_reference=False,
    ),
    Metric(
        "pr",
        ("precision", "recall"),
        "precision, recall",
        "higher",
        _measure_pr,
        protocol=f"{PRECISION_NEIGHBOURS} nearest, {MANIFOLD_PICTURES} pictures at most",
    ),
    Metric(
        "dc",
        ("density", "coverage"),
        "density, coverage",
        "higher",
        _measure_dc,
        protocol=f"{COVERAGE_NEIGHBOURS} nearest, {MANIFOLD_PICTURES} pictures at most",
    ),
    Metric(
        "intra",
        ("intra-class FD{network}", SPREAD_TITLE + "{network}"),
        "distance within each class",
        "lower",
        _measure_intra,
    ),
    Metric("accuracy", ("class accuracy",), "of the class asked for", "higher", _measure_accuracy),
    Metric(
        "neighbours",
        ("nearest-neighbour ratio",),
        "nearest real pictures",
        "near the floor",
        _measure_neighbours,
        protocol=f"median over {PROBED_PICTURES}",
    ),
)
METRICS = {metric.key: metric for metric in _TABLE}
"""By key."""
