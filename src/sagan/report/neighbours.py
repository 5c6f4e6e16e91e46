"""Which training pictures generated ones resemble most, pixel by pixel."""

from typing import NamedTuple

import numpy as np

from sagan.data import Dataset
from sagan.data.dataset import PictureArray
from sagan.errors import SaganError
from sagan.evaluation.arrays import choice
from sagan.evaluation.metrics import nearest_neighbours
from sagan.report.sheets import Picture, embedded, spread
from sagan.sampling.generator import TrainedGenerator

SEARCHED = 20_000  # training pictures at most
PROBES = 256  # generated and real pictures whose nearest neighbour is measured
SHOWN = 12
CLOSEST = 3
COMPARED_SIDE = 32
"""Pixels. Before they are compared, pictures whose shorter side has twice as many or more are
averaged down, by a power of 2, to between once and twice as many."""


class Match(NamedTuple):
    """A training picture and how far it is, over the distance usual between training pictures."""

    picture: Picture
    ratio: float


class Row(NamedTuple):
    """A generated picture and the training pictures closest to it."""

    name: str
    picture: Picture
    matches: tuple[Match, ...]


class Neighbours(NamedTuple):
    """What the search found."""

    rows: tuple[Row, ...]
    """From the closest to the farthest of the probes."""
    ratio: float
    """Median over the probes."""
    probes: int
    searched: int
    total: int
    compared_size: tuple[int, int]
    """Height and width of the pictures as they were compared."""


def find_neighbours(generator: TrainedGenerator, dataset: Dataset) -> Neighbours:
    """Compares generated pictures with a fixed random choice of training pictures.

    Distances are Euclidean, over all colour values.

    Raises:
        SaganError: The training pictures are too few, or most of them are there twice.
    """
    if len(dataset) <= CLOSEST:
        raise SaganError(f"{len(dataset)} training pictures are too few to compare with")
    rows = choice(np.arange(len(dataset)), SEARCHED)
    if dataset.images.shape[1:] != (generator.channels, *generator.size):
        raise SaganError("the training pictures have another size or other channels than the model")
    real = _compared(dataset.images, rows)
    probes = np.random.default_rng(1).permutation(len(rows))[:PROBES]
    between_real, _ = nearest_neighbours(real[probes], real, 2)
    usual = float(np.median(between_real[:, 1]))
    if not usual:
        raise SaganError("most training pictures are there twice, so that nearness says nothing")
    labels = np.arange(PROBES) % max(len(generator.class_names), 1)
    fake = generator.sample(range(PROBES), labels)
    distances, nearest = nearest_neighbours(_compared(fake, np.arange(PROBES)), real, CLOSEST)
    by_distance = np.argsort(distances[:, 0], kind="stable")
    shown_rows = []
    for seed in spread(by_distance.tolist(), SHOWN):
        name = generator.class_names[labels[seed]] if generator.class_names else f"seed {seed}"
        picture = embedded(
            fake[seed], f"generated picture: {name}, seed {seed}", f"generated {name} seed {seed}"
        )
        matches = []
        for place, row in enumerate(rows[nearest[seed]]):
            description = f"training picture {row}, number {place + 1} in closeness"
            ratio = float(distances[seed, place] / usual)
            picture_found = embedded(dataset.images[row], description, f"training picture {row}")
            matches.append(Match(picture_found, ratio))
        shown_rows.append(Row(name, picture, tuple(matches)))
    return Neighbours(
        rows=tuple(shown_rows),
        ratio=float(np.median(distances[:, 0])) / usual,
        probes=PROBES,
        searched=len(rows),
        total=len(dataset),
        compared_size=_compared_size(generator.size),
    )


def _compared(images: PictureArray, rows: np.ndarray) -> np.ndarray:
    """The chosen pictures of uint8 (N, C, H, W) as rows of numbers, averaged down if large."""
    channels, *size = images.shape[1:]
    height, width = _compared_size((size[0], size[1]))
    block = size[0] // height
    if block == 1:
        return images[rows].reshape(len(rows), -1)
    small = np.empty((len(rows), channels, height, width), np.float32)
    for place, row in enumerate(rows):
        blocks = images[row].reshape(channels, height, block, width, block)
        small[place] = blocks.mean(axis=(2, 4))
    return small.reshape(len(rows), -1)


def _compared_size(size: tuple[int, int]) -> tuple[int, int]:
    """Both sides halved as long as the shorter one has twice :data:`COMPARED_SIDE` or more."""
    height, width = size
    while min(height, width) >= 2 * COMPARED_SIDE:
        height, width = height // 2, width // 2
    return height, width
