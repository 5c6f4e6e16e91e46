"""Convolutions whose gradients are differentiated: the same numbers as PyTorch's."""

import pytest
import torch

from sagan.losses import zero_centred_penalty
from sagan.nn import second_derivatives
from sagan.nn.blocks import DiscriminatorBlock
from sagan.nn.second_derivatives import convolution, differentiated_twice

PLACES = ((1, 1, 0), (3, 1, 1), (4, 2, 1))


def inputs(size: int) -> list[torch.Tensor]:
    shapes = (2, 3, 6, 8), (5, 3, size, size), (5,)
    return [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]


@pytest.mark.parametrize(("size", "stride", "padding"), PLACES)
@pytest.mark.parametrize("has_bias", [False, True])
def test_it_is_the_convolution_with_its_gradients(size, stride, padding, has_bias):
    learnt = inputs(size)[: 3 if has_bias else 2]
    x, kernel, bias = learnt if has_bias else (*learnt, None)
    place = {"stride": stride, "padding": padding}
    found = convolution(x, kernel, bias, **place)
    wanted = torch.nn.functional.conv2d(x, kernel, bias, **place)
    assert torch.equal(found, wanted)
    slope = torch.randn_like(found)
    for one, other in zip(
        torch.autograd.grad(found, learnt, slope),
        torch.autograd.grad(wanted, learnt, slope),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("size", "stride", "padding"), PLACES)
def test_all_gradients_can_be_differentiated(size, stride, padding):
    def convolved(x: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return convolution(x, kernel, bias, stride=stride, padding=padding).square()

    assert torch.autograd.gradgradcheck(convolved, tuple(inputs(size)))


def test_a_penalty_has_the_gradients_that_pytorch_finds(monkeypatch: pytest.MonkeyPatch):
    block = DiscriminatorBlock(3, 4).double()
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    labels = torch.zeros(2, dtype=torch.int64)
    ways = []

    def discriminator(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        out = block(images)
        names = {type(node).__name__ for node in nodes(out.grad_fn)}
        ways.append("_ConvolutionBackward" in names)
        return out.square().sum((1, 2, 3))

    def gradients() -> list[torch.Tensor]:
        block.zero_grad()
        zero_centred_penalty(discriminator, images, labels).backward()
        return [parameter.grad for parameter in block.parameters() if parameter.grad is not None]

    wanted = gradients()
    monkeypatch.setattr(second_derivatives, "applies", lambda _: second_derivatives._twice.get())
    found = gradients()
    assert ways == [False, True]
    assert len(found) == len(wanted) == 6
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


def nodes(node) -> set:
    found, waiting = set(), [node]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in found:
            found.add(node)
            waiting += [function for function, _ in node.next_functions]
    return found


def test_only_within_the_block_and_where_gradients_are_wanted():
    elsewhere = torch.empty(1, 1, 4, 4, device="meta")
    assert not second_derivatives.applies(elsewhere)
    with differentiated_twice():
        assert second_derivatives.applies(elsewhere)
        assert not second_derivatives.applies(torch.empty(1, 1, 4, 4))
        with torch.no_grad():
            assert not second_derivatives.applies(elsewhere)
    assert not second_derivatives.applies(elsewhere)
