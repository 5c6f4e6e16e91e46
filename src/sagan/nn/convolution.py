"""The two kinds of convolution in the networks, made fast on small maps on CPUs.

On a map of few positions and many channels most of the time goes into reading the kernel, which
oneDNN also copies into its own order. Two remedies (docs/performance.md): in bfloat16, which copies
several times, a product of the map's patches with the kernel as it is takes half of the time or
less; in inference a constant kernel is reordered once.

A nearest-neighbour upsampling before a 3x3 convolution, and an average pooling after one, are
folded into the kernel: one strided convolution with a 4x4 kernel does the same with 16 instead of
36 multiplications per 2x2 block and channel pair. The identities are exact, borders included.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sagan.config.checks import require
from sagan.nn import second_derivatives
from sagan.nn.initialization import first_bias
from sagan.nn.resizing import double_sized
from sagan.nn.spectral import SpectralLayer
from sagan.nn.tracing import is_traced

CHANNELS_LAST = (0, 2, 3, 1)
"""The order in memory of a kernel (out, in, H, W) whose channels lie together."""
LARGE = 2**20
"""Numbers in a weight, 4 MB, from which on a convolution is divided by sigma, not its weight: there
are so many channels then that its map, which takes a pass more, is smaller than that."""


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
    place = {"stride": stride, "padding": kernel.shape[2] // 3}
    if second_derivatives.applies(x):
        return second_derivatives.convolution(x, kernel, bias, **place)
    if not _as_product(x, kernel, count * height * width // stride**2):
        return F.conv2d(x, kernel, bias, **place)
    size = kernel.shape[2]
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    shifted = [  # views, whose gradients are summed faster than those of Tensor.unfold
        padded[:, i : i + height : stride, j : j + width : stride]
        for i in range(size)
        for j in range(size)
    ]
    rows = F.linear(torch.cat(shifted, dim=3), kernel.permute(0, 2, 3, 1).flatten(1), bias)
    return rows.permute(0, 3, 1, 2)


def conv_transpose2d(x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
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
        return with_bias(partial(F.conv_transpose2d, x, kernel, stride=2, padding=1), bias)
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
    image = image.permute(0, 3, 1, 2)
    return image if bias is None else image + bias[:, None, None].to(image)


class _SummedGradient(torch.autograd.Function):
    """A map to which a bias was added, whose gradient is a sum."""

    @staticmethod
    def forward(image: Tensor, bias: Tensor) -> Tensor:
        return image

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.dtype = inputs[1].dtype
        ctx.mark_dirty(output)

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor, Tensor]:
        return gradient, gradient.sum(dim=(0, 2, 3), dtype=ctx.dtype)


def with_bias(convolve: Callable[..., Tensor], bias: Tensor | None) -> Tensor:
    """A transposed convolution whose bias has its gradient by a sum.

    oneDNN takes for that gradient up to twice the time that it needs for the kernel's.

    Args:
        convolve: Takes a bias by that name, or none, and returns (N, out, H, W).
        bias: (out,).
    """
    if bias is None or is_traced() or not (bias.requires_grad and torch.is_grad_enabled()):
        return convolve(bias=bias)
    if torch.compiler.is_compiling():
        product = convolve()
        return (product + bias[:, None, None]).to(product.dtype)
    return _SummedGradient.apply(convolve(bias=bias.detach()), bias)


def _as_product(x: Tensor, kernel: Tensor, positions: int) -> bool:
    """Whether the product wins: measured where positions are at most half of the channels."""
    if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu") or is_traced():
        return False
    return kernel.shape[2] > 1 and 2 * positions <= min(kernel.shape[:2])


def is_bound_by_kernel(x: Tensor, kernel: Tensor) -> bool:
    """Whether :class:`ReorderedKernel` applies and wins: measured below one position a channel.

    Args:
        x: The map, (N, in, H, W).
        kernel: A constant one, as for :func:`conv2d` or :func:`conv_transpose2d`.
    """
    return (
        not torch.compiler.is_compiling()
        and not is_traced()
        and x.device.type == "cpu"
        and x.dtype == kernel.dtype == torch.float32
        and 0 < len(x) * x.shape[2] * x.shape[3] < min(kernel.shape[:2])
        and torch.backends.mkldnn.is_available()
        and not torch.is_autocast_enabled("cpu")
        and not (torch.is_grad_enabled() and x.requires_grad)
    )


class ReorderedKernel:
    """A constant kernel in the order in which oneDNN multiplies.

    Through the operators to which torch.compile lowers such convolutions; they have no gradient.

    Args:
        kernel: As for :func:`conv2d`, of 3x3 pixels or 4x4 with stride 2, or as for
            :func:`conv_transpose2d`; float32, on the CPU.
        shape: Of the maps to expect, (N, in, H, W); others give the same, slower.
        transposed: Whether it is a transposed convolution.
    """

    def __init__(self, kernel: Tensor, shape: Sequence[int], *, transposed: bool) -> None:
        mkldnn = torch.ops.mkldnn
        stride, padding, dilation, groups = [kernel.shape[2] - 2] * 2, [1, 1], [1, 1], 1
        if transposed:
            self.settings = (padding, [0, 0], stride, dilation, groups)
            self.convolve = mkldnn._convolution_transpose_pointwise
            reorder = mkldnn._reorder_convolution_transpose_weight
        else:
            self.settings = (padding, stride, dilation, groups)
            self.convolve = mkldnn._convolution_pointwise
            reorder = mkldnn._reorder_convolution_weight
        self.kernel = reorder(kernel, *self.settings, list(shape))

    def __call__(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """(N, in, H, W) and (out,) -> (N, out, H, W), half or twice the size with 4x4 pixels."""
        return self.convolve(x, self.kernel, bias, *self.settings, "none", [], "")


class Conv2d(SpectralLayer):
    """Convolution that keeps height and width.

    Args:
        in_channels: Of the input.
        out_channels: Of the output.
        kernel_size: 3, or 1.
        bias: Add one number per output channel.

    Raises:
        SaganError: ``kernel_size`` is another.

    Example:
        >>> sagan.nn.Conv2d(64, 32)(torch.randn(2, 64, 8, 8)).shape
        torch.Size([2, 32, 8, 8])
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, *, bias: bool = True
    ) -> None:
        require(kernel_size in (1, 3), "kernel_size", kernel_size, "3 or 1")
        super().__init__(
            out_channels, in_channels, kernel_size, kernel_size, memory_order=CHANNELS_LAST
        )
        self.bias = nn.Parameter(first_bias(out_channels, self.weight)) if bias else None

    @property
    def divides_product(self) -> bool:
        """Whether the weight is large."""
        return self.weight.numel() >= LARGE

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H, W)."""
        kernel, sigma = self.kept_kernel, self.kept_sigma
        if kernel is None or sigma is None:
            return conv2d(x, self.kernel, self.bias)
        product = conv2d(x, kernel, None)
        if self.bias is None:
            return product / sigma
        return torch.addcmul(self.bias[:, None, None], product, 1 / sigma)


def _sums(kernel: Tensor, padding: int = 0) -> Tensor:
    """Sums of 2x2 neighbouring pixels: (N, M, k, k) -> (N, M, k - 1, k - 1), or k + 1 padded."""
    if is_traced():  # ONNX divides by 4 whatever is asked for
        return 4 * F.avg_pool2d(kernel, 2, stride=1, padding=padding)
    return F.avg_pool2d(kernel, 2, stride=1, padding=padding, divisor_override=1)


class UpsampleConv2d(SpectralLayer):
    """Nearest-neighbour upsampling by 2, then a 3x3 convolution.

    Computed as one transposed convolution with the kernel A w A^T: less than half of the work,
    and the same result.

    Source: released code ``generator.py``, ``usample`` before ``snconv2d``.

    Example:
        >>> sagan.nn.UpsampleConv2d(64, 32)(torch.randn(2, 64, 8, 8)).shape
        torch.Size([2, 32, 16, 16])
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(out_channels, in_channels, 3, 3, memory_order=(1, 2, 3, 0))
        self.bias = nn.Parameter(first_bias(out_channels, self.weight))

    def fold(self, weight: Tensor) -> Tensor:
        """(out, in, 3, 3) -> the kernel, (in, out, 4, 4): sums of 2x2 neighbours, turned round."""
        return _sums(weight.transpose(0, 1).flip(2, 3), padding=1)

    def fold_gradient(self, gradient: Tensor) -> Tensor:
        """(in, out, 4, 4) -> (out, in, 3, 3)."""
        return _sums(gradient).flip(2, 3).transpose(0, 1)

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
        return super().forward(double_sized(x, "bilinear"))


class DownsampleConv2d(SpectralLayer):
    """A 3x3 convolution, then 2x2 average pooling.

    Computed as one strided convolution with the kernel B w B^T: less than half of the work, and
    the same result.

    Source: released code ``discriminator.py``, ``snconv2d`` before ``dsample``.

    Example:
        >>> sagan.nn.DownsampleConv2d(32, 64)(torch.randn(2, 32, 16, 16)).shape
        torch.Size([2, 64, 8, 8])
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(out_channels, in_channels, 3, 3, memory_order=CHANNELS_LAST)
        self.bias = nn.Parameter(first_bias(out_channels, self.weight))

    def fold(self, weight: Tensor) -> Tensor:
        """(out, in, 3, 3) -> the kernel, (out, in, 4, 4): means of 2x2 neighbours."""
        return F.avg_pool2d(weight, 2, stride=1, padding=1)

    def fold_gradient(self, gradient: Tensor) -> Tensor:
        """(out, in, 4, 4) -> (out, in, 3, 3)."""
        return F.avg_pool2d(gradient, 2, stride=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H/2, W/2)."""
        return conv2d(x, self.kernel, self.bias, stride=2)
