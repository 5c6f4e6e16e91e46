"""Convolutions of the two shapes that the networks have; over small maps as matrix products.

Where a map has few positions and many channels, a convolution is bound by reading its kernel, and
oneDNN's bfloat16 kernels for CPUs reorder it several times on the way. A product of the map's
patches with the kernel as it lies in memory takes half of their time or less
(docs/performance.md).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def conv2d(x: Tensor, kernel: Tensor, bias: Tensor | None, *, stride: int = 1) -> Tensor:
    """Convolution of a map padded by one, or by nothing with a 1x1 kernel.

    Args:
        x: (N, in, H, W).
        kernel: (out, in, k, k), k 3 or 1 with stride 1 and 4 with stride 2.
        bias: (out,).
        stride: 1 or 2.

    Returns:
        (N, out, H / stride, W / stride).
    """
    count, _, height, width = x.shape
    if not _as_product(x, kernel, count * height * width // stride**2):
        return F.conv2d(x, kernel, bias, stride=stride, padding=kernel.shape[2] // 3)
    size = kernel.shape[2]
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    patches = padded.unfold(1, size, stride).unfold(2, size, stride).permute(0, 1, 2, 4, 5, 3)
    rows = F.linear(patches.flatten(3), kernel.permute(0, 2, 3, 1).flatten(1), bias)
    return rows.permute(0, 3, 1, 2)


def conv_transpose2d(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """Transposed 4x4 convolution with stride 2, whose border of one pixel is cut off.

    Args:
        x: (N, in, H, W).
        kernel: (in, out, 4, 4).
        bias: (out,).

    Returns:
        (N, out, 2H, 2W).
    """
    count, _, height, width = x.shape
    if not _as_product(x, kernel, count * height * width):
        return F.conv_transpose2d(x, kernel, bias, stride=2, padding=1)
    products = x.permute(0, 2, 3, 1) @ kernel.permute(0, 2, 3, 1).flatten(1)  # (N, H, W, 16 out)
    padded = F.pad(products.unflatten(3, (4, 4, -1)), (0, 0, 0, 0, 0, 0, 1, 1, 1, 1))

    def pixels(row: int, column: int) -> Tensor:
        """One pixel of every 2x2 block: the sum of what its four neighbours spread onto it."""
        return torch.stack(
            [
                padded[:, i : i + height, j : j + width, 3 + row - 2 * i, 3 + column - 2 * j]
                for i in (row, row + 1)
                for j in (column, column + 1)
            ]
        ).sum(dim=0)

    rows = [torch.stack([pixels(i, 0), pixels(i, 1)], dim=3) for i in (0, 1)]
    image = torch.stack(rows, dim=2).flatten(3, 4).flatten(1, 2)  # (N, 2H, 2W, out)
    return image.permute(0, 3, 1, 2) + bias[:, None, None].to(image)


def _as_product(x: Tensor, kernel: Tensor, positions: int) -> bool:
    """Whether the product wins: measured where positions are at most half of the channels.

    Not in compiled code, where PyTorch 2.13 writes past the end of the patches' gradient.
    """
    if torch.compiler.is_compiling() or x.device.type != "cpu":
        return False
    is_small = kernel.shape[2] > 1 and 2 * positions <= min(kernel.shape[:2])
    return is_small and torch.is_autocast_enabled("cpu")
