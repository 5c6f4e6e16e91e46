"""Self-Attention GANs: train on your own pictures, see what the attention looks at.

generator = sagan.load_generator("runs/demo")
pictures = generator.sample(seeds=range(16), labels="cat")  # uint8 (16, 3, R, R)
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from sagan.errors import SaganError as SaganError

if TYPE_CHECKING:
    from sagan.sampling.generator import TrainedGenerator as TrainedGenerator
    from sagan.sampling.generator import load_discriminator as load_discriminator
    from sagan.sampling.generator import load_generator as load_generator

__all__ = ["SaganError", "TrainedGenerator", "load_discriminator", "load_generator"]
__version__ = version("sagan")


def __getattr__(name: str) -> Any:
    # Opening a model needs torch, which takes seconds to import.
    if name in __all__:
        return getattr(import_module("sagan.sampling.generator"), name)
    raise AttributeError(f"module 'sagan' has no attribute {name!r}")
