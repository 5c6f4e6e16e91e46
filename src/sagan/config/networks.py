"""Settings of the two networks."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from sagan.config.checks import require

Initialization = Literal["xavier", "orthogonal"]
Architecture = Literal["residual", "dcgan"]
Upsampling = Literal["nearest", "bilinear"]
HiddenChannels = Literal["out", "in"]
ShortcutInput = Literal["raw", "relu"]
AttentionForm = Literal["attention", "residual"]
ClassTables = Literal["plain", "drawn", "spectral"]


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """The network that draws."""

    architecture: Architecture = "residual"
    """Residual blocks as released, or dcgan: transposed convolutions in a row, without classes."""
    base_channels: int = 64
    """Channels at the full resolution; deeper stages have 2, 4, 8, 16 times as many."""
    channels: tuple[int, ...] = ()
    """Channels from 4 x 4 pixels on, in multiples of base_channels; empty: by resolution."""
    latent_dim: int = 128
    """Length of the noise vector z, drawn from N(0, I)."""
    attention: tuple[int, ...] = (32,)
    """Resolutions (pixels) after whose block a self-attention layer stands; repeat the flag."""
    attention_form: AttentionForm = "attention"
    """What stands there: attention, or a residual block of equal size to compare it with."""
    attention_value_divisor: int = 2
    """The attention's value has this part of the channels (released code 2, paper's text 8)."""
    attention_pooling: bool = True
    """Max-pool the attention's key and value 2x2 (the paper's text does not)."""
    upsampling: Upsampling = "nearest"
    """How a residual block doubles height and width (mimicry: bilinear)."""
    initialization: Initialization = "xavier"
    """Distribution of the first weights (released code: Xavier uniform, biases 0)."""
    spectral_norm: bool = True
    """Divide every weight, but those of batch norm, by its largest singular value."""
    spectral_norm_eps: float = 1e-12
    """Lower bound of the norms in the power iteration (the released code adds it)."""
    class_tables: ClassTables = "plain"
    """Gains and biases of the conditional batch norm: 1 and 0 at first; drawn like the weights and
    1 added to the gains (BigGAN-PyTorch); drawn and also divided by their largest singular value
    (spectral: PyTorch-StudioGAN, mmgeneration)."""
    batch_norm_eps: float = 1e-5
    """Added to the variance in batch norm."""
    batch_norm_momentum: float = 0.001
    """Weight of the newest batch in the running statistics (released code: decay 0.999, last layer
    0.9999); pictures are drawn with statistics measured afresh on the averaged weights."""

    def __post_init__(self) -> None:
        _require_network("generator", self)
        require(self.latent_dim >= 1, "generator.latent_dim", self.latent_dim, "at least 1")
        require(
            self.batch_norm_eps > 0, "generator.batch_norm_eps", self.batch_norm_eps, "positive"
        )
        require(
            0 < self.batch_norm_momentum <= 1,
            "generator.batch_norm_momentum",
            self.batch_norm_momentum,
            "above 0 and at most 1",
        )


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    """The network that judges."""

    architecture: Architecture = "residual"
    """Residual blocks as released, or dcgan: strided convolutions in a row, without classes."""
    base_channels: int = 64
    """Channels after the first block; deeper blocks have 2, 4, 8, 16 times as many."""
    channels: tuple[int, ...] = ()
    """Channels after each block, in multiples of base_channels; empty: by resolution."""
    final_resolution: int = 4
    """Blocks halve the resolution down to this many pixels."""
    attention: tuple[int, ...] = (32,)
    """Resolutions (pixels) after whose block a self-attention layer stands; repeat the flag."""
    attention_blocks: tuple[int, ...] = ()
    """Instead: residual blocks, counted from 1, after which one stands, for blocks that do not
    halve the resolution (BigGAN-PyTorch at 32 pixels: after each)."""
    attention_form: AttentionForm = "attention"
    """What stands there: attention, or a residual block of equal size to compare it with."""
    attention_value_divisor: int = 2
    """The attention's value has this part of the channels (released code 2, paper's text 8)."""
    attention_pooling: bool = True
    """Max-pool the attention's key and value 2x2 (the paper's text does not)."""
    hidden_channels: HiddenChannels = "out"
    """Channels between a residual block's convolutions: as after it, or before it (mimicry)."""
    shortcut_input: ShortcutInput = "raw"
    """What a residual block's shortcut sees: its input before the ReLU, or after it, as where the
    ReLU works in place (PyTorch-StudioGAN, mimicry)."""
    initialization: Initialization = "xavier"
    """Distribution of the first weights (released code: Xavier uniform, biases 0)."""
    spectral_norm: bool = True
    """Divide every weight by its largest singular value."""
    spectral_norm_eps: float = 1e-12
    """Lower bound of the norms in the power iteration (the released code adds it)."""

    def __post_init__(self) -> None:
        _require_network("discriminator", self)
        require(
            not (self.attention and self.attention_blocks),
            "discriminator.attention_blocks",
            self.attention_blocks,
            "empty where attention is given by resolution; empty discriminator.attention",
        )


RESIDUAL_ONLY = (
    "attention_blocks",
    "attention_form",
    "attention_value_divisor",
    "attention_pooling",
    "upsampling",
    "class_tables",
    "hidden_channels",
    "shortcut_input",
)


def _require_network(name: str, config: GeneratorConfig | DiscriminatorConfig) -> None:
    for item in fields(config):
        if item.name in RESIDUAL_ONLY and config.architecture == "dcgan":
            value = getattr(config, item.name)
            require(
                value == item.default,
                f"{name}.{item.name}",
                value,
                "left out with dcgan, which has no choice there",
            )
    require(config.base_channels >= 1, f"{name}.base_channels", config.base_channels, "at least 1")
    require(
        all(n >= 1 for n in config.channels),
        f"{name}.channels",
        config.channels,
        "a list of positive multiples",
    )
    require(
        config.attention_value_divisor in (1, 2, 4, 8),
        f"{name}.attention_value_divisor",
        config.attention_value_divisor,
        "1, 2, 4 or 8",
    )
    require(
        config.spectral_norm_eps > 0,
        f"{name}.spectral_norm_eps",
        config.spectral_norm_eps,
        "positive",
    )
