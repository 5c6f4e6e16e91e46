"""What is watched while a run trains: a fixed batch of noise, without a trace in the training."""

import math
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sagan.config import LossConfig
from sagan.data import Dataset
from sagan.data.opening import held_out_of
from sagan.errors import printable
from sagan.images import to_float, to_uint8
from sagan.images.variety import nearest_distance
from sagan.losses import discriminator_terms
from sagan.nn import spectral
from sagan.nn.kernels import kept_kernels
from sagan.runs import alarms
from sagan.runs.alarms import Alarms
from sagan.runs.events import ALARM
from sagan.sampling.generator import MOST_CLASSES, rows_of_class
from sagan.sampling.latents import draw_latents
from sagan.system.device import autocast
from sagan.system.randomness import normal
from sagan.system.spacing import from_the_first
from sagan.system.transfer import send
from sagan.training.focus import kept_buffers
from sagan.training.preparation import Preparation
from sagan.training.state import TrainingState

_DRAWN = 256  # that a check draws, at most
_DRAWN_BATCHES = 8  # the same in batches of the run
_OF_A_CLASS = (4, 64)  # fewest and most pictures
_JUDGED_PICTURES = 64  # pictures of each side that the discriminator is shown, at most
_NO_SLOPE = 0.01  # below this slope of the loss, of 1 for a logit that is all wrong
_CERTAIN = 4.0  # so many standard errors make a gap that others can be compared with
_SUBSPACE = 8  # dimensions of that in which a largest singular value is found
_SUBSPACE_ITERATIONS = 20


class FixedBatch(NamedTuple):
    """What is looked at again and again, classes in turn."""

    seeds: list[int]
    """Of the pictures to draw."""
    labels: Tensor
    """(N,), of drawn and real pictures."""
    images: np.ndarray
    """Real pictures, uint8 (N, C, H, W)."""
    distances: dict[int, float]
    """By class, how far apart the real ones are."""


