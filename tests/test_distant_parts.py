"""The benchmark of two parts that must agree: what reads the pictures must be right."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from benchmarks.distant_parts import (
    HUES,
    UNREADABLE,
    agreement,
    colour_of,
    halves_of,
    make_pictures,
    settings_for,
)

SIZES = pytest.mark.parametrize("size", [32, 64])
RED, GREEN = (230, 0, 0), (0, 230, 58)


def drawn(first, second, size=32):
    """Two discs on grey."""
    picture = Image.new("RGB", (size, size), (60, 60, 60))
    draw, part = ImageDraw.Draw(picture), size // 8
    for colour, at in ((first, part), (second, 5 * part)):
        if colour:
            draw.ellipse((at, at, at + 2 * part, at + 2 * part), fill=colour)
    return np.array(picture)[None]


@SIZES
def test_real_pictures_agree(size):
    found = agreement(make_pictures(1500, size))
    assert found.readable > 0.99
    assert found.agree > 0.999
    assert found.by_chance == pytest.approx(1 / HUES, abs=0.01)


def test_halves_that_are_dealt_out_anew_agree_by_chance():
    pictures = make_pictures(4000, 32)
    upper, lower = halves_of(pictures)
    np.testing.assert_array_equal(upper + lower, pictures)
    found = agreement(upper + np.roll(lower, 1, axis=0))
    assert found.readable > 0.99
    assert found.agree == pytest.approx(1 / HUES, abs=3 * (0.125 * 0.875 / 4000) ** 0.5)


@SIZES
def test_all_colours_are_read_and_as_frequent(size):
    upper, lower = halves_of(make_pictures(2000, size, seed=1))
    for half in (upper, lower):
        counts = np.bincount(colour_of(half)[colour_of(half) != UNREADABLE], minlength=HUES)
        assert len(counts) == HUES
        assert counts.min() > 2000 / HUES * 0.7


def test_what_is_drawn_differently_is_told():
    assert agreement(drawn(RED, RED))[:2] == (1, 1)
    assert agreement(drawn(RED, GREEN))[:2] == (1, 0)
    assert agreement(drawn(RED, None)).readable == 0
    assert agreement(drawn(RED, (140, 90, 90))).readable == 0  # pale
    between = (0, 230, 144)  # of two of the eight colours
    assert agreement(drawn(between, between)).readable == 0
    half = drawn(RED, RED)
    half[:, 20:26, 20:26] = GREEN  # two colours in one half
    assert agreement(half).readable == 0
    both = np.concatenate([drawn(RED, RED), drawn(RED, GREEN), drawn(None, RED)])
    assert agreement(both) == (pytest.approx(2 / 3), 0.5, 0.5)


def test_pictures_of_a_seed_are_the_same_and_others_of_another():
    np.testing.assert_array_equal(make_pictures(3, 32), make_pictures(3, 32))
    assert not np.array_equal(make_pictures(3, 32), make_pictures(3, 32, seed=1))


def test_it_trains_sagan_without_classes(tmp_path):
    config = settings_for(tmp_path / "pictures.npy", 32, 400)
    assert config.loss.name == "hinge"
    assert not config.loss.relativistic
    assert {config.generator.spectral_norm, config.discriminator.spectral_norm} == {"all"}
    assert config.generator.base_channels == config.discriminator.base_channels == 16
    assert (config.data.labels, config.data.size) == ("none", (32, 32))
