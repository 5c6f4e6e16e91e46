import numpy as np
import pytest
from PIL import Image
from test_cli import mistake, pixels, run, size


@pytest.mark.parametrize("suffix", [".mp4", ".webp", ".gif", ".apng"])
def test_films(trained_run, tmp_path, capsys, suffix):
    path = tmp_path / "new" / f"walk{suffix}"
    assert run("interpolate", trained_run, "--frames", 3, "-o", path) == 0
    assert capsys.readouterr().out == f"{path}\n"
    if suffix != ".mp4":
        with Image.open(path) as film:
            assert film.n_frames == 12  # four seeds and back
            assert film.size == (4 * (2 * 34 + 2), 4 * (34 + 2))  # two classes, 128 pixels each


def test_a_single_picture_fills_the_film(trained_run, tmp_path):
    path = tmp_path / "walk.gif"
    chosen = ["--class", "dark", "--seeds", "5,9", "--no-loop", "--scale", 1]
    assert run("interpolate", trained_run, *chosen, "-o", path) == 0
    with Image.open(path) as film:
        assert (film.n_frames, film.size) == (25, (32, 32))


def test_places_left_empty_are_few(trained_run, tmp_path):
    path = tmp_path / "walk.apng"
    through = ["--through", "classes", "--seeds", "0-9", "--frames", 1]
    assert run("interpolate", trained_run, *through, "-o", path) == 0
    assert size(path) == (4 * (5 * 34 + 2), 4 * (2 * 34 + 2))


def test_a_sheet_of_one_picture_has_a_row_from_end_to_end(trained_run, tmp_path):
    path, plain = tmp_path / "walk.PNG", tmp_path / "plain.png"
    chosen = ["--class", "light", "--frames", 3]
    assert run("interpolate", trained_run, *chosen, "--seeds", "5,9", "-o", path) == 0
    there, back = cells(path, 4)
    assert size(path) == (4 * 34 + 2, 2 * 34 + 2)
    assert run("sample", trained_run, "--class", "light", "--seeds", "5,9", "-o", plain) == 0
    first, second = cells(plain, 2)[0]
    for row, ends in ((there, (first, second)), (back, (second, first))):
        for found, expected in zip((row[0], row[3]), ends, strict=True):
            assert np.abs(found.astype(int) - expected).max() <= 1
    # One seed: through all classes, and without the way back a row less.
    assert run("interpolate", trained_run, "--seeds", 5, "--no-loop", "-o", path) == 0
    assert size(path) == (5 * 34 + 2, 34 + 2)


def cells(path, columns):
    """The pictures of a sheet, row by row."""
    sheet = pixels(path)
    return [
        [sheet[y : y + 32, 2 + 34 * column : 34 + 34 * column] for column in range(columns)]
        for y in range(2, len(sheet) - 2, 34)
    ]


def test_a_sheet_has_a_row_per_picture(trained_run, tmp_path):
    path = tmp_path / "walk.png"
    assert run("interpolate", trained_run, "--no-loop", "--seeds", "5,9", "-o", path) == 0
    assert size(path) == (5 * 34 + 2, 2 * 34 + 2)
    through = ["--through", "classes", "--class", "light", "--class", "dark", "--seeds", "0-3"]
    assert run("interpolate", trained_run, *through, "--scale", 2, "-o", path) == 0
    assert size(path) == (2 * (8 * 34 + 2), 2 * (4 * 34 + 2))


def test_mistakes_are_one_line(trained_run, tmp_path, capsys):
    gif = tmp_path / "walk.gif"
    for arguments, message in (
        (["-o", tmp_path / "walk.avi"], "must end in .png or .mp4 or .webp or .gif or .apng"),
        (["--frames", 0], "--frames 0 is out of range"),
        (["--scale", 0], "--scale 0 is out of range"),
        (["--through", "latents", "--seeds", "3", "-o", gif], "two seeds at least, not 1"),
        (["--class", "dark", "--seeds", "3", "-o", gif], "two classes at least, not 1"),
        (["--seeds", "3-x", "-o", gif], "no list like"),
        (["--through", "classes", "--class", "dark", "-o", gif], "two classes at least, not 1"),
        (["--class", "drak", "-o", gif], "did you mean dark"),
        (["--frames-per-second", 60, "-o", gif], "a .gif has 0.1 to 50"),
        (["--truncation", 0, "-o", gif], "truncation 0.0 is out of range"),
    ):
        assert message in mistake(capsys, "interpolate", trained_run, *arguments)
    assert not list(tmp_path.iterdir())
