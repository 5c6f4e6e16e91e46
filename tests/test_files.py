"""Files that appear complete or not at all, and the names under which they may."""

import errno
import os
from pathlib import Path

import pytest

from sagan.errors import FaultError, SaganError, printable
from sagan.system.files import file_names, replacing, require_output, write_text, writing


def refusal(path, *suffixes, **options):
    with pytest.raises(SaganError) as caught:
        require_output(path, *suffixes, **options)
    return str(caught.value)


@pytest.fixture
def run_folder(tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "config.toml").write_text("")
    return tmp_path / "run"


def test_a_name_is_judged_by_its_suffix(tmp_path):
    assert not require_output(tmp_path / "new" / "a.PNG", ".png", "")
    assert require_output(tmp_path / "new", ".png", "")
    (tmp_path / "v1.0").mkdir()
    assert require_output(tmp_path / "v1.0", ".png", "")
    assert "end in .png or .npz" in refusal(tmp_path / "a.jpg", ".png", ".npz")
    assert "no suffix, for a folder" in refusal(tmp_path / "a.jpg", ".png", "")
    assert list(tmp_path.iterdir()) == [tmp_path / "v1.0"]


@pytest.mark.parametrize("name", ["", ".", "..", "/"])
def test_places_are_no_names(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for suffixes in ((".png",), (".png", ""), ("",)):
        assert "no name" in refusal(Path(name), *suffixes)


def test_what_cannot_be_written_is_refused(tmp_path, monkeypatch):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "null.png").symlink_to("/dev/null")
    assert "is a folder" in refusal(tmp_path / "folder.png", ".png")
    assert "is a file" in refusal(tmp_path / "file", "")
    assert "a device" in refusal(tmp_path / "pipe.png", ".png")
    assert "a device" in refusal(tmp_path / "null.png", ".png")
    assert "is no folder" in refusal(tmp_path / "file" / "a.png", ".png")
    monkeypatch.setattr(os, "access", lambda place, mode: place != tmp_path)
    assert "you may not write" in refusal(tmp_path / "new" / "a.png", ".png")


def test_what_must_not_be_lost_is_refused(run_folder, tmp_path):
    own = run_folder / "checkpoints" / "step-00000001.safetensors"
    assert "a run's own" in refusal(own, ".safetensors")
    assert "is not empty" in refusal(run_folder, "")
    assert "a run's own" in refusal(run_folder / "samples" / "more", "")
    assert not require_output(run_folder / "report.html", ".html")
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "model.safetensors")
    model = [tmp_path / "model.safetensors"]
    assert "read by this" in refusal(tmp_path / "link.safetensors", ".safetensors", inputs=model)


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    target, link = tmp_path / "there" / "a.txt", tmp_path / "link.txt"
    link.symlink_to(target)
    for text in ("first", "second"):  # the link leads nowhere at first
        write_text(link, text)
        assert link.is_symlink()
        assert target.read_text() == text
    assert {path.name for path in tmp_path.rglob("*")} == {"there", "a.txt", "link.txt"}


def test_a_protected_file_is_replaced_and_stays_protected(tmp_path):
    path = tmp_path / "a.txt"
    path.touch()
    path.chmod(0o444)
    write_text(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o444


def test_what_the_system_hides_is_no_content(tmp_path):
    (tmp_path / ".DS_Store").touch()
    assert require_output(tmp_path, "")


def test_devices_and_pipes_are_left_alone(tmp_path):
    pipe, null = tmp_path / "pipe", tmp_path / "null"
    os.mkfifo(pipe)
    null.symlink_to("/dev/null")
    for path in (pipe, null, tmp_path):
        with pytest.raises(OSError, match="a device or a pipe"), replacing(path):
            pass
    assert pipe.is_fifo()
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("flush", [True, False])
def test_a_failure_leaves_what_was_there(tmp_path, flush):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(TypeError), replacing(path, flush=flush) as draft:
        draft.write_text(7)
    assert path.read_text() == "old"
    with replacing(path, flush=flush) as draft:
        draft.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_text_that_utf8_cannot_write_becomes_an_escape(tmp_path):
    write_text(tmp_path / "a.txt", "caf\u00e9 \udcff")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "caf\u00e9 \\udcff"


def test_file_names_are_safe_and_differ(tmp_path):
    names = ["a/b", "a:b", "A_B", "..", ".", "", " ", ".hidden", "end.", "con", "nul.x", "\x1b[31m"]
    names += ["é" * 300, "猫", "x\udcff"]
    found = file_names(names)
    assert found[0] == "a_b"
    assert found[names.index("猫")] == "猫"
    assert len({name.casefold() for name in found}) == len(names)
    for name in found:
        assert not name.startswith(".")
        (tmp_path / name).mkdir()
    assert {path.name for path in tmp_path.iterdir()} == set(found)


def test_printable_shows_escapes_and_leaves_words():
    assert printable("\x1b[31m a\nb \udcff \u202e \x9b") == r"\x1b[31m a\nb \udcff \u202e \x9b"
    for word in ("naïve 猫 كلب", "a\u3000b", "👨\u200d👩\u200d👧"):
        assert printable(word) == word
    assert str(SaganError("a\nb\x07")) == r"a\nb\x07"


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, FaultError), (errno.EROFS, FaultError), (errno.EACCES, SaganError)],
)
def test_a_full_disk_is_nobodys_mistake(number, kind):
    with (
        pytest.raises(SaganError, match=r"cannot write it: .*; free space") as found,
        writing("it", "free space"),
    ):
        raise OSError(number, os.strerror(number))
    assert type(found.value) is kind
