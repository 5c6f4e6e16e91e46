"""How the attention of a run grew: gamma, entropy, and one query's map over its checkpoints."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from sagan.errors import SaganError, printable
from sagan.images import to_uint8
from sagan.inspection.capture import Trained, attention_layers, has_attention, network_name
from sagan.inspection.queries import choose_query_points, query_index
from sagan.inspection.statistics import (
    Judged,
    LayerStatistics,
    judged_images,
    measure_all,
    networks_of,
)
from sagan.inspection.timeline_figure import Curve, Frame, Look, require_matplotlib, timeline_figure
from sagan.inspection.views import View, attention_rows, view_of_picture, view_of_seed
from sagan.runs import checkpoint as checkpoints
from sagan.runs.checkpoint import Checkpoint
from sagan.runs.run import checkpoint_files, load_checkpoint, read_log
from sagan.sampling.generator import TrainedGenerator

MOST_CHECKPOINTS = 10
_MOST_CLASSES = 16
_PICTURES = 4  # of each class, for the entropy


def attention_timeline(
    folder: str | Path,
    *,
    seed: int = 0,
    label: str | int | None = None,
    point: tuple[int, int] | None = None,
    resolution: int | None = None,
) -> np.ndarray:
    """Draws gamma, entropy, and the same query's map over the checkpoints of a run.

    Of more than ten checkpoints it takes ten evenly spaced ones; ``train.keep_checkpoints`` says
    how many a run keeps. The entropy is a mean over four pictures of each of at most 16 classes:
    generated ones in the generator, the same real ones in the discriminator. Where the training
    data can be read, the discriminator's maps of its first picture of the class are drawn too.

    Args:
        folder: A run folder.
        seed: Seed of the generated picture.
        label: Class name or number; None takes the first class.
        point: The query pixel (x, y); None chooses the most salient one of each picture.
        resolution: Which attention layer; None draws all.

    Returns:
        uint8 (3, H, W).

    Raises:
        SaganError: The folder is no run or holds no checkpoint, the generator has no attention
            (there), the point lies outside the picture, or matplotlib is absent.
    """
    require_matplotlib()
    folder = Path(folder)
    if not (folder / "config.toml").is_file():
        raise SaganError(f"{folder} is no run folder; give the one that sagan train wrote")
    last, _ = load_checkpoint(folder)
    networks = networks_of(last)
    generator = networks[0]
    assert isinstance(generator, TrainedGenerator)
    attention_layers(generator, resolution)
    number = int(view_of_seed(generator, seed, label).labels)
    if point is not None:
        side = last.config.data.resolution
        query_index(point, side, side)
    labels = range(max(1, len(last.class_names)))
    labels = sorted({number, *labels[:: -(-len(labels) // _MOST_CLASSES)]})
    judged = judged_images(last, labels, _PICTURES)
    views = _views(networks, seed, number, judged, resolution)
    points = {name: point or choose_query_points(v.picture, 1)[0] for name, v in views.items()}
    frames: list[Frame] = []
    measured: list[tuple[int, list[LayerStatistics]]] = []
    for checkpoint in _evenly_read(checkpoint_files(folder), MOST_CHECKPOINTS):
        networks = networks_of(checkpoint)
        views = _views(networks, seed, number, judged, resolution)
        looks = {name: _look(view, points[name], resolution) for name, view in views.items()}
        frames.append(Frame(step=checkpoint.step, looks=looks))
        layers = measure_all(networks, labels, _PICTURES, judged, resolution)
        measured.append((checkpoint.step, layers))
    words = [*last.class_names[number : number + 1], f"seed {seed}"]
    return timeline_figure(
        _gammas(folder / "log.jsonl", resolution),
        _entropies(measured),
        frames,
        caption=f"What the attention looks at over the run {printable(folder.resolve().name)}: "
        f"{', '.join(words)}",
    )


def _views(
    networks: Sequence[Trained], seed: int, number: int, judged: Judged, resolution: int | None
) -> dict[str, View]:
    """A picture of the class for each network: the generator's own, and a real one to judge."""
    views: dict[str, View] = {}
    for network in networks:
        if isinstance(network, TrainedGenerator):
            label = number if network.class_names else None
            views["generated picture"] = view_of_seed(network, seed, label)
        elif (
            has_attention(network, resolution)
            and judged.source != "generated"
            and number in judged.images
        ):
            picture = to_uint8(judged.images[number][0]).numpy()
            views[f"{judged.source} picture"] = view_of_picture(network, picture)
    return views


def _look(view: View, point: tuple[int, int], resolution: int | None) -> Look:
    rows = attention_rows(view, [point], resolution=resolution)
    network = network_name(view.model)
    named = {_layer_name(network, size): row for size, [row] in rows.items()}
    return Look(picture=view.picture, point=point, rows=named)


def _evenly_read(files: list[Path], count: int) -> Iterator[Checkpoint]:
    """At most ``count`` of the files, the first and the last among them; not the damaged ones."""
    places = np.linspace(0, len(files) - 1, min(count, len(files))).round().astype(int)
    for place in places:
        try:
            yield checkpoints.load(files[place])
        except checkpoints.DamagedError as error:
            warnings.warn(f"left out: {error}", RuntimeWarning, stacklevel=3)


def _gammas(log: Path, resolution: int | None) -> list[Curve]:
    """The gates in a log."""
    steps: dict[str, list[int]] = {}
    values: dict[str, list[float]] = {}
    for record in read_log(log):
        for key, value in record.items():
            match = re.fullmatch(r"(generator|discriminator)_gamma_(\d+)", key)
            if match and resolution in (None, int(match[2])):
                name = _layer_name(match[1], int(match[2]))
                steps.setdefault(name, []).append(record["step"])
                values.setdefault(name, []).append(value)
    return [Curve(name=name, steps=steps[name], values=values[name]) for name in steps]


def _entropies(measured: list[tuple[int, list[LayerStatistics]]]) -> list[Curve]:
    return [
        Curve(
            name=_layer_name(layer.network, layer.resolution),
            steps=[step for step, _ in measured],
            values=[layers[index].mean.entropy for _, layers in measured],
            reference=layer.uniform.entropy,
        )
        for index, layer in enumerate(measured[-1][1])
    ]


def _layer_name(network: str, resolution: int) -> str:
    return f"{network}, {resolution} x {resolution}"
