"""A look at a source before training: at all of its pictures, or quickly at some."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from sagan.config import DataConfig
from sagan.data.catalog import Catalog, in_split
from sagan.data.dataset import Dataset, PictureArray, cache_folder
from sagan.data.opening import Origin, catalog_of, load_dataset
from sagan.data.pack import found_grey
from sagan.data.rules import Rules, rules_of
from sagan.data.survey import Seen, Survey, parts_of, survey
from sagan.data.trial import tried
from sagan.system.memory import readable
from sagan.system.progress import duration

_WORTH_SAYING = 10.0  # seconds


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """What was found, with pictures to show."""

    survey: Survey
    images: PictureArray
    """uint8 (M, C, H, W), as the network sees them."""
    labels: np.ndarray
    """int64 (M,), all 0 without classes."""
    sensible_resolution: int
    """See :func:`sensible_resolution`."""


def look(config: DataConfig, sample: int | None = None, whole: Catalog | None = None) -> Look:
    """Looks at a source.

    Args:
        config: The source and what is done to its pictures.
        sample: Look at so many pictures; None packs all into the cache, where training finds them.
        whole: What the source holds, where that is known already.

    Raises:
        SaganError: The source cannot be read.
    """
    whole = catalog_of(config) if whole is None else whole
    if sample is None:
        dataset = load_dataset(config, catalog=whole)
        assert dataset.origin, "pictures that came from a source"
        return Look(
            survey=survey_of(dataset, config),
            images=dataset.images,
            labels=dataset.labels,
            sensible_resolution=resolution_reached(dataset),
        )
    catalog = in_split(whole, config.split)
    rules = rules_of(config, config.channels or 3, catalog.range)
    trial = tried(catalog, rules, sample)
    if not config.channels and trial.facts["grey"].all():
        rules = replace(rules, channels=1)
        trial = tried(catalog, rules, sample)
    seen = Seen(
        entry=trial.entry,
        facts=trial.facts,
        size=config.size,
        digests=trial.digests,
        images=trial.images,
        unreadable=trial.unreadable,
        seconds=trial.seconds,
        is_sample=True,
    )
    found = survey(catalog, config, rules, seen, parts_of(whole))
    return Look(
        survey=found,
        images=trial.images,
        labels=catalog.labels[trial.entry],
        sensible_resolution=sensible_resolution(trial.facts),
    )


def survey_of(dataset: Dataset, config: DataConfig) -> Survey:
    """Sums up the source of a dataset that was opened with these settings."""
    origin = dataset.origin
    assert origin, "pictures that came from a source"
    _, channels, height, width = dataset.images.shape
    pack = origin.pack
    seen = Seen(
        entry=pack.entry,
        facts=pack.facts,
        size=(height, width),
        digests=pack.digests,
        images=pack.images,
        unreadable=pack.unreadable,
        seconds=pack.about.get("seconds"),
        held_out=len(pack) - len(dataset),
        fingerprint=dataset.fingerprint,
    )
    rules = rules_of(config, channels, origin.catalog.range)
    if _is_as_packed(origin):
        rules = Rules(size=None, channels=channels, range=origin.catalog.range)
    return survey(origin.catalog, config, rules, seen, origin.parts)


def _is_as_packed(origin: Origin) -> bool:
    """Whether pictures were packed elsewhere, and are taken as they are."""
    return origin.pack.path == origin.catalog.root


def packing_note(config: DataConfig, whole: Catalog) -> str:
    """A line about size and time where packing will take ten seconds or more; else empty.

    Raises:
        SaganError: The source has not the part that is asked for.
    """
    catalog = in_split(whole, config.split)
    rules = rules_of(config, config.channels or 3, catalog.range)
    for channels in (rules.channels, 1):
        if found_grey(catalog, replace(rules, channels=channels)) is not None:
            return ""  # it is packed
    trial = tried(catalog, rules)
    if trial.seconds < _WORTH_SAYING:
        return ""
    return (
        f"packing {len(catalog):,} pictures (once) will take about {duration(trial.seconds)} and "
        f"{readable(trial.size)} in {cache_folder()}"
    )


def resolution_reached(dataset: Dataset) -> int:
    """:func:`sensible_resolution` of pictures from a source; a packed set has what it has."""
    assert dataset.origin, "pictures that came from a source"
    reached = sensible_resolution(dataset.origin.pack.facts)
    return min(reached, *dataset.images.shape[2:]) if _is_as_packed(dataset.origin) else reached


def sensible_resolution(facts: np.ndarray) -> int:
    """The largest of 32, 64 and 128 that the shorter side of most pictures reaches."""
    if not len(facts):
        return 32
    median = math.floor(np.median(np.minimum(facts["height"], facts["width"])))
    return max((side for side in (32, 64, 128) if side <= median), default=32)
