"""Commands that draw: sample."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sagan.cli.parsing import parse_seeds
from sagan.cli.program import app
from sagan.errors import SaganError


@app.command
def sample(
    model: Path,
    /,
    *,
    class_name: Annotated[tuple[str, ...], Parameter(name="--class", negative=())] = (),
    seeds: str | None = None,
    truncation: float | None = None,
    columns: int = 8,
    scale: int = 1,
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("grid.png"),
) -> None:
    """Draw a grid of pictures; the same seed and class give the same picture every time.

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
        Pictures in a row.
    scale
        Enlarge every pixel this many times.
    output
        The PNG file to write.
    """
    import numpy as np

    from sagan import images
    from sagan.sampling import load_generator

    for name, value in (("columns", columns), ("scale", scale)):
        if value < 1:
            raise SaganError(f"--{name} {value} is out of range; it must be at least 1")
    generator = load_generator(model)
    labels = class_name or generator.class_names or (None,)
    chosen = parse_seeds(seeds or ("0-63" if len(labels) == 1 else "0-7"))
    rows = []
    for label in labels:
        pictures = generator.sample(chosen, label, truncation=truncation)
        missing = -len(pictures) % min(columns, len(chosen))
        rows.append(np.pad(pictures, ((0, missing), *[(0, 0)] * 3), constant_values=255))
    sheet = images.grid(np.concatenate(rows), min(columns, len(chosen)))
    print(images.save_png(images.enlarge(sheet, scale), output))
