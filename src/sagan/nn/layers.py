"""Layers beside the convolutions: linear, embedding, self-attention."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sagan.config import AttentionProduct
from sagan.config.checks import require_choice
from sagan.config.plan import LEAST_CHANNELS
from sagan.errors import SaganError
from sagan.nn.attention import attend, attention_weights
from sagan.nn.convolution import Conv2d
from sagan.nn.initialization import first_bias
from sagan.nn.spectral import SpectralLayer
from sagan.nn.tracing import is_traced

Projections = Literal["released", "biased"]


class Linear(SpectralLayer):
    """y = x W^T + b.

    Example:
        >>> sagan.nn.Linear(128, 10)(torch.randn(4, 128)).shape
        torch.Size([4, 10])
    """

    in_full_precision = True

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(out_features, in_features)
        self.bias = nn.Parameter(first_bias(out_features, self.weight))

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


def fitting_labels(labels: Tensor | None, num_classes: int, of: Tensor) -> Tensor | None:
    """Labels as a network with classes uses them; reads none of their values.

    Args:
        labels: As for :func:`class_rows`, of any integer type.
        num_classes: 0 where there are none.
        of: What is labelled, (N, ...).

    Returns:
        The same; None where there are no classes.

    Raises:
        SaganError: There are classes and no labels, or labels of another form.
    """
    if not num_classes:
        return None
    if labels is None:
        raise SaganError(f"the network has {num_classes} classes; give it labels")
    count = of.shape[0]
    wanted = (count, num_classes) if labels.is_floating_point() else (count,)
    if not (is_traced() or torch.compiler.is_compiling()) and tuple(labels.shape) != wanted:
        raise SaganError(
            f"the labels have the form {str(labels.dtype).removeprefix('torch.')} "
            f"{tuple(labels.shape)}; give whole numbers ({count},), or shares of the classes "
            f"({count}, {num_classes})"
        )
    return labels if labels.is_floating_point() else labels.long()


class Embedding(SpectralLayer):
    """A table of one vector per class.

    Example:
        >>> table = sagan.nn.Embedding(10, 64)
        >>> table(torch.tensor([3, 3, 9])).shape
        torch.Size([3, 64])
    """

    in_full_precision = True

    def __init__(self, num_classes: int, dim: int) -> None:
        super().__init__(num_classes, dim)

    def forward(self, labels: Tensor) -> Tensor:
        """Integer (N,), or shares of the classes (N, num_classes) -> (N, dim)."""
        return class_rows(self.kernel, labels)


class SelfAttention2d(nn.Module):
    """Every position of a map looks at every other: y = x + gamma * out.

    ``key``, ``query``, ``value``, ``out`` are the paper's f, g, h, v and the released code's phi,
    theta, g, o: equation 1 takes the softmax of f(x_i) g(x_j) over i. As released: C/8 channels
    for query and key, C/2 for value, key and value max-pooled 2x2, no bias, no 1/sqrt(d), softmax
    over the keys, gamma starting at 0. The paper's text has C/8 for the value and no pooling.

    Source: SAGAN paper, equations 1 to 3; released code ``non_local.py``,
    ``sn_non_local_block_sim``.

    Args:
        channels: C, at least 8.
        value_divisor: The value has C over this many channels, 1 to 8.
        pooling: Max-pool key and value 2x2.
        product: "plain", as in the paper, or "cosine": query and key have length 1, and their
            products are multiplied by the logarithm of the number of keys. A key just like the
            query then weighs half if all others are at right angles to it; plain products have no
            bound, and without spectral norm they grow until each query sees a single key.
        projections: "released", or "biased": query, key and value have biases and there is no out,
            so that ``value_divisor`` must be 1 (heykeetae/Self-Attention-GAN).

    Raises:
        SaganError: An argument is out of range.

    Example:
        >>> layer = sagan.nn.SelfAttention2d(64)
        >>> layer(torch.randn(2, 64, 16, 16)).shape
        torch.Size([2, 64, 16, 16])
    """

    def __init__(
        self,
        channels: int,
        *,
        value_divisor: int = 2,
        pooling: bool = True,
        product: AttentionProduct = "plain",
        projections: Projections = "released",
    ) -> None:
        super().__init__()
        require_choice("product", product, AttentionProduct)
        require_choice("projections", projections, Projections)
        biased = projections == "biased"
        if channels < LEAST_CHANNELS:
            raise SaganError(
                f"attention over {channels} channels has no room for query and key, which have an"
                f" eighth of them; give at least {LEAST_CHANNELS}"
            )
        if not 1 <= value_divisor <= (1 if biased else 8):
            allowed = "1 with biased projections" if biased else "from 1 to 8"
            raise SaganError(f"value_divisor must be {allowed}; got {value_divisor}")
        keys, values = channels // 8, channels // value_divisor
        self.widths = (keys, values)
        self.pooling = pooling
        self.product = product
        self.query = Conv2d(channels, keys, 1, bias=biased)
        self.key = Conv2d(channels, keys, 1, bias=biased)
        self.value = Conv2d(channels, values, 1, bias=biased)
        self.out = nn.Identity() if biased else Conv2d(values, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W).

        Where key and value are pooled, H and W are at least 2, and of an odd side the last row or
        column is in no key.
        """
        query, key, value = self.projected(x)
        return self.added(x, attend(query, key, value), self.gamma)

    def added(self, x: Tensor, attended: Tensor, gamma: Tensor) -> Tensor:
        """Returns x + gamma * out.

        Args:
            x: The layer's input, (N, C, H, W).
            attended: What every position gathers, (N, HW, C/2).
            gamma: A number; the layer's own, or that of somebody who tries others.
        """
        attended = attended.transpose(1, 2).unflatten(2, x.shape[2:])  # (N, C/2, H, W)
        if not isinstance(self.out, Conv2d):
            return x + gamma * attended
        return x + F.conv2d(attended, gamma * self.out.kernel)  # gamma spares a map

    def attention_rows(self, x: Tensor, queries: Tensor) -> Tensor:
        """The attention weights of chosen positions, by the explicit formula.

        Args:
            x: The layer's input, (N, C, H, W).
            queries: Row-major positions on the H x W grid, (Q,).

        Returns:
            (N, Q, HW/4): a row per query, a column per pooled key, row-major on the H/2 x W/2
            grid (H x W without pooling); each row sums to 1.
        """
        query, key, _ = self.projected(x)
        return attention_weights(query[:, queries], key)

    def projected(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query (N, HW, C/8), key (N, HW/4, C/8) and value (N, HW/4, C/2) of (N, C, H, W).

        With ``product="cosine"`` query and key come normalised and scaled, so that the plain
        product of both is what the softmax sees.
        """
        layers = (self.query, self.key, self.value)
        weight = torch.cat([layer.kernel for layer in layers])
        biases: list[Tensor] = [layer.bias for layer in layers if layer.bias is not None]
        x = x.contiguous(memory_format=torch.channels_last)  # fused kernels want channels together
        projected = F.conv2d(x, weight, torch.cat(biases) if biases else None)
        keys, values = self.widths
        query, key_value = projected.split([keys, keys + values], 1)
        query = query.flatten(2).transpose(1, 2)  # (N, HW, C/8)
        if self.pooling:
            key_value = F.max_pool2d(key_value, 2)
        key_value = key_value.flatten(2).transpose(1, 2)  # (N, HW/4, C/8 + C/2)
        key, value = key_value.split([keys, values], 2)
        if self.product == "cosine":
            key = F.normalize(key, dim=2).to(value.dtype)
            query = (F.normalize(query, dim=2) * math.log(key.shape[1])).to(value.dtype)
        return query, key, value
