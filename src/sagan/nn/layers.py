"""The layers of both networks, in their folded form.

A nearest-neighbour upsampling before a 3x3 convolution, and an average pooling after one, are
folded into the kernel: one strided convolution with a 4x4 kernel does the same with 16 instead of
36 multiplications per 2x2 block and channel pair. The identities are exact, borders included.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sagan.config import ClassTables, Initialization
from sagan.nn.attention import attend, attention_weights
from sagan.nn.convolution import conv2d, conv_transpose2d
from sagan.nn.spectral import SpectralLayer

CHANNELS_LAST = (0, 2, 3, 1)
"""The order in memory of a kernel (out, in, H, W) whose channels lie together."""


class Linear(SpectralLayer):
    """y = x W^T + b."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(out_features, in_features)
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in) -> (N, out)."""
        return F.linear(x, self.kernel, self.bias)


def class_rows(table: Tensor, labels: Tensor) -> Tensor:
    """Picks the row of each label, or mixes rows.

    Args:
        table: (classes, D).
        labels: Integer (N,), or the share of every class, floating (N, classes).

    Returns:
        (N, D).
    """
    if labels.is_floating_point():
        return labels.to(table.dtype) @ table
    return F.embedding(labels, table)


class Embedding(SpectralLayer):
    """A table of one vector per class."""

    def __init__(self, num_classes: int, dim: int) -> None:
        super().__init__(num_classes, dim)

    def forward(self, labels: Tensor) -> Tensor:
        """Integer (N,), or shares of the classes (N, num_classes) -> (N, dim)."""
        return class_rows(self.kernel, labels)


class Conv2d(SpectralLayer):
    """Convolution that keeps height and width."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, bias: bool = True
    ) -> None:
        super().__init__(
            out_channels, in_channels, kernel_size, kernel_size, memory_order=CHANNELS_LAST
        )
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H, W)."""
        return conv2d(x, self.kernel, self.bias)


def _fold_matrix(factor: list[list[float]]) -> Tensor:
    matrix = torch.tensor(factor)
    return torch.kron(matrix, matrix)  # (16, 9): flat 3x3 kernel -> flat 4x4 kernel


_UPSAMPLE = _fold_matrix([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])
_DOWNSAMPLE = _fold_matrix([[0.5, 0, 0], [0.5, 0.5, 0], [0, 0.5, 0.5], [0, 0, 0.5]])


def _folded_kernel(weight: Tensor, matrix: Tensor) -> Tensor:
    """(N, 3, 3, M) -> (N, M, 4, 4) in channels_last, in float32 also under autocast."""
    with torch.autocast(weight.device.type, enabled=False):
        matrices = matrix.to(weight).expand(len(weight), -1, -1)
        return torch.bmm(matrices, weight.flatten(1, 2)).unflatten(1, (4, 4)).permute(0, 3, 1, 2)


class UpsampleConv2d(SpectralLayer):
    """Nearest-neighbour upsampling by 2, then a 3x3 convolution.

    Computed as one transposed convolution with the kernel A w A^T.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(out_channels, in_channels, 3, 3, memory_order=(1, 2, 3, 0))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def fold(self, weight: Tensor) -> Tensor:
        """(out, in, 3, 3) -> the kernel, (in, out, 4, 4)."""
        return _folded_kernel(weight.permute(1, 2, 3, 0), _UPSAMPLE)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, 2H, 2W)."""
        return conv_transpose2d(x, self.kernel, self.bias)


class BilinearUpsampleConv2d(Conv2d):
    """Bilinear upsampling by 2, then a 3x3 convolution.

    Source: mimicry, ``resblocks.py``, ``GBlock``.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, 2H, 2W)."""
        return super().forward(F.interpolate(x, scale_factor=2, mode="bilinear"))


class DownsampleConv2d(SpectralLayer):
    """A 3x3 convolution, then 2x2 average pooling.

    Computed as one strided convolution with the kernel B w B^T.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(out_channels, in_channels, 3, 3, memory_order=CHANNELS_LAST)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def fold(self, weight: Tensor) -> Tensor:
        """(out, in, 3, 3) -> the kernel, (out, in, 4, 4)."""
        return _folded_kernel(weight.permute(0, 2, 3, 1), _DOWNSAMPLE)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H/2, W/2)."""
        return conv2d(x, self.kernel, self.bias, stride=2)


class ConditionalBatchNorm2d(nn.Module):
    """Batch norm with one gain and one bias per class and channel.

    Plain gains start at 1 and biases at 0; neither is spectrally normalised. Without classes there
    is one row, used for every picture, and always plain.

    Source: released code ``ops.py``, ``ConditionalBatchNorm``; other tables: BigGAN-PyTorch
    ``layers.py``, ``ccbn``, and PyTorch-StudioGAN ``utils/ops.py``, ``ConditionalBatchNorm2d``.

    Args:
        channels: C.
        num_classes: Rows of the tables; 0 for an unconditional network.
        eps: Added to the variance.
        momentum: Weight of the newest batch in the running statistics.
        tables: As for ``GeneratorConfig.class_tables``.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        eps: float,
        momentum: float,
        tables: ClassTables = "plain",
    ) -> None:
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self.tables = tables if num_classes else "plain"
        if self.tables == "spectral":
            self.gain = Embedding(num_classes, channels)
            self.bias = Embedding(num_classes, channels)
        else:
            self.gain = nn.Parameter(torch.ones(max(num_classes, 1), channels))
            self.bias = nn.Parameter(torch.zeros(max(num_classes, 1), channels))
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

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """(N, C, H, W) and (N,) -> (N, C, H, W); in training with the statistics of the batch.

        Without labels there must be one row.
        """
        x = F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            training=self.training,
            momentum=self.momentum,
            eps=self.eps,
        )
        return class_affine(x, labels, *self.affine)