class Guards:
    """Checks a run every ``train.watch_interval`` steps, and raises alarms.

    Draws none of the training's numbers; what a pass changes in the networks is put back.

    Args:
        state: Stays as it is.
        preparation: Of the run.
        log: Takes a record.
    """

    def __init__(
        self,
        state: TrainingState,
        preparation: Preparation,
        log: Callable[[Mapping[str, object]], None],
    ) -> None:
        self._state = state
        self._config = preparation.config
        self._dataset = preparation.dataset
        self._device = preparation.device
        self._autocast = autocast(self._config.train.precision, preparation.device)
        self._log = log
        self._alarms = Alarms()

    def continue_from(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Takes over what stands after the records of a log."""
        self._alarms = Alarms(records)

    def after(self, terms: Mapping[str, Tensor]) -> None:
        """Checks, if it is time to after this step; logs what it finds, and tells alarms.

        Args:
            terms: Of the step's loss.
        """
        interval, step = self._config.train.watch_interval, self._state.step
        if not interval or step % interval:
            return
        loss = torch.stack(list(terms.values())).abs().max().item()
        found = {alarms.LOSS: loss, **self.signals()}
        record = {"step": step, **{name: value for name, value in found.items() if _is_good(value)}}
        self._log(record)
        for change in self._alarms.check(record):
            self._log(change)
            told = f": {change['detail']}" if change["event"] == ALARM else " is over"
            sys.stderr.write(printable(f"step {step}, alarm {change['alarm']}{told}") + "\n")

    def remarks(self) -> list[str]:
        """A line about each alarm that stands."""
        return [printable(f"alarm {alarm}") + "\n" for alarm in self._alarms.standing.values()]

    @torch.no_grad()
    def signals(self) -> dict[str, Any]:
        """Measures now: numbers for the log, by their names there."""
        return {**self._of_pictures(), **self._of_weights()}

    @cached_property
    def _batch(self) -> FixedBatch:
        return fixed_batch(self._dataset, self._config.train.batch_size)

    @cached_property
    def _held_out(self) -> tuple[Tensor, Tensor] | None:
        """Pictures that training never shows, and labels as those of the judged ones."""
        if not self._config.data.held_out:
            return None
        kept = held_out_of(self._dataset, self._config.data)
        labels, counts = self._batch.labels[:_JUDGED_PICTURES].unique(return_counts=True)
        chosen = [
            rows_of_class(kept, label, count)
            for label, count in zip(labels.tolist(), counts.tolist(), strict=True)
        ]
        rows = np.concatenate(chosen)
        if not rows.size:
            return None
        return to_float(torch.from_numpy(kept.images[rows])), torch.from_numpy(kept.labels[rows])

    def _of_pictures(self) -> dict[str, Any]:
        batch = self._batch
        if not batch.seeds:
            return {}
        latents = draw_latents(batch.seeds, self._config.generator.latent_dim)
        drawn = self._passed(self._state.generator, latents, batch.labels)
        pictures = to_uint8(drawn).numpy()
        names = self._dataset.class_names or ("",)
        by_class = {
            names[label]: nearest_distance(pictures[batch.labels.numpy() == label]) / distance
            for label, distance in batch.distances.items()
        }
        return {
            alarms.VARIETY: alarms.variety_of(by_class),
            alarms.VARIETY_BY_CLASS: by_class,
            **self._of_logits(drawn[:_JUDGED_PICTURES]),
        }

    def _of_logits(self, drawn: Tensor) -> dict[str, float]:
        labels = self._batch.labels[:_JUDGED_PICTURES]
        reals = to_float(torch.from_numpy(self._batch.images[:_JUDGED_PICTURES]))
        judge = partial(self._passed, self._state.discriminator)
        real, fake = judge(reals, labels), judge(drawn, labels)
        gap = (real.mean() - fake.mean()).item()
        found = {alarms.GAP: gap, alarms.SATURATION: saturation(self._config.loss, real, fake)}
        error = ((real.var() + fake.var()) / len(real)).sqrt().item()
        if self._held_out and gap > _CERTAIN * error:
            held_out = judge(*self._held_out)
            found[alarms.MEMORY] = (real.mean() - held_out.mean()).item() / gap
        return found

    def _of_weights(self) -> dict[str, Any]:
        sigmas, raw = dict[str, float](), dict[str, float]()
        for name in ("generator", "discriminator"):
            for place, layer in getattr(self._state, name).named_modules():
                if isinstance(layer, spectral.SpectralLayer) and layer.spectral_norm is not None:
                    normalized = layer.normalized_weight
                    sigma = largest_singular_value(normalized.flatten(1))
                    sigmas[f"{name}.{place}"] = sigma
                    ratio = (layer.weight.norm() / normalized.norm()).item()
                    raw[f"{name}.{place}"] = sigma * ratio
        if not sigmas:
            return {}
        return {
            alarms.SIGMA: max(sigmas.values()),
            alarms.SIGMA_BY_LAYER: sigmas,
            alarms.SINGULAR_VALUE_BY_LAYER: raw,
        }

    def _passed(self, network: Any, given: Tensor, labels: Tensor) -> Tensor:
        """What a network makes of a batch, in portions as large as those of a step; on the CPU."""
        train = self._config.train
        portions = -(-len(given) // (train.batch_size // train.accumulate))
        with kept_buffers(network), kept_kernels(network, self._autocast), self._autocast:
            # Not compiled, which would be for batches of this size.
            found = [
                network.forward(send(some, self._device), send(of, self._device)).float()
                for some, of in zip(given.chunk(portions), labels.chunk(portions), strict=True)
            ]
        return torch.cat(found).cpu()


def fixed_batch(dataset: Dataset, batch_size: int) -> FixedBatch:
    """Chooses what is watched: of at most 16 classes as many pictures as a few batches hold."""
    shown = from_the_first(len(dataset.class_names), MOST_CLASSES).tolist() or [0]
    fewest, most = _OF_A_CLASS
    count = min(_DRAWN, _DRAWN_BATCHES * batch_size) // len(shown)
    rows: dict[int, np.ndarray] = {}
    distances: dict[int, float] = {}
    for label in shown:
        chosen = rows_of_class(dataset, label, max(fewest, min(most, count)))
        if len(chosen) >= fewest and (distance := nearest_distance(dataset.images[chosen])):
            rows[label], distances[label] = chosen, distance
    turns = sorted((seed, label) for label, of in rows.items() for seed in range(len(of)))
    order = np.array([rows[label][seed] for seed, label in turns], np.int64)
    return FixedBatch(
        seeds=[seed for seed, _ in turns],
        labels=torch.tensor([label for _, label in turns], dtype=torch.int64),
        images=dataset.images[order],
        distances=distances,
    )


def saturation(config: LossConfig, real_logits: Tensor, fake_logits: Tensor) -> float:
    """Share of logits at which the discriminator's loss has hardly any slope.

    Beyond the margin of the hinge, where a sigmoid is saturated, or at the target of least squares.

    Args:
        config: Names the loss.
        real_logits: (N,).
        fake_logits: (N,).
    """
    logits = torch.stack([real_logits, fake_logits]).detach().requires_grad_()
    with torch.enable_grad():
        loss = torch.stack(discriminator_terms(config, *logits)).sum()
        (slopes,) = torch.autograd.grad(loss, logits)
    return (slopes.abs() * logits.shape[1] < _NO_SLOPE).float().mean().item()


def largest_singular_value(matrix: Tensor) -> float:
    """The largest singular value of a matrix (N, M), to about a hundredth; NaN if it has one."""
    random = torch.Generator().manual_seed(0)
    columns = min(_SUBSPACE, *matrix.shape)
    basis = normal(matrix.shape[1], columns, random=random).to(matrix)
    for _ in range(_SUBSPACE_ITERATIONS):
        basis = torch.linalg.qr(matrix.mT @ (matrix @ basis)).Q
    product = matrix @ basis
    return torch.linalg.matrix_norm(product, 2).item() if product.isfinite().all() else math.nan


def _is_good(value: Any) -> bool:
    """Whether a signal can be written down: JSON knows no NaN."""
    numbers = value.values() if isinstance(value, dict) else (value,)
    return all(math.isfinite(number) for number in numbers)
