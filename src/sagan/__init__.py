"""Self-Attention GANs: train on your own pictures, see what the attention looks at.

generator = sagan.load_generator("avatars64")  # or a run folder: "runs/demo"
pictures = generator.sample(seeds=range(16), labels="cat")  # uint8 (16, 3, R, R)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sagan.errors import SaganError as SaganError

if TYPE_CHECKING:
    __version__: str
    from sagan import config as config
    from sagan import losses as losses
    from sagan import nn as nn
    from sagan.config import Config as Config
    from sagan.config.presets import preset as preset
    from sagan.data import open_dataset as open_dataset
    from sagan.evaluation import metrics as metrics
    from sagan.evaluation.evaluate import evaluate_model as evaluate
    from sagan.export.writing import export_model as export_model
    from sagan.runs.named import shipped_models as models
    from sagan.sampling.generator import TrainedGenerator as TrainedGenerator
    from sagan.sampling.generator import load_discriminator as load_discriminator
    from sagan.sampling.generator import load_generator as load_generator
    from sagan.training.run import train as train

# Imported when first asked for: most of them need torch, which takes seconds.
_HOME = {
    "Config": "sagan.config:Config",
    "TrainedGenerator": "sagan.sampling.generator:TrainedGenerator",
    "config": "sagan.config",
    "evaluate": "sagan.evaluation.evaluate:evaluate_model",
    "export_model": "sagan.export.writing:export_model",
    "load_discriminator": "sagan.sampling.generator:load_discriminator",
    "load_generator": "sagan.sampling.generator:load_generator",
    "losses": "sagan.losses",
    "metrics": "sagan.evaluation.metrics",
    "models": "sagan.runs.named:shipped_models",
    "nn": "sagan.nn",
    "open_dataset": "sagan.data:open_dataset",
    "preset": "sagan.config.presets:preset",
    "train": "sagan.training.run:train",
}

__all__ = [
    "Config",
    "SaganError",
    "TrainedGenerator",
    "config",
    "evaluate",
    "export_model",
    "load_discriminator",
    "load_generator",
    "losses",
    "metrics",
    "models",
    "nn",
    "open_dataset",
    "preset",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("sagan")
    if name not in _HOME:
        raise AttributeError(f"module 'sagan' has no attribute {name!r}")
    module, _, attribute = _HOME[name].partition(":")
    found = import_module(module)
    return getattr(found, attribute) if attribute else found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
