from itertools import combinations
from typing import get_args

import pytest
import torch

from sagan.config import Augmentation
from sagan.errors import SaganError
from sagan.losses import augmentation
from sagan.losses.augmentation import augment

NAMES = get_args(Augmentation)
CHANGES = [augmentation.colour, augmentation.translation, augmentation.cutout]
CHANGES.append(augmentation.flip_and_translate)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images():
    return torch.rand(16, 3, 32, 32, dtype=torch.float64) * 2 - 1


def test_nothing_chosen_is_the_identity(images):
    assert augment(images, (), seeded()) is images


@pytest.mark.parametrize("chosen", [c for n in (1, 2, 3) for c in combinations(NAMES, n)], ids=str)
def test_is_a_function_of_the_seed_and_of_each_picture_alone(images, chosen):
    once = augment(images, chosen, seeded())
    assert once.shape == images.shape
    assert torch.equal(once, augment(images, chosen, seeded()))
    assert not torch.equal(once, augment(images, chosen, seeded(1)))
    other = images.clone()
    other[1:] = 0
    assert torch.equal(augment(other, chosen, seeded())[0], once[0])
    assert 0.5 < once.abs().max() <= 5


def test_precision_of_the_pictures_is_kept_or_raised(images):
    assert augment(images, NAMES, seeded()).dtype == torch.float64
    assert augment(images.bfloat16(), NAMES, seeded()).dtype == torch.float32


@pytest.mark.parametrize("change", CHANGES)
def test_gradients_flow_twice(change):
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: change(x, seeded()), images)
    assert torch.autograd.gradgradcheck(lambda x: change(x, seeded()).square(), images)


def test_colour_keeps_grey_grey_and_shapes_in_place(images):
    grey = images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    changed = augmentation.colour(grey, seeded())
    torch.testing.assert_close(changed, changed[:, :1].expand_as(changed))
    contrast = changed.std((1, 2, 3)) / grey.std((1, 2, 3))
    assert contrast.min() >= 0.5
    assert contrast.max() <= 1.5
    brightness = (changed - grey).mean((1, 2, 3))
    assert brightness.abs().max() <= 0.5
    assert brightness.std() > 0.1


def test_translation_moves_by_whole_pixels_and_brings_in_zeros():
    images = torch.arange(1.0, 1 + 16 * 16).view(1, 1, 16, 16).expand(200, 1, 16, 16)
    shifts = set()
    for moved in augmentation.translation(images, seeded())[:, 0]:
        row, column = (moved == images[0, 0, 8, 8]).nonzero()[0].tolist()
        shifts.add((row - 8, column - 8))
        expected = torch.zeros(20, 20)
        expected[row - 6 : row + 10, column - 6 : column + 10] = images[0, 0]
        assert torch.equal(moved, expected[2:18, 2:18])
    assert shifts == {(y, x) for y in range(-2, 3) for x in range(-2, 3)}


def test_cutout_leaves_a_hole_of_half_the_side(images):
    holes = augmentation.cutout(torch.ones_like(images), seeded()) == 0
    for hole in holes:
        assert torch.equal(hole[0], hole[1])
        rows, columns = hole[0].any(1), hole[0].any(0)
        assert torch.equal(hole[0], rows[:, None] & columns)
        assert 8 <= rows.sum() <= 16
        assert 8 <= columns.sum() <= 16
    whole = torch.zeros(2, 16, 16)
    for hole in augmentation.cutout(torch.ones(1000, 2, 16, 16), seeded(3)):
        whole += hole == 0
    assert whole.min() > 0


def test_consistency_mirrors_half_of_the_pictures():
    ramp = torch.arange(32.0).expand(400, 1, 32, 32)
    moved = augmentation.flip_and_translate(ramp, seeded())
    mirrored = moved[:, 0, 16, 20] < moved[:, 0, 16, 10]
    assert 160 < mirrored.sum() < 240


def test_unknown_changes_are_named():
    with pytest.raises(SaganError, match="no change 'banana'; known are colour"):
        augmentation.augment(torch.zeros(1, 3, 8, 8), ("banana",), torch.Generator())
