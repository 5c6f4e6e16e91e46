"""Two distant parts that must agree: how often they do with attention, a residual block, neither.

    python benchmarks/distant_parts.py runs/distant-parts --seeds 0-2

Every picture has two shapes near opposite corners, of one colour out of eight; all else is grey and
left to chance: which shapes, where, how large, what lies between. Each half alone says nothing of
the other but the colour. SAGAN's networks and loss learn these pictures without classes, and the
colours of what they draw are read. The same command goes on where it stopped and ends with the
table; the folder receives the curves too.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sagan.ablation import run_ablation
from sagan.cli.parsing import parse_seeds
from sagan.config import Config, DataConfig
from sagan.config.presets import preset
from sagan.evaluation.periodic import Evaluated
from sagan.system.files import replacing

if TYPE_CHECKING:
    from sagan.data import Dataset
    from sagan.sampling.generator import TrainedGenerator

HUES = 8
"""Colours, evenly spaced on the colour wheel."""
UNREADABLE = -1
SHAPES = 4
_CHUNK = 1000
_LEAST_CHROMA = 80  # of a pixel that has a colour: its largest channel less its smallest
_LEAST_AREA = 1 / 100  # of a picture, that has a colour in each half
_LEAST_CONCENTRATION = 0.9  # 1 where a half has one hue alone, 0 where all
_WIDEST = 0.8 * np.pi / HUES  # from a hue's middle; pi / HUES is the border to the next


class Agreement(NamedTuple):
    """What was read of some pictures."""

    readable: float
    """Share of the pictures in which both halves have one clear colour."""
    agree: float
    """Of those, the share with the same colour in both; NaN without any."""
    by_chance: float
    """The same if the halves were dealt out anew: 1/8 where all colours are as frequent."""


def make_pictures(count: int, size: int, seed: int = 0) -> np.ndarray:
    """Draws pictures, uint8 (count, size, size, 3)."""
    random = np.random.default_rng(seed)
    made = [_made(random, min(_CHUNK, count - at), size) for at in range(0, count, _CHUNK)]
    return np.concatenate(made)


def _made(random: np.random.Generator, count: int, size: int) -> np.ndarray:
    grey = random.uniform(30, 100, (count, 1, 1, 1))
    pictures = np.broadcast_to(grey, (count, size, size, 3)).copy()
    for _ in range(3):  # what distracts has no colour
        tone = random.uniform(20, 160, (count, 1, 1, 1))
        place = random.uniform(0, 1, (2, count))
        _put(pictures, random, tone, place, random.uniform(0.05, 0.12, count))
    hues = random.integers(HUES, size=count)
    for middle in (0.25, 0.75):
        colour = _colours(hues) * random.uniform(200, 255, (count, 1))
        place = middle + random.uniform(-0.08, 0.08, (2, count))
        _put(pictures, random, colour[:, None, None], place, random.uniform(0.1, 0.15, count))
    pictures += random.normal(0, 5, (count, size, size, 1)) + random.normal(0, 2, pictures.shape)
    return pictures.round().clip(0, 255).astype(np.uint8)


def _put(
    pictures: np.ndarray,
    random: np.random.Generator,
    colour: np.ndarray,
    place: np.ndarray,
    radius: np.ndarray,
) -> None:
    """Puts a disc, square, diamond or cross onto every picture, with soft edges."""
    size = pictures.shape[1]
    cells = (np.arange(size) + 0.5)[None]
    y, x = (np.abs(cells - size * middle[:, None]) for middle in place)
    down, across = y[:, :, None], x[:, None, :]
    larger, smaller = np.maximum(down, across), np.minimum(down, across)
    distance = np.choose(
        random.integers(SHAPES, size=len(pictures))[:, None, None],
        [np.hypot(down, across), larger, (down + across) / 1.25, np.maximum(larger, 2.5 * smaller)],
    )
    cover = np.clip(size * radius[:, None, None] - distance + 0.5, 0, 1)[..., None]
    pictures += cover * (colour - pictures)


def _colours(hues: np.ndarray) -> np.ndarray:
    """Full colours, (N, 3) in [0, 1]."""
    turned = 6 * hues[:, None] / HUES + np.array([0, 4, 2])
    return np.clip(np.abs(turned % 6 - 3) - 1, 0, 1)


def colour_of(halves: np.ndarray) -> np.ndarray:
    """The number of the one colour in each part of a picture, or UNREADABLE; int64 (N,).

    Args:
        halves: uint8 (N, H, W, 3), of which all that is grey is passed over.
    """
    red, green, blue = np.moveaxis(halves.astype(np.float32), -1, 0)
    chroma = (halves.max(axis=-1) - halves.min(axis=-1)).astype(np.float32)
    weight = np.where(chroma >= _LEAST_CHROMA, chroma, 0)
    angle = np.arctan2(3**0.5 * (green - blue), 2 * red - green - blue)
    sums = (weight * np.exp(1j * angle)).sum(axis=(1, 2))
    total = weight.sum(axis=(1, 2))
    steps = np.angle(sums) / (2 * np.pi / HUES)
    nearest = np.round(steps)
    is_clear = (
        (np.count_nonzero(weight, axis=(1, 2)) >= 2 * _LEAST_AREA * np.prod(halves.shape[1:3]))
        & (np.abs(sums) >= _LEAST_CONCENTRATION * total)
        & (np.abs(steps - nearest) * 2 * np.pi / HUES <= _WIDEST)
    )
    return np.where(is_clear, nearest.astype(np.int64) % HUES, UNREADABLE)


def halves_of(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The triangles above and below the other diagonal, uint8 (N, H, W, 3) with the rest black."""
    size = pictures.shape[1]
    upper = np.add.outer(np.arange(size), np.arange(size)) < size
    mask = upper[None, :, :, None]
    return pictures * mask, pictures * ~mask


