"""The two networks, whole.

Channel plans by resolution, in multiples of the base width: at 128 the released code's
``generator.py`` and ``discriminator.py``; 64 and 32 leave out its widest stages, 256 has one more
(64 as in PyTorch-StudioGAN's ``resnet.py``, 256 as there and in BigGAN-PyTorch).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sagan import spectral
from sagan.blocks import DiscriminatorBlock, EqualResidual2d, GeneratorBlock
from sagan.config import DiscriminatorConfig, GeneratorConfig
from sagan.dcgan import DCGANDiscriminator, DCGANGenerator
from sagan.layers import (
    ConditionalBatchNorm2d,
    Conv2d,
    Embedding,
    Linear,
    SelfAttention2d,
    initialize,
)

# From 4 x 4 pixels on: the linear layer's output, then after each block.
_GENERATOR_CHANNELS = {
    32: (8, 4, 2, 1),
    64: (16, 8, 4, 2, 1),
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
}
# After each block.
_DISCRIMINATOR_CHANNELS = {
    32: (1, 2, 4, 8),
    64: (1, 2, 4, 8, 16),
    128: (1, 2, 4, 8, 16, 16),
    256: (1, 2, 4, 8, 8, 16, 16),
}


class Generator(nn.Module):
    """Draws pictures: latents and labels -> images in [-1, 1].

    Args:
        config: Widths, places of attention, normalisation.
        resolution: Side of the pictures, 32, 64, 128 or 256.
        num_classes: 0 for an unconditional network, whose labels are all 0.

    Source: SAGAN paper, section 4; released code ``generator.py``.
    """

    def __init__(self, config: GeneratorConfig, *, resolution: int, num_classes: int) -> None:
        super().__init__()
        self.latent_dim = config.latent_dim
        self.num_classes = num_classes
        self.resolution = resolution
        multiples = config.channels or _GENERATOR_CHANNELS[resolution]
        channels = [config.base_channels * n for n in multiples]
        self.linear = Linear(config.latent_dim, channels[0] * 4 * 4)
        self.blocks = nn.ModuleList(
            GeneratorBlock(
                before,
                after,
                num_classes,
                batch_norm_eps=config.batch_norm_eps,
                batch_norm_momentum=config.batch_norm_momentum,
                class_tables=config.class_tables,
                upsampling=config.upsampling,
            )
            for before, after in pairwise(channels)
        )
        self.attention = nn.ModuleDict(
            {str(r): _attention(channels[r.bit_length() - 3], config) for r in config.attention}
        )
        self.norm = ConditionalBatchNorm2d(
            channels[-1], 0, eps=config.batch_norm_eps, momentum=config.batch_norm_momentum
        )
        self.out = Conv2d(channels[-1], 3, 3)
        initialize(self, config.initialization)
        if config.spectral_norm:
            spectral.attach(self, config.spectral_norm_eps)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """(N, latent_dim), labels as for ``class_rows`` -> (N, 3, R, R) in [-1, 1]."""
        x = self.linear(latents).unflatten(1, (-1, 4, 4))  # (N, 16ch, 4, 4)
        x = x.contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            x = block(x, labels)  # (N, out, 2H, 2W)
            if (place := str(x.shape[2])) in self.attention:
                x = self.attention[place](x)
        return F.tanh(self.out(F.relu_(self.norm(x))))  # (N, 3, R, R)


class Discriminator(nn.Module):
    """Judges pictures: images in [-1, 1] and labels -> logits, high for real.

    The features are summed over all positions; the label enters by projection.

    Args:
        config: Widths, places of attention, normalisation.
        resolution: Side of the pictures, 32, 64, 128 or 256.
        num_classes: 0 for an unconditional network, which has no projection.

    Source: SAGAN paper, section 4; Miyato and Koyama 2018 for the projection; released code
    ``discriminator.py``.
    """

    def __init__(self, config: DiscriminatorConfig, *, resolution: int, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.resolution = resolution
        multiples = config.channels or _DISCRIMINATOR_CHANNELS[resolution]
        channels = [3] + [config.base_channels * n for n in multiples]
        halvings = (resolution // config.final_resolution).bit_length() - 1
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(
                before,
                after,
                downsample=i < halvings,
                first=i == 0,
                hidden_channels=config.hidden_channels,
                shortcut_input=config.shortcut_input,
            )
            for i, (before, after) in enumerate(pairwise(channels))
        )
        self.places = attention_places(config, resolution)
        self.attention = nn.ModuleDict(
            {name: _attention(channels[i + 1], config) for i, name in self.places.items()}
        )
        self.linear = Linear(channels[-1], 1)
        self.embedding = Embedding(num_classes, channels[-1]) if num_classes else None
        initialize(self, config.initialization)
        if config.spectral_norm:
            spectral.attach(self, config.spectral_norm_eps)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """(N, 3, R, R) in [-1, 1], labels as for ``class_rows`` -> logits (N,)."""
        x = images.contiguous(memory_format=torch.channels_last)
        for i, block in enumerate(self.blocks):
            x = block(x)  # (N, out, H/2, W/2)
            if i in self.places:
                x = self.attention[self.places[i]](x)
        with torch.autocast(x.device.type, enabled=False):
            features = F.relu(x).sum(dim=(2, 3), dtype=self.linear.weight.dtype)  # (N, 16ch)
            logits = self.linear(features).squeeze(1)
            if self.embedding is not None:
                logits = logits + (features * self.embedding(labels)).sum(dim=1)
        return logits


def _attention(
    channels: int, config: GeneratorConfig | DiscriminatorConfig
) -> SelfAttention2d | EqualResidual2d:
    if config.attention_form == "residual":
        return EqualResidual2d(channels, value_divisor=config.attention_value_divisor)
    return SelfAttention2d(
        channels, value_divisor=config.attention_value_divisor, pooling=config.attention_pooling
    )


def attention_places(config: DiscriminatorConfig, resolution: int) -> dict[int, str]:
    """Block (from 0) -> name of the attention after it: its resolution, or 8-2 for the second."""
    halvings = (resolution // config.final_resolution).bit_length() - 1
    places = {(resolution // size).bit_length() - 2: str(size) for size in config.attention}
    for number in config.attention_blocks:
        size = max(resolution >> number, config.final_resolution)
        places[number - 1] = f"{size}-{number - halvings + 1}" if number > halvings else str(size)
    return places


AnyGenerator = Generator | DCGANGenerator
AnyDiscriminator = Discriminator | DCGANDiscriminator


def make_generator(config: GeneratorConfig, *, resolution: int, num_classes: int) -> AnyGenerator:
    """Builds the generator that the settings describe, of either architecture."""
    network = {"residual": Generator, "dcgan": DCGANGenerator}[config.architecture]
    return network(config, resolution=resolution, num_classes=num_classes)


def make_discriminator(
    config: DiscriminatorConfig, *, resolution: int, num_classes: int
) -> AnyDiscriminator:
    """Builds the discriminator that the settings describe, of either architecture."""
    network = {"residual": Discriminator, "dcgan": DCGANDiscriminator}[config.architecture]
    return network(config, resolution=resolution, num_classes=num_classes)
