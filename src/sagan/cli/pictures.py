"""Commands that draw: sample, interpolate, timelapse."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from sagan.cli.parsing import FLAGS, MODEL, OUTPUT, SWITCH, parse_seeds, require_range
from sagan.cli.program import app, loading
from sagan.errors import SaganError
from sagan.system.files import require_output

if TYPE_CHECKING:
    import numpy as np

    from sagan.sampling.generator import TrainedGenerator


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which pictures to draw, and how."""

    class_name: Annotated[
        tuple[str, ...], Parameter(name="--class", negative=(), show_default=False)
    ] = ()
    """Which classes; repeat the flag for several. All by default, in interpolate at most 16."""
    seeds: str | None = None
    """Numbers from which the noise is drawn, such as 0-63 or 3,7,20-29. By default sample draws
    0-63 of one class and 0-7 of several, interpolate 0-3 through latents and 0-8 through
    classes."""
    truncation: float | None = None
    """Cut the noise off at this many standard deviations: fewer surprises, less variety."""
    scale: int | None = None
    """Enlarge every pixel this many times; by default pictures are enlarged in a film, to a height
    of 128 pixels at least, and beside names."""

    def __post_init__(self) -> None:
        require_range("--scale", self.scale, 1)


@dataclass(frozen=True, kw_only=True)
class Route:
    """What lies between the pictures."""

    through: Literal["latents", "classes"] | None = None
    """latents: move between seeds (spherical interpolation), a picture per class side by side.
    classes: move between classes (mixing their batch-norm tables), a picture per seed side by side.
    By default classes for a single seed, else latents."""
    frames: int | None = None
    """Pictures from one seed or class to the next: 24 in a film, 4 in a sheet."""
    loop: bool = True
    """Return to the beginning."""

    def __post_init__(self) -> None:
        require_range("--frames", self.frames, 1)


@app.command
def sample(
    model: Annotated[Path, MODEL],
    /,
    *,
    choice: Annotated[Choice, FLAGS] = Choice(),
    columns: int | None = None,
    names: Annotated[bool, SWITCH] = False,
    compile: Annotated[bool, SWITCH] = False,
    output: Annotated[Path, OUTPUT] = Path("grid.png"),
) -> None:
    """Draw pictures; the same seed and class give the same picture every time.

    Parameters
    ----------
    columns
        Pictures in a row of a grid; 8 by default. Every class begins a new row.
    names
        Write the names of the classes beside the rows of a grid, whose pictures are then 96 pixels
        high and wide at least.
    compile
        Compile the network first: ten seconds or more, then full batches are a little faster.
    output
        A grid .png; a folder (a name without suffix), for a file CLASS/SEED.png per picture; or
        a .npz of all pictures, labels and class names, for metric tools.
    """
    is_folder = require_output(output, ".png", ".npz", "")
    is_grid = not is_folder and output.suffix.lower() == ".png"
    require_range("--columns", columns, 1)
    if columns is not None and not is_grid:
        raise SaganError("--columns counts only in a grid; leave it out, or write a .png")
    if names and not is_grid:
        raise SaganError("--names stand only in a grid; leave it out, or write a .png")
    generator = _generator_to_draw(model)
    from sagan import images
    from sagan.sampling import sets

    if compile:
        generator.compile()
    labels = choice.class_name or generator.class_names or (None,)
    seeds = parse_seeds(choice.seeds or ("0-63" if len(labels) == 1 else "0-7"))
    pictures = sets.SampleSet(generator, seeds, labels, choice.truncation, choice.scale or 1)
    if is_grid:
        laid_out = (sets.named_grid if names else sets.grid_of)(pictures, columns or 8)
        images.save_png(laid_out, output)
    else:
        (sets.save_folder if is_folder else sets.save_packed)(pictures, output)
    print(output)


