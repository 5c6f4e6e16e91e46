"""The residual blocks of both networks, of the folded layers."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sagan.config import (
    ClassTables,
    GeneratorConfig,
    HiddenChannels,
    Place,
    ShortcutInput,
    Stage,
    Upsampling,
)
from sagan.config.checks import require, require_choice
from sagan.nn.batch_norm import ConditionalBatchNorm2d
from sagan.nn.convolution import (
    BilinearUpsampleConv2d,
    Conv2d,
    DownsampleConv2d,
    UpsampleConv2d,
)
from sagan.nn.layers import SelfAttention2d
from sagan.nn.resizing import half_sized, plus, plus_double_sized


class AttentionLayers(nn.ModuleDict):
    """The attention of a network: a layer for each stage that has a place for one.

    Args:
        stages: Those of the network after which attention may stand.
        layer: Builds a layer for a number of channels.

    Attributes:
        places: Of each stage, or None. The layers are called by the names of their places.
    """

    def __init__(self, stages: Sequence[Stage], layer: Callable[[int], nn.Module]) -> None:
        layers = {s.attention.name: layer(s.channels) for s in stages if s.attention is not None}
        super().__init__(layers)
        self.places = tuple(stage.attention for stage in stages)

    def after(self, stage: int, x: Tensor) -> Tensor:
        """Passes the map (N, C, H, W) in which a stage ends through its attention, if any."""
        place = self.places[stage]
        return x if place is None else self[place.name](x)

    def by_place(self) -> dict[Place, SelfAttention2d]:
        """The layers coarse to fine, but for residual blocks that stand in place of attention."""
        layers = {place: self[place.name] for place in sorted(filter(None, self.places))}
        return {k: layer for k, layer in layers.items() if isinstance(layer, SelfAttention2d)}


class EqualResidual2d(nn.Module):
    """What attention is compared with: a residual block of equal size, y = x + gamma * out.

    A 3x3 convolution into a few channels, a ReLU, a 1x1 convolution back; no bias, gamma starting
    at 0 as in attention. With the released attention's C/2 value channels the parameters are as
    many to the last one, 5/4 C^2 + 1, where C is a multiple of 8; else as nearly as whole channels
    allow.

    Source: SAGAN paper, section 4.1, which replaces self-attention by "a residual block with the
    same number of parameters" and says no more of it.

    Args:
        channels: C.
        value_divisor: Of the attention to compare with.

    Example:
        >>> layer = sagan.nn.EqualResidual2d(64)
        >>> layer(torch.randn(2, 64, 16, 16)).shape
        torch.Size([2, 64, 16, 16])
    """

    def __init__(self, channels: int, *, value_divisor: int = 2) -> None:
        super().__init__()
        require(1 <= value_divisor <= 8, "value_divisor", value_divisor, "from 1 to 8")
        hidden = max(1, round(channels * (1 / 4 + 2 / value_divisor) / 10))
        self.conv = Conv2d(channels, hidden, 3, bias=False)
        self.out = Conv2d(hidden, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return x + self.gamma * self.out(F.relu_(self.conv(x)))


class GeneratorBlock(nn.Module):
    """Residual block that doubles height and width.

    Args:
        in_channels: Of its input.
        out_channels: Of its output.
        num_classes: Of its batch norms; 0 without classes.
        batch_norm_eps: As for :class:`ConditionalBatchNorm2d`.
        batch_norm_momentum: As for :class:`ConditionalBatchNorm2d`.
        class_tables: As for :class:`ConditionalBatchNorm2d`.
        latent_dim: As for :class:`ConditionalBatchNorm2d`.
        upsampling: "nearest" or "bilinear".

    Source: released code ``generator.py``, ``block``; the 1x1 shortcut runs before the upsampling,
    with which it commutes.

    Example:
        >>> block = sagan.nn.GeneratorBlock(64, 32)
        >>> block(torch.randn(2, 64, 8, 8)).shape
        torch.Size([2, 32, 16, 16])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_classes: int = 0,
        *,
        batch_norm_eps: float = GeneratorConfig.batch_norm_eps,
        batch_norm_momentum: float = GeneratorConfig.batch_norm_momentum,
        class_tables: ClassTables = "plain",
        latent_dim: int = 0,
        upsampling: Upsampling = "nearest",
    ) -> None:
        super().__init__()
        require_choice("upsampling", upsampling, Upsampling)
        self.upsampling: Upsampling = upsampling
        upsample = {"nearest": UpsampleConv2d, "bilinear": BilinearUpsampleConv2d}[upsampling]
        batch_norm = partial(
            ConditionalBatchNorm2d,
            eps=batch_norm_eps,
            momentum=batch_norm_momentum,
            tables=class_tables,
            latent_dim=latent_dim,
        )
        self.norm1 = batch_norm(in_channels, num_classes)
        self.conv1 = upsample(in_channels, out_channels)
        self.norm2 = batch_norm(out_channels, num_classes)
        self.conv2 = Conv2d(out_channels, out_channels, 3)
        self.shortcut = Conv2d(in_channels, out_channels, 1)

    def forward(
        self, x: Tensor, labels: Tensor | None = None, latents: Tensor | None = None
    ) -> Tensor:
        """(N, in, H, W), labels as for ``class_rows``, (N, latent_dim) -> (N, out, 2H, 2W)."""
        h = self.conv1(F.relu_(self.norm1(x, labels, latents)))
        h = self.conv2(F.relu_(self.norm2(h, labels, latents)))
        return plus_double_sized(h, self.shortcut(x), self.upsampling)


class DiscriminatorBlock(nn.Module):
    """Residual block, by default halving height and width.

    The shortcut is the identity where neither the number of channels nor the resolution changes.

    Args:
        in_channels: Of its input.
        out_channels: Of its output.
        downsample: Halve height and width, which must be even.
        first: Begin without a ReLU, as the block that reads the picture does.
        hidden_channels: Width between the two convolutions: "out" or "in" channels.
        shortcut_input: The shortcut reads the input before the ReLU ("raw") or after it ("relu").

    Source: released code ``discriminator.py``, ``block`` and ``optimized_block``; the 1x1 shortcut
    runs after the pooling, with which it commutes.

    Example:
        >>> block = sagan.nn.DiscriminatorBlock(64, 128)
        >>> block(torch.randn(2, 64, 16, 16)).shape
        torch.Size([2, 128, 8, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        downsample: bool = True,
        first: bool = False,
        hidden_channels: HiddenChannels = "out",
        shortcut_input: ShortcutInput = "raw",
    ) -> None:
        super().__init__()
        require_choice("hidden_channels", hidden_channels, HiddenChannels)
        require_choice("shortcut_input", shortcut_input, ShortcutInput)
        self.first = first
        self.downsample = downsample
        self.shortcut_input = shortcut_input
        hidden = out_channels if first or hidden_channels == "out" else in_channels
        self.conv1 = Conv2d(in_channels, hidden, 3)
        self.conv2 = (
            DownsampleConv2d(hidden, out_channels)
            if downsample
            else Conv2d(hidden, out_channels, 3)
        )
        changes = downsample or in_channels != out_channels
        self.shortcut = Conv2d(in_channels, out_channels, 1) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H/2, W/2), or (N, out, H, W) without downsampling."""
        activated = x if self.first else F.relu(x)
        if self.shortcut_input == "relu":
            x = activated
        h = self.conv1(activated)
        h = self.conv2(F.relu_(h))
        return plus(h, self.shortcut(half_sized(x) if self.downsample else x))
