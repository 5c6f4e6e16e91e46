"""Taking a model's weights into new networks: what fits by name and shape, classes by name.

Optimisers, the number of steps and LeCam's averages begin anew.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from sagan.errors import SaganError, enumerated
from sagan.nn.batch_norm import ConditionalBatchNorm2d
from sagan.nn.layers import Embedding
from sagan.nn.residual import Discriminator
from sagan.nn.spectral import SpectralLayer
from sagan.runs.checkpoint import Checkpoint
from sagan.training.state import POWER_ITERATIONS, TrainingState

LEAST_SHARE = 0.5
"""Of the weights that must fit: with less the run would train from scratch in silence."""
_SPECTRAL = ".spectral_norm."


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What new networks took from a model."""

    share: float
    """Of the weights of those new networks that the model has too, 0 to 1."""
    not_taken: tuple[str, ...] = ()
    """The model's tensors that have no place or another shape, with the reason."""
    fresh: tuple[str, ...] = ()
    """Tensors, or a whole network, that begin as drawn."""
    model_classes: tuple[str, ...] = ()
    """The names that the model has for its classes."""
    known_classes: tuple[str, ...] = ()
    """Classes of the run that the model knows by name."""
    new_classes: tuple[str, ...] = ()
    """The other classes of the run, which begin at the mean of the model's."""

    def lines(self) -> list[str]:
        """What was taken and what not, for people."""
        found = [f"{self.share:.0%} of the weights are the model's"]
        classes = self.known_classes + self.new_classes
        if classes and not self.model_classes:
            found.append("the model has no classes: all begin alike")
        elif self.model_classes and not classes:
            found.append(f"no classes: the mean of the model's {len(self.model_classes)} is taken")
        elif classes:
            found.append(f"classes that the model knows: {enumerated(self.known_classes)}")
        if self.new_classes and self.model_classes:
            found.append(f"new, at the mean of the model's classes: {enumerated(self.new_classes)}")
        if self.not_taken:
            found.append(f"not taken: {enumerated(self.not_taken)}")
        if self.fresh:
            found.append(f"as drawn: {enumerated(self.fresh)}")
        return found


@torch.no_grad()
def take_over(state: TrainingState, class_names: Sequence[str], model: Checkpoint) -> Transfer:
    """Gives the networks of a new state the weights of a model, as far as they fit.

    A weight keeps its singular vectors; those of a weight that is put together anew follow it by
    power iteration. A model without a discriminator, or with one generator only, will do.

    Args:
        state: Of step 0; changed in place.
        class_names: Of the run.
        model: Any checkpoint.

    Raises:
        SaganError: Less than half of the weights fit, a frozen one does not, or one is not finite;
            names the first.
    """
    matching = _Classes(class_names, model.class_names)
    given = dict(model.parts)
    average = given.get("generator_ema") or given.get("generator")
    sources = {
        "generator": given.get("generator") or average,
        "discriminator": given.get("discriminator"),
    }
    present = {part: tensors for part, tensors in sources.items() if tensors}
    taken = {
        part: _take(getattr(state, part), tensors, matching, part)
        for part, tensors in present.items()
    }
    found = _summed(state, present, taken, matching)
    if found.share < LEAST_SHARE:
        raise SaganError(
            f"only {found.share:.0%} of the weights fit, since the sizes differ: "
            f"{next(iter(found.not_taken), 'it has no network')}; leave out settings of generator, "
            "discriminator and data.resolution, which are then the model's"
        )
    for name, parameter in state.discriminator.named_parameters():
        if not parameter.requires_grad and name not in taken.get("discriminator", {}):
            raise SaganError(
                f"train.freeze_discriminator would keep discriminator.{name} as drawn, since the "
                "model has none that fits; freeze fewer blocks"
            )
    for part, tensors in taken.items():
        _load(getattr(state, part), tensors)
    if average:
        _load(state.generator_ema, _take(state.generator_ema, average, matching, "generator_ema"))
    absent = tuple(f"the {part}, which the model lacks" for part in sources.keys() - present.keys())
    return replace(found, fresh=absent + found.fresh)


