"""Commands that carry a model elsewhere: export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sagan.cli.program import app


@app.command
def export(model: Path, /, *, output: Annotated[Path, Parameter(name=["--output", "-o"])]) -> None:
    """Write the averaged generator and the discriminator alone: a small file for use elsewhere.

    Parameters
    ----------
    model
        A run folder or a checkpoint.
    output
        The .safetensors file to write.
    """
    from sagan.runs.checkpoint import save
    from sagan.runs.run import load_checkpoint
    from sagan.sampling.generator import for_inference
    from sagan.system.files import require_output

    require_output(output, ".safetensors", inputs=[model])
    checkpoint, _ = load_checkpoint(model)
    save(for_inference(checkpoint), output)
    print(output)