def class_affine(x: Tensor, labels: Tensor | None, scale: Tensor, shift: Tensor) -> Tensor:
    """Scales and shifts every channel by the row of its picture's label.

    Args:
        x: (N, C, H, W).
        labels: As for :func:`class_rows`; None to use the only row.
        scale: (rows, C).
        shift: (rows, C).
    """
    if labels is not None:
        scale, shift = class_rows(scale, labels), class_rows(shift, labels)
    return torch.addcmul(
        shift[:, :, None, None].to(x.dtype), x, scale[:, :, None, None].to(x.dtype)
    )


class SelfAttention2d(nn.Module):
    """Every position of a map looks at every other: y = x + gamma * out.

    ``key``, ``query``, ``value``, ``out`` are the paper's f, g, h, v and the released code's phi,
    theta, g, o: equation 1 takes the softmax of f(x_i) g(x_j) over i. As released: C/8 channels
    for query and key, C/2 for value, key and value max-pooled 2x2, no bias, no 1/sqrt(d), softmax
    over the keys, gamma starting at 0. The paper's text has C/8 for the value and no pooling.

    Source: SAGAN paper, equations 1 to 3; released code ``non_local.py``,
    ``sn_non_local_block_sim``.

    Args:
        channels: C.
        value_divisor: The value has C over this many channels.
        pooling: Max-pool key and value 2x2.
        projections: "released", or "biased": query, key and value have biases and there is no out,
            so that ``value_divisor`` is 1 (heykeetae/Self-Attention-GAN).
    """

    def __init__(
        self,
        channels: int,
        *,
        value_divisor: int = 2,
        pooling: bool = True,
        projections: Literal["released", "biased"] = "released",
    ) -> None:
        super().__init__()
        biased = projections == "biased"
        values = channels // value_divisor
        self.pooling = pooling
        self.query = Conv2d(channels, channels // 8, 1, bias=biased)
        self.key = Conv2d(channels, channels // 8, 1, bias=biased)
        self.value = Conv2d(channels, values, 1, bias=biased)
        self.out = nn.Identity() if biased else Conv2d(values, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W); H and W even where key and value are pooled."""
        query, key, value = self._projections(x)
        attended = attend(query, key, value).mT.unflatten(2, x.shape[2:])  # (N, C/2, H, W)
        if not isinstance(self.out, Conv2d):
            return x + self.gamma * attended
        return x + F.conv2d(attended, self.gamma * self.out.kernel)  # gamma spares a map

    def attention_rows(self, x: Tensor, queries: Tensor) -> Tensor:
        """The attention weights of chosen positions, by the explicit formula.

        Args:
            x: The layer's input, (N, C, H, W).
            queries: Row-major positions on the H x W grid, (Q,).

        Returns:
            (N, Q, HW/4): a row per query, a column per pooled key, row-major on the H/2 x W/2
            grid (H x W without pooling); each row sums to 1.
        """
        query, key, _ = self._projections(x)
        return attention_weights(query[:, queries], key)

    def _projections(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        layers = (self.query, self.key, self.value)
        weight = torch.cat([layer.kernel for layer in layers])
        biases: list[Tensor] = [layer.bias for layer in layers if layer.bias is not None]
        x = x.contiguous(memory_format=torch.channels_last)  # fused kernels want channels together
        projected = F.conv2d(x, weight, torch.cat(biases) if biases else None)
        query, key_value = projected.split(
            [len(self.query.weight), len(self.key.weight) + len(self.value.weight)], 1
        )
        query = query.flatten(2).mT  # (N, HW, C/8)
        if self.pooling:
            key_value = F.max_pool2d(key_value, 2)
        key_value = key_value.flatten(2).mT  # (N, HW/4, C/8 + C/2)
        key, value = key_value.split([len(self.key.weight), len(self.value.weight)], 2)
        return query, key, value


def initialize(network: nn.Module, how: Initialization) -> None:
    """Draws every weight; batch norm and biases stay 1 and 0, but for class tables drawn too."""
    draw = {"xavier": nn.init.xavier_uniform_, "orthogonal": nn.init.orthogonal_}[how]
    for layer in network.modules():
        if isinstance(layer, SpectralLayer):
            # Drawn in the plain order, so that a seed means the same weights in any other.
            layer.weight.data.copy_(draw(torch.empty(layer.weight.shape)))
        elif isinstance(layer, ConditionalBatchNorm2d) and layer.tables == "drawn":
            gain, bias = layer.affine
            draw(gain)
            gain.data += 1
            draw(bias)
