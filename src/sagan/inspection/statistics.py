"""How widely and how far each attention layer looks, class by class."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sagan.config import Place
from sagan.data import BUILT_IN, load_dataset
from sagan.errors import SaganError
from sagan.images import to_float
from sagan.inspection.spread import Spread, attention_spread, uniform_spread
from sagan.runs.checkpoint import Checkpoint
from sagan.runs.run import load_checkpoint
from sagan.sampling.attention import captured_inputs, explicit_rows
from sagan.sampling.generator import TrainedGenerator, discriminator_of, generator_of
from sagan.sampling.latents import draw_latents
from sagan.sampling.network import TrainedNetwork, label_number
from sagan.system.progress import progress

PICTURES = 16
"""Pictures of each class."""
MEAN = "mean"
"""In the place of a class: over the classes, each weighing the same."""
Source = Literal["generated", "training", "real", "fresh avatar"]
"""Real ones are of the training data's source, but not known to be those learned from."""

_BATCH = 16
_LARGEST_COMPOSED = 64  # side of avatars composed as often as for training, within seconds

Inputs = Mapping[int, Tensor]
"""Label -> latents (N, latent_dim), or images (N, C, H, W) in [-1, 1]."""


class ShownImages(NamedTuple):
    """What a discriminator is shown."""

    images: Inputs
    source: Source


@dataclass(frozen=True, kw_only=True)
class LayerStatistics:
    """What one attention layer does on average."""

    network: str
    """generator or discriminator."""
    place: Place
    """Of the layer."""
    pictures: Source
    count: int
    """Pictures of each class, at most."""
    uniform: Spread
    """What attention that weighs all keys alike would give."""
    mean: Spread
    """Over the classes, each weighing the same."""
    classes: dict[str, Spread]
    """Class name -> its own; "all" without classes."""

    @property
    def rows(self) -> dict[str, Spread]:
        """What tables show: :data:`MEAN`, and every class where there are classes."""
        if self.classes.keys() == {"all"}:
            return {MEAN: self.mean}
        named = {f"class {name}" if name == MEAN else name: s for name, s in self.classes.items()}
        return {MEAN: self.mean} | named


def attention_statistics(
    path: str | Path,
    *,
    count: int = PICTURES,
    label: str | int | None = None,
    layer: int | str | None = None,
) -> tuple[LayerStatistics, ...]:
    """Measures all queries of pictures of each class in every attention layer of both networks.

    The generator draws them; the discriminator is shown those it was trained with, or generated
    ones where these cannot be read. ``LayerStatistics.pictures`` says which.

    Args:
        path: A run folder, a checkpoint, an exported file, or the name of a model.
        count: Pictures of each class.
        label: Only this class, by name or number; None takes all.
        layer: Only layers whose map has this side, or the one of this name; None takes all.

    Raises:
        SaganError: There is no attention (there), it is not finite, the class is unknown, or the
            count below 1.
    """
    checkpoint, _ = load_checkpoint(path)
    labels = labels_to_measure(checkpoint, label, count)
    networks = networks_of(checkpoint, layer)
    shown = shown_images(checkpoint, labels, count)
    return tuple(measure_all(networks, labels, count, shown, layer))


def labels_to_measure(checkpoint: Checkpoint, label: str | int | None, count: int) -> list[int]:
    """The numbers of all classes, or of one by name or number; 0 without classes.

    Raises:
        SaganError: The class is unknown, or ``count`` pictures of it are too few.
    """
    if count < 1:
        raise SaganError(f"{count} pictures of each class are too few; take at least 1")
    if label is not None:
        return [label_number(label, checkpoint.class_names)]
    return list(range(max(1, len(checkpoint.class_names))))


def networks_of(checkpoint: Checkpoint, layer: int | str | None) -> list[TrainedNetwork]:
    """The generator and the discriminator, if they have attention (there).

    Raises:
        SaganError: Neither has.
    """
    networks: list[TrainedNetwork] = [generator_of(checkpoint)]
    if "discriminator" in checkpoint.parts:
        networks.append(discriminator_of(checkpoint))
    found = [network for network in networks if network.has_attention(layer)]
    if not found:
        networks[0].attention_layers(layer)  # says what is missing
    return found


def measure_all(
    networks: Sequence[TrainedNetwork],
    labels: Sequence[int],
    count: int,
    shown: ShownImages,
    layer: int | str | None,
) -> list[LayerStatistics]:
    """Measures a generator on the first seeds of each class, a discriminator on ``shown``."""
    found: list[LayerStatistics] = []
    for network in networks:
        if isinstance(network, TrainedGenerator):
            latents = draw_latents(range(count), network.latent_dim)
            found += measure_network(network, dict.fromkeys(labels, latents), "generated", layer)
        else:
            found += measure_network(network, shown.images, shown.source, layer)
    return found


