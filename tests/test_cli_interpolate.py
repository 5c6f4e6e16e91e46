import pytest
from PIL import Image
from test_cli import mistake, run, size


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".apng"])
def test_films(trained_run, tmp_path, capsys, suffix):
    path = tmp_path / f"walk{suffix}"
    assert run("interpolate", trained_run, "--frames", 3, "-o", path) == 0
    assert capsys.readouterr().out == f"{path}\n"
    if suffix != ".mp4":
        with Image.open(path) as film:
            assert film.n_frames == 12  # four seeds and back
            assert film.size == (4 * (2 * 34 + 2), 4 * (34 + 2))  # two classes, 128 pixels each


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
        (["-o", tmp_path / "walk.avi"], "must end in .png, .mp4, .gif, .apng"),
        (["--frames", 0], "--frames 0 is out of range"),
        (["--scale", 0], "--scale 0 is out of range"),
        (["--seeds", "3", "-o", gif], "two seeds at least, not 1"),
        (["--through", "classes", "--class", "dark", "-o", gif], "two classes at least, not 1"),
        (["--class", "drak", "-o", gif], "did you mean dark"),
        (["--frames-per-second", 0, "-o", gif], "frames per second are out of range"),
        (["--truncation", 0, "-o", gif], "truncation 0.0 is out of range"),
    ):
        assert message in mistake(capsys, "interpolate", trained_run, *arguments)
    assert not list(tmp_path.iterdir())
