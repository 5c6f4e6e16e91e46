"""From pictures to a record, in one straight line."""

import importlib.metadata
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np

from sagan.config.checks import fits
from sagan.data import Part
from sagan.errors import SaganError
from sagan.evaluation.extraction import Features, features_of, features_path
from sagan.evaluation.features import FeatureExtractor, load_extractor
from sagan.evaluation.measures import METRICS, Measurement, known_metrics, measurement_of, metric_of
from sagan.evaluation.opening import EvaluationPictures, open_pictures
from sagan.evaluation.picture_sets import PictureSet
from sagan.evaluation.record import Record, Value
from sagan.evaluation.reference import Reference, reference_of
from sagan.evaluation.selection import Selection
from sagan.images import as_rgb, grid
from sagan.system.files import write_text


def evaluate_model(
    subject: str | Path,
    *,
    against: str | Path | None = None,
    metrics: str | Sequence[str] = "all",
    samples: int = Selection.samples,
    repeats: int = Selection.repeats,
    real_samples: int | None = None,
    split: Part = "train",
    raw: bool = False,
    truncation: float | None = None,
    resolution: int | None = None,
    extractor: str | FeatureExtractor = "efficientnet-lite0",
    weights: Path | None = None,
    device: str = "auto",
) -> Record:
    """Measures how close a model's pictures, or stored ones, come to real ones.

    Example: ``print(sagan.evaluate("runs/demo", metrics="fd,kid", samples=5000, repeats=1))``

    ``subject`` is a run folder, a checkpoint, an exported file, the name of a model, a folder of
    pictures or a packed file. ``metrics`` are keys in
    :data:`~sagan.evaluation.measures.METRICS`, or "all". ``extractor`` is the feature network or
    its name, ``weights`` the file of its weights, where it is not found by itself, and ``device``
    auto, cpu, cuda or mps. The others choose pictures, as in
    :class:`~sagan.evaluation.selection.Selection`.

    Raises:
        SaganError: Something cannot be had, does not fit, or is too little to measure.
    """
    chosen = known_metrics(metrics)
    selection = Selection(
        against=None if against is None else str(against),
        samples=samples,
        repeats=repeats,
        real_samples=real_samples,
        split=split,
        raw=raw,
        truncation=truncation,
        resolution=resolution,
    )
    if isinstance(extractor, str):
        extractor = load_extractor(extractor, weights=weights, device=device)
    pictures = open_pictures(str(subject), selection, chosen, device=device)
    return evaluate_pictures(pictures, extractor, chosen)


def evaluate_pictures(
    pictures: EvaluationPictures, extractor: FeatureExtractor, metrics: Sequence[str]
) -> Record:
    """Measures pictures against real ones; ``metrics`` are keys in :data:`METRICS`.

    Features of stored pictures stay in the cache; those of generated ones until all is measured,
    so that the same call continues after an interruption.

    Raises:
        SaganError: A side has fewer than two pictures, or features are not finite.
    """
    begin = time.monotonic()
    real, judged = pictures.real, pictures.sets[0]
    for side, one in (("the real side", real), (str(pictures.identity["path"]), judged)):
        if one is not None and len(one) < 2:
            raise SaganError(f"{side} has fewer than 2 pictures; give more to measure")
    reference = reference_of(real, extractor)
    measurements: list[Measurement] = []
    for number, one in enumerate(pictures.sets, 1):
        fake = features_of(one, extractor, f"features of set {number} of {len(pictures.sets)}")
        labels = _numbered_as(reference.class_names, one)
        measurements.append(measurement_of(reference, fake._replace(labels=labels), metrics))
    floor, floor_pictures = _floor(reference, len(judged), metrics)
    for one in pictures.sets if pictures.seeds else ():
        features_path(one, extractor).unlink(missing_ok=True)
    notes = [*pictures.notes, *(note for found in measurements for note in found.notes)]
    return Record(
        subject={**pictures.identity, "fingerprint": judged.fingerprint},
        protocol={
            "extractor": extractor.name,
            "extractor_weights_sha256": extractor.weights_sha256,
            "feature_resize": extractor.resize,
            "quantisation": "uint8",
            **pictures.protocol,
            "real_pictures": 0 if real is None else len(real),
            "fake_pictures": len(judged),
            "floor_pictures": floor_pictures,
            **{f"{key}_over": METRICS[key].protocol for key in metrics if METRICS[key].protocol},
        },
        values=_values(measurements, floor),
        details=_mean_details(measurements),
        neighbours=_neighbour_rows(measurements[0], judged),
        notes=list(dict.fromkeys(notes)),
        seeds=pictures.seeds,
        versions={name: importlib.metadata.version(name) for name in ("sagan", "torch", "numpy")},
        date=date.today().isoformat(),
        seconds=round(time.monotonic() - begin, 1),
        neighbour_sheet=_neighbour_sheet(measurements[0], judged, real),
    )


