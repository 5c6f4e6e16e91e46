"""Damage of packed pictures is found before a run has learned from it for long."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import tiny

from sagan.config import DataConfig
from sagan.data import load_dataset, packfile
from sagan.data.avatars import load_avatars
from sagan.data.intact import PictureCheck
from sagan.data.packfile import header_size, is_small
from sagan.errors import SaganError
from sagan.runs.folder import checkpoint_files
from sagan.training.driver import Driver

SHAPE = (3, 32, 32)
SIZE = 3 * 32 * 32


@pytest.fixture
def config(picture_folder):
    return replace(tiny(steps=2), data=DataConfig(source=str(picture_folder), resolution=32))


@pytest.fixture
def large(monkeypatch):
    """Packs in which only the first and the last picture are compared at each opening."""
    monkeypatch.setattr(packfile, "_CHECKED_TOGETHER", SIZE)
    monkeypatch.setattr(packfile, "_CHECKED", 2)


def flip(pack, row):
    with pack.path.open("r+b") as file:
        file.seek(header_size(SHAPE) + SIZE * row + 1000)
        (byte,) = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))


def zero(pack):
    with pack.path.open("r+b") as file:
        file.seek(header_size(SHAPE))
        file.write(bytes(SIZE * len(pack)))


@pytest.mark.parametrize("damage", [zero, lambda pack: flip(pack, 7)])
def test_small_packs_are_compared_whole_before_the_first_step(damage, config, tmp_path, capsys):
    dataset = load_dataset(config.data)
    expected = np.array(dataset.images)
    assert is_small(dataset.origin.pack)
    damage(dataset.origin.pack)
    driver = Driver(config, tmp_path / "run")
    assert "are damaged; packing them again" in capsys.readouterr().err
    np.testing.assert_array_equal(driver.dataset.images, expected)


@pytest.mark.usefixtures("large")
def test_a_run_stops_at_a_damaged_picture_of_many_and_keeps_nothing(config, tmp_path, capsys):
    folder = tmp_path / "run"
    Driver(replace(config, train=replace(config.train, steps=1)), folder).train()
    dataset = load_dataset(config.data)
    assert not is_small(dataset.origin.pack)
    flip(dataset.origin.pack, 7)
    with pytest.raises(SaganError, match=r"pictures 7 to 7 in .*the same command packs it again"):
        Driver(config, folder).train()
    assert [file.stem for file in checkpoint_files(folder)] == ["step-00000001"]
    capsys.readouterr()
    assert Driver(config, folder).train().steps == 2
    assert "are damaged; packing them again" in capsys.readouterr().err
    load_dataset(config.data)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("large")
def test_good_pictures_are_read_to_the_end(config):
    check = PictureCheck(load_dataset(config.data))
    with check.running():
        check.wait()
        check.raise_failed()


@pytest.mark.usefixtures("large")
def test_reading_ends_with_the_run(config, monkeypatch):
    dataset, seen = load_dataset(config.data), []
    real = packfile._is_as_written

    def compared(pack, rows):
        seen.append(rows)
        check._ended.wait(10)
        return real(pack, rows)

    monkeypatch.setattr(packfile, "_is_as_written", compared)
    check = PictureCheck(dataset)
    with check.running():
        pass
    assert len(seen) <= 1


def test_pictures_made_in_memory_need_no_reading():
    check = PictureCheck(load_avatars(32, 20))
    with check.running():
        check.wait()