@torch.inference_mode()
def shown_images(checkpoint: Checkpoint, labels: Sequence[int], count: int) -> ShownImages:
    """The first pictures of each class of the training data; generated ones where it is not there.

    Of large avatars only some are composed, which are others than those learned from.
    """
    data = checkpoint.config.data
    if data.source in BUILT_IN and data.resolution > _LARGEST_COMPOSED:
        # Enough for the rarest class.
        data = replace(data, generated_images=min(data.generated_images, 100 * count))
    try:
        dataset = load_dataset(data)
    except SaganError:
        dataset = None
    shown: dict[int, np.ndarray] = {}
    if dataset is not None and dataset.class_names == checkpoint.class_names:
        rows = {label: np.flatnonzero(dataset.labels == label)[:count] for label in labels}
        shown = {label: dataset.images[some] for label, some in rows.items() if len(some)}
    if not shown or dataset is None:
        source: Source = "generated"
        generator = generator_of(checkpoint)
        shown = {label: generator.sample(range(count), np.full(count, label)) for label in labels}
    elif dataset.fingerprint == checkpoint.dataset_fingerprint:
        source = "training"
    else:
        source = "fresh avatar" if data.source in BUILT_IN else "real"
    return ShownImages({k: to_float(torch.from_numpy(x)) for k, x in shown.items()}, source)


def measure_network(
    model: TrainedNetwork, inputs: Inputs, pictures: Source, layer: int | str | None = None
) -> list[LayerStatistics]:
    """Measures the attention layers of one network on given inputs.

    Raises:
        SaganError: There is no attention (there).
    """
    names = model.class_names or ("all",)
    spreads: dict[Place, dict[str, Spread]] = {place: {} for place in model.attention_layers(layer)}
    with progress(f"Measuring the {model.kind}", len(inputs)) as advance:
        for label, given in inputs.items():
            for place, spread in _class_spreads(model, given, label, layer).items():
                spreads[place][names[label]] = spread
            advance()
    found = []
    for place, classes in spreads.items():
        mean = _mean(list(classes.values()))
        found.append(
            LayerStatistics(
                network=model.kind,
                place=place,
                pictures=pictures,
                count=max(map(len, inputs.values())),
                uniform=uniform_spread((place.height, place.width), mean.keys),
                mean=mean,
                classes=classes,
            )
        )
    return found


def _class_spreads(
    model: TrainedNetwork, given: Tensor, label: int, layer: int | str | None
) -> dict[Place, Spread]:
    layers = model.attention_layers(layer)
    parts: dict[Place, list[Spread]] = {place: [] for place in layers}
    batches = given.split(_BATCH)
    for batch in batches:
        with captured_inputs(layers) as seen:
            model(batch, torch.full((len(batch),), label))
        for place, attention in layers.items():
            rows_of = partial(explicit_rows, attention, seen[place])
            parts[place].append(attention_spread(rows_of, (place.height, place.width)))
    sizes = [len(batch) for batch in batches]
    return {place: _mean(spreads, sizes) for place, spreads in parts.items()}


def _mean(spreads: list[Spread], weights: list[int] | None = None) -> Spread:
    names = ("entropy", "peak", "distance", "outside")
    values = [[getattr(spread, name) for name in names] for spread in spreads]
    means = np.average(values, axis=0, weights=weights).tolist()
    return replace(spreads[0], **dict(zip(names, means, strict=True)))


def statistics_table(layers: Sequence[LayerStatistics]) -> str:
    """A table to print: per layer what is uniform, the mean over classes, and every class."""
    blocks = []
    for layer in layers:
        width = max(map(len, [*layer.classes, "uniform attention"]))
        lines = [
            f"{layer.network}, attention at {layer.place}, "
            f"{layer.count} {layer.pictures} pictures of each class",
            " " * width
            + "".join(f"{x:>10}" for x in ("entropy", "largest", "keys", "distance", "outside")),
        ]
        rows = {"uniform attention": layer.uniform, **layer.rows}
        lines += [
            f"{name:{width}}{spread.entropy_share:10.3f}{spread.peak:10.3f}"
            f"{spread.effective_keys:10.1f}{spread.distance:10.3f}{100 * spread.outside:8.1f} %"
            for name, spread in rows.items()
        ]
        blocks.append("\n".join(lines))
    legend = (
        "entropy as a share of the greatest possible; largest weight of a query; keys: as many "
        "with\nequal weights have that entropy; distance from query to key in (longer) sides of "
        "the picture;\noutside: attention beyond the 8 x 8 places around the query"
    )
    return "\n\n".join([*blocks, legend])


def statistics_json(layers: Sequence[LayerStatistics]) -> str:
    """The same numbers as JSON: a list with an object per layer."""
    return json.dumps(list(layers), indent=1, default=_plain) + "\n"


def _plain(value: LayerStatistics | Spread | Place) -> object:
    """Dataclasses become objects, a place its name; a spread tells what follows from it too."""
    match value:
        case Place():
            return value.name
        case Spread():
            share, keys = value.entropy_share, value.effective_keys
            return {**vars(value), "entropy_share": share, "effective_keys": keys}
        case _:
            return {**vars(value), "resolution": value.place.height}
