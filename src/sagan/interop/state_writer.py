"""The tensors of one network under another repository's names, and the vectors it starts from."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from sagan.errors import SaganError
from sagan.interop.expressible import require_unit_tables
from sagan.interop.names import AJBROCK, HOOK, Layout, NormNames

SAME_SIGMA = 1e-6  # relative


class StateWriter:
    """Collects the tensors of one network under another repository's names.

    Args:
        layout: The repository's.
        tensors: Of our network.
    """

    def __init__(self, layout: Layout, tensors: Mapping[str, Tensor]) -> None:
        self.layout = layout
        self.tensors = tensors
        self.state: dict[str, Tensor] = {}

    def put(self, path: str, part: str, tensor: Tensor) -> None:
        """Keeps a copy under the repository's name."""
        copy = tensor.clone(memory_format=torch.contiguous_format)
        self.state[self.layout.join(path, part)] = copy

    def weight(self, ours: str, theirs: str, *, u0: bool = False) -> None:
        """A layer, with its singular vectors as the repository keeps them."""
        weight, bias = self.tensors[f"{ours}.weight"], self.tensors.get(f"{ours}.bias")
        u, v = (self.tensors.get(f"{ours}.spectral_norm.{end}") for end in "uv")
        if bias is not None:
            self.put(theirs, "bias", bias)
        if u is None or v is None:
            self.put(theirs, "weight", weight)
        elif u0 or self.layout.forms[0] is AJBROCK:
            self.put(theirs, AJBROCK.weight, weight)
            self.put(theirs, AJBROCK.u, u_before(weight, u, v, ours)[None])
            self.put(theirs, "sv0", u.dot(weight.flatten(1).mv(v))[None])
        else:
            self.hooked(theirs, weight, u, v)

    def hooked(self, path: str, weight: Tensor, u: Tensor, v: Tensor) -> None:
        """A weight and its vectors as torch.nn.utils.spectral_norm names them."""
        for name, tensor in ((HOOK.weight, weight), (HOOK.u, u), (HOOK.v, v)):
            self.put(path, name, tensor)

    def table(self, path: str, table: Tensor) -> None:
        """One row per class."""
        if self.layout.tables_transposed:
            table = table.T
        if self.layout.name == "studiogan" and "linear.spectral_norm.u" in self.tensors:
            self.hooked(path, table, *require_unit_tables(table, path))
        else:
            self.put(path, "weight", table)

    def plain_norm(self, ours: str, theirs: str, eps: float) -> None:
        """A batch norm without classes."""
        parts = self.layout.generator.last_norm_parts
        self.put(theirs, parts.gain, self.tensors[f"{ours}.gain"][0])
        self.put(theirs, parts.bias, self.tensors[f"{ours}.bias"][0])
        self.statistics(ours, theirs, parts, eps)

    def statistics(self, ours: str, theirs: str, parts: NormNames, eps: float) -> None:
        """Mean and variance; the variance makes up for another eps."""
        variance = self.tensors[f"{ours}.running_var"] + (eps - self.layout.batch_norm_eps)
        self.put(theirs, parts.mean, self.tensors[f"{ours}.running_mean"])
        self.put(theirs, parts.variance, variance)
        if parts.mean.endswith("running_mean"):
            counter = parts.mean.removesuffix("running_mean") + "num_batches_tracked"
            self.put(theirs, counter, torch.zeros((), dtype=torch.int64))


def u_before(weight: Tensor, u: Tensor, v: Tensor, layer: str) -> Tensor:
    """The vector from which one power iteration leads to sigma = u^T W v.

    Raises:
        SaganError: None was found, since u and v do not belong to one iteration.
    """
    matrix = weight.flatten(1).double()
    sigma = u.double() @ matrix @ v.double()
    attempts: tuple[Callable[[], Tensor], ...] = (
        lambda: u.double(),
        lambda: torch.linalg.lstsq(matrix.T, v.double()[:, None], driver="gelsd").solution[:, 0],
    )
    difference = torch.inf
    for attempt in attempts:
        before = F.normalize(attempt(), dim=0)
        found = matrix.mv(F.normalize(matrix.T.mv(before), dim=0)).norm()
        difference = min(difference, float((found / sigma - 1).abs()))
        if difference <= SAME_SIGMA:
            return before.float()
    raise SaganError(
        f"one power iteration more, which it runs at every use, changes sigma of {layer} by "
        f"{difference:.0e}; PyTorch-StudioGAN and mmgeneration keep both vectors"
    )
