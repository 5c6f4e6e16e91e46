"""Opens what is measured: pictures to judge, and the real ones to compare them with."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sagan.config import DataConfig
from sagan.data import BUILT_IN, Dataset, catalog_of, load_dataset, open_dataset
from sagan.data.catalog import in_split
from sagan.data.learned import load_learned
from sagan.data.opening import is_one_place
from sagan.errors import SaganError
from sagan.evaluation.measures import METRICS
from sagan.evaluation.picture_sets import PictureSet, generated, proportional_labels, stored
from sagan.evaluation.record import Setting
from sagan.evaluation.selection import SEEDS_PER_REPEAT, Selection
from sagan.nn.averaging import STATISTICS_BATCH_SIZE, STATISTICS_BATCHES
from sagan.runs.folder import is_run
from sagan.runs.locked import require_kept_settings
from sagan.runs.named import as_placed_now, model_file, run_of
from sagan.runs.run import load_checkpoint
from sagan.sampling.generator import TrainedGenerator, generator_of
from sagan.system.device import pick_device

LATENTS = STATISTICS_BATCHES * STATISTICS_BATCH_SIZE
"""Latents over which the averaged generator's batch statistics are measured."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluationPictures:
    """Pictures to judge and pictures to compare them with."""

    identity: Mapping[str, Setting]
    """Whose pictures are judged: kind, path, step."""
    protocol: Mapping[str, Setting]
    """How the pictures of both sides are made or chosen."""
    sets: Sequence[PictureSet]
    """The pictures to judge, a set per repeat."""
    seeds: Sequence[str]
    """The seeds of every set; () for stored pictures."""
    real: PictureSet | None
    """What they are compared with; None for metrics that need nothing."""
    notes: Sequence[str] = ()
    """What a reader should know of the pictures."""


def open_pictures(
    subject: str, selection: Selection, metrics: Iterable[str], *, device: str = "auto"
) -> EvaluationPictures:
    """Opens a model, a folder or a packed file, and the real pictures to compare it with.

    Args:
        subject: Run folder, checkpoint, exported file, name of a model, folder of pictures, or
            packed file.
        selection: Which pictures; repeat r of a model has the seeds from r million on.
        metrics: What is to be measured; most need real pictures too.
        device: Where a model draws.

    Raises:
        SaganError: A side cannot be had, or their sizes differ.
    """
    path = model_file(subject)
    if path.suffix == ".safetensors" or is_run(path):
        return _model_pictures(subject, selection, device)
    require_kept_settings(path)
    if not path.exists():
        raise SaganError(f"there is no {subject}; give a model or a folder of pictures")
    if selection.against is None and any(METRICS[key].needs_reference for key in metrics):
        alone = ",".join(key for key, metric in METRICS.items() if not metric.needs_reference)
        raise SaganError(
            f"{subject} is no model; say with --against what to compare it with, or choose "
            f"--metrics {alone}, which needs nothing"
        )
    judged = open_dataset(subject, selection.resolution)
    size, real = judged.images.shape[2:], None
    if selection.against is not None:
        real = _real(subject, selection, DataConfig(source=selection.against), size, "")
    return EvaluationPictures(
        identity={"kind": "pictures", "path": subject, "step": None},
        protocol={
            "resolution": _resolution(size),
            "real": None if real is None else real.fingerprint,
            "real_split": None if real is None else selection.split,
            "real_rule": None,
            "labels": "as stored",
            "weights": None,
            "batch_norm": None,
            "truncation": None,
        },
        sets=[stored(judged)],
        seeds=(),
        real=None if real is None else stored(real, selection.real_samples),
        notes=_remarks(judged=judged, real=real),
    )


