import shutil
from dataclasses import replace

import pytest
import torch

from sagan.errors import SaganError
from sagan.runs import checkpoint as checkpoints
from sagan.runs.folder import checkpoint_files
from sagan.studio import models
from sagan.studio.guard import RefusedError
from sagan.studio.models import Gallery
from sagan.system import memory
from sagan.system.memory import Memory


@pytest.fixture
def run(trained_run, tmp_path):
    """A run of three checkpoints, which may be changed."""
    folder = tmp_path / "run"
    shutil.copytree(trained_run, folder)
    [first] = checkpoint_files(folder)
    trained = checkpoints.load(first)
    for step in (4, 6):
        file = folder / "checkpoints" / f"step-{step:08d}.safetensors"
        checkpoints.save(replace(trained, step=step), file)
    return folder


def file_of(run, step):
    return run / "checkpoints" / f"step-{step:08d}.safetensors"


def refused(status, call):
    with pytest.raises(RefusedError) as caught:
        call()
    assert caught.value.status == status
    return str(caught.value)


def test_a_shipped_model_is_described():
    gallery = Gallery(["avatars64"])
    facts = gallery.facts(gallery.find("0"))
    assert (facts["name"], facts["kind"], facts["steps"]) == ("avatars64", "shipped", [])
    assert (facts["size"], facts["channels"], facts["latentDim"]) == ([64, 64], 3, 128)
    assert len(facts["classes"]) == 14
    assert [len(row) for row in facts["directions"]] == [128] * 10
    [layer] = facts["generator"]["layers"]
    assert (layer["name"], layer["height"], layer["keys"]) == ("32", 32, [16, 16])
    assert facts["generator"]["parameters"] == 2_523_796
    assert facts["discriminator"]["parameters"] > 0
    assert "MIT" in facts["card"]["licence"]
    assert "David Revoy" in facts["card"]["credits"]


def test_a_run_has_its_checkpoints(run):
    gallery = Gallery([run])
    [shown] = gallery.shown
    facts = gallery.facts(shown)
    assert (facts["kind"], facts["name"], facts["card"]) == ("run", "run", None)
    assert (facts["step"], facts["steps"]) == (6, [2, 4, 6])
    assert gallery.facts(shown, 4)["step"] == 4


def test_the_newest_checkpoint_of_a_run_that_goes_on_is_taken(run):
    gallery = Gallery([run])
    [shown] = gallery.shown
    assert gallery.open(shown).live.step == 6
    checkpoints.save(replace(checkpoints.load(file_of(run, 6)), step=8), file_of(run, 8))
    assert gallery.open(shown).live.step == 8


def test_a_damaged_newest_checkpoint_is_passed_over_and_read_once(run, monkeypatch):
    file_of(run, 6).write_bytes(b"damaged")
    gallery, read = Gallery([run]), []
    load = checkpoints.load
    monkeypatch.setattr(checkpoints, "load", lambda path: read.append(path) or load(path))
    for _ in range(2):
        assert gallery.open(gallery.shown[0]).live.step == 4
    assert read == [file_of(run, 6), file_of(run, 4)]


def test_a_checkpoint_that_disappears_is_told(run):
    gallery = Gallery([run])
    [shown] = gallery.shown
    assert gallery.open(shown, 2).live.step == 2
    file_of(run, 2).unlink()
    line = refused(404, lambda: gallery.open(shown, 2))
    assert line == "there is no checkpoint of step 2 in run; there are 4, 6"
    shutil.rmtree(run)
    assert "run is gone from" in refused(410, lambda: gallery.open(shown))


def test_a_checkpoint_that_disappears_between_two_looks(run):
    gallery = Gallery([run])
    [shown] = gallery.shown
    listed = shown.files()
    file_of(run, 4).unlink()
    object.__setattr__(shown, "files", lambda: listed)
    assert "show another checkpoint" in refused(410, lambda: gallery.open(shown, 4))


def test_a_model_larger_than_the_memory_is_not_read(run, monkeypatch):
    monkeypatch.setattr(memory, "_main_memory", lambda: Memory(total=2**20, available=2**10))
    monkeypatch.setattr(checkpoints, "load", lambda _: pytest.fail("it was read"))
    with pytest.raises(SaganError, match="show a smaller one"):
        Gallery([run]).load()


def test_a_file_that_disappears_or_is_replaced(run, tmp_path):
    file = tmp_path / "model.safetensors"
    shutil.copy(file_of(run, 2), file)
    gallery = Gallery([file])
    [shown] = gallery.shown
    assert gallery.open(shown) is gallery.open(shown, 2)
    assert "one checkpoint, of step 2" in refused(404, lambda: gallery.open(shown, 4))
    shutil.copy(file_of(run, 4), file)
    assert gallery.open(shown).live.step == 4
    file.unlink()
    assert "restore it" in refused(410, lambda: gallery.open(shown))


def test_memory_is_bounded(run, monkeypatch):
    gallery = Gallery([run])
    [shown] = gallery.shown
    two, four, six = (gallery.open(shown, step) for step in (2, 4, 6))
    assert gallery.open(shown, 2) is two
    assert two.size == four.size == six.size > 100_000
    monkeypatch.setattr(models, "MOST_KEPT", 2.5 * two.size)
    gallery = Gallery([run])
    two, four = (gallery.open(shown, step) for step in (2, 4))
    assert gallery.open(shown, 2) is two
    gallery.open(shown, 6)  # in the place of 4, which was not used for longest
    assert gallery.open(shown, 2) is two
    assert gallery.open(shown, 4) is not four


def test_a_run_without_a_checkpoint(run):
    shutil.rmtree(run / "checkpoints")
    gallery = Gallery([run])
    with pytest.raises(SaganError, match="holds no checkpoint yet; train first"):
        gallery.load()


def test_numbers_that_are_not_finite_are_told(run):
    broken = checkpoints.load(file_of(run, 6))
    next(iter(broken.parts["generator_ema"].values())).fill_(torch.nan)
    checkpoints.save(broken, file_of(run, 6))
    with pytest.raises(SaganError, match=r"numbers that are not finite, in generator_ema"):
        Gallery([file_of(run, 6)]).load()
    gallery = Gallery([run])  # shows an earlier checkpoint
    assert gallery.open(gallery.shown[0]).facts["step"] < 6


def test_maps_too_large_to_be_shown_are_told(run, monkeypatch):
    monkeypatch.setattr(models, "MOST_MAP", 1000)
    with pytest.raises(SaganError, match="sagan attention"):
        Gallery([run]).load()


def test_names_that_mean_nothing():
    with pytest.raises(SaganError, match="avatars64"):
        Gallery(["avatar64"])
    with pytest.raises(SaganError, match="check the path"):
        Gallery(["runs/none"])
    with pytest.raises(SaganError, match="name 4 at most"):
        Gallery(["avatars64"] * 5)
    assert "'7'; there are 0 to 0" in refused(404, lambda: Gallery(["avatars64"]).find("7"))
