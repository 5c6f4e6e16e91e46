"""Commands that judge: evaluate, report."""

import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sagan.cli.parsing import FLAGS, OUTPUT, require_range
from sagan.cli.program import app
from sagan.errors import SaganError
from sagan.evaluation.measures import METRICS
from sagan.evaluation.selection import Selection
from sagan.system.files import require_output

_MEANINGS = ", ".join(f"{metric.key} ({metric.meaning})" for metric in METRICS.values())


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What to measure, and with which network."""

    metrics: Annotated[str, Parameter(help=f"Comma-separated: {_MEANINGS}, or all.")] = "all"
    extractor: str = "efficientnet-lite0"
    """Feature network: efficientnet-lite0 (offline), inception (the one of FID), clip-vit-b-32,
    clip-vit-l-14, dinov2-vit-b-14 or dinov2-vit-l-14."""
    weights: Path | None = None
    """File of the feature network's weights, where they are not found automatically."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""


@app.command
def evaluate(
    subject: str | None = None,
    /,
    *,
    measure: Annotated[Measure, FLAGS] = Measure(),
    selection: Annotated[Selection, FLAGS] = Selection(),
    output: Annotated[Path | None, OUTPUT] = None,
    compare: Annotated[
        tuple[Path, ...], Parameter(consume_multiple=True, negative=(), show_default=False)
    ] = (),
) -> None:
    """Measure how close pictures come to real ones, and record how it was measured.

    The same command continues after an interruption; features of real pictures are kept for the
    next time.

    Parameters
    ----------
    subject
        Whose pictures: a run folder, a .safetensors file, the name of a model (sagan models),
        hf:OWNER/NAME, a folder of pictures, or a packed .npz or .npy.
    output
        The record to write, .json; by default in the run's folder evaluations, or else here, with
        the name of what is measured.
    compare
        Print records side by side instead; refused where they were measured differently.
    """
    from sagan.evaluation import record as records

    if compare:
        if subject is not None or len(compare) < 2:
            raise SaganError("--compare takes two records or more, and nothing else")
        print(records.comparison([records.read_record(path) for path in compare]))
        return
    if subject is None:
        raise SaganError("nothing to measure; give a model, a folder of pictures, or --compare")

    from sagan import images
    from sagan.evaluation.evaluate import evaluate_model

    require_output(output or records.record_folder(subject) / "new record.json", ".json")
    require_range("--resolution", selection.resolution, 1, 4096)
    record = evaluate_model(subject, **vars(selection), **vars(measure))
    record = replace(record, command=shlex.join(["sagan", *sys.argv[1:]]))
    print(f"{record}\n")
    path = records.write_record(record, output or records.record_path(record))
    print(path)
    if record.neighbour_sheet is not None:
        print(images.save_png(record.neighbour_sheet, path.with_suffix(".png")))


@app.command
def report(run: Path, /, *, output: Annotated[Path | None, OUTPUT] = None) -> None:
    """Write one HTML page about a run: verdict, pictures, curves, attention, neighbours, records.

    The page needs no internet connection and can be sent to anybody as it is.

    Parameters
    ----------
    run
        The run folder.
    output
        The file to write; by default report.html in the run folder.
    """
    from sagan.report import write_report

    require_output(output or run / "report.html", ".html", ".htm")
    print(write_report(run, output))
