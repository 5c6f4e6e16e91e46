"""What a trained generator and a trained discriminator have in common: classes, attention."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from sagan.config import Place, nearest
from sagan.errors import SaganError
from sagan.nn.folding import fold
from sagan.nn.layers import SelfAttention2d
from sagan.nn.residual import AnyDiscriminator, AnyGenerator
from sagan.nn.tracing import is_traced

Labels = str | int | Sequence[str | int] | np.ndarray | Tensor | None
"""One class for all pictures or one for each: names, numbers, or an array of numbers."""


class TrainedNetwork(nn.Module):
    """A network for inference: folded, with the names of its classes.

    Attributes:
        network: The folded network.
        class_names: () without classes.
        channels: Of the pictures: 1, 3 or 4.
        size: Height and width of the pictures in pixels.
        resolution: Their height.
        parameter_count: Of the network before it was folded.
    """

    kind: ClassVar[str]
    """generator or discriminator."""

    def __init__(
        self, network: AnyGenerator | AnyDiscriminator, class_names: Sequence[str]
    ) -> None:
        super().__init__()
        self.parameter_count = sum(parameter.numel() for parameter in network.parameters())
        self.network = fold(network)
        self.class_names = tuple(class_names)
        self.channels = network.channels
        self.size = network.size
        self.resolution = network.size[0]

    def __repr__(self) -> str:
        count = len(self.class_names)
        attention = ", ".join(map(str, self._attention())) or "none"
        height, width = self.size
        colours = {1: "grey, ", 3: "", 4: "with transparency, "}[self.channels]
        return (
            f"{type(self).__name__}({height} x {width} pixels, {colours}"
            f"{count or 'no'} class{'es' * (count != 1)}, {self.parameter_count:,} parameters, "
            f"attention: {attention})"
        )

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return next(self.network.parameters()).device

    def _attention(self, layer: int | str | None = None) -> dict[Place, SelfAttention2d]:
        layers = self.network.attention.by_place()
        return {p: x for p, x in layers.items() if layer is None or layer in (p.height, p.name)}

    def has_attention(self, layer: int | str | None = None) -> bool:
        """Whether :meth:`attention_layers` finds any."""
        return bool(self._attention(layer))

    def attention_layers(self, layer: int | str | None = None) -> dict[Place, SelfAttention2d]:
        """The attention layers by place, coarse to fine.

        Args:
            layer: Only those at maps of this height, such as 8, or the one of this name, such as
                "8-2"; None takes all.

        Raises:
            SaganError: The network has no attention (there).
        """
        if found := self._attention(layer):
            return found
        if known := ", ".join(place.name for place in self._attention()):
            raise SaganError(
                f"there is no attention at {layer}; this {self.kind} has it at {known}"
            )
        raise SaganError(
            f"this {self.kind} has no attention layer; train with --{self.kind}.attention"
        )

    def label_numbers(self, labels: Labels, count: int) -> Tensor:
        """Turns the classes of ``count`` pictures into int64 (count,).

        Args:
            labels: As for :func:`label_number`; an array or a tensor holds numbers, as data sets
                do.
            count: Pictures.

        Raises:
            SaganError: A class is unknown or ambiguous, or the counts differ.
        """
        if labels is None:
            if self.class_names:
                raise SaganError(f"choose a class; known are {', '.join(self.class_names)}")
            return torch.zeros(count, dtype=torch.int64)
        if isinstance(labels, Tensor):
            labels = labels.numpy(force=True)
        if isinstance(labels, np.ndarray) and labels.ndim == 0:
            labels = labels.item()
        if isinstance(labels, np.ndarray) and labels.dtype.kind in "iu":
            numbers = torch.from_numpy(labels.astype(np.int64))
            check_labels(numbers, len(self.class_names), len(numbers))
        else:
            given = labels.tolist() if isinstance(labels, np.ndarray) else labels
            several: Any = given
            if isinstance(given, str | bytes) or not isinstance(given, Sequence):
                several = [given] * count
            known = [label_number(label, self.class_names) for label in several]
            numbers = torch.tensor(known, dtype=torch.int64)
        if len(numbers) != count:
            raise SaganError(
                f"{len(numbers)} labels for {count} pictures; give one, or one for each picture"
            )
        return numbers

    def _placed(self, inputs: Tensor) -> Tensor:
        like = next(self.network.parameters())
        return inputs.to(like.device, like.dtype)

    @property
    def _checks_values(self) -> bool:
        """Not while a graph is recorded: checks of values stay outside of it."""
        return not (is_traced() or torch.compiler.is_compiling())

    def _labels(self, labels: Tensor | None, count: int) -> Tensor:
        """What the network is given as labels, on its device."""
        if labels is None:
            labels = self.label_numbers(None, count)
        if self._checks_values:
            check_labels(labels, len(self.class_names), count)
        return labels.to(self.device)


def label_number(label: str | int | np.integer, class_names: Sequence[str]) -> int:
    """Turns the name or number of a class into its number; 0 is the only one without classes.

    A text that is a class name means that class; any other text of digits, and any number, is the
    number of the class. A number is refused where a class of another number has it as its name.

    Raises:
        SaganError: It is unknown (lists the known ones) or ambiguous.
    """
    text = str(label)
    known = range(max(len(class_names), 1))
    number = int(text) if text.isdecimal() and len(text) < 10 else -1
    if text in class_names:
        named = class_names.index(text)
        if isinstance(label, str) or named == number:
            return named
        other = f", number {number} is {class_names[number]!r}" if number in known else ""
        raise SaganError(
            f"class {text} is ambiguous: {text!r} is the name of number {named}{other}; "
            f"give a name as text, such as {text!r}"
        )
    if number in known:
        return number
    if not class_names:
        raise SaganError(f"this model has no classes; leave {label!r} out")
    hint = nearest(label, class_names) if isinstance(label, str) else ""
    raise SaganError(f"there is no class {label!r}{hint}; known are {', '.join(class_names)}")


def check_labels(labels: Tensor, num_classes: int, count: int) -> None:
    """Checks the labels of ``count`` pictures, integers (N,) or shares (N, classes).

    Raises:
        SaganError: Their number or form is another, one is out of range, or shares do not sum to 1.
    """
    rows = max(num_classes, 1)
    if labels.is_floating_point():
        if labels.ndim != 2 or labels.shape[1] != rows:
            raise SaganError(
                f"shares of classes must have shape (N, {rows}); got {tuple(labels.shape)}"
            )
        sums = labels.sum(dim=1, dtype=torch.float32)
        if not torch.allclose(sums, torch.ones_like(sums), rtol=0, atol=1e-2):
            raise SaganError(
                f"shares of classes must sum to 1 for each picture; got {sums.tolist()}"
            )
    elif labels.ndim != 1:
        raise SaganError(f"labels must have shape (N,); got {tuple(labels.shape)}")
    elif len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < rows:
        raise SaganError(f"labels must lie between 0 and {rows - 1}; got {labels.tolist()}")
    if len(labels) != count:
        raise SaganError(f"{len(labels)} labels for {count} pictures; give one for each")
