"""Named settings, each with its source."""

from __future__ import annotations

from typing import Any

from sagan.config import Config, from_dict, nearest
from sagan.errors import SaganError

# Each preset holds only what differs from the authors' values above.
PRESETS: dict[str, dict[str, Any]] = {
    # The demo: measured on two CPU cores, docs/results.md.
    "avatars32": {
        "data": {"source": "avatars", "resolution": 32},
        "generator": {"base_channels": 16, "attention": (16,), "initialization": "orthogonal"},
        "discriminator": {"base_channels": 16, "attention": (16,), "initialization": "orthogonal"},
        "optimizer": {
            "generator_lr": 2e-3,
            "discriminator_lr": 2e-3,
            "beta2": 0.99,
            "decay_start": 0.5,
        },
        "train": {
            "steps": 2800,
            "batch_size": 16,
            "discriminator_steps": 2,
            "ema_decay": 0.998,
            "precision": "float32",  # at this width bfloat16 brings nothing
            "fake_labels": "data",
            "sample_interval": 400,
        },
    },
    # The released code, train_imagenet.py: attention at 32 x 32 ("feat32").
    "imagenet128": {"train": {"ema_decay": 0.0}},
}


def preset(name: str) -> Config:
    """Returns a preset by name.

    Raises:
        SaganError: There is none of that name; names the nearest.
    """
    if name not in PRESETS:
        raise SaganError(
            f"there is no preset {name!r}{nearest(name, PRESETS)}; "
            f"known are {', '.join(PRESETS)}, or give a .toml file"
        )
    return from_dict(PRESETS[name])
