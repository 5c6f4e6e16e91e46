"""Batch norm with gains and biases by class, on which the latent may act too."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sagan.config import ClassTables, GeneratorConfig
from sagan.config.checks import require, require_choice
from sagan.errors import SaganError
from sagan.nn.affine_norm import normalized_affine, scaled_and_shifted
from sagan.nn.initialization import first_weight
from sagan.nn.layers import Embedding, class_rows, fitting_labels
from sagan.nn.tracing import is_traced
from sagan.system.ranks import ALONE, Ranks


class ConditionalBatchNorm2d(nn.Module):
    """Batch norm with one gain and one bias per class and channel.

    Args:
        channels: C.
        num_classes: Rows of the tables; 0 for one row, used for every picture, and always plain.
        eps: Added to the variance.
        momentum: Weight of the newest batch in the running statistics. The authors have 0.001,
            which needs thousands of steps; torch's own layer has 0.1.
        tables: "plain": gains start at 1 and biases at 0. "drawn": both are drawn like weights and
            1 is added to the gains. "spectral": drawn, and divided by their largest singular value
            once :func:`attach` normalises them.
        latent_dim: Length of the latents that act on gains and biases too; 0 where they do not.

    Attributes:
        latent: (2C, latent_dim), what a latent adds to the gains and the biases, from 0 on; or
            None. Spectral norm leaves it as it is.
        ranks: Whose pictures together make a batch; see :func:`statistics_over`.
        is_held: The running statistics stay as they are in training too.

    Source: released code ``ops.py``, ``ConditionalBatchNorm``; other tables: BigGAN-PyTorch
    ``layers.py``, ``ccbn``, and PyTorch-StudioGAN ``utils/ops.py``, ``ConditionalBatchNorm2d``.
    Latents: Brock et al. 2019, section 3.1, "skip-z", where each layer has a part of the latent and
    the weights are drawn and normalised.

    Example:
        >>> norm = sagan.nn.ConditionalBatchNorm2d(64, num_classes=10)
        >>> norm(torch.randn(4, 64, 8, 8), torch.tensor([0, 3, 3, 9])).shape
        torch.Size([4, 64, 8, 8])
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        channels: int,
        num_classes: int = 0,
        *,
        eps: float = GeneratorConfig.batch_norm_eps,
        momentum: float = GeneratorConfig.batch_norm_momentum,
        tables: ClassTables = "plain",
        latent_dim: int = 0,
    ) -> None:
        super().__init__()
        self.ranks = ALONE
        self.is_held = False
        self.eps = eps
        self.momentum = momentum
        self.num_classes = num_classes
        require_choice("tables", tables, ClassTables)
        require(channels >= 1, "channels", channels, "at least 1")
        require(eps > 0, "eps", eps, "positive")
        require(0 < momentum <= 1, "momentum", momentum, "above 0 and at most 1")
        for name, number in (("num_classes", num_classes), ("latent_dim", latent_dim)):
            require(number >= 0, name, number, "at least 0")
        self.tables = tables if num_classes else "plain"
        if self.tables == "spectral":
            self.gain = Embedding(num_classes, channels)
            self.bias = Embedding(num_classes, channels)
        elif self.tables == "drawn":
            self.gain = nn.Parameter(1 + first_weight(num_classes, channels))
            self.bias = nn.Parameter(first_weight(num_classes, channels))
        else:
            self.gain = nn.Parameter(torch.ones(max(num_classes, 1), channels))
            self.bias = nn.Parameter(torch.zeros(max(num_classes, 1), channels))
        self.latent = nn.Parameter(torch.zeros(2 * channels, latent_dim)) if latent_dim else None
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    @property
    def affine(self) -> tuple[Tensor, Tensor]:
        """Gains and biases as used, both (rows, C)."""
        gain, bias = self.gain, self.bias
        if isinstance(gain, Embedding) and isinstance(bias, Embedding):
            return 1 + gain.kernel, bias.kernel
        assert isinstance(gain, Tensor)
        assert isinstance(bias, Tensor)
        return gain, bias

    def forward(
        self, x: Tensor, labels: Tensor | None = None, latents: Tensor | None = None
    ) -> Tensor:
        """Normalises by the batch in training and by the running statistics otherwise.

        Args:
            x: (N, C, H, W).
            labels: As for ``class_rows``; None without classes.
            latents: (N, latent_dim), where they act.

        Returns:
            (N, C, H, W).

        Raises:
            SaganError: Labels do not fit, the latent acts and there is none, or a channel has a
                single value in training.
        """
        labels = fitting_labels(labels, self.num_classes, x)
        rows = affine_rows(self.affine, labels, self.latent, latents)
        if self.training and not self.ranks.are_many and x.numel() == x.shape[1]:
            raise SaganError("batch norm learns from two values per channel or more; this is one")
        is_written_out = is_traced() or torch.compiler.is_compiling() or not x.numel()
        if not self.training or self.ranks.are_many or is_written_out:
            return scaled_and_shifted(self._normalized(x), *rows)
        return normalized_affine(x, self._running, *rows, momentum=self.momentum, eps=self.eps)

    @property
    def _running(self) -> tuple[Tensor, Tensor]:
        """The running statistics, or copies that may move while these are held."""
        if self.is_held:
            return self.running_mean.clone(), self.running_var.clone()
        return self.running_mean, self.running_var

    def _normalized(self, x: Tensor) -> Tensor:
        running = self._running
        if self.training and self.ranks.are_many:
            from sagan.nn.shared_norm import shared_batch_norm  # which loads the compiler

            return shared_batch_norm(x, running, self.ranks, momentum=self.momentum, eps=self.eps)
        return F.batch_norm(
            x,
            *running,
            training=self.training,
            momentum=self.momentum,
            eps=self.eps,
        )


@contextmanager
def statistics_over(ranks: Ranks, network: nn.Module) -> Iterator[None]:
    """Within the block the network's batch norms see, in training, the pictures of all ranks.

    All ranks then make the same passes, with as many pictures each.
    """
    norms = [m for m in network.modules() if isinstance(m, ConditionalBatchNorm2d)]
    for norm in norms:
        norm.ranks = ranks
    try:
        yield
    finally:
        for norm in norms:
            norm.ranks = ALONE


def affine_rows(
    tables: tuple[Tensor, Tensor],
    labels: Tensor | None,
    weight: Tensor | None,
    latents: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """One scale and one shift for every picture and channel.

    Args:
        tables: Scales and shifts of the classes, (rows, C) each.
        labels: As for :func:`class_rows`; None to use the only row.
        weight: (2C, latent_dim), what a latent adds to both; None: nothing.
        latents: (N, latent_dim); read only where there is such a weight.

    Returns:
        (N, C) each, or (1, C) for all pictures.

    Raises:
        SaganError: There is such a weight and no latents.
    """
    scale, shift = tables if labels is None else (class_rows(table, labels) for table in tables)
    if weight is None:
        return scale, shift
    if latents is None:
        raise SaganError("the latent acts on this batch norm; give it latents")
    more_scale, more_shift = F.linear(latents, weight).chunk(2, dim=1)
    return scale + more_scale, shift + more_shift