def _neighbour_rows(found: Measurement, judged: PictureSet) -> list[dict[str, float | int | str]]:
    classes = np.array(judged.class_names or [""])[judged.labels]
    return [
        {"picture": row, "class": str(classes[row]), "real_picture": other, "distance": distance}
        for row, other, distance in found.neighbours
    ]


def _neighbour_sheet(
    found: Measurement, judged: PictureSet, real: PictureSet | None
) -> np.ndarray | None:
    if real is None or not found.neighbours:
        return None
    pairs = sorted(found.neighbours, key=lambda pair: pair[2])
    above = [judged.read(row, row + 1) for row, _, _ in pairs]
    below = [real.read(row, row + 1) for _, row, _ in pairs]
    return grid(np.concatenate([as_rgb(picture) for picture in above + below]), len(pairs))


def _numbered_as(class_names: Sequence[str], pictures: PictureSet) -> np.ndarray:
    """Labels by the numbers of these class names; -1 where a name is not among them."""
    numbers = {name: number for number, name in enumerate(class_names or [""])}
    labels = [numbers.get(name, -1) for name in pictures.class_names or [""]]
    return np.array(labels)[pictures.labels]


def _floor(
    reference: Reference, count: int, metrics: Sequence[str]
) -> tuple[dict[str, float], int]:
    """The metrics of two disjoint random sets of real pictures, ``count`` each or half of all."""
    features, logits, labels = reference.features
    half = min(count, len(labels) // 2)
    if half < 2:
        return {}, half
    assert reference.cache is not None
    path = reference.cache.with_name(f"{reference.cache.name}-floor-{half}.json")
    known: dict[str, dict[str, float]] = {}
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text("utf-8"))
        known = found if fits(found, Mapping[str, Mapping[str, float]]) else {}
    if missing := [name for name in metrics if name not in known]:
        order = np.random.default_rng(1).permutation(len(labels))
        rows, others = np.sort(order[:half]), np.sort(order[half : 2 * half])
        first = Features(features[rows], logits[:0], labels[rows])  # nothing reads real logits
        second = Features(features[others], logits[others], labels[others])
        one = replace(reference, features=first, cache=None)
        for name in missing:
            values = measurement_of(one, second, [name]).values
            known[name] = {title: reading.value for title, reading in values.items()}
        write_text(path, json.dumps(known))
    return {title: value for name in metrics for title, value in known[name].items()}, half


def _values(measurements: Sequence[Measurement], floor: Mapping[str, float]) -> dict[str, Value]:
    values = {}
    for name in measurements[0].values:
        metric = metric_of(name)
        assert metric is not None
        readings = [found.values[name] for found in measurements]
        each = [reading.value for reading in readings]
        within = [reading.within for reading in readings if reading.within is not None]
        values[name] = Value(
            each=tuple(each),
            mean=float(np.mean(each)),
            spread=float(np.std(each, ddof=1)) if len(each) > 1 else None,
            within=float(np.mean(within)) if within else None,
            floor=floor.get(name),
            better=metric.better,
        )
    return values


def _mean_details(measurements: Sequence[Measurement]) -> dict[str, dict[str, float]]:
    return {
        name: {
            label: float(np.mean([found.values[name].by_class[label] for found in measurements]))
            for label in first.by_class
        }
        for name, first in measurements[0].values.items()
        if first.by_class
    }
