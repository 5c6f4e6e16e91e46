"""The first weights of layers, which their constructors draw from torch's default generator."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Final

import torch
from torch import Tensor, nn

from sagan.config import FirstBiases, Initialization
from sagan.config.checks import require_choice

_DRAW: Final[dict[Initialization, Callable[[Tensor], Tensor]]] = {
    "xavier": nn.init.xavier_uniform_,
    "orthogonal": nn.init.orthogonal_,
    "pytorch": partial(nn.init.kaiming_uniform_, a=5**0.5),
}
_CHOSEN: ContextVar[Initialization] = ContextVar("initialization", default="xavier")
_BIASES: ContextVar[FirstBiases] = ContextVar("first_biases", default="zero")
_IS_DRAWN: ContextVar[bool] = ContextVar("is_drawn", default=True)


@contextmanager
def initialized_by(how: Initialization, biases: FirstBiases = "zero") -> Iterator[None]:
    """Layers built within the block begin this way; elsewhere they use Xavier, and biases are 0.

    Args:
        how: "xavier" (uniform), "orthogonal", or "pytorch", the default of its layers.
        biases: "zero", or "drawn" as PyTorch's layers draw them.

    Raises:
        SaganError: One is none of these.

    Example:
        >>> with sagan.nn.initialized_by("orthogonal"):
        ...     weight = sagan.nn.Linear(64, 64).weight.detach()
        >>> torch.allclose(weight @ weight.T, torch.eye(64), atol=1e-5)
        True

    Source: Glorot and Bengio 2010; Saxe et al. 2014.
    """
    require_choice("initialization", how, Initialization)
    require_choice("biases", biases, FirstBiases)
    chosen, drawn = _CHOSEN.set(how), _BIASES.set(biases)
    try:
        yield
    finally:
        _CHOSEN.reset(chosen)
        _BIASES.reset(drawn)


@contextmanager
def undrawn() -> Iterator[None]:
    """Weights and singular vectors of layers built within the block have memory, but no values.

    For networks whose tensors are all read from somewhere next. Nothing random is drawn.
    """
    drawn = _IS_DRAWN.set(False)
    try:
        yield
    finally:
        _IS_DRAWN.reset(drawn)


def is_drawn() -> bool:
    """Whether first values matter here."""
    return _IS_DRAWN.get()


def first_weight(*shape: int) -> Tensor:
    """Draws a weight of two dimensions or more, (out, in, ...)."""
    weight = torch.empty(shape)
    return _DRAW[_CHOSEN.get()](weight) if is_drawn() else weight


def first_bias(count: int, weight: Tensor) -> Tensor:
    """Zeros, or draws from within 1 / sqrt(fan-in), (count,).

    Args:
        count: Channels that come out.
        weight: Of the layer; its rows have as many numbers as PyTorch counts inputs.
    """
    if _BIASES.get() == "zero" or not is_drawn():
        return torch.zeros(count)
    bound = weight[0].numel() ** -0.5
    return torch.empty(count).uniform_(-bound, bound)
