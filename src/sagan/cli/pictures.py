"""Commands that draw: sample, interpolate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from sagan.cli.parsing import parse_seeds, require_range
from sagan.cli.program import app
from sagan.errors import SaganError

if TYPE_CHECKING:
    import numpy as np

    from sagan.sampling.generator import TrainedGenerator


@app.command
def sample(
    model: Path,
    /,
    *,
    class_name: Annotated[tuple[str, ...], Parameter(name="--class", negative=())] = (),
    seeds: str | None = None,
    truncation: float | None = None,
    columns: int | None = None,
    scale: int = 1,
    compile: Annotated[bool, Parameter(negative=())] = False,
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("grid.png"),
) -> None:
    """Draw pictures; the same seed and class give the same picture every time.

    Parameters
    ----------
    model
        A run folder, a checkpoint or an exported file.
    class_name
        What to draw; repeat the flag for several, each beginning a new row. All classes by default.
    seeds
        Which pictures, such as 0-63 or 3,7,20-29. By default 0-63 for one class, 0-7 for several.
    truncation
        Cut the noise off at this many standard deviations: fewer surprises, less variety.
    columns
        Pictures in a row of a grid; 8 by default.
    scale
        Enlarge every pixel this many times.
    compile
        Compile the network first: ten seconds or more, then a third faster in full batches.
    output
        A grid .png; a folder (a name without suffix), for a file CLASS/SEED.png per picture; or
        a .npz of all pictures, labels and class names, for metric tools.
    """
    from sagan import images
    from sagan.sampling import sets
    from sagan.sampling.generator import load_generator
    from sagan.system.files import require_output

    is_folder = require_output(output, ".png", ".npz", "")
    is_grid = not is_folder and output.suffix.lower() == ".png"
    require_range("--columns", columns, 1)
    require_range("--scale", scale, 1)
    if columns is not None and not is_grid:
        raise SaganError("--columns counts only in a grid; leave it out, or write a .png")
    generator = load_generator(model)
    if compile:
        generator.compile()
    labels = class_name or generator.class_names or (None,)
    chosen = parse_seeds(seeds or ("0-63" if len(labels) == 1 else "0-7"))
    pictures = sets.SampleSet(generator, chosen, labels, truncation, scale)
    if is_grid:
        images.save_png(sets.grid_of(pictures, columns or 8), output)
    else:
        (sets.save_folder if is_folder else sets.save_packed)(pictures, output)
    print(output)


@app.command
def interpolate(
    model: Path,
    /,
    *,
    through: Literal["latents", "classes"] | None = None,
    class_name: Annotated[tuple[str, ...], Parameter(name="--class", negative=())] = (),
    seeds: str | None = None,
    frames: int | None = None,
    loop: bool = True,
    truncation: float | None = None,
    frames_per_second: float = 24.0,
    scale: int | None = None,
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("walk.mp4"),
) -> None:
    """Walk through a model: a film of pictures that turn into each other, or a sheet of them.

    Parameters
    ----------
    model
        A run folder, a checkpoint or an exported file.
    through
        latents: a picture per class, all on the same way from seed to seed, along the sphere.
        classes: a picture per seed, all on the same way from class to class, through the tables of
        the conditional batch norm. By default classes for a single seed, else latents.
    class_name
        Which classes; repeat the flag. All (at most 16) by default.
    seeds
        Which latents, such as 0-3 or 3,7,20-29. By default 0-3 through latents, 0-8 through
        classes.
    frames
        Pictures from one seed or class to the next: 24 in a film, 4 in a sheet.
    loop
        Return to the beginning.
    truncation
        As for sample.
    frames_per_second
        Speed of a film: 0.1 to 100, of a .gif to 50.
    scale
        Enlarge every pixel this many times; by default a picture in a film has 128 at least.
    output
        A film .mp4, .gif or .apng, or a sheet .png: a row per picture, of a single one a row from
        each seed or class to the next.
    """
    from sagan import images
    from sagan.sampling import animation
    from sagan.sampling.generator import load_generator, shown_classes
    from sagan.sampling.interpolation import class_path, latent_path
    from sagan.system.files import require_output

    require_output(output, ".png", *animation.FASTEST)
    is_sheet = output.suffix.lower() == ".png"
    if not is_sheet:
        animation.require_format(output, frames_per_second)
    require_range("--frames", frames, 1)
    require_range("--scale", scale, 1)
    chosen = parse_seeds(seeds or ("0-8" if through == "classes" else "0-3"))
    generator = load_generator(model)
    labels = class_name or tuple(generator.class_names[n] for n in shown_classes(generator))
    through = through or ("classes" if len(chosen) == 1 and labels else "latents")
    frames = frames or (4 if is_sheet else 24)
    scale = scale or (1 if is_sheet else -(-128 // generator.resolution))
    stops = (len(labels), len(chosen)) if through == "classes" else (len(chosen), len(labels) or 1)
    _require_memory(output.suffix.lower(), generator, frames * stops[0], stops[1], scale)
    path = {"frames": frames, "loop": loop, "truncation": truncation}
    if through == "latents":
        cells = [latent_path(generator, chosen, label, **path) for label in labels or (None,)]
    else:
        cells = [class_path(generator, seed, labels, **path) for seed in chosen]
    if is_sheet:
        print(images.save_png(images.enlarge(_sheet(cells, frames, loop), scale), output))
        return
    film = _film(cells, scale)
    print(animation.save_animation(film, output, frames_per_second=frames_per_second))


def _require_memory(
    suffix: str, generator: TrainedGenerator, length: int, cells: int, scale: int
) -> None:
    """A sheet is held at once, and so are the frames of a film but for an MP4's."""
    from sagan.system.memory import require_free

    side = (generator.resolution + 2) * scale
    shown = 12 * side**2 * cells * (1 if suffix == ".mp4" else length)
    path = length * cells * (3 * generator.resolution**2 + 16 * generator.latent_dim)
    remedy = "give fewer --frames or --seeds, or a smaller --scale"
    require_free(path + shown, "these pictures", remedy)


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
    padding = 2 if len(cells) > 1 else 0
    for pictures in zip(*cells, strict=True):
        yield images.enlarge(images.grid(np.stack(pictures), columns, padding=padding), scale)
