"""The two residual networks, whole."""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sagan.config import (
    DiscriminatorConfig,
    GeneratorConfig,
    NetworkConfig,
    Size,
    both_sides,
    least_weights,
    plan,
)
from sagan.nn.batch_norm import ConditionalBatchNorm2d
from sagan.nn.blocks import (
    AttentionLayers,
    DiscriminatorBlock,
    EqualResidual2d,
    GeneratorBlock,
)
from sagan.nn.convolution import Conv2d
from sagan.nn.dcgan import DCGANDiscriminator, DCGANGenerator
from sagan.nn.initialization import initialized_by
from sagan.nn.layers import Embedding, Linear, SelfAttention2d, fitting_labels
from sagan.nn.recomputation import through
from sagan.nn.singular import no_autocast
from sagan.nn.spectral import attach_chosen
from sagan.system.memory import require_free


class Generator(nn.Module):
    """Draws pictures: latents and labels -> images in [-1, 1].

    Args:
        config: Widths, places of attention, normalisation.
        resolution: Height and width of the pictures, or one number for both, such as 32, 48 or
            (64, 96); :func:`sagan.nn.plan` says which are possible.
        num_classes: 0 for a network without classes.
        channels: Of the pictures: 1, 3 or 4.

    Attributes:
        recomputes: Blocks keep their inputs alone for the backward pass (:func:`through`).

    Source: SAGAN paper, section 4; released code ``generator.py``.

    Example:
        >>> config = sagan.config.GeneratorConfig(base_channels=8, attention=(16,))
        >>> generator = sagan.nn.Generator(config, resolution=32)
        >>> generator(torch.randn(4, 128)).shape
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
        self.recomputes = False
        self.latent_dim = config.latent_dim
        self.num_classes = num_classes
        self.channels = channels
        self.size = both_sides(resolution)
        stages = plan(config, resolution)
        self.first_map = (stages[0].height, stages[0].width)
        widths = [stage.channels for stage in stages]
        with initialized_by(config.initialization, config.first_biases):
            self.linear = Linear(config.latent_dim, widths[0] * math.prod(self.first_map))
            self.blocks = nn.ModuleList(
                GeneratorBlock(
                    before,
                    after,
                    num_classes,
                    batch_norm_eps=config.batch_norm_eps,
                    batch_norm_momentum=config.batch_norm_momentum,
                    class_tables=config.class_tables,
                    latent_dim=config.latent_dim if config.latent_skips else 0,
                    upsampling=config.upsampling,
                )
                for before, after in pairwise(widths)
            )
            self.attention = AttentionLayers(stages[1:], _attention(config))
            self.norm = ConditionalBatchNorm2d(
                widths[-1], 0, eps=config.batch_norm_eps, momentum=config.last_batch_norm_momentum
            )
            self.out = Conv2d(widths[-1], channels, 3)
        attach_chosen(config, self, self.attention)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Draws a picture per latent.

        Args:
            latents: (N, latent_dim), from N(0, I).
            labels: Integer (N,), or the share of every class, floating (N, classes), which mixes
                the classes; None where there are no classes.

        Returns:
            (N, C, H, W) in [-1, 1].

        Raises:
            SaganError: There are classes and no labels, or labels of another form.
        """
        labels = fitting_labels(labels, self.num_classes, latents)
        x = self.linear(latents).unflatten(1, (-1, *self.first_map))  # (N, 16ch, 4, 4)
        x = x.contiguous(memory_format=torch.channels_last)
        for i, block in enumerate(self.blocks):
            x = through(block, x, labels, latents, recomputed=self.recomputes)  # (N, out, 2H, 2W)
            x = self.attention.after(i, x)
        return F.tanh(self.out(F.relu_(self.norm(x))))  # (N, C, H, W)


