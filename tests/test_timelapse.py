import shutil

import numpy as np
import pytest
from PIL import Image
from test_cli import mistake, run

from sagan.errors import SaganError
from sagan.images import enlarge, save_png
from sagan.images.contact import NAMED_SIDE, with_names
from sagan.runs.folder import sample_files
from sagan.sampling.generator import class_sheet, load_generator
from sagan.sampling.timelapse import (
    _more_of_the_beginning,
    growth_frames,
    read_sheet,
    sample_grid,
)


def copy(trained_run, tmp_path):
    """A copy of a run of two steps, two classes of 32 pixels, with more sample grids."""
    folder = tmp_path / "run"
    shutil.copytree(trained_run, folder)
    sheet = read_sheet(folder / "samples" / "step-00000002.png")
    for step in (1, 3, 40):
        save_png(np.roll(sheet, step, axis=1), folder / "samples" / f"step-{step:08}.png")
    return folder


def test_frames_are_the_grids_in_their_order_enlarged(trained_run, tmp_path):
    folder = copy(trained_run, tmp_path)
    frames = list(growth_frames(folder, columns=2))
    assert len(frames) == 4
    assert len({frame.shape for frame in frames}) == 1
    assert frames[0].shape[2] >= frames[0].shape[1]
    sheet = read_sheet(folder / "samples" / "step-00000002.png")
    for row, column in ((0, 0), (1, 1)):
        top, left = 2 + 34 * row, 2 + 34 * column
        cell = enlarge(sheet[:, top : top + 32, left : left + 32], 3)
        assert cell.shape[1] == NAMED_SIDE
        assert contains(frames[1], cell)
        assert not contains(frames[3], cell)


def test_a_sample_grid_has_names_that_leave_the_pictures_alone(trained_run):
    generator = load_generator(trained_run)
    named, plain = sample_grid(generator), class_sheet(generator, 8)
    np.testing.assert_array_equal(named[:, :, :274], plain)
    names = named[:, :, 274:]
    assert (names.min(axis=(0, 2))[:36] < 100).any()  # dark
    assert (names.min(axis=(0, 2))[36:] < 100).any()  # light
    assert with_names(plain, ()) is plain
    for channels in (1, 4):
        wider = with_names(np.zeros((channels, 36, 274), np.uint8), ["a name"])
        assert wider.shape[:2] == (channels, 36)
        assert (wider[-1, :, 274:].min() == 255) == (channels == 4)


def contains(frame, cell):
    """Whether a picture (3, H, W) lies somewhere in a frame."""
    windows = np.lib.stride_tricks.sliding_window_view(frame, cell.shape)[0]
    likely = np.argwhere(windows[..., 0, 0, 0] == cell[0, 0, 0])
    return any(np.array_equal(windows[y, x], cell) for y, x in likely)


def test_the_command_makes_every_kind_of_film(trained_run, tmp_path, capsys):
    folder = copy(trained_run, tmp_path)
    for suffix in (".webp", ".gif", ".apng", ".mp4"):
        film = tmp_path / f"growth{suffix}"
        chosen = ["--frames", 3, "--hold", 2, "--frames-per-second", 10]
        assert run("timelapse", folder, *chosen, "-o", film) == 0
        assert capsys.readouterr().out == f"{film}\n"
        if suffix == ".mp4":
            continue
        with Image.open(film) as image:
            assert image.n_frames == 3
            durations = []
            for number in range(3):
                image.seek(number)
                image.load()
                durations.append(image.info["duration"])
        assert durations == [100, 100, 2100]


def test_more_of_the_beginning_is_shown():
    steps = list(range(0, 1000, 10))
    chosen = _more_of_the_beginning(steps, 10)
    assert chosen[0] == 0
    assert chosen[-1] == 990
    assert 8 <= len(chosen) <= 10
    gaps = np.diff(chosen)
    assert gaps[0] < gaps[-1]
    assert (np.diff(gaps) >= -10).all()
    assert _more_of_the_beginning(steps, 1) == [990]
    assert _more_of_the_beginning(steps, 100) == steps


def test_without_a_checkpoint_there_are_no_names(trained_run, tmp_path):
    folder = copy(trained_run, tmp_path)
    with_names = next(growth_frames(folder, columns=4))
    shutil.rmtree(folder / "checkpoints")
    without = next(growth_frames(folder, columns=4))
    assert without.shape[2] < with_names.shape[2]
    assert without.shape[1] == with_names.shape[1]


def test_copies_and_strangers_are_no_sample_grids(trained_run, tmp_path):
    folder = copy(trained_run, tmp_path)
    sample = folder / "samples" / "step-00000002.png"
    shutil.copy(sample, folder / "samples" / "step-00000002 (copy).png")
    (folder / "samples" / "step-00000009.png").mkdir()
    assert sorted(sample_files(folder)) == [1, 2, 3, 40]


def test_mistakes_are_one_line(trained_run, tmp_path, capsys):
    folder = copy(trained_run, tmp_path)
    film = tmp_path / "growth.webp"
    for arguments, message in (
        ([tmp_path], "is no run folder"),
        ([folder, "--columns", 9], "--columns 9 is out of range"),
        ([folder, "--frames", 0], "--frames 0 is out of range"),
        ([folder, "--hold", -1], "cannot be held for -1.0 seconds"),
        ([folder, "--hold", 61], "cannot be held for 61.0 seconds"),
        ([folder, "--frames-per-second", 51], "a .webp has 0.1 to 50"),
    ):
        assert message in mistake(capsys, "timelapse", *arguments, "-o", film)
    message = mistake(capsys, "timelapse", folder, "-o", tmp_path / "growth.png")
    assert "must end in .mp4 or .webp or .gif or .apng" in message
    shutil.rmtree(folder / "samples")
    assert "has no sample grid yet" in mistake(capsys, "timelapse", folder, "-o", film)
    assert not film.exists()


def test_a_picture_that_is_no_grid_of_this_run_is_refused(trained_run, tmp_path):
    folder = copy(trained_run, tmp_path)
    path = folder / "samples" / "step-00000003.png"
    for shape in ((3, 70, 3000), (3, 70, 100), (3, 36, 274)):
        save_png(np.zeros(shape, np.uint8), path)
        with pytest.raises(SaganError, match=r"step-00000003.png .*no sample grid of this run"):
            list(growth_frames(folder))
    path.write_bytes(b"no picture")
    with pytest.raises(SaganError, match="cannot read"):
        list(growth_frames(folder))
