"""Walks between seeds and between classes, as strips and, where small, as moving pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sagan.images import grid
from sagan.report.sheets import Picture, Sheet, embedded, spread, without_lines
from sagan.sampling.animation import animation_bytes
from sagan.sampling.generator import TrainedGenerator, shown_classes
from sagan.sampling.interpolation import class_path, latent_path

ROWS = 3
STRIP_LEGS = 8  # steps from the left end of a strip to its right end
LEG_FRAMES = 12
MOVING_PIXELS = 600_000  # of all frames together
FRAMES_PER_SECOND = 12.0


@dataclass(frozen=True, kw_only=True)
class Walk:
    """One kind of walk, a few of them."""

    title: str
    reading: str
    strip: Sheet
    moving: Picture | None
    """None where it would be large."""
    still: Picture
    """The first frame, for readers who want nothing to move."""


def walks(generator: TrainedGenerator) -> list[Walk]:
    """Draws walks from seed to seed and, where there are classes, from class to class."""
    names = [generator.class_names[label] for label in spread(shown_classes(generator), ROWS)]
    labels, seeds = names or [None], range(ROWS)
    found = [
        _walk(
            generator.size,
            "From seed to seed",
            "The class stays, the noise moves along the sphere on which the seeds lie. Every "
            "picture between two good ones should be good too; sudden jumps hint at memorising.",
            names,
            [latent_path(generator, [0, 1], label, frames=STRIP_LEGS) for label in labels],
            [
                latent_path(generator, [0, 1, 2], label, frames=LEG_FRAMES, loop=True)
                for label in labels
            ],
        )
    ]
    if len(names) > 1:
        route = spread(names, 2)
        found.append(
            _walk(
                generator.size,
                "From class to class",
                f"The noise stays, the class moves from {route[0]} to {route[-1]}. What stays "
                "alike, pose or colour, the generator has learned apart from the class.",
                [f"seed {seed}" for seed in seeds],
                [class_path(generator, seed, route, frames=STRIP_LEGS) for seed in seeds],
                [
                    class_path(generator, seed, names, frames=LEG_FRAMES, loop=True)
                    for seed in seeds
                ],
            )
        )
    return found


def _walk(
    size: tuple[int, int],
    title: str,
    reading: str,
    names: Sequence[str],
    strips: Sequence[np.ndarray],
    loops: Sequence[np.ndarray],
) -> Walk:
    strip = without_lines(grid(np.concatenate(strips), columns=len(strips[0])), size)
    frames = np.stack(
        [grid(np.stack(pictures), len(loops)) for pictures in zip(*loops, strict=True)]
    )
    frames = np.stack([without_lines(frame, size) for frame in frames])
    description = f"{title}: {', '.join(names)}" if names else title
    moving = None
    if frames[:, 0].size <= MOVING_PIXELS:
        content = animation_bytes(frames, ".apng", frames_per_second=FRAMES_PER_SECOND)
        moving = embedded(frames[0], f"{description}, moving", f"{title} moving", content)
    return Walk(
        title=title,
        reading=reading,
        strip=Sheet(embedded(strip, f"{description}, a row each", title), tuple(names)),
        moving=moving,
        still=embedded(frames[0], description, f"{title} first"),
    )
