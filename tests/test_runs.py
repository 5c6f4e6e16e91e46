from dataclasses import replace

import pytest
from conftest import tiny
from test_checkpoint import example

from sagan.errors import SaganError
from sagan.runs import checkpoint as checkpoints
from sagan.runs.folder import checkpoint_files
from sagan.runs.locked import require_place_for_a_run
from sagan.runs.log import log_records
from sagan.runs.run import Run, load_checkpoint, require_run
from sagan.runs.status import run_status
from sagan.training.keeping import remove_old_checkpoints


def test_log_lines_after_a_step_are_dropped(tmp_path):
    run = Run(tmp_path / "run", tiny())
    run.begin()
    for step in (1, 2, 3):
        run.log({"step": step})
    with run.log_path.open("a") as file:
        file.write('{"step": 2, "cut of')
    run.rewind_log(2)
    assert run.log_path.read_text() == '{"step": 1}\n{"step": 2}\n'


GARBAGE = (
    b'{"step": 2, "cut of',
    b'{"step": 2, "name": "\xff\xfe"}',
    b'["no object"]',
    b'{"no step": 2}',
    b'{"step": "2"}',
    b'{"step": Infinity}',
    b'{"step": -1}',
    b'{"step": 1' + b"0" * 30 + b"}",
    b"[" * 100_000,
    b"\x00",
    b"",
)


def test_garbage_in_a_log_is_passed_over(tmp_path):
    run = Run(tmp_path / "run", tiny())
    assert run.records() == []
    run.begin()
    run.log({"step": 1, "generator": 0.5})
    with run.log_path.open("ab") as file:
        file.write(b"\n".join(GARBAGE) + b"\n")
    run.log({"step": 3, "variety": 0.25})
    expected = [{"step": 1, "generator": 0.5}, {"step": 3, "variety": 0.25}]
    assert run.records() == log_records(str(run.folder)) == expected
    run.rewind_log(3)
    assert run.records() == expected
    assert len(run.log_path.read_bytes().splitlines()) == 2


def test_a_run_may_grow_longer_but_not_change(tmp_path):
    Run(tmp_path / "run", tiny()).begin()
    Run(tmp_path / "run", tiny(steps=99, sample_interval=5))
    with pytest.raises(SaganError, match=r"train.batch_size \(4 and 8\)"):
        Run(tmp_path / "run", tiny(batch_size=8))
    other = tiny()
    other = replace(other, generator=replace(other.generator, base_channels=16))
    with pytest.raises(SaganError, match=r"generator.base_channels \(8 and 16\)"):
        Run(tmp_path / "run", other)


def test_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "thesis.doc").write_text("precious")
    with pytest.raises(SaganError, match="no run folder and not empty"):
        Run(tmp_path, tiny())
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.doc"]


def test_unwritable_place(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SaganError, match="cannot write to the run folder"):
        Run(tmp_path / "file" / "run", tiny()).begin()


def test_a_run_may_find_its_pictures_elsewhere(tmp_path):
    Run(tmp_path / "run", tiny()).begin()
    moved = replace(tiny(), data=replace(tiny().data, source="other/place"))
    Run(tmp_path / "run", moved)


def test_full_disk_leaves_settings_and_log(tmp_path, monkeypatch):
    run = Run(tmp_path / "run", tiny())
    run.begin()
    run.log({"step": 1})
    run.log({"step": 2})
    before = {p.name: p.read_text() for p in run.folder.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sagan.system.files.os.fsync", full)
    with pytest.raises(SaganError, match="No space left"):
        run.begin()
    with pytest.raises(OSError, match="No space left"):
        run.rewind_log(1)
    assert {p.name: p.read_text() for p in run.folder.iterdir()} == before


def test_newest_undamaged_checkpoint_is_taken_and_the_damaged_one_set_aside(tmp_path):
    run = Run(tmp_path, tiny())
    for step in (9, 10, 200):
        checkpoints.save(replace(example(), step=step), run.checkpoint_path(step))
    assert load_checkpoint(tmp_path)[0].step == 200
    run.checkpoint_path(200).write_bytes(b"cut")
    with pytest.warns(
        RuntimeWarning, match=r"200.safetensors is damaged .*; instead step-00000010"
    ):
        checkpoint, path = load_checkpoint(tmp_path)
    assert (checkpoint.step, path) == (10, run.checkpoint_path(10))
    assert run.checkpoint_path(200).exists()  # whoever only reads changes nothing
    run.set_aside_after(100)
    assert run.checkpoint_path(200).with_suffix(".safetensors.damaged").exists()
    run.checkpoint_path(200).write_bytes(b"cut again")
    run.set_aside_after(100)
    aside = sorted((tmp_path / "checkpoints").glob("*.damaged"))
    assert [file.read_bytes() for file in aside] == [b"cut again", b"cut"]  # nothing is lost
    assert checkpoint_files(tmp_path)[-1] == run.checkpoint_path(10)
    assert load_checkpoint(run.checkpoint_path(9))[0].step == 9


def test_checkpoint_of_a_newer_version_is_no_damage(tmp_path, monkeypatch):
    run = Run(tmp_path, tiny())
    checkpoints.save(example(), run.checkpoint_path(1))
    monkeypatch.setattr(checkpoints, "FORMAT_VERSION", 99)
    checkpoints.save(example(), run.checkpoint_path(2))
    monkeypatch.undo()
    with pytest.raises(SaganError, match="newer version"):
        load_checkpoint(tmp_path)
    assert run.checkpoint_path(2).exists()


def test_only_the_newest_checkpoints_stay(tmp_path):
    run = Run(tmp_path, tiny(keep_checkpoints=2))
    for step in (1, 2, 3):
        checkpoints.save(example(), run.checkpoint_path(step))
        remove_old_checkpoints(run, step)
    assert checkpoint_files(tmp_path) == [run.checkpoint_path(2), run.checkpoint_path(3)]


def test_the_file_just_written_is_never_removed(tmp_path):
    run = Run(tmp_path, tiny(keep_checkpoints=1))
    for step in (200, 20):
        checkpoints.save(example(), run.checkpoint_path(step))
    remove_old_checkpoints(run, 20)
    assert run.checkpoint_path(20).exists()


def test_folder_without_checkpoint(tmp_path):
    with pytest.raises(SaganError, match="no checkpoint yet"):
        load_checkpoint(tmp_path)


def test_a_run_whose_checkpoints_are_all_damaged_says_so(tmp_path):
    run = Run(tmp_path, tiny())
    checkpoints.save(example(), run.checkpoint_path(9))
    run.checkpoint_path(9).write_bytes(b"cut")
    with pytest.raises(SaganError, match=r"all checkpoints of .* are damaged \(.*safetensors is"):
        load_checkpoint(tmp_path)


def test_a_run_that_lost_its_settings_is_told_how_to_go_on(tmp_path):
    run = Run(tmp_path, tiny())
    checkpoints.save(example(), run.checkpoint_path(9))
    for require in (require_run, require_place_for_a_run, run_status):
        with pytest.raises(SaganError, match=r"lost its config\.toml; .* --from .*09\.safetensors"):
            require(tmp_path)