class Discriminator(nn.Module):
    """Judges pictures: images in [-1, 1] and labels -> logits, high for real.

    The features are summed over all positions. The label enters by projection; or it does not, and
    a second head names the class of a picture (AC-GAN).

    Args:
        config: Widths, places of attention, normalisation.
        resolution: As for :class:`Generator`.
        num_classes: 0 for a network without classes, which has neither.
        channels: Of the pictures: 1, 3 or 4.

    Attributes:
        recomputes: Blocks keep their inputs alone for the backward pass (:func:`through`).

    Source: SAGAN paper, section 4; Miyato and Koyama 2018 for the projection; Odena et al. 2017 for
    the second head; released code ``discriminator.py``.

    Example:
        >>> config = sagan.config.DiscriminatorConfig(base_channels=8, attention=(16,))
        >>> discriminator = sagan.nn.Discriminator(config, resolution=32, num_classes=10)
        >>> discriminator(torch.zeros(2, 3, 32, 32), torch.tensor([0, 9])).shape
        torch.Size([2])
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
        self.recomputes = False
        self.num_classes = num_classes
        self.channels = channels
        self.size = both_sides(resolution)
        stages = plan(config, resolution)
        widths = [channels, *(stage.channels for stage in stages)]
        heights = [self.size[0], *(stage.height for stage in stages)]
        with initialized_by(config.initialization, config.first_biases):
            self.blocks = nn.ModuleList(
                DiscriminatorBlock(
                    before,
                    after,
                    downsample=heights[i + 1] < heights[i],
                    first=i == 0,
                    hidden_channels=config.hidden_channels,
                    shortcut_input=config.shortcut_input,
                )
                for i, (before, after) in enumerate(pairwise(widths))
            )
            self.attention = AttentionLayers(stages, _attention(config))
            self.linear = Linear(widths[-1], 1)
            projects = config.conditioning == "projection" and num_classes
            names = config.conditioning == "auxiliary" and num_classes
            self.embedding = Embedding(num_classes, widths[-1]) if projects else None
            self.classifier = Linear(widths[-1], num_classes) if names else None
        attach_chosen(config, self, self.attention)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Judges every picture.

        Args:
            images: (N, C, H, W) in [-1, 1].
            labels: As for :meth:`Generator.forward`.

        Returns:
            Logits (N,), high for real.

        Raises:
            SaganError: There are classes and no labels, or labels of another form.
        """
        labels = fitting_labels(labels, self.num_classes, images)
        features = self._features(images)
        with no_autocast(features):
            logits = self.linear(features).squeeze(1)
            if self.embedding is not None and labels is not None:
                logits = logits + (features * self.embedding(labels)).sum(dim=1)
        return logits

    def logits_by_class(self, images: Tensor) -> Tensor:
        """Judges every picture as one of each class, in one pass: (N, classes), or (N, 1).

        Where a second head names the class, the logarithm of its probability is added.
        """
        features = self._features(images)
        with no_autocast(features):
            logits = self.linear(features)
            if self.classifier is not None:
                return logits + F.log_softmax(self.classifier(features), dim=1)
            return logits if self.embedding is None else logits + features @ self.embedding.kernel.T

    def judged_and_named(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Judges every picture and names its class, where a second head does.

        Args:
            images: (N, C, H, W) in [-1, 1].

        Returns:
            Logits (N,), high for real, and one per class (N, classes).
        """
        assert self.classifier is not None
        features = self._features(images)
        with no_autocast(features):
            return self.linear(features).squeeze(1), self.classifier(features)

    def _features(self, images: Tensor) -> Tensor:
        x = images.contiguous(memory_format=torch.channels_last)
        for i, block in enumerate(self.blocks):
            x = through(block, x, recomputed=self.recomputes)  # (N, out, H/2, W/2)
            x = self.attention.after(i, x)
        with no_autocast(x):
            return F.relu(x).sum(dim=(2, 3), dtype=self.linear.weight.dtype)  # (N, 16ch)


def _attention(config: NetworkConfig) -> Callable[[int], nn.Module]:
    divisor = config.attention_value_divisor
    if config.attention_form == "residual":
        return partial(EqualResidual2d, value_divisor=divisor)
    return partial(
        SelfAttention2d,
        value_divisor=divisor,
        pooling=config.attention_pooling,
        product=config.attention_product,
    )


AnyGenerator = Generator | DCGANGenerator
AnyDiscriminator = Discriminator | DCGANDiscriminator

_TOO_LARGE = ("the network", "choose smaller base_channels or channels")


def make_generator(
    config: GeneratorConfig, *, resolution: Size, num_classes: int = 0, channels: int = 3
) -> AnyGenerator:
    """Builds the generator that the settings describe, of either architecture.

    Raises:
        SaganError: No such network can be built (names the setting), or its weights would not fit
            into memory.

    Example:
        >>> config = sagan.config.GeneratorConfig(base_channels=8, attention=(16,))
        >>> generator = sagan.nn.make_generator(config, resolution=32, num_classes=10)
        >>> generator(torch.randn(4, 128), torch.tensor([0, 3, 3, 9])).shape
        torch.Size([4, 3, 32, 32])
    """
    require_free(4 * least_weights(config, resolution, num_classes), *_TOO_LARGE)
    network = {"residual": Generator, "dcgan": DCGANGenerator}[config.architecture]
    return network(config, resolution=resolution, num_classes=num_classes, channels=channels)


def make_discriminator(
    config: DiscriminatorConfig, *, resolution: Size, num_classes: int = 0, channels: int = 3
) -> AnyDiscriminator:
    """Builds the discriminator that the settings describe, of either architecture.

    Raises:
        SaganError: No such network can be built (names the setting), or its weights would not fit
            into memory.

    Example:
        >>> config = sagan.config.DiscriminatorConfig(base_channels=8, attention=(16,))
        >>> discriminator = sagan.nn.make_discriminator(config, resolution=32)
        >>> discriminator(torch.zeros(4, 3, 32, 32)).shape
        torch.Size([4])
    """
    require_free(4 * least_weights(config, resolution, num_classes), *_TOO_LARGE)
    network = {"residual": Discriminator, "dcgan": DCGANDiscriminator}[config.architecture]
    return network(config, resolution=resolution, num_classes=num_classes, channels=channels)