def agreement(pictures: np.ndarray) -> Agreement:
    """Reads both colours of every picture, uint8 (N, H, W, 3)."""
    first, second = map(colour_of, halves_of(pictures))
    both = (first != UNREADABLE) & (second != UNREADABLE)
    if not both.any():
        return Agreement(0.0, float("nan"), float("nan"))
    shares = [np.bincount(found[both], minlength=HUES) / both.sum() for found in (first, second)]
    agree = float((first[both] == second[both]).mean())
    return Agreement(float(both.mean()), agree, float(shares[0] @ shares[1]))


def measured(generator: TrainedGenerator, dataset: Dataset, _: float) -> Evaluated:
    """Reads as many drawn pictures as a training run is measured with."""
    count = min(2000, len(dataset))
    found = agreement(generator.sample(range(count), None).transpose(0, 2, 3, 1))
    numbers = {
        "readable": found.readable,
        "agree": found.agree if found.readable else 0.0,
        "agree by chance": found.by_chance if found.readable else 0.0,
    }
    return Evaluated(numbers=numbers, by_class={}, pictures=count)


def settings_for(source: Path, size: int, steps: int) -> Config:
    """SAGAN's loss and spectral norm in both networks, two rates, base width 16, no classes."""
    base = preset("avatars32-sagan")
    train = replace(
        base.train,
        steps=steps,
        batch_size=32,
        discriminator_steps=1,
        checkpoint_interval=200,
        sample_interval=steps // 4,
    )
    rates = replace(base.optimizer, generator_lr=1e-3, discriminator_lr=4e-3)
    data = DataConfig(source=str(source), resolution=size, labels="none")
    return replace(base, data=data, train=train, optimizer=rates)


def main() -> None:
    """Makes the pictures where they are not there, trains what is missing, prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="receives pictures, runs, table and curves")
    parser.add_argument("--size", type=int, default=32, choices=(32, 64), help="side in pixels")
    parser.add_argument("--pictures", type=int, default=20_000, help="how many to learn from")
    parser.add_argument("--steps", type=int, default=1600, help="of each run")
    parser.add_argument("--points", type=int, default=4, help="how often each run is measured")
    parser.add_argument("--seeds", default="0-2", help="such as 0 or 0-2")
    parser.add_argument("--at", type=int, nargs="+", help="sides of the maps, by default half")
    arguments = parser.parse_args()
    folder, size = arguments.folder, arguments.size
    source = folder / f"pictures-{size}-{arguments.pictures}.npy"
    if not source.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(source) as draft, draft.open("wb") as file:
            np.save(file, make_pictures(arguments.pictures, size))
    places = arguments.at or [size // 2]
    table = run_ablation(
        settings_for(source, size, arguments.steps),
        "attention",
        folder / f"{size}-pixels",
        evaluate=measured,
        seeds=parse_seeds(arguments.seeds),
        points=arguments.points,
        names=["none", *(f"{form}-{at}" for form in ("residual", "attention") for at in places)],
    )
    real = agreement(np.load(source, mmap_mode="r")[:2000])
    print(table, end="")
    print(f"\nreal pictures: {real.readable:.1%} readable, {real.agree:.1%} agree")


if __name__ == "__main__":
    main()
