"""Our networks as the variables of the authors' TensorFlow code."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from sagan.interop.names import TENSORFLOW_FORMS, USED, Kind, NormNames, Role
from sagan.interop.state_writer import StateWriter, u_before
from sagan.system.files import replacing

_SCOPE = "model/"
_KIND_OF: Mapping[str, Kind] = {"linear": "linear", "embedding": "embedding"}


class VariableWriter(StateWriter):
    """Writes kernels as (height, width, in, out) and statistics as (1, 1, 1, C)."""

    def weight(self, ours: str, theirs: str, *, u0: bool = False) -> None:
        """A layer with the vector of its next power iteration, and the two of the last one.

        TensorFlow's code knows the first alone and finds the others from it; our reader takes
        those, which are exact to the bit.
        """
        form = TENSORFLOW_FORMS[_KIND_OF.get(ours, "convolution")]
        weight = self.tensors[f"{ours}.weight"]
        u, v = (self.tensors[f"{ours}.spectral_norm.{end}"] for end in "uv")
        before = u_before(weight, u, v, ours)
        bias = self.tensors.get(f"{ours}.bias")
        stored = weight
        if ours == "linear" and len(weight) > 1:  # a generator's, whose outputs are a map
            stored, u, before = (_channels_last(tensor) for tensor in (weight, u, before))
            bias = None if bias is None else _channels_last(bias)
        order = [form.axes.index(axis) for axis in range(weight.ndim)] if form.axes else [0, 1]
        self.put(theirs, form.weight, stored.permute(order))
        self.put(theirs, form.u, before[None])
        for name, vector in zip(USED, (u, v), strict=True):
            self.put(theirs, name, vector)
        if bias is not None:
            self.put(theirs, "bias" if ours == "linear" else "biases", bias)

    def table(self, path: str, table: Tensor) -> None:
        """One row per class, under the table's own name."""
        self.put("", path, table)

    def statistics(self, ours: str, theirs: str, parts: NormNames, eps: float) -> None:
        """Mean and variance; those of a batch norm with classes have four axes."""
        super().statistics(ours, theirs, parts, eps)
        if parts is self.layout.generator.norm_parts:
            for part in (parts.mean, parts.variance):
                key = self.layout.join(theirs, part)
                self.state[key] = self.state[key][None, None, None]


def write_variables(states: Mapping[Role, Mapping[str, Tensor]], step: int, folder: Path) -> Path:
    """Writes the variables of both networks as ``model.ckpt-STEP.npz``.

    Raises:
        OSError: The disk refuses.
    """
    path = folder / f"model.ckpt-{step}.npz"
    arrays = {
        f"{_SCOPE}{name}": tensor.numpy()
        for state in states.values()
        for name, tensor in state.items()
    }
    with replacing(path) as draft, draft.open("wb") as file:
        np.savez(file, global_step=np.int64(step), **arrays)  # type: ignore[arg-type]
    return path


def _channels_last(rows: Tensor) -> Tensor:
    """Reorders the first layer's outputs from (C, 4, 4) to (4, 4, C)."""
    return rows.unflatten(0, (-1, 4, 4)).movedim(0, 2).flatten(0, 2)
