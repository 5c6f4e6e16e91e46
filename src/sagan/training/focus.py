"""What the attention of both networks does while they train, without a trace in the training."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from sagan.images import to_float
from sagan.nn.focus import Focus, focus_of
from sagan.runs.attention_log import LoggedLayer, attention_key
from sagan.sampling.attention import captured_inputs
from sagan.sampling.latents import draw_latents
from sagan.system.device import autocast
from sagan.system.spacing import with_both_ends
from sagan.system.transfer import send
from sagan.training.preparation import Preparation
from sagan.training.state import TrainingState

_WATCHED = 8
_EARLY = 500
"""Steps before which nothing is said: gamma begins at 0 and has hardly moved."""


class AttentionWatch:
    """Measures on the same few pictures again and again; draws none of the training's numbers.

    The generator, with the batch statistics of these pictures, draws some of fixed seeds; the
    discriminator is shown some real ones.

    Args:
        state: Stays as it is.
        preparation: Of the run.
    """

    def __init__(self, state: TrainingState, preparation: Preparation) -> None:
        dataset, train = preparation.dataset, preparation.config.train
        count = min(_WATCHED, train.batch_size)  # no more memory than a step takes
        rows = with_both_ends(len(dataset), count)
        self._state = state
        self._device = preparation.device
        self._autocast = autocast(train.precision, preparation.device)
        self._labels = torch.from_numpy(dataset.labels[rows])
        self._inputs = {
            "generator": draw_latents(range(len(rows)), preparation.config.generator.latent_dim),
            "discriminator": to_float(torch.from_numpy(dataset.images[rows])),
        }
        self._found: dict[LoggedLayer, Focus] = {}

    def terms(self) -> dict[str, float]:
        """Measures now: numbers for the log, by their names there."""
        terms: dict[str, float] = {}
        self._found = {}
        for network in self._inputs:
            for place, layer in getattr(self._state, network).attention.items():
                gamma = attention_key("gamma", LoggedLayer(network, place))
                terms[gamma] = layer.gamma.item()
            for layer, focus in self._measured(network).items():
                self._found[layer] = focus
                terms[attention_key("attention_entropy", layer)] = round(focus.entropy, 4)
                terms[attention_key("attention_peak", layer)] = round(focus.peak, 4)
        return terms

    def remarks(self) -> list[str]:
        """Lines about layers that were saturated, uniform or hardly used when measured last."""
        if self._state.step < _EARLY:
            return []
        return [
            f"note: the {layer.network}'s attention at {layer.place} is {focus.remark}\n"
            for layer, focus in self._found.items()
            if focus.remark
        ]

    @torch.no_grad()
    def _measured(self, name: str) -> dict[LoggedLayer, Focus]:
        network: Any = getattr(self._state, name)
        layers = network.attention.by_place()
        if not layers:
            return {}
        given, labels = send(self._inputs[name], self._device), send(self._labels, self._device)
        with kept_buffers(network), captured_inputs(layers) as seen, self._autocast:
            network.forward(given, labels)  # not compiled, which would be for batches of this size
        return {LoggedLayer(name, p.name): focus_of(layers[p], x) for p, x in seen.items()}


@contextmanager
def kept_buffers(network: nn.Module) -> Iterator[None]:
    """Puts back what a pass within changes, which are batch statistics."""
    before = [buffer.clone() for buffer in network.buffers()]
    try:
        yield
    finally:
        for buffer, value in zip(network.buffers(), before, strict=True):
            buffer.copy_(value)
