"""The networks and their pieces: each can be used alone, like any layer of torch.nn."""

from sagan.config import Place, Stage, plan
from sagan.nn.averaging import measure_batch_statistics, update_average
from sagan.nn.batch_norm import ConditionalBatchNorm2d
from sagan.nn.blocks import DiscriminatorBlock, EqualResidual2d, GeneratorBlock
from sagan.nn.convolution import Conv2d, DownsampleConv2d, UpsampleConv2d
from sagan.nn.dcgan import DCGANDiscriminator, DCGANGenerator
from sagan.nn.folding import fold
from sagan.nn.initialization import initialized_by
from sagan.nn.layers import Embedding, Linear, SelfAttention2d
from sagan.nn.residual import Discriminator, Generator, make_discriminator, make_generator
from sagan.nn.spectral import advance, attach, spectral_norm

__all__ = [
    "ConditionalBatchNorm2d",
    "Conv2d",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "Discriminator",
    "DiscriminatorBlock",
    "DownsampleConv2d",
    "Embedding",
    "EqualResidual2d",
    "Generator",
    "GeneratorBlock",
    "Linear",
    "Place",
    "SelfAttention2d",
    "Stage",
    "UpsampleConv2d",
    "advance",
    "attach",
    "fold",
    "initialized_by",
    "make_discriminator",
    "make_generator",
    "measure_batch_statistics",
    "plan",
    "spectral_norm",
    "update_average",
]
