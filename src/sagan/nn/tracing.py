"""Whether a pass is computed, or written down as a graph for another machine."""

import torch


def is_traced() -> bool:
    """Whether ``torch.export``, ``torch.jit.trace`` or ``torch.onnx.export`` records this pass.

    What is recorded must hold for every batch size and every machine: no choice by the size of
    the batch, no operator of one processor.
    """
    is_tracing = torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    return is_tracing or torch.compiler.is_exporting()