class _Classes:
    """Which row of the model's class tables each class of a run takes.

    Args:
        names: Of the run's classes.
        model_names: Of the model's.
    """

    def __init__(self, names: Sequence[str], model_names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.model_names = tuple(model_names)
        row_of = {unicodedata.normalize("NFC", name): row for row, name in enumerate(model_names)}
        self.rows = [row_of.get(unicodedata.normalize("NFC", name)) for name in names]

    def table(self, table: Tensor, count: int) -> Tensor:
        """The rows of the run's classes, (count, ...); those that the model lacks are the mean."""
        by_name = len(table) == len(self.model_names) and count == len(self.names)
        rows = self.rows if by_name else [None] * count
        if len(table) == count and rows == list(range(count)):
            return table
        mean = table.mean(dim=0)
        return torch.stack([mean if row is None else table[row] for row in rows])


def _take(
    network: nn.Module, given: Mapping[str, Tensor], classes: _Classes, part: str
) -> dict[str, Tensor]:
    """What a network takes: the tensors that fit it, by its own names."""
    expected, taken = network.state_dict(), {}
    tables = set(_class_tables(network))
    for name, wanted in expected.items():
        if _SPECTRAL in name:
            continue
        value = _as_used(name, given, expected)
        if value is None or not value.is_floating_point():
            continue
        if name in tables and value.ndim == wanted.ndim:
            value = classes.table(value, len(wanted))
        if value.shape == wanted.shape:
            taken[name] = value
    for name, wanted in expected.items():
        weight = f"{name.partition(_SPECTRAL)[0]}.weight"
        is_same = weight in taken and taken[weight] is given.get(weight)
        if _SPECTRAL in name and is_same and name in given and given[name].shape == wanted.shape:
            taken[name] = given[name]
    for name, value in taken.items():
        if not value.isfinite().all():
            raise SaganError(f"{part}.{name} is not finite; give an earlier checkpoint")
    return taken


def _class_tables(network: nn.Module) -> list[str]:
    """The names of the tensors with a row per class, or with one row instead."""
    found = []
    for name, module in network.named_modules():
        if isinstance(module, Embedding):
            found.append(f"{name}.weight")
        elif isinstance(module, ConditionalBatchNorm2d):
            found += [f"{name}.gain", f"{name}.bias"]
    if isinstance(network, Discriminator) and network.classifier is not None:
        found += ["classifier.weight", "classifier.bias"]
    return found


def _as_used(
    name: str, given: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> Tensor | None:
    """The model's tensor of a name; divided by its sigma where the new network will not do so."""
    if name in given:
        layer = name.removesuffix(".weight")
        is_divided = f"{layer}{_SPECTRAL}u" in given and name.endswith(".weight")
        is_kept = not is_divided or f"{layer}{_SPECTRAL}u" in expected
        return given[name] if is_kept else _divided(layer, given)
    table = _divided(name, given)  # class tables may be spectral there and plain here
    return table + 1 if table is not None and name.endswith(".gain") else table


def _divided(layer: str, given: Mapping[str, Tensor]) -> Tensor | None:
    """A weight over its sigma; None where it has none."""
    ends = (".weight", f"{_SPECTRAL}u", f"{_SPECTRAL}v")
    weight, u, v = (given.get(layer + end) for end in ends)
    if weight is None or u is None or v is None or weight.ndim < 2:
        return None
    matrix = weight.flatten(1)
    return weight / u.dot(matrix.mv(v)) if (*u.shape, *v.shape) == matrix.shape else None


def _load(network: nn.Module, taken: Mapping[str, Tensor]) -> None:
    network.load_state_dict({**network.state_dict(), **taken})
    for name, layer in network.named_modules():
        is_changed = f"{name}.weight" in taken and f"{name}{_SPECTRAL}v" not in taken
        if isinstance(layer, SpectralLayer) and layer.spectral_norm is not None and is_changed:
            layer.spectral_norm.advance(layer.weight, POWER_ITERATIONS)


def _summed(
    state: TrainingState,
    given: Mapping[str, Mapping[str, Tensor]],
    taken: Mapping[str, Mapping[str, Tensor]],
    classes: _Classes,
) -> Transfer:
    fitting, total, not_taken, fresh = 0, 0, [], []
    for part, tensors in given.items():
        network = getattr(state, part)
        expected = network.state_dict()
        for name, parameter in network.named_parameters():
            total += parameter.numel()
            fitting += parameter.numel() if name in taken[part] else 0
        used = {f"{name}.weight" for name in taken[part]} | taken[part].keys()
        for name in sorted(name for name in tensors.keys() - used if _SPECTRAL not in name):
            reason = "no place"
            if name in expected:
                reason = f"{tuple(tensors[name].shape)} there, {tuple(expected[name].shape)} here"
            not_taken.append(f"{part}.{name} ({reason})")
        fresh += [f"{part}.{n}" for n in expected if n not in taken[part] and _SPECTRAL not in n]
    pairs = list(zip(classes.names, classes.rows, strict=True))
    return Transfer(
        share=fitting / max(total, 1),
        not_taken=tuple(not_taken),
        fresh=tuple(fresh),
        model_classes=classes.model_names,
        known_classes=tuple(name for name, row in pairs if row is not None),
        new_classes=tuple(name for name, row in pairs if row is None),
    )
