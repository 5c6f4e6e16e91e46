import numpy as np
import pytest
from test_cli import pixels, run

from sagan.images import enlarge
from sagan.images.contact import NAMED_SIDE, contact_sheet, named_sheet
from sagan.sampling.generator import load_generator

DARK = np.full((3, 3, 32, 32), 50, np.uint8)


def painted(sheet, level=50):
    """Where pictures lie: rows and columns of the sheet that hold some of their pixels."""
    found = (sheet == level).all(axis=0)
    return np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))


@pytest.mark.parametrize("rows", [1, 2, 5, 14, 40])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (32, 64), (64, 32)])
def test_a_named_sheet_is_as_wide_as_high(rows, height, width):
    pictures = np.zeros((3, 3, height, width), np.uint8)
    sheet = named_sheet([(f"class {n}", pictures) for n in range(rows)], columns=3)
    shown = sum((sheet == 0).all(axis=0).ravel())
    assert shown >= rows * 3 * (height * width) * (-(-NAMED_SIDE // min(height, width))) ** 2
    assert sheet.shape[2] >= 0.9 * sheet.shape[1]


def test_stacks_stand_beside_each_other_from_the_first_down():
    rows = [
        (name, "", np.full_like(DARK, level))
        for name, level in zip("abc", (30, 60, 90), strict=True)
    ]
    sheet = contact_sheet(rows, columns=3, stacks=2)
    (top, left), (below, also_left), (beside, right) = (painted(sheet, n) for n in (30, 60, 90))
    assert top.max() < below.min()
    assert left.tolist() == also_left.tolist()
    assert top.tolist() == beside.tolist()
    assert left.max() < right.min()


def test_a_name_moves_pictures_aside_and_is_cut_not_drawn_over_them():
    bare = named_sheet([("", DARK)], columns=3)
    for name in ("cat", "n" * 3000, "two\nlines", "猫"):
        sheet = named_sheet([(name, DARK)], columns=3)
        assert painted(sheet)[1].size == painted(bare)[1].size
        left = painted(sheet)[1].min()
        assert left > painted(bare)[1].min() + 10
        assert (sheet[:, :, : left - 4] < 100).any()
    assert (bare[:, :, : painted(bare)[1].min()] == 255).all()


def test_sample_writes_names_beside_the_pictures_of_the_plain_grid(trained_run, tmp_path):
    path = tmp_path / "named.png"
    assert run("sample", trained_run, "--seeds", "0-2", "--names", "-o", path) == 0
    sheet = pixels(path).transpose(2, 0, 1)
    (picture,) = load_generator(trained_run).sample([1], "light")
    cell = enlarge(picture, 3).astype(int)
    height, width = sheet.shape[1] - 96, sheet.shape[2] - 96
    places = np.argwhere(
        np.abs(sheet[:, :height, :width].astype(int) - cell[:, :1, :1]).max(axis=0) <= 1
    )
    found = [
        (y, x)
        for y, x in places
        if np.abs(sheet[:, y : y + 96, x : x + 96].astype(int) - cell).max() <= 1
    ]
    assert len(found) == 1
    larger = tmp_path / "larger.png"
    assert run("sample", trained_run, "--names", "--scale", 5, "--seeds", 1, "-o", larger) == 0
    assert pixels(larger).shape[1] > 160
