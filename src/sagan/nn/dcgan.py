"""DCGAN-style networks with self-attention: rows of strided convolutions, without classes.

The attention here compares every position with every other: the value keeps all channels, nothing
is pooled, projections have biases, and there is no output convolution. Attention and the last
layer are not spectrally normalised.

Source: heykeetae/Self-Attention-GAN, ``sagan_models.py``; Radford et al. 2016.
"""

from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sagan.config import DiscriminatorConfig, GeneratorConfig, Size, both_sides, plan
from sagan.errors import SaganError
from sagan.nn.batch_norm import ConditionalBatchNorm2d
from sagan.nn.blocks import AttentionLayers
from sagan.nn.convolution import CHANNELS_LAST, with_bias
from sagan.nn.initialization import first_bias, initialized_by
from sagan.nn.layers import SelfAttention2d
from sagan.nn.singular import no_autocast
from sagan.nn.spectral import SpectralLayer, attach_chosen

LEAK = 0.1

_unpooled_attention = partial(SelfAttention2d, value_divisor=1, pooling=False, projections="biased")


class TransposedConv2d(SpectralLayer):
    """Transposed 4x4 convolution that doubles height and width, or makes the first map of a pixel.

    The weight is (in, out, 4, 4), for a first map its size, and so is what the spectral norm sees.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, first: tuple[int, int] | None = None
    ) -> None:
        super().__init__(in_channels, out_channels, *(first or (4, 4)), memory_order=CHANNELS_LAST)
        self.bias = nn.Parameter(first_bias(out_channels, self.weight))
        self.stride, self.padding = (1, 0) if first else (2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, 2H, 2W), or (N, in, 1, 1) -> the first map."""
        place = {"stride": self.stride, "padding": self.padding}
        return with_bias(partial(F.conv_transpose2d, x, self.kernel, **place), self.bias)


class StridedConv2d(SpectralLayer):
    """4x4 convolution that halves height and width, or makes one pixel of the last map."""

    def __init__(
        self, in_channels: int, out_channels: int, *, last: tuple[int, int] | None = None
    ) -> None:
        super().__init__(out_channels, in_channels, *(last or (4, 4)), memory_order=CHANNELS_LAST)
        self.bias = nn.Parameter(first_bias(out_channels, self.weight))
        self.stride, self.padding = (1, 0) if last else (2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H/2, W/2), or the last map -> (N, out, 1, 1)."""
        return F.conv2d(x, self.kernel, self.bias, stride=self.stride, padding=self.padding)


class GeneratorLayer(nn.Module):
    """Transposed convolution, batch norm, ReLU."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        config: GeneratorConfig,
        *,
        first: tuple[int, int] | None,
        momentum: float,
    ) -> None:
        super().__init__()
        self.conv = TransposedConv2d(in_channels, out_channels, first=first)
        self.norm = ConditionalBatchNorm2d(
            out_channels, 0, eps=config.batch_norm_eps, momentum=momentum
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, 2H, 2W), or as :class:`TransposedConv2d`."""
        return F.relu_(self.norm(self.conv(x)))


class DCGANGenerator(nn.Module):
    """Draws pictures: latents -> images in [-1, 1].

    Arguments are those of :class:`sagan.nn.Generator`; there are no classes.

    Source: heykeetae/Self-Attention-GAN, ``sagan_models.py``, ``Generator``.

    Example:
        >>> config = sagan.config.GeneratorConfig(
        ...     architecture="dcgan", base_channels=8, attention=(16,)
        ... )
        >>> sagan.nn.DCGANGenerator(config, resolution=32)(torch.randn(4, 128)).shape
        torch.Size([4, 3, 32, 32])
    """

    def __init__(
        self,
        config: GeneratorConfig,
        *,
        resolution: Size,
        num_classes: int = 0,
        channels: int = 3,
    ) -> None:
        super().__init__()
        _require_no_classes(num_classes)
        self.latent_dim = config.latent_dim
        self.num_classes = num_classes
        self.channels = channels
        self.size = both_sides(resolution)
        stages = plan(config, resolution)
        first_map = (stages[0].height, stages[0].width)
        widths = [config.latent_dim, *(stage.channels for stage in stages)]
        momenta = [config.batch_norm_momentum] * len(stages)
        momenta[-1] = config.last_batch_norm_momentum
        with initialized_by(config.initialization, config.first_biases):
            self.layers = nn.ModuleList(
                GeneratorLayer(*pair, config, first=None if i else first_map, momentum=momenta[i])
                for i, pair in enumerate(pairwise(widths))
            )
            self.attention = AttentionLayers(stages, _unpooled_attention)
            self.out = TransposedConv2d(widths[-1], channels)
        attach_chosen(config, self.layers, self.attention)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """(N, latent_dim) from N(0, I) -> (N, C, H, W) in [-1, 1]; labels are not read."""
        x = latents[:, :, None, None].contiguous(
            memory_format=torch.channels_last
        )  # (N, latent_dim, 1, 1)
        for i, layer in enumerate(self.layers):
            x = self.attention.after(i, layer(x))  # (N, out, 4, 4), then (N, out, 2H, 2W)
        return F.tanh(self.out(x))  # (N, C, H, W)


class DCGANDiscriminator(nn.Module):
    """Judges pictures: images in [-1, 1] -> logits, high for real.

    Arguments are those of :class:`sagan.nn.Generator`; there are no classes.

    Source: heykeetae/Self-Attention-GAN, ``sagan_models.py``, ``Discriminator``.

    Example:
        >>> config = sagan.config.DiscriminatorConfig(
        ...     architecture="dcgan", base_channels=8, attention=(8,)
        ... )
        >>> sagan.nn.DCGANDiscriminator(config, resolution=32)(torch.zeros(4, 3, 32, 32)).shape
        torch.Size([4])
    """

    def __init__(
        self,
        config: DiscriminatorConfig,
        *,
        resolution: Size,
        num_classes: int = 0,
        channels: int = 3,
    ) -> None:
        super().__init__()
        _require_no_classes(num_classes)
        self.num_classes = num_classes
        self.channels = channels
        self.size = both_sides(resolution)
        stages = plan(config, resolution)
        last_map = (stages[-1].height, stages[-1].width)
        widths = [channels, *(stage.channels for stage in stages)]
        with initialized_by(config.initialization, config.first_biases):
            self.layers = nn.ModuleList(
                StridedConv2d(before, after) for before, after in pairwise(widths)
            )
            self.attention = AttentionLayers(stages, _unpooled_attention)
            self.out = StridedConv2d(widths[-1], 1, last=last_map)
            self.out.in_full_precision = True
        attach_chosen(config, self.layers, self.attention)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """(N, C, H, W) in [-1, 1] -> logits (N,), high for real; labels are not read."""
        x = images.contiguous(memory_format=torch.channels_last)
        for i, layer in enumerate(self.layers):
            x = self.attention.after(i, F.leaky_relu_(layer(x), LEAK))  # (N, out, H/2, W/2)
        with no_autocast(x):
            return self.out(x.to(self.out.weight.dtype)).flatten()  # (N,)

    def logits_by_class(self, images: Tensor) -> Tensor:
        """As for :class:`sagan.nn.Discriminator`; there are no classes: (N, 1)."""
        return self(images)[:, None]


def _require_no_classes(num_classes: int) -> None:
    if num_classes:
        raise SaganError(
            "a dcgan network has no classes; use the residual architecture, or leave"
            " num_classes out"
        )
