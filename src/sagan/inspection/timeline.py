"""How the attention of a run grew: its numbers, and one query's map over its checkpoints."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sagan.errors import SaganError, printable
from sagan.images import to_uint8
from sagan.images.chart import require_matplotlib
from sagan.images.queries import query_index
from sagan.inspection.statistics import (
    LayerStatistics,
    ShownImages,
    measure_all,
    networks_of,
    shown_images,
)
from sagan.inspection.timeline_figure import Curve, Snapshot, timeline_figure
from sagan.runs import checkpoint as checkpoints
from sagan.runs.attention_log import LoggedLayer, attention_key
from sagan.runs.checkpoint import Checkpoint
from sagan.runs.folder import checkpoint_files
from sagan.runs.log import finite_number, log_records
from sagan.runs.run import load_checkpoint, require_run
from sagan.sampling.attention import Attention, Points
from sagan.sampling.generator import TrainedDiscriminator, TrainedGenerator
from sagan.sampling.network import TrainedNetwork, label_number
from sagan.system.spacing import with_both_ends

MOST_CHECKPOINTS = 10
_CLASSES_SHOWN = 16
_PICTURES = 4  # of each class, for the entropy


@dataclass(frozen=True, kw_only=True, eq=False)
class Growth:
    """How the attention of a run grew."""

    gammas: Sequence[Curve]
    """The gate of each attention layer, as logged."""
    entropies: Sequence[Curve]
    """Mean entropy of each layer, as a share of the greatest possible."""
    peaks: Sequence[Curve]
    """Mean largest weight of each layer."""
    snapshots: Sequence[Snapshot]
    """The same points of the same pictures, checkpoint by checkpoint."""
    words: str
    """Class and seed of the generated picture."""


def attention_growth(
    folder: str | Path,
    *,
    seed: int = 0,
    label: str | int | None = None,
    point: tuple[int, int] | None = None,
    layer: int | str | None = None,
) -> Growth:
    """Measures gamma, entropy, largest weight, and a query's map over the checkpoints of a run.

    Of more than ten checkpoints it takes ten evenly spaced ones; ``train.keep_checkpoints`` says
    how many a run keeps. Entropy and largest weight are means over four pictures of each of at
    most 16 classes: generated ones in the generator, the same real ones in the discriminator.
    Where the training data can be read, the discriminator's maps of its first picture of the class
    are taken too.

    Args:
        folder: A run folder.
        seed: Seed of the generated picture.
        label: Class name or number; None takes the first class.
        point: The query pixel (x, y); None chooses one of each picture.
        layer: Only layers whose map has this side, or the one of this name; None takes all.

    Raises:
        SaganError: The folder is no run or holds no checkpoint, neither network has attention
            (there), the class is unknown, or the point lies outside the picture.
    """
    folder = Path(folder)
    require_run(folder)
    last, _ = load_checkpoint(folder)
    networks = networks_of(last, layer)
    number = 0 if label is None else label_number(label, last.class_names)
    if point is not None:
        query_index(point, last.config.data.size, last.config.data.size)
    entropies, peaks, snapshots = _over_checkpoints(
        folder, last, networks, seed, number, point, layer
    )
    return Growth(
        gammas=_gammas(folder, networks, layer),
        entropies=entropies,
        peaks=peaks,
        snapshots=snapshots,
        words=", ".join([*last.class_names[number : number + 1], f"seed {seed}"]),
    )


def attention_timeline(folder: str | Path, **choices: Any) -> np.ndarray:
    """Draws what :func:`attention_growth` measures, of the same arguments.

    Returns:
        uint8 (3, H, W).

    Raises:
        SaganError: As there, or matplotlib is absent.
    """
    require_matplotlib()
    found = attention_growth(folder, **choices)
    return timeline_figure(
        found.gammas,
        found.entropies,
        found.peaks,
        found.snapshots,
        caption="What the attention looks at over the run "
        f"{printable(Path(folder).resolve().name)}: {found.words}",
    )


def _over_checkpoints(
    folder: Path,
    last: Checkpoint,
    networks: Sequence[TrainedNetwork],
    seed: int,
    number: int,
    point: tuple[int, int] | None,
    layer: int | str | None,
) -> tuple[list[Curve], list[Curve], list[Snapshot]]:
    """Entropies, largest weights, and the maps of the same points of the same pictures."""
    labels = range(max(1, len(last.class_names)))
    labels = sorted({number, *labels[:: -(-len(labels) // _CLASSES_SHOWN)]})
    shown = shown_images(last, labels, _PICTURES)
    observed = _observations(networks, seed, number, shown, layer, {})
    if not observed:
        raise SaganError("the training data hold no picture of this class; choose another")
    points = {name: [point or attention.points[0][0]] for name, attention in observed.items()}
    snapshots: list[Snapshot] = []
    measured: list[list[LayerStatistics]] = []
    for checkpoint in evenly_read(checkpoint_files(folder), MOST_CHECKPOINTS):
        networks = networks_of(checkpoint, layer)
        observed = _observations(networks, seed, number, shown, layer, points)
        snapshots.append(Snapshot(step=checkpoint.step, attention=observed))
        measured.append(measure_all(networks, labels, _PICTURES, shown, layer))
    entropies, peaks = [], []
    for layers in zip(*measured, strict=True):
        name = f"{layers[0].network}, {layers[0].place}"
        steps = [snapshot.step for snapshot in snapshots]
        shares = [found.mean.entropy_share for found in layers]
        entropies.append(Curve(name=name, steps=steps, values=shares))
        peaks.append(Curve(name=name, steps=steps, values=[found.mean.peak for found in layers]))
    return entropies, peaks, snapshots


def _observations(
    networks: Sequence[TrainedNetwork],
    seed: int,
    number: int,
    shown: ShownImages,
    layer: int | str | None,
    points: Mapping[str, Points],
) -> dict[str, Attention]:
    """Of a picture of the class for each network: the generator's own, and a real one to judge."""
    found: dict[str, Attention] = {}
    for network in networks:
        if isinstance(network, TrainedGenerator):
            name = "generated picture"
            labels = torch.tensor([number])
            found[name] = network.attention(seed, labels, at=points.get(name, ()), layer=layer)
        elif isinstance(network, TrainedDiscriminator) and number in shown.images:
            name = f"{shown.source} picture"
            picture = to_uint8(shown.images[number][:1]).numpy()
            if name not in found:
                found[name] = network.attention(picture, at=points.get(name, ()), layer=layer)
    return found


def evenly_read(files: list[Path], count: int) -> Iterator[Checkpoint]:
    """At most ``count`` of the files, the first and the last among them; not the damaged ones."""
    for place in with_both_ends(len(files), count):
        try:
            yield checkpoints.load(files[place])
        except checkpoints.DamagedError as error:
            warnings.warn(f"left out: {error.reason}", RuntimeWarning, stacklevel=3)


def _gammas(
    folder: Path, networks: Sequence[TrainedNetwork], layer: int | str | None
) -> list[Curve]:
    """The gates in the log of a run."""
    gates = {
        attention_key("gamma", LoggedLayer(network.kind, place.name)): f"{network.kind}, {place}"
        for network in networks
        for place in network.attention_layers(layer)
    }
    records = log_records(folder)
    curves = []
    for key, name in gates.items():
        logged = {
            record["step"]: gate
            for record in records
            if (gate := finite_number(record.get(key))) is not None
        }
        if logged:
            curves.append(Curve(name=name, steps=[*logged], values=[*logged.values()]))
    return curves
