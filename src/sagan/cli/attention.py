"""The command attention."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sagan.cli.parsing import parse_point
from sagan.cli.program import app


@app.command
def attention(
    model: Path,
    /,
    *,
    class_name: Annotated[str | None, Parameter(name="--class")] = None,
    seed: int = 0,
    at: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    resolution: int | None = None,
    truncation: float | None = None,
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("attention.png"),
) -> None:
    """Draw where points of a generated picture look, as the SAGAN paper's Figure 1 does.

    Parameters
    ----------
    model
        A run folder, a checkpoint or an exported file.
    class_name
        Which class to draw; the first by default.
    seed
        Which picture.
    at
        A query point in pixels, as x,y from the upper left; repeat the flag for several. Chosen
        automatically by default.
    resolution
        Which attention layer, by the side of its map; the finest by default.
    truncation
        As for sample.
    output
        The PNG file to write.
    """
    from sagan import images
    from sagan.inspection import attention_figure_of
    from sagan.sampling import load_generator

    figure = attention_figure_of(
        load_generator(model),
        seed,
        class_name,
        points=[parse_point(point) for point in at] or None,
        resolution=resolution,
        truncation=truncation,
    )
    print(images.save_png(figure, output))