@app.command
def interpolate(
    model: Annotated[Path, MODEL],
    /,
    *,
    route: Annotated[Route, FLAGS] = Route(),
    choice: Annotated[Choice, FLAGS] = Choice(),
    frames_per_second: float = 24.0,
    output: Annotated[Path, OUTPUT] = Path("walk.mp4"),
) -> None:
    """Walk through a model: a film of pictures that turn into each other, or a sheet of them.

    Parameters
    ----------
    frames_per_second
        Speed of a film: 0.1 to 100, of a .webp or .gif to 50.
    output
        A film .mp4, .webp, .gif or .apng, or a sheet .png: a row per picture, of a single one a row
        from each seed or class to the next.
    """
    from sagan import images
    from sagan.sampling import animation

    require_output(output, ".png", *animation.FASTEST)
    is_sheet = output.suffix.lower() == ".png"
    if not is_sheet:
        animation.require_format(output, frames_per_second)
    generator = _generator_to_draw(model)
    frames = route.frames or (4 if is_sheet else 24)
    scale = choice.scale or (1 if is_sheet else -(-128 // generator.resolution))
    walks = _walks(generator, route, choice, frames, scale, output.suffix.lower() == ".mp4")
    if is_sheet:
        print(images.save_png(images.enlarge(_sheet(walks, frames, route.loop), scale), output))
        return
    film = _film(walks, scale)
    print(animation.save_animation(film, output, frames_per_second=frames_per_second))


@app.command
def timelapse(
    run: Path,
    /,
    *,
    columns: int | None = None,
    frames: int = 48,
    frames_per_second: float = 6.0,
    hold: float = 3.0,
    output: Annotated[Path, OUTPUT] = Path("growth.webp"),
) -> None:
    """Make a film of how the pictures of a run grew: its sample grids, with steps and classes.

    Every frame shows the same seeds. Grids are in the folder samples of a run, more of them early
    on; --train.sample-interval says how many.

    Parameters
    ----------
    run
        A run folder, also of a run that still trains.
    columns
        Pictures of each class, 1 to 8; by default 4, and without classes 8 in a row.
    frames
        How many grids to show at most; more of the beginning, where most happens.
    frames_per_second
        Speed: 0.1 to 100, of a .webp or .gif to 50.
    hold
        Seconds for which the last frame is shown in addition, 0 to 60.
    output
        A film .webp, .mp4, .gif or .apng.
    """
    from sagan.sampling import animation
    from sagan.sampling.timelapse import growth_frames

    require_output(output, *animation.FASTEST)
    animation.require_format(output, frames_per_second, hold)
    require_range("--columns", columns, 1, 8)
    require_range("--frames", frames, 1)
    film = growth_frames(run, columns=columns, most=frames)
    animation.save_animation(film, output, frames_per_second=frames_per_second, hold=hold)
    print(output)


def _generator_to_draw(model: Path) -> TrainedGenerator:
    with loading():
        from sagan.sampling.generator import load_generator
        from sagan.system.device import keep_freed_memory
    keep_freed_memory()
    return load_generator(model)


def _walks(
    generator: TrainedGenerator,
    route: Route,
    choice: Choice,
    frames: int,
    scale: int,
    is_streamed: bool,
) -> Sequence[np.ndarray]:
    """One walk per class or per seed, each uint8 (T, C, H, W)."""
    from sagan.images import PADDING
    from sagan.sampling.generator import shown_classes
    from sagan.sampling.interpolation import class_path, latent_path
    from sagan.system.memory import require_free

    seeds = parse_seeds(choice.seeds or ("0-8" if route.through == "classes" else "0-3"))
    labels = choice.class_name or tuple(generator.class_names[n] for n in shown_classes(generator))
    through = route.through or ("classes" if len(seeds) == 1 and labels else "latents")
    count = len(seeds) if through == "classes" else len(labels) or 1
    pictures = frames * len(seeds) * (len(labels) or 1)
    # A sheet is held at once, and so are the frames of a film but for an MP4's.
    height, width = generator.size
    cell = generator.channels * (height + PADDING) * (width + PADDING)
    held = 4 * cell * scale**2 * (count if is_streamed else pictures)
    size = held + pictures * (cell + 16 * generator.latent_dim)
    require_free(size, "these pictures", "give fewer --frames or --seeds, or a smaller --scale")
    path = {"frames": frames, "loop": route.loop, "truncation": choice.truncation}
    if through == "latents":
        return [latent_path(generator, seeds, label, **path) for label in labels or (None,)]
    return [class_path(generator, seed, labels, **path) for seed in seeds]


def _sheet(cells: Sequence[np.ndarray], frames: int, loop: bool) -> np.ndarray:
    """A row per cell; of a single one a row per leg, both its ends included."""
    import numpy as np

    from sagan import images

    if len(cells) == 1:
        starts = range(0, len(cells[0]) - (not loop), frames)
        legs = [range(start, start + frames + 1) for start in starts]
        cells = [cells[0].take(leg, axis=0, mode="wrap") for leg in legs]
    return images.grid(np.concatenate(cells), len(cells[0]))


def _film(cells: Sequence[np.ndarray], scale: int) -> Iterator[np.ndarray]:
    """All cells side by side, frame by frame; a single one without a border."""
    import numpy as np

    from sagan import images

    # Of the shapes from square to twice as wide, the first that leaves fewest places empty.
    side = math.ceil(math.sqrt(len(cells)))
    columns = min(range(side, 2 * side + 1), key=lambda columns: -len(cells) % columns)
    padding = images.PADDING if len(cells) > 1 else 0
    for pictures in zip(*cells, strict=True):
        yield images.enlarge(images.grid(np.stack(pictures), columns, padding=padding), scale)
