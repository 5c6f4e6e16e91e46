"""From pictures to a record, in one straight line."""

from __future__ import annotations

import importlib.metadata
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date

import numpy as np

from sagan.errors import SaganError
from sagan.evaluation.extraction import Features, features_of, features_path
from sagan.evaluation.features import FeatureExtractor
from sagan.evaluation.measures import PARAMETERS, Measurement, measure
from sagan.evaluation.pictures import Pictures
from sagan.evaluation.record import Record, Value
from sagan.evaluation.reference import Reference
from sagan.evaluation.sides import Sides
from sagan.images import grid
from sagan.system.files import write_text


def evaluate(
    sides: Sides, extractor: FeatureExtractor, metrics: Sequence[str], *, command: str = ""
) -> Record:
    """Measures pictures against real ones.

    Features of stored pictures stay in the cache; those of generated ones until all is measured,
    so that the same call continues after an interruption.

    Args:
        sides: The pictures.
        extractor: Turns them into features.
        metrics: Names in :data:`~sagan.evaluation.measures.METRICS`.
        command: For the record.

    Raises:
        SaganError: A side has fewer than two pictures, or features are not finite.
    """
    begin = time.monotonic()
    real, judged = sides.real, sides.sets[0]
    for side, pictures in (("the real side", real), (str(sides.identity["path"]), judged)):
        if len(pictures) < 2:
            raise SaganError(f"{side} has fewer than 2 pictures; give more to measure")
    reference = Reference(
        features=features_of(real, extractor, "features of the real pictures"),
        class_names=real.class_names,
        extractor=extractor,
        cache=features_path(real, extractor).with_suffix(""),
    )
    measurements = [
        _measured(pictures, reference, metrics, f"features of set {number} of {len(sides.sets)}")
        for number, pictures in enumerate(sides.sets, 1)
    ]
    floor, floor_pictures = _floor(reference, len(judged), metrics)
    if sides.seeds:
        for pictures in sides.sets:
            features_path(pictures, extractor).unlink(missing_ok=True)
    return Record(
        subject={**sides.identity, "fingerprint": judged.fingerprint},
        protocol={
            "extractor": extractor.name,
            "extractor_weights_sha256": extractor.weights_sha256,
            "feature_resize": extractor.resize,
            "quantisation": "uint8",
            **sides.protocol,
            "real_pictures": len(real),
            "fake_pictures": len(judged),
            "floor_pictures": floor_pictures,
            **{f"{name}_over": PARAMETERS[name] for name in metrics if name in PARAMETERS},
        },
        values=_values(measurements, floor),
        details=_mean_details(measurements),
        neighbours=_neighbours(measurements[0], judged),
        notes=_notes(sides, measurements),
        seeds=sides.seeds,
        versions={name: importlib.metadata.version(name) for name in ("sagan", "torch", "numpy")},
        command=command,
        date=date.today().isoformat(),
        seconds=round(time.monotonic() - begin, 1),
    )


def neighbour_sheet(record: Record, sides: Sides) -> np.ndarray:
    """Pictures above their nearest real ones, from the most to the least alike: uint8 (3, H, W)."""
    pairs = sorted(record.neighbours, key=lambda pair: float(pair["distance"]))
    above, below = (
        [side.read(int(pair[row]), int(pair[row]) + 1) for pair in pairs]
        for side, row in ((sides.sets[0], "picture"), (sides.real, "real_picture"))
    )
    return grid(np.concatenate(above + below), len(pairs))


def _measured(
    pictures: Pictures, reference: Reference, metrics: Sequence[str], title: str
) -> Measurement:
    fake = features_of(pictures, reference.extractor, title)
    labels = _numbered_as(reference.class_names, pictures)
    return measure(reference, fake._replace(labels=labels), metrics)


def _notes(sides: Sides, measurements: Sequence[Measurement]) -> list[str]:
    measured = (note for found in measurements for note in found.notes)
    return list(dict.fromkeys([*sides.notes, *measured]))


def _numbered_as(class_names: Sequence[str], pictures: Pictures) -> np.ndarray:
    """Labels by the numbers of these class names; -1 where a name is not among them."""
    if not class_names or not pictures.class_names:
        return np.full(len(pictures), 0 if not class_names and not pictures.class_names else -1)
    number = {name: label for label, name in enumerate(class_names)}
    return np.array([number.get(name, -1) for name in pictures.class_names])[pictures.labels]


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
        known = json.loads(path.read_text("utf-8"))
    if missing := [name for name in metrics if name not in known]:
        order = np.random.default_rng(1).permutation(len(labels))
        rows, others = np.sort(order[:half]), np.sort(order[half : 2 * half])
        first = Features(features[rows], logits[:0], labels[rows])  # nothing reads real logits
        second = Features(features[others], logits[others], labels[others])
        one = Reference(
            features=first,
            class_names=reference.class_names,
            extractor=reference.extractor,
            cache=None,
        )
        for name in missing:
            values = measure(one, second, [name]).values
            known[name] = {title: reading.value for title, reading in values.items()}
        write_text(path, json.dumps(known))
    return {title: value for name in metrics for title, value in known[name].items()}, half


def _values(measurements: Sequence[Measurement], floor: Mapping[str, float]) -> dict[str, Value]:
    values = {}
    for name, first in measurements[0].values.items():
        readings = [found.values[name] for found in measurements]
        each = [reading.value for reading in readings]
        within = [reading.within for reading in readings if reading.within is not None]
        values[name] = Value(
            each=tuple(each),
            mean=float(np.mean(each)),
            spread=float(np.std(each, ddof=1)) if len(each) > 1 else None,
            within=float(np.mean(within)) if within else None,
            floor=floor.get(name),
            better=first.better,
        )
    return values


def _mean_details(measurements: Sequence[Measurement]) -> dict[str, dict[str, float]]:
    return {
        name: {
            label: float(np.mean([found.details[name][label] for found in measurements]))
            for label in by_class
        }
        for name, by_class in measurements[0].details.items()
    }


def _neighbours(found: Measurement, pictures: Pictures) -> list[dict[str, float | int | str]]:
    return [
        {
            "picture": row,
            "class": pictures.class_names[pictures.labels[row]] if pictures.class_names else "",
            "real_picture": other,
            "distance": distance,
        }
        for row, other, distance in found.neighbours
    ]
