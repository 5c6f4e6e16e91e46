"""Named settings, each with its source and what it gave there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sagan.config import Config, from_dict, nearest
from sagan.errors import SaganError


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Settings under a name."""

    title: str
    """What it is, in a line."""
    source: str
    """Where the values come from."""
    published: tuple[str, ...] = ()
    """Numbers to expect, each with where it stands; none where there is none we could check."""
    settings: dict[str, Any]
    """What differs from the defaults, which are the authors' values."""


PRESETS: dict[str, Preset] = {
    "avatars32": Preset(
        title="32 pixels, small enough for two CPU cores: the demo",
        source="tuned here on two CPU cores",
        published=(
            "FD 478, KID 637, class accuracy 0.999 in EfficientNet-Lite0 features"
            " (measured here, docs/results.md)",
        ),
        settings={
            "data": {"source": "avatars", "resolution": 32},
            "generator": {"base_channels": 16, "attention": (16,), "initialization": "orthogonal"},
            "discriminator": {
                "base_channels": 16,
                "attention": (16,),
                "initialization": "orthogonal",
            },
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
    ),
    "imagenet128": Preset(
        title="the released code's settings: 128 pixels, attention at 32 x 32 (feat32)",
        source="brain-research/self-attention-gan: train_imagenet.py, model.py, generator.py,"
        " discriminator.py, ops.py",
        published=(
            "IS 51.43, FID 18.28 (the paper's feat32, as PyTorch-StudioGAN's"
            " docs/figures/Reproducibility_.png quotes it)",
        ),
        settings={"train": {"ema_decay": 0.0}},
    ),
    "imagenet128-feat64": Preset(
        title="the paper's headline: the same with attention at 64 x 64 (feat64)",
        source="SAGAN paper, section 4, on the released code; attention where BigGAN-PyTorch's"
        " launch_SAGAN_bs128x2_ema.sh and mmgeneration's sagan_128x128.py have it",
        published=("IS 52.52, FID 18.65 (the paper's abstract)",),
        settings={
            "generator": {"attention": (64,)},
            "discriminator": {"attention": (64,)},
            "train": {"ema_decay": 0.0},
        },
    ),
    "imagenet128-baseline": Preset(
        title="the released code's baseline: the same without attention",
        source="brain-research/self-attention-gan: model.py, the flag baseline",
        settings={
            "generator": {"attention": ()},
            "discriminator": {"attention": ()},
            "train": {"ema_decay": 0.0},
        },
    ),
}


def preset(name: str) -> Config:
    """Returns the settings of a preset by name.

    Raises:
        SaganError: There is none of that name; names the nearest.
    """
    return from_dict(described(name).settings)


def described(name: str) -> Preset:
    """Returns a preset by name, with its description.

    Raises:
        SaganError: As for :func:`preset`.
    """
    if name not in PRESETS:
        raise SaganError(
            f"there is no preset {name!r}{nearest(name, PRESETS)}; "
            f"known are {', '.join(PRESETS)}, or give a .toml file"
        )
    return PRESETS[name]
