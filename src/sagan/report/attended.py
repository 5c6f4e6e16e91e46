"""Attention in panels that the page lays out: points of a few pictures, and a run's checkpoints."""

from typing import NamedTuple

import numpy as np

from sagan.data import Dataset
from sagan.images.drawing import DOT, Colour, attention_panel, numbered_queries, query_panel
from sagan.images.figure import panel_labels, percent
from sagan.inspection import Growth
from sagan.inspection.timeline_figure import brightest, strip_panels
from sagan.report.charts import Chart, growth_charts
from sagan.report.sheets import Picture, embedded, spread
from sagan.sampling.attention import Attention
from sagan.sampling.generator import TrainedDiscriminator, TrainedGenerator, shown_classes

ATTENTION_FIGURES = 3
REAL_FIGURES = 2
_POINT_PANEL = 224
_STRIP_PANEL = 128
_POINTS: Colour = (128, 128, 128)


class Panel(NamedTuple):
    """A picture with dots, or one of them and where it looks."""

    picture: Picture
    words: str
    colour: str
    """Of its frame, as CSS has it."""


class LayerPanels(NamedTuple):
    """The panels of one attention layer."""

    heading: str
    facts: str
    panels: tuple[Panel, ...]
    top: str
    """The weight of the brightest colour."""


class AttentionFigure(NamedTuple):
    """Where five points of a picture look."""

    title: str
    layers: tuple[LayerPanels, ...]


class Strip(NamedTuple):
    """One row of pictures, a checkpoint each."""

    name: str
    panels: tuple[Panel, ...]


class Grown(NamedTuple):
    """How attention changed from checkpoint to checkpoint."""

    words: str
    steps: tuple[int, ...]
    strips: tuple[Strip, ...]
    charts: tuple[Chart, ...]


def attention_figures(generator: TrainedGenerator) -> list[AttentionFigure]:
    """Where points of generated pictures look, one figure each for a few classes.

    Raises:
        SaganError: The generator has no attention.
    """
    labels = spread(shown_classes(generator), ATTENTION_FIGURES) or [None] * ATTENTION_FIGURES
    names = [None if label is None else generator.class_names[label] for label in labels]
    return [_figure(generator.attention(seed, name)) for seed, name in enumerate(names)]


def attention_to_real(
    discriminator: TrainedDiscriminator, dataset: Dataset
) -> list[AttentionFigure]:
    """What the discriminator compares in real pictures, one figure each for a few of them.

    Raises:
        SaganError: The discriminator has no attention.
    """
    figures = []
    for row in spread(range(len(dataset)), REAL_FIGURES):
        label = dataset.labels[row : row + 1] if discriminator.class_names else None
        names = [f"training picture {row}"]
        found = discriminator.attention(dataset.images[row], label, names=names)
        figures.append(_figure(found))
    return figures


def grown(growth: Growth) -> Grown:
    """Lays out what was measured over the checkpoints of a run."""
    tops = brightest(growth.snapshots)
    strips: dict[str, list[Panel]] = {}
    for snapshot in growth.snapshots:
        for name, found in snapshot.attention.items():
            for title, below, panel in strip_panels(name, found, tops, _STRIP_PANEL):
                title = title.replace("\n", " ")
                words = f"{title} at step {snapshot.step:,}"
                pixels = np.asarray(panel).transpose(2, 0, 1)
                picture = embedded(pixels, words, f"{title} step {snapshot.step:08d}")
                strips.setdefault(title, []).append(Panel(picture, below, _css(_POINTS)))
    return Grown(
        growth.words,
        tuple(snapshot.step for snapshot in growth.snapshots),
        tuple(Strip(name, tuple(panels)) for name, panels in strips.items()),
        tuple(growth_charts(growth.entropies, growth.peaks)),
    )


def _figure(found: Attention) -> AttentionFigure:
    [picture], [points] = found.pictures, found.points
    queries = numbered_queries(points, picture.shape[1:], 1.6 * DOT)
    name = ", ".join(filter(None, [found.network, *found.names]))
    marked = np.asarray(query_panel(picture, queries, _POINT_PANEL)).transpose(2, 0, 1)
    words = f"{name}: the points that are asked about"
    first = Panel(embedded(marked, words, f"{name} points"), "points", _css(_POINTS))
    layers = []
    for place in found.places:
        [rows] = found.rows[place.name]
        panels, top = [first], float(rows.max())
        for query, row in zip(queries, rows, strict=True):
            panel = np.asarray(attention_panel(picture, query, row, _POINT_PANEL, top))
            words = f"{name}: where point {query.number} looks, as a heat map, at {place}"
            file = f"{name} layer {place.name} point {query.number}"
            shown = embedded(panel.transpose(2, 0, 1), words, file)
            panels.append(Panel(shown, panel_labels(row)[0], _css(query.colour)))
        layers.append(LayerPanels(*found.heading(place), tuple(panels), percent(top)))
    return AttentionFigure(found.names[0] or found.network, tuple(layers))


def _css(colour: Colour) -> str:
    return f"rgb({', '.join(map(str, colour))})"
