"""What an implementation must offer to be measured, and how one is found.

Ours is :mod:`benchmarks.ours`, the plain reference :mod:`benchmarks.naive`; any other stands beside
them with ``--against MODULE_OR_FILE:FACTORY`` and goes through the same lines.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Protocol

import torch
from torch import Tensor

from sagan.errors import SaganError

Batch = tuple[Tensor, Tensor]
"""uint8 (N, 3, R, R) and int64 (N,), on the device; one row passes the same batch every time."""


class Model(Protocol):
    """A generator and a discriminator with their optimisers."""

    def train_step(self, batch: Batch) -> None:
        """One update of the discriminator on these pictures, then one of the generator."""
        ...

    def sample(self, count: int) -> Tensor:
        """Draws pictures with the generator, ready for use: (count, 3, R, R) on the device."""
        ...


class Factory(Protocol):
    """Builds a model.

    It is called inside ``torch.device(...)`` and ``torch.autocast(...)`` contexts, which say where
    the model lives and in which precision its passes compute; :func:`surroundings` reads both.
    Later calls are made outside these contexts, so that a model decides itself what of its step is
    under autocast. NotImplementedError leaves the rows of this model empty.
    """

    def __call__(self, resolution: int, num_classes: int, width: int) -> Model:
        """Both networks of that base width, attention at :func:`attention_resolution`."""
        ...


def surroundings() -> tuple[torch.device, torch.autocast]:
    """The device and the precision for which the harness builds a model."""
    device = torch.get_default_device()
    kind = device.type
    enabled = torch.is_autocast_enabled(kind)
    return device, torch.autocast(kind, dtype=torch.get_autocast_dtype(kind), enabled=enabled)


def attention_resolution(resolution: int) -> int:
    """Where both networks have their attention layer: 32 x 32 as in the paper, or half the side."""
    return min(32, resolution // 2)


def load_factory(name: str) -> Factory:
    """Finds ``package.module:function`` or ``path/to/file.py:function``.

    The folder of a file is put on ``sys.path``.

    Raises:
        SaganError: There is no such module or function, or its import fails.
    """
    home, _, function = name.rpartition(":")
    if not home or not function:
        raise SaganError(f"cannot read --against {name}; write MODULE_OR_FILE:FACTORY")
    try:
        module = _import_file(Path(home)) if home.endswith(".py") else importlib.import_module(home)
    except Exception as error:  # whatever the file does when it is imported
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise SaganError(
            f"cannot import {home} of --against ({reason}); give a .py file or a module on "
            "PYTHONPATH"
        ) from error
    factory: Callable[..., Model] | None = getattr(module, function, None)
    if not callable(factory):
        raise SaganError(
            f"{home} has no function {function}; --against needs one of (resolution, num_classes, "
            "width), see benchmarks/adapters.py"
        )
    return factory


def _import_file(path: Path) -> ModuleType:
    path = path.expanduser().resolve()
    if not path.is_file():
        raise FileNotFoundError("there is no such file")
    sys.path.insert(0, str(path.parent))
    name = f"against_{path.stem}"  # a name that no other module has
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None, "the name ends in .py"
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module
