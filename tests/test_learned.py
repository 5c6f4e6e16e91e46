"""Models are measured against what they learned from, or not at all."""

import json
import shutil

import pytest
from test_cli import run

from sagan.config import UNKNOWN_SOURCE, DataConfig
from sagan.data import load_dataset
from sagan.data.learned import load_learned
from sagan.errors import SaganError
from sagan.runs.named import as_placed_now, run_of
from sagan.runs.run import load_checkpoint


@pytest.fixture
def own(picture_folder, tmp_path, monkeypatch):
    """A folder that was given by a relative path, and what a model that learned from it keeps."""
    shutil.copytree(picture_folder, tmp_path / "here" / "plain")
    monkeypatch.chdir(tmp_path / "here")
    config = DataConfig(source="plain", resolution=32)
    return config, load_dataset(config).fingerprint


def test_the_pictures_are_there(own):
    config, mark = own
    for known in (mark, ""):
        assert load_learned(config, known, "it", "mend it").fingerprint == mark


def test_others_are_refused(own, tmp_path, monkeypatch):
    config, mark = own
    [first, *_] = sorted((tmp_path / "here" / "plain").rglob("*.png"))
    first.unlink()
    for part in ("train", "held-out"):
        with pytest.raises(
            SaganError, match="it was trained on other pictures than plain now hold"
        ):
            load_learned(config, mark, "it", "mend it", part=part)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(SaganError, match=r"trained on plain, which is not in .*elsewhere; mend it"):
        load_learned(config, mark, "it", "mend it")


def test_of_a_converted_model_it_is_not_known(own, tmp_path, monkeypatch):
    (tmp_path / "here" / "plain").rename(tmp_path / "here" / "unknown")
    config = DataConfig(source=UNKNOWN_SOURCE, resolution=32)
    with pytest.raises(SaganError, match="it is not known what it learned from; mend it"):
        load_learned(config, "", "it", "mend it")


def test_a_run_that_went_on_elsewhere_has_its_pictures_there(trained_run, tmp_path):
    data = load_checkpoint(trained_run)[0].config.data
    assert as_placed_now(data, None) == as_placed_now(data, trained_run) == data
    folder = shutil.copytree(trained_run, tmp_path / "run")
    settings = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(settings.replace(data.source, "/new/place"))
    [file, *_] = (folder / "checkpoints").iterdir()
    for model in (folder, file, f"{folder}@newest"):
        assert run_of(model).resolve() == folder.resolve()
        assert as_placed_now(data, run_of(model)).source == "/new/place"
    assert run_of("avatars64") is None
    assert run_of(shutil.copy(file, folder / "copy.safetensors")) is None


def test_composed_pictures_need_not_be_the_same():
    config = DataConfig(source="avatars", resolution=16, generated_images=20)
    assert len(load_learned(config, "0" * 16, "it", "mend it")) == 20


def test_a_model_is_not_measured_against_strangers(
    trained_run, picture_folder, tmp_path, monkeypatch, capsys
):
    """Neither by ``evaluate`` nor in the report; said so, they are measured all the same."""
    settings = (trained_run / "config.toml").read_text()
    source = str(picture_folder)
    assert json.dumps(source) in settings
    strangers = tmp_path / "strangers"
    shutil.copytree(picture_folder, strangers)
    [first, *_] = sorted(strangers.rglob("*.png"))
    first.unlink()
    moved = tmp_path / "moved"
    picture_folder.rename(moved)
    try:
        strangers.rename(picture_folder)
        evaluate = ["evaluate", trained_run, "--samples", 8, "--repeats", 1, "--metrics", "fd"]
        out = tmp_path / "x.json"
        assert run(*evaluate, "-o", out) == 2
        assert "was trained on other pictures than" in capsys.readouterr().err
        assert not out.exists()
        assert run(*evaluate, "-o", out, "--against", picture_folder) == 0
        assert run("report", trained_run, "-o", tmp_path / "report.html") == 0
        page = (tmp_path / "report.html").read_text()
        assert "the run was trained on other pictures than" in page
        for picture in sorted(picture_folder.rglob("*.png"))[3:]:  # less than a batch is left
            picture.unlink()
        assert run("train", "--run", trained_run, "--train.steps", 3) == 2
        assert "was trained on other pictures than" in capsys.readouterr().err
    finally:
        shutil.rmtree(picture_folder)
        moved.rename(picture_folder)
