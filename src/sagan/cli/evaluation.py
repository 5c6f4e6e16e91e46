"""The command evaluate."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sagan.cli.parsing import require_range
from sagan.cli.program import app
from sagan.errors import SaganError
from sagan.evaluation.measures import METRICS
from sagan.evaluation.selection import Selection

_MEANINGS = ", ".join(f"{metric.key} ({metric.meaning})" for metric in METRICS.values())


@app.command
def evaluate(
    subject: str | None = None,
    /,
    *,
    metrics: Annotated[str, Parameter(help=f"Comma-separated: {_MEANINGS}, or all.")] = "all",
    selection: Annotated[Selection, Parameter(name="*")] = Selection(),
    extractor: str = "efficientnet-lite0",
    weights: Path | None = None,
    device: str = "auto",
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    compare: Annotated[tuple[Path, ...], Parameter(consume_multiple=True, negative=())] = (),
) -> None:
    """Measure how close pictures come to real ones, and record how it was measured.

    The same command continues after an interruption; features of real pictures are kept for the
    next time.

    Parameters
    ----------
    subject
        Whose pictures: a run folder, a checkpoint, an exported file, a folder of pictures, or a
        packed .npz or .npy.
    selection
        Which pictures.
    extractor
        Feature network: efficientnet-lite0 (offline), inception (the one of FID), clip-vit-b-32,
        clip-vit-l-14, dinov2-vit-b-14 or dinov2-vit-l-14.
    weights
        File of the feature network's weights, where it is not found by itself.
    device
        auto, cpu, cuda or mps.
    output
        The record to write, .json; by default in the run's folder evaluations, or evaluation.json.
    compare
        Print records side by side instead; refused where they were measured differently.
    """
    from sagan.evaluation.record import (
        comparison,
        read_record,
        record_path,
        write_record,
    )

    if compare:
        if subject is not None or len(compare) < 2:
            raise SaganError("--compare takes two records or more, and nothing else")
        print(comparison([read_record(path) for path in compare]))
        return
    if subject is None:
        raise SaganError("nothing to measure; give a model, a folder of pictures, or --compare")

    from sagan import images
    from sagan.evaluation.evaluate import evaluate_model
    from sagan.system.files import require_output

    if output is not None:
        require_output(output, ".json")
    require_range("--resolution", selection.resolution, 1, 4096)
    record = evaluate_model(
        subject,
        **vars(selection),
        metrics=metrics,
        extractor=extractor,
        weights=weights,
        device=device,
    )
    record = replace(record, command=shlex.join(["sagan", *sys.argv[1:]]))
    path = write_record(record, output or record_path(record))
    print(f"{record}\n")
    print(path)
    if record.neighbour_sheet is not None:
        print(images.save_png(record.neighbour_sheet, path.with_suffix(".png")))
