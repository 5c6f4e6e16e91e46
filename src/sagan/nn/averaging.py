"""The averaged generator: its weights, and the batch statistics that it must measure anew."""

import torch
from torch import Tensor, nn

from sagan.nn.batch_norm import ConditionalBatchNorm2d
from sagan.nn.residual import AnyGenerator
from sagan.system.randomness import draw_latents_and_labels

STATISTICS_BATCHES = 16
STATISTICS_BATCH_SIZE = 64


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Moves every parameter of ``average`` towards ``network``: a <- decay a + (1 - decay) p.

    Parameters only: singular vectors and batch statistics cannot be averaged.

    Example:
        >>> network, average = sagan.nn.Linear(8, 8), sagan.nn.Linear(8, 8)
        >>> sagan.nn.update_average(average, network, decay=0.999)  # after each update
    """
    torch.ops.aten._foreach_lerp_.Scalar(
        list(average.parameters()), list(network.parameters()), 1 - decay
    )


@torch.no_grad()
def measure_batch_statistics(
    generator: AnyGenerator, label_frequencies: Tensor, random: torch.Generator
) -> None:
    """Sets every running mean and variance to its mean over :data:`STATISTICS_BATCHES` batches.

    Args:
        generator: Of :func:`make_generator`. Left in evaluation mode.
        label_frequencies: Of the labels to draw, (num_classes,), or one without classes.
        random: Draws latents and labels.

    Example:
        >>> config = sagan.config.GeneratorConfig(base_channels=8, attention=(16,))
        >>> generator = sagan.nn.make_generator(config, resolution=32)
        >>> random = torch.Generator().manual_seed(0)
        >>> sagan.nn.measure_batch_statistics(generator, torch.ones(1), random)
    """
    norms = [m for m in generator.modules() if isinstance(m, ConditionalBatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    device = next(generator.parameters()).device
    generator.train()
    for batch in range(STATISTICS_BATCHES):
        for norm in norms:
            norm.momentum = 1 / (batch + 1)
        latents, labels = draw_latents_and_labels(
            STATISTICS_BATCH_SIZE, generator.latent_dim, label_frequencies, random
        )
        generator(latents.to(device), labels.to(device))
    generator.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
