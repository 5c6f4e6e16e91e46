"""The first weights of layers, which their constructors draw from torch's default generator."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

import torch
from torch import Tensor, nn

from sagan.config import Initialization
from sagan.errors import SaganError

_DRAW: Final[dict[Initialization, Callable[[Tensor], Tensor]]] = {
    "xavier": nn.init.xavier_uniform_,
    "orthogonal": nn.init.orthogonal_,
}
_CHOSEN: ContextVar[Initialization] = ContextVar("initialization", default="xavier")


@contextmanager
def initialized_by(how: Initialization) -> Iterator[None]:
    """Layers built within the block draw their weights this way; elsewhere they use Xavier.

    Args:
        how: "xavier" (uniform) or "orthogonal".

    Raises:
        SaganError: It is neither.

    Example:
        >>> with sagan.nn.initialized_by("orthogonal"):
        ...     weight = sagan.nn.Linear(64, 64).weight.detach()
        >>> torch.allclose(weight @ weight.T, torch.eye(64), atol=1e-5)
        True

    Source: Glorot and Bengio 2010; Saxe et al. 2014.
    """
    if how not in _DRAW:
        raise SaganError(f"there is no initialization {how!r}; known are {', '.join(_DRAW)}")
    token = _CHOSEN.set(how)
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def first_weight(*shape: int) -> Tensor:
    """Draws a weight of two dimensions or more, (out, in, ...)."""
    return _DRAW[_CHOSEN.get()](torch.empty(shape))
