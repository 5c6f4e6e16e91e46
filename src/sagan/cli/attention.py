"""The command attention."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sagan.cli.parsing import (
    FLAGS,
    MODEL,
    MOST_PICTURES,
    OUTPUT,
    SWITCH,
    parse_point,
    parse_seeds,
    require_range,
)
from sagan.cli.program import app
from sagan.errors import SaganError, printable
from sagan.system.files import replacing, require_output, write_text

if TYPE_CHECKING:
    from sagan.sampling.attention import Attention
    from sagan.sampling.network import TrainedNetwork

_EXCLUDE = {
    "--at": ("--grid",),
    "--seeds": ("--seed", "--picture", "--statistics", "--timeline", "--raw"),
    "--picture": ("--seed", "--truncation"),
    "--statistics": ("--picture", "--seed", "--truncation", "--at", "--grid", "--raw"),
    "--timeline": ("--picture", "--truncation", "--grid", "--raw"),
}


_MOST_DRAWN = 64
"""Pictures in one figure."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What to look at, and from where."""

    class_name: Annotated[str | None, Parameter(name="--class")] = None
    """Which class to draw; the first by default. With --statistics all by default."""
    seed: int | None = None
    """Which picture; 0 by default."""
    seeds: str | None = None
    """Several pictures, such as 0-7, drawn one below the other."""
    truncation: float | None = None
    """As for sample."""
    picture: Annotated[tuple[Path, ...], SWITCH] = ()
    """Show the discriminator this file instead, cropped and resized as training pictures are;
    repeat the flag for several, drawn one below the other."""
    at: Annotated[tuple[str, ...], SWITCH] = ()
    """A query point in pixels, as x,y from the upper left; repeat the flag for several. By
    default five are chosen that look at different places."""
    grid: int | None = None
    """Ask at N x N evenly spaced points; N is at most the shorter side of the smallest attention
    map."""
    resolution: int | None = None
    """Which attention layers, by the height of their maps; all by default."""
    statistics: Annotated[bool, SWITCH] = False
    """Print entropy, largest weight, distance and long-range share of the attention, per layer and
    class."""
    samples: int | None = None
    """Pictures of each class that --statistics measures; 16 by default."""
    timeline: Annotated[bool, SWITCH] = False
    """Draw gamma, entropy, largest weight and one point's map over the checkpoints of a run folder,
    of which train.keep_checkpoints are kept. With --statistics: the long-range share against that
    of uniform attention, as a table, a figure and a CSV; of all runs in a folder of sagan
    ablate."""
    raw: Path | None = None
    """Write the attention weights too, as float32 .npy (points, keys); of several layers each
    into a file of its own. The points are printed in the order of the rows."""

    def __post_init__(self) -> None:
        given = {f"--{item.name}" for item in fields(self) if vars(self)[item.name] != item.default}
        for flag, others in _EXCLUDE.items():
            for other in others:
                if {flag, other} <= given:
                    raise SaganError(f"{flag} and {other} exclude each other; leave one out")
        if self.raw is not None and len(self.picture) > 1:
            raise SaganError("--raw takes the rows of one picture; give --picture once")
        if self.timeline and len(self.at) > 1:
            raise SaganError("--timeline follows one point; give --at once")
        if self.samples is not None and not self.statistics:
            raise SaganError("--samples counts only with --statistics; leave it out or add that")
        require_range("--samples", self.samples, 1, MOST_PICTURES)

    def points(self, model: TrainedNetwork) -> list[tuple[int, int]]:
        """The query points, none where they are to be chosen."""
        from sagan.images.queries import grid_points

        if self.grid is not None:
            smallest = min(model.attention_layers(self.resolution))
            return grid_points(self.grid, model.size, (smallest.height, smallest.width))
        return [parse_point(point) for point in self.at]


