"""Takes the tensors out of another repository's network, one layer at a time."""

import math
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor
from torch.nn import functional as F

from sagan.errors import SaganError
from sagan.interop.foreign_files import ForeignNetwork
from sagan.interop.names import USED, Kind, Layout, NormNames, WeightForm


@dataclass
class TensorReader:
    """Takes tensors out of a foreign network and remembers where each of ours comes from."""

    layout: Layout
    network: ForeignNetwork
    state: dict[str, Tensor] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    tables_normalised: bool = False
    num_classes: int = 0

    def vector(self, ours: str, theirs: str) -> None:
        """A tensor of one axis; TensorFlow keeps statistics as (1, 1, 1, C)."""
        if (tensor := self.take(theirs)) is not None:
            flat = self.layout.separator == "/" and set(tensor.shape[:-1]) <= {1}
            self.put(ours, tensor.flatten() if flat and tensor.ndim else tensor, theirs)

    def number(self, ours: str, theirs: str) -> None:
        """A single number, stored with one axis or none."""
        if (tensor := self.take(theirs)) is not None:
            self.put(ours, tensor.view(()) if tensor.shape == (1,) else tensor, theirs)

    def take(self, key: str) -> Tensor | None:
        """A tensor by its key; None, and remembered, where it is missing."""
        if key not in self.network.tensors:
            self.missing.append(key)
            return None
        self.taken.add(key)
        return self.network.tensors[key]

    def put(self, ours: str, tensor: Tensor, theirs: str) -> None:
        """Keeps one of our tensors and the key it comes from."""
        self.state[ours] = tensor
        self.origin[ours] = theirs

    def weight(self, ours: str, theirs: str, kind: Kind, *, bias: bool = True) -> None:
        """A layer: its weight, its singular vectors and its bias."""
        if (found := self.normalised(theirs, kind)) is not None:
            weight, u, v, key = found
            self.put(f"{ours}.weight", weight, key)
            if u is not None and v is not None:
                self.put(f"{ours}.spectral_norm.u", u, f"u of {key}")
                self.put(f"{ours}.spectral_norm.v", v, f"v of {key}")
        if bias:
            end = "biases" if self.layout.separator == "/" and kind == "convolution" else "bias"
            self.vector(f"{ours}.bias", self.layout.join(theirs, end))

    def normalised(
        self, theirs: str, kind: Kind
    ) -> tuple[Tensor, Tensor | None, Tensor | None, str] | None:
        """A weight, the vectors with which its repository evaluates, and its key."""
        join = self.layout.join
        form = self._form(theirs, kind)
        key = join(theirs, form.weight)
        weight = self.take(key)
        u = self.take(join(theirs, form.u)) if form.u else None
        v = self.take(join(theirs, form.v)) if form.v else None
        if form.unused:
            self.take(join(theirs, form.unused))
        if weight is None or (form.u and u is None) or (form.v and v is None):
            return None
        if form.axes and weight.ndim == len(form.axes):
            weight = weight.permute(form.axes).contiguous()
        if u is None:
            return weight, None, None, key
        if form.u_axes == 2 and u.ndim == 2 and len(u) == 1:
            u = u[0]
        if u.shape != weight.shape[:1]:
            raise SaganError(
                f"{self.network.source}: {join(theirs, form.u)} has shape {tuple(u.shape)}, which "
                f"does not fit {key} of shape {tuple(weight.shape)}"
            )
        used = [join(theirs, name) for name in USED]
        if v is None and all(name in self.network.tensors for name in used):
            u, v = (self.take(name) for name in used)
            return weight, u, v, key
        if v is None:
            matrix, eps = weight.flatten(1), self.layout.spectral_norm_eps
            v = F.normalize(matrix.mT.mv(u), dim=0, eps=eps)
            u = F.normalize(matrix.mv(v), dim=0, eps=eps)
        return weight, u, v, key

    def _form(self, theirs: str, kind: Kind) -> WeightForm:
        """The form in which a weight is stored, or should be."""

        def fitting(form: WeightForm) -> tuple[bool, int, bool]:
            parts = [part for part in (form.weight, form.u, form.v) if part]
            found = sum(self.layout.join(theirs, part) in self.network.tensors for part in parts)
            return found == len(parts), found, bool(form.u) == self._has_vectors

        return max(self.layout.forms_of(kind), key=fitting)

    @cached_property
    def _has_vectors(self) -> bool:
        """Whether any weight is spectrally normalised."""
        ends = tuple(form.u for form in self.layout.forms if form.u)
        return any(key.endswith(ends) for key in self.network.tensors)

    def table(self, theirs: str) -> Tensor | None:
        """A table of one row per class, as the network uses it but for the gains' offset."""
        if (found := self.normalised(theirs, "table")) is None:
            return None
        weight, u, v, key = found
        if u is not None and v is not None:
            self.tables_normalised = True
            if (*u.shape, *v.shape) != weight.shape:
                raise SaganError(
                    f"{self.network.source}: {key} has shape {tuple(weight.shape)}, which its "
                    f"singular vectors of shapes {tuple(u.shape)} and {tuple(v.shape)} do not fit"
                )
            weight = weight / u.dot(weight.mv(v))
        return weight.mT if self.layout.tables_transposed and weight.ndim == 2 else weight

    def norm(self, ours: str, theirs: str, parts: NormNames) -> None:
        """A batch norm with one row per class."""
        join = self.layout.join
        gain_key, bias_key = join(theirs, parts.gain), join(theirs, parts.bias)
        if gain_key == bias_key:
            both = self.table(gain_key)
            gain, bias = both.chunk(2, dim=1) if both is not None and both.ndim == 2 else [None] * 2
        else:
            gain, bias = self.table(gain_key), self.table(bias_key)
        if gain is not None and bias is not None:
            self.num_classes = max(self.num_classes, gain.shape[:1].numel())
            self.put(f"{ours}.gain", gain + self.layout.gain_offset, gain_key)
            self.put(f"{ours}.bias", bias, bias_key)
        self._statistics(ours, theirs, parts)

    def plain_norm(self, ours: str, theirs: str, parts: NormNames) -> None:
        """A batch norm without classes: one row."""
        for name, part in (("gain", parts.gain), ("bias", parts.bias)):
            key = self.layout.join(theirs, part)
            if (tensor := self.take(key)) is not None:
                self.put(f"{ours}.{name}", tensor[None], key)
        self._statistics(ours, theirs, parts)

    def _statistics(self, ours: str, theirs: str, parts: NormNames) -> None:
        self.vector(f"{ours}.running_mean", self.layout.join(theirs, parts.mean))
        self.vector(f"{ours}.running_var", self.layout.join(theirs, parts.variance))

    def finish(self) -> None:
        """Checks that every tensor had its place, and every place its tensor."""
        surplus = [key for key in self.network.tensors if key not in self.taken]
        if self.missing or surplus:
            lacks = f"lacks {', '.join(self.missing)}" if self.missing else ""
            has = f"has no place for {', '.join(surplus)}" if surplus else ""
            fault = " and ".join(filter(None, [lacks, has]))
            raise SaganError(f"{self.network.source} does not fit {self.layout.title}: it {fault}")


def channel_plan(widths: list[int]) -> tuple[int, tuple[int, ...]]:
    """Base channels, and the multiples of them that these widths are."""
    base_channels = max(math.gcd(*widths), 1)
    return base_channels, tuple(max(width // base_channels, 1) for width in widths)
