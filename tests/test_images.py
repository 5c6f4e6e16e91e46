import numpy as np
import pytest
import torch
from PIL import Image

from sagan import images
from sagan.errors import SaganError


def test_every_level_survives_the_round_trip():
    levels = torch.arange(256, dtype=torch.uint8)
    floats = images.to_float(levels)
    assert floats.min() == -1
    assert floats.max() == 1
    assert torch.equal(images.to_uint8(floats), levels)


def test_floats_are_rounded_and_clipped_and_left_alone():
    floats = torch.tensor([-2.0, -1 + 1.1 / 255, 3.0])
    kept = floats.clone()
    assert images.to_uint8(floats).tolist() == [0, 1, 255]
    assert torch.equal(floats, kept)


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 3, 5), (3, 4, 4), (4, 6, 2)])
def test_a_grid_is_cut_into_its_pictures_again(channels, height, width):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (6, channels, height, width), dtype=np.uint8)
    cells = images.pictures_of(images.grid(pictures, 3), (height, width))
    assert cells.shape == (2, 3, channels, height, width)
    assert np.array_equal(cells.reshape(pictures.shape), pictures)


def test_grid_puts_pictures_row_by_row():
    pictures = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((3, 3, 2, 2), np.uint8)
    sheet = images.grid(pictures, 2, padding=1)
    assert sheet.shape == (3, 7, 7)
    w = 255
    expected = np.array(
        [
            [w, w, w, w, w, w, w],
            [w, 0, 0, w, 1, 1, w],
            [w, 0, 0, w, 1, 1, w],
            [w, w, w, w, w, w, w],
            [w, 2, 2, w, w, w, w],
            [w, 2, 2, w, w, w, w],
            [w, w, w, w, w, w, w],
        ]
    )
    np.testing.assert_array_equal(sheet, np.broadcast_to(expected, (3, 7, 7)))


def test_png_keeps_every_pixel(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (3, 5, 7), dtype=np.uint8)
    path = images.save_png(picture, tmp_path / "new" / "a.png")
    np.testing.assert_array_equal(np.asarray(Image.open(path)).transpose(2, 0, 1), picture)


def test_enlarge_repeats_pixels():
    picture = np.array([[[1, 2]]], dtype=np.uint8)
    assert images.enlarge(picture, 2).tolist() == [[[1, 1, 2, 2], [1, 1, 2, 2]]]


def test_unwritable_place_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SaganError, match="cannot write"):
        images.save_png(np.zeros((3, 2, 2), np.uint8), tmp_path / "file" / "a.png")