@app.command
def attention(
    model: Annotated[Path, MODEL],
    /,
    *,
    question: Annotated[Question, FLAGS] = Question(),
    output: Annotated[Path | None, OUTPUT] = None,
) -> None:
    """Draw where points of a picture look, as the SAGAN paper's Figure 1 does, or measure it.

    Of a generated picture it shows what the generator looks at, of a given one (--picture) what
    the discriminator looks at.

    Parameters
    ----------
    output
        The PNG file to write, attention.png by default; with --statistics a JSON file; with
        --statistics --timeline a PNG file, beside which a CSV file comes.
    """
    if question.statistics and question.timeline:
        _print_reach(model, question, output or Path("attention.png"))
        return
    if question.statistics:
        _print_statistics(model, question, output)
        return
    output = output or Path("attention.png")
    require_output(output, ".png")
    if question.raw is not None:
        require_output(question.raw, ".npy")
    (_draw_timeline if question.timeline else _draw)(model, question, output)


def _print_statistics(model: Path, question: Question, output: Path | None) -> None:
    if output is not None:
        require_output(output, ".json")
    from sagan.inspection import PICTURES, attention_statistics, statistics_json, statistics_table

    layers = attention_statistics(
        model,
        count=question.samples or PICTURES,
        label=question.class_name,
        layer=question.resolution,
    )
    print(statistics_table(layers))
    if output is not None:
        write_text(output, statistics_json(layers))
        print(output)


def _print_reach(folder: Path, question: Question, output: Path) -> None:
    require_output(output, ".png")
    table = output.with_suffix(".csv")
    require_output(table, ".csv")
    from sagan import images
    from sagan.images.chart import require_matplotlib
    from sagan.inspection import (
        PICTURES,
        attention_reach,
        reach_csv,
        reach_figure,
        reach_table,
    )

    require_matplotlib()
    layers = attention_reach(
        folder,
        count=question.samples or PICTURES,
        label=question.class_name,
        layer=question.resolution,
    )
    print(reach_table(layers))
    print(images.save_png(reach_figure(layers), output))
    write_text(table, reach_csv(layers))
    print(table)


def _draw_timeline(folder: Path, question: Question, output: Path) -> None:
    from sagan import images
    from sagan.inspection import attention_timeline

    figure = attention_timeline(
        folder,
        seed=question.seed or 0,
        label=question.class_name,
        point=parse_point(question.at[0]) if question.at else None,
        layer=question.resolution,
    )
    print(images.save_png(figure, output))


def _draw(model: Path, question: Question, output: Path) -> None:
    drawn = _observed(model, question)
    print(*drawn.lines(), sep="\n")
    print(drawn.save(output))
    if question.raw is not None:
        _save_rows(drawn, question.raw)


def _observed(model: Path, question: Question) -> Attention:
    """Of the pictures given, or else of a generated one."""
    import numpy as np

    from sagan.data.pixels import read_pixels
    from sagan.data.rules import Rules
    from sagan.sampling.generator import load_discriminator, load_generator

    label, layer = question.class_name, question.resolution
    if not question.picture:
        generator = load_generator(model)
        seeds = parse_seeds(question.seeds) if question.seeds else [question.seed or 0]
        require_range("--seeds: how many", len(seeds), 1, _MOST_DRAWN)
        at, truncation = question.points(generator), question.truncation
        return generator.attention(seeds, label, at=at, layer=layer, truncation=truncation)
    judge = load_discriminator(model)
    rules = Rules(size=judge.size, channels=judge.channels)
    pictures = np.stack([read_pixels(path, rules) for path in question.picture])
    names = [printable(path.name) for path in question.picture]
    return judge.attention(pictures, label, at=question.points(judge), layer=layer, names=names)


def _save_rows(drawn: Attention, path: Path) -> None:
    import numpy as np

    [points] = drawn.points
    listed = " ".join(f"{x},{y}" for x, y in points)
    for name, [rows] in drawn.rows.items():
        several = path.with_name(f"{path.stem}-{name}{path.suffix}")
        place = path if len(drawn.rows) == 1 else several
        with replacing(place) as draft, draft.open("wb") as file:
            np.save(file, rows)
        print(f"{place}: {len(points)} points {listed} of {rows.shape[1]} keys")