def _model_pictures(subject: str, selection: Selection, device: str) -> EvaluationPictures:
    checkpoint, _ = load_checkpoint(subject)
    raw, truncation = selection.raw, selection.truncation
    if raw and "generator_ema" not in checkpoint.parts:
        raise SaganError(f"{subject} holds one set of weights only; leave --raw out")
    generator = generator_of(checkpoint, "generator" if raw else None)
    generator.to(pick_device(device))
    learned_from = as_placed_now(checkpoint.config.data, run_of(subject))
    asked = _asked_of(selection.against, learned_from)
    is_its_size = selection.resolution in (None, generator.size[0])
    mark = checkpoint.dataset_fingerprint if is_its_size else ""  # which is of these pixels
    real = _real(subject, selection, asked, generator.size, mark)
    labels, rule = labels_as_in(real, generator, selection.samples)
    firsts = [repeat * SEEDS_PER_REPEAT for repeat in range(selection.repeats)]
    return EvaluationPictures(
        identity={"kind": "generator", "path": subject, "step": checkpoint.step},
        protocol={
            "resolution": _resolution(generator.size),
            "real": real.fingerprint,
            "real_split": selection.split,
            "real_rule": _rule(asked, real),
            "labels": rule,
            "weights": "raw" if raw else "averaged",
            "batch_norm": "running statistics" if raw else f"statistics of {LATENTS:,} latents",
            "truncation": truncation,
        },
        sets=[generated(generator, labels, first, truncation) for first in firsts],
        seeds=[f"{first}-{first + selection.samples - 1}" for first in firsts],
        real=stored(real, selection.real_samples),
        notes=[*_remarks(real=real), *_classless(real, generator), *_held_out(asked, selection)],
    )


def _classless(real: Dataset, generator: TrainedGenerator) -> list[str]:
    if not generator.class_names or set(generator.class_names) & set(real.class_names):
        return []
    return [
        "the real pictures have none of the model's classes: all classes are drawn alike, and "
        "nothing is measured by class"
    ]


def _real(
    subject: str, selection: Selection, learned_from: DataConfig, size: tuple[int, ...], mark: str
) -> Dataset:
    """The real pictures, of the size of those to judge and by the rules of training.

    With a mark they must be those that the subject learned from.
    """
    height = selection.resolution or size[0]
    width = height * size[1] // size[0]
    asked = replace(learned_from, resolution=height, width=width)
    if selection.against is None:
        remedy = "put them back, or say with --against what to compare with"
        real = load_learned(asked, mark, subject, remedy, part=selection.split)
    else:
        real = load_dataset(asked, selection.split)
    found = real.images.shape[2:]
    if found != size:
        raise SaganError(
            f"the pictures of {subject} are {_resolution(size)} pixels wide, the real ones "
            f"{_resolution(found)}; leave --resolution out"
        )
    return real


def _asked_of(against: str | None, learned_from: DataConfig) -> DataConfig:
    """What a model learned from, or the same of other pictures.

    Of another place its held-out part is not asked, and a part or a label only if it has them.
    """
    if against is None or is_one_place(learned_from.source, against):
        return learned_from
    asked = replace(learned_from, source=against, held_out=0.0, held_out_seed=0)
    if against in BUILT_IN or not (asked.split or asked.label):
        return asked
    try:
        in_split(catalog_of(asked), asked.split)
    except SaganError:
        return replace(asked, split="", label="")
    return asked


def _rule(asked: DataConfig, real: Dataset) -> str | None:
    """How the real pictures were read, where that is not as by default."""
    told = asked.reading_unlike(DataConfig())
    channels = real.images.shape[1]
    return ", ".join(filter(None, [told, f"channels {channels}" * (channels != 3)])) or None


def _resolution(size: tuple[int, ...]) -> Setting:
    """A height and a width as a record states them: one number, or 64 x 96."""
    height, width = size
    return height if height == width else f"{height} x {width}"


def _held_out(asked: DataConfig, selection: Selection) -> list[str]:
    if selection.split == "train" and asked.held_out:
        return ["the real pictures are those it learned from; --split held-out takes the others"]
    return []


def _remarks(**datasets: Dataset | None) -> list[str]:
    found = []
    for name, dataset in datasets.items():
        if dataset is None:
            continue
        some = dataset.images[:256]
        if (some[:, :3] == some[:, :1]).all():
            found.append(
                f"all {name} pictures looked at are grey: three equal channels go into the features"
            )
        if some.shape[1] == 4:
            found.append(f"{name} pictures are transparent: features see them over white")
    return found


def labels_as_in(real: Dataset, generator: TrainedGenerator, count: int) -> tuple[np.ndarray, str]:
    """Chooses the classes to draw: as frequent as in real pictures.

    Returns:
        int64 (count,) of the generator's class numbers, and the rule in words.
    """
    names = generator.class_names
    if not names:
        return np.zeros(count, dtype=np.int64), "no classes"
    share = dict(zip(real.class_names, real.label_frequencies, strict=False))
    shares = [share.get(name, 0.0) for name in names]
    if not sum(shares):
        return proportional_labels(np.ones(len(names)), count), "all classes alike"
    return proportional_labels(shares, count), "as frequent as in the real pictures"
