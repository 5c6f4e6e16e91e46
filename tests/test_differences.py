"""What benchmarks.differences compares with."""

import torch

from benchmarks.choices import at_least_one, through_the_iteration
from sagan.nn.spectral import SpectralNorm


def test_other_formulas_of_spectral_norm_divide_as_they_say():
    norm = SpectralNorm(weight := torch.randn(6, 4))
    norm.advance(weight, 500)
    sigma = torch.linalg.matrix_norm(weight, 2)
    for divided in (through_the_iteration(norm, False, weight), at_least_one(norm, True, weight)):
        torch.testing.assert_close(divided, weight / sigma)
    small, large = weight / sigma / 2, weight / sigma * 2
    torch.testing.assert_close(at_least_one(norm, False, small), small)
    torch.testing.assert_close(at_least_one(norm, False, large), large / 2)
    torch.testing.assert_close(at_least_one(norm, True, small), small * 2)
