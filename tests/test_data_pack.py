"""Packed sets: what is decoded again and when, sudden ends, damage, limits."""

import io
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sagan.data import draft, pack, packfile, workers
from sagan.data.cached import cached_packs, clear
from sagan.data.catalog import Catalog
from sagan.data.dataset import dataset_of, digests_of
from sagan.data.pack import packed, place_of
from sagan.data.packfile import PackWriter, header_size, is_intact, open_pack
from sagan.data.picture_files import UnreadableError
from sagan.data.portable import write_portable
from sagan.data.rules import Rules
from sagan.errors import SaganError

RULES = Rules(size=(8, 8), channels=3)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("SAGAN_CACHE", str(folder))
    return folder


def picture(name):
    seed = sum(map(ord, name))
    return np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Reading:
    """Gives a picture that depends on its name; writes down what was read."""

    log: Path
    seconds: float = 0.0
    deadly: str = ""
    broken: tuple[str, ...] = ()

    def __call__(self, index, name):
        with self.log.open("a") as file:
            file.write(f"{name}\n")
        if name == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        if name in self.broken:
            raise UnreadableError("it is cut off")
        time.sleep(self.seconds)
        return picture(name)


def read_names(log):
    found = log.read_text().split() if log.exists() else []
    log.unlink(missing_ok=True)
    return found


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


def catalog_of_names(log, names, stamps=None, **reading):
    names = list(names)
    return Catalog(
        kind="a list",
        root=log.parent,
        names=names,
        stamps=np.array(stamps or [7] * len(names), np.uint64),
        read=Reading(log, **reading),
        labels=np.zeros(len(names), np.int64),
    )


def numbered(count, first=0):
    return [f"{number:04}" for number in range(first, first + count)]


def pixels_of(names):
    return np.stack([picture(name).transpose(2, 0, 1) for name in names])


# --- what is decoded


def test_a_second_opening_decodes_nothing(log):
    catalog = catalog_of_names(log, numbered(5))
    first = packed(catalog, RULES, broken=0)
    assert read_names(log) == numbered(5)
    again = packed(catalog, RULES, broken=0)
    assert read_names(log) == []
    for one in (first, again):
        np.testing.assert_array_equal(one.images, pixels_of(numbered(5)))
        np.testing.assert_array_equal(one.digests, digests_of(one.images))
        assert one.entry.tolist() == list(range(5))
        assert one.names == numbered(5)
        assert not one.images.flags.writeable


def test_only_what_is_new_or_changed_is_decoded(log):
    packed(catalog_of_names(log, numbered(50)), RULES, broken=0)
    read_names(log)
    names = ["0000a", *numbered(50)]
    more = packed(catalog_of_names(log, names), RULES, broken=0)
    assert read_names(log) == ["0000a"]
    np.testing.assert_array_equal(more.images, pixels_of(names))
    changed = packed(catalog_of_names(log, names[1:], [7] * 49 + [8]), RULES, broken=0)
    assert read_names(log) == ["0049"]
    np.testing.assert_array_equal(changed.images, pixels_of(names[1:]))
    assert len(list(changed.path.parent.glob("*.sagan"))) == 1
    assert not pack.drafts_of(changed.path)


def test_new_pictures_may_lie_anywhere(log):
    packed(catalog_of_names(log, numbered(90)[::3]), RULES, broken=0)
    read_names(log)
    names = numbered(90)
    more = packed(catalog_of_names(log, names), RULES, broken=0)
    assert read_names(log) == [name for number, name in enumerate(names) if number % 3]
    np.testing.assert_array_equal(more.images, pixels_of(names))
    other = names[40:] + names[:40]  # in another order
    turned = packed(catalog_of_names(log, other), RULES, broken=0)
    assert read_names(log) == []
    np.testing.assert_array_equal(turned.images, pixels_of(other))


def test_a_damaged_picture_is_not_copied(log):
    made = packed(catalog_of_names(log, numbered(50)), RULES, broken=0)
    begin = header_size((3, 8, 8))
    zero(made.path, begin + 20 * 192, begin + 21 * 192)
    read_names(log)
    more = packed(catalog_of_names(log, numbered(51)), RULES, broken=0)
    assert sorted(read_names(log)) == ["0020", "0050"]
    np.testing.assert_array_equal(more.images, pixels_of(numbered(51)))


@dataclass(frozen=True)
class Animations:
    """Gives as many frames of one level each as the name says."""

    def __call__(self, index, name):
        stream = io.BytesIO()
        frames = [Image.new("L", (8, 8), 10 * number) for number in range(int(name))]
        frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
        return stream.getvalue()


def test_the_frames_of_an_animation_stay_together(log):
    rules = Rules(size=(8, 8), channels=1, frame="all")
    for names in (["2", "4"], ["1", "2", "3", "4"]):
        catalog = replace(catalog_of_names(log, names), read=Animations())
        made = packed(catalog, rules, broken=0)
        counts = [int(name) for name in names]
        assert made.entry.tolist() == np.repeat(range(len(names)), counts).tolist()
        levels = [10 * number for count in counts for number in range(count)]
        assert made.images[:, 0, 0, 0].tolist() == levels
        assert made.facts["frames"].tolist() == np.repeat(counts, counts).tolist()
        with zipfile.ZipFile(made.path) as archive:  # whether there are as many as was expected
            assert archive.testzip() is None


def test_other_rules_and_parts_are_other_packs_and_labels_are_not(log):
    catalog = catalog_of_names(log, numbered(4))
    divided = replace(catalog, splits=("a", "b"), split_of=np.array([0, 0, 1, 1]))
    places = [
        place_of(catalog, RULES),
        place_of(catalog, replace(RULES, crop="pad")),
        place_of(catalog, replace(RULES, size=(8, 16))),
        place_of(replace(catalog, root=Path("/elsewhere")), RULES),
        place_of(divided, RULES),
        place_of(divided.take(np.array([0, 1])), RULES),
        place_of(divided.take(np.array([2, 3])), RULES),
    ]
    assert len(set(places)) == len(places)
    labelled = replace(catalog, labels=np.ones(4, np.int64), class_names=("x", "y"))
    assert place_of(labelled, RULES) == places[0]


def test_many_pictures_are_decoded_by_other_processes_in_their_order(log, monkeypatch):
    monkeypatch.setattr(workers, "_TRIAL", 0.0)
    monkeypatch.setattr(workers, "_WORTH", 0.0)
    monkeypatch.setattr(workers, "_MOST_PICTURES", 7)
    names = numbered(60)
    catalog = catalog_of_names(log, names, broken=("0033",))
    made = packed(catalog, RULES, broken=0.1)
    left = [name for name in names if name != "0033"]
    np.testing.assert_array_equal(made.images, pixels_of(left))
    assert made.entry.tolist() == [n for n in range(60) if n != 33]
    assert made.unreadable == [("0033", "it is cut off")]
    assert sorted(read_names(log)) == names


@dataclass(frozen=True)
class SlowAtFirst:
    """Unpacks a file, one would think, as it gives the first picture."""

    def __call__(self, index, name):
        if index == 0:
            time.sleep(0.5)
        return picture("same")


def test_a_slow_first_picture_does_not_count_for_all(log):
    catalog = replace(catalog_of_names(log, numbered(2000)), read=SlowAtFirst())
    portions = [len(portion.counts) for portion in workers.decoded(catalog, range(2000), RULES)]
    assert portions[0] == 1
    assert len(portions) < 30
    assert sum(portions) == 2000


def test_decoding_processes_import_no_torch():
    code = "import sys, sagan.data.workers; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_pictures_stay_where_they_are_if_they_are_right_already(log, tmp_path):
    names = numbered(30)
    np.save(tmp_path / "a.npy", pixels_of(names))
    images = np.load(tmp_path / "a.npy", mmap_mode="r")
    catalog = replace(catalog_of_names(log, names), images=images)
    made = packed(catalog, RULES, broken=0)
    assert np.shares_memory(made.images, images)
    assert made.path.stat().st_size < 30 * 192 + 10_000
    np.testing.assert_array_equal(made.digests, digests_of(images))
    read_names(log)
    packed(catalog, RULES, broken=0)
    assert len(read_names(log)) <= 8  # compared with those that are stored
    small = packed(catalog, replace(RULES, size=(4, 4)), broken=0)
    assert small.images.shape == (30, 3, 4, 4)
    other = replace(catalog, images=images[::-1])  # not what the catalog's reader gives
    assert not np.shares_memory(packed(other, RULES, broken=0).images, images)


# --- sudden ends


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_data_pack import RULES, catalog_of_names, draft, numbered, packed
draft._FLUSH_SECONDS = 0.05
made = packed(catalog_of_names(Path({log!r}), numbered({count}), **{reading!r}), RULES, broken=0)
print(len(made))
"""


def start(log, count, **reading):
    script = SCRIPT.format(
        tests=str(Path(__file__).parent), log=str(log), count=count, reading=reading
    )
    return subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_until(happened):
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end, "nothing happens"
        time.sleep(0.01)


def journalled():
    journals = list((Path(os.environ["SAGAN_CACHE"]) / "packs").glob("*.draft/journal.jsonl"))
    return sum(file.stat().st_size for file in journals)


def test_after_a_sudden_end_only_the_rest_is_decoded(log):
    process = start(log, 200, seconds=0.02)
    wait_until(journalled)
    assert clear(cached_packs()) == 0  # it is in the making
    process.kill()
    process.communicate()
    done = len(read_names(log))
    assert 0 < done < 200
    made = packed(catalog_of_names(log, numbered(200)), RULES, broken=0)
    again = read_names(log)
    assert 200 - done <= len(again) < 200
    np.testing.assert_array_equal(made.images, pixels_of(numbered(200)))
    assert not pack.drafts_of(made.path)


def test_after_a_sudden_end_nothing_is_said_of_locks():
    code = """if True:
        import os, signal
        from loky.backend import get_context
        from sagan.data.workers import _start_tracker
        _start_tracker()
        lock = get_context("loky").Lock()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (-signal.SIGKILL, "")


def test_what_a_draft_holds_is_checked(log, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(draft.Draft, "finish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            packed(catalog_of_names(log, numbered(20)), RULES, broken=0)
    catalog = catalog_of_names(log, numbered(21))
    (left,) = pack.drafts_of(place_of(catalog, RULES))
    content = bytearray((left / "pictures").read_bytes())
    place = header_size((3, 8, 8)) + 4 * 192
    content[place : place + 192] = bytes(192)
    (left / "pictures").write_bytes(content)
    with (left / "journal.jsonl").open("a") as file:
        file.write('{"names": ["0021"], "sta')
    read_names(log)
    made = packed(catalog, RULES, broken=0)
    assert read_names(log) == ["0004", "0020"]
    np.testing.assert_array_equal(made.images, pixels_of(numbered(21)))


def interrupted(*_):
    raise KeyboardInterrupt


def test_what_nobody_needs_any_more_is_swept(log, cache):
    (cache / "packs").mkdir(parents=True)
    (cache / "unpacked").mkdir()
    old, young = (
        [
            cache / "packs" / f"{age}.1.2@host.draft",
            cache / "unpacked" / f"{age}.array",
            cache / "unpacked" / f"{age}.array.77.tmp",
            cache / f"{age}.npz.77.tmp",
        ]
        for age in ("old", "young")
    )
    for path in (*old, *young):
        path.mkdir() if path.suffix == ".draft" else path.write_bytes(b"it")
    for path in old:
        os.utime(path, (1, 1))
    packed(catalog_of_names(log, ["a"]), RULES, broken=0)
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in young)


def test_a_second_process_waits_and_then_uses_the_pack(log, capsys):
    first = start(log, 60, seconds=0.02)
    wait_until(log.exists)
    made = packed(catalog_of_names(log, numbered(60)), RULES, broken=0)
    assert f"another process ({first.pid} on " in capsys.readouterr().err
    assert first.communicate() == ("60\n", "")
    assert len(made) == 60
    assert sorted(read_names(log)) == numbered(60)


def test_a_process_that_is_killed_is_reported_with_its_picture(log, monkeypatch):
    monkeypatch.setattr(workers, "_TRIAL", 0.0)
    monkeypatch.setattr(workers, "_WORTH", 0.0)
    monkeypatch.setattr(workers, "_MOST_PICTURES", 1)
    catalog = catalog_of_names(log, numbered(40), deadly="0030")
    with pytest.raises(SaganError, match=r"ended a process .* 0030.*; remove or shrink") as caught:
        packed(catalog, RULES, broken=0)
    assert "0000" not in str(caught.value)  # a process that has not begun is at no picture
    read_names(log)
    packed(catalog_of_names(log, numbered(40)), RULES, broken=0)
    assert 10 <= len(read_names(log)) < 40


def test_what_could_not_be_read_is_tried_with_another_decoder(log, monkeypatch):
    names = ["a", "b", "c"]
    made = packed(catalog_of_names(log, names, broken=("b",)), RULES, broken=0.5)
    assert made.about["decoders"]["pillow"]
    read_names(log)
    packed(catalog_of_names(log, names), RULES, broken=0.5)
    assert read_names(log) == []
    for module in (pack, draft):
        monkeypatch.setattr(module, "decoders", lambda: {"pillow": "99"})
    made = packed(catalog_of_names(log, names), RULES, broken=0.5)
    assert (read_names(log), made.unreadable) == (["b"], [])
    np.testing.assert_array_equal(made.images, pixels_of(names))


def test_the_place_does_not_depend_on_words_or_on_where_one_stands(log, tmp_path, monkeypatch):
    catalog = catalog_of_names(log, ["a"])
    other = replace(catalog, kind="a list with classes")
    assert place_of(other, RULES) == place_of(catalog, RULES)
    assert place_of(replace(catalog, chosen_by="a.csv"), RULES) != place_of(catalog, RULES)
    hub = replace(catalog, root=Path("hf:cifar10"))
    here = place_of(hub, RULES)
    monkeypatch.chdir(tmp_path)
    assert place_of(hub, RULES) == here
    assert place_of(replace(hub, root=Path("hf:mnist")), RULES) != here


# --- damage


def zero(path, first, last):
    with path.open("r+b") as file:
        file.seek(first)
        file.write(bytes(last - first))


def test_black_pictures_with_a_good_end_are_noticed(log, capsys):
    catalog = catalog_of_names(log, numbered(300))
    made = packed(catalog, RULES, broken=0)
    expected = made.images.copy()
    begin = header_size((3, 8, 8))
    zero(made.path, begin, begin + expected.nbytes)
    assert not is_intact(open_pack(made.path))
    read_names(log)
    again = packed(catalog, RULES, broken=0)
    assert capsys.readouterr().err.count("are damaged; packing them again") == 1
    np.testing.assert_array_equal(again.images, expected)
    assert is_intact(again)


def test_one_damaged_picture_among_many_is_noticed(log):
    made = packed(catalog_of_names(log, numbered(1000)), RULES, broken=0)
    for row in (0, 1, 517, 998, 999):
        begin = header_size((3, 8, 8)) + row * 192
        with made.path.open("r+b", buffering=0) as file:
            file.seek(begin + 100)
            (value,) = file.read(1)
            file.seek(begin + 100)
            file.write(bytes([value ^ 1]))
            assert not is_intact(open_pack(made.path))
            file.seek(begin + 100)
            file.write(bytes([value]))
        assert is_intact(open_pack(made.path))


def test_of_very_many_pictures_others_are_compared_each_time(log, monkeypatch):
    monkeypatch.setattr(packfile, "_CHECKED_TOGETHER", 192)
    monkeypatch.setattr(packfile, "_CHECKED", 100)
    made = packed(catalog_of_names(log, numbered(400)), RULES, broken=0)
    zero(made.path, header_size((3, 8, 8)) + 192 * 200, header_size((3, 8, 8)) + 192 * 201)
    found = {is_intact(open_pack(made.path)) for _ in range(100)}  # each sees it once in 5 times
    assert found == {False, True}


def test_damaged_numbers_are_noticed(log):
    made = packed(catalog_of_names(log, numbered(3)), RULES, broken=0)
    content = made.path.read_bytes()
    place = content.index(made.digests.tobytes())
    zero(made.path, place + 8, place + 16)
    assert not is_intact(open_pack(made.path))


@pytest.mark.parametrize("keep", [0, 40, 300, -1, -40])
def test_a_pack_that_is_cut_off_is_made_anew(log, keep):
    catalog = catalog_of_names(log, numbered(3))
    made = packed(catalog, RULES, broken=0)
    made.path.write_bytes(made.path.read_bytes()[:keep])
    np.testing.assert_array_equal(packed(catalog, RULES, broken=0).images, pixels_of(numbered(3)))


# --- limits


def test_some_broken_pictures_are_passed_over_and_more_refused(log, cache):
    broken = ("0003", "0004")
    catalog = catalog_of_names(log, numbered(20), broken=broken)
    with pytest.raises(
        SaganError, match=r"2 of 20 .* read \(0003: it is cut off; 0004.*broken 0.1"
    ):
        packed(catalog, RULES, broken=0.09)
    (listed,) = (cache / "packs").glob("*.unreadable.txt")
    assert listed.read_text() == "0003\tit is cut off\n0004\tit is cut off\n"
    assert read_names(log) == numbered(20)
    made = packed(catalog, RULES, broken=0.1)
    assert read_names(log) == []  # nothing that was decoded is thrown away
    assert made.unreadable == [(name, "it is cut off") for name in broken]
    assert len(made) == 18
    with pytest.raises(SaganError, match="2 of 20"):
        packed(catalog, RULES, broken=0)
    assert read_names(log) == ["0003", "0004"]
    mended = catalog_of_names(log, numbered(20), broken=broken[:1])
    assert len(packed(mended, RULES, broken=0.05)) == 19


def test_a_set_without_a_readable_picture_is_refused(log):
    catalog = catalog_of_names(log, numbered(3), broken=tuple(numbered(3)))
    with pytest.raises(SaganError, match=r"none of the 3 .* \(0000: it is cut off\); give other"):
        packed(catalog, RULES, broken=1)
    with pytest.raises(SaganError, match=r"\(a list\) holds no pictures"):
        packed(catalog_of_names(log, []), RULES, broken=1)


def test_a_full_disk_is_judged_before(log, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=2**24 + 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(
        SaganError, match=r"40 packed pictures would take .* are free in .*; free space"
    ):
        packed(catalog_of_names(log, numbered(40)), RULES, broken=0)
    assert read_names(log) == ["0000"]


def test_a_cache_that_cannot_be_written(log, tmp_path, monkeypatch):
    (tmp_path / "blocked").touch()
    monkeypatch.setenv("SAGAN_CACHE", str(tmp_path / "blocked" / "sagan"))
    with pytest.raises(SaganError, match=r"cache folder .*blocked.*; set SAGAN_CACHE"):
        packed(catalog_of_names(log, ["a"]), RULES, broken=0)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells")
def test_opening_reads_almost_nothing(tmp_path):
    """Of a million pictures, most of them holes in the file."""
    count, shape = 1_000_000, (3, 8, 8)
    path, small = tmp_path / "large.sagan", tmp_path / "small.sagan"
    write_portable(dataset_of(np.zeros((4, *shape), np.uint8)), small)
    black = digests_of(np.zeros((1, *shape), np.uint8))
    with path.open("w+b") as file:
        writer = PackWriter(file, shape)
        writer.append(np.zeros((1, *shape), np.uint8))
        writer._count = count
        file.truncate(header_size(shape) + count * 192)
        rows = np.arange(count)
        arrays = {
            "labels": rows % 10,
            "class_names": np.array(list("abcdefghij")),
            "digests": np.repeat(black, count),
            "facts": np.zeros(count, draft.FACTS),
            "entry": rows,
            "stamps": rows.astype(np.uint64),
            "names": draft.text_of(numbered(count)),
        }
        mark = draft.fingerprint(
            (count, *shape), arrays["digests"], arrays["labels"], tuple("abcdefghij")
        )
        writer.finish(arrays, {"unreadable": [], "fingerprint": mark})
    code = f"""
import re, sagan.data
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
sagan.data.open_dataset({str(small)!r})
before = peak()
data = sagan.data.open_dataset({str(path)!r})
print(len(data), peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    length, kilobytes = map(int, done.stdout.split())
    assert length == 1_000_000
    assert kilobytes < 70_000  # its pictures have 188 MB, its arrays 140


# --- the cache


def test_the_cache_is_listed_and_cleared(log, cache):
    made = packed(catalog_of_names(log, numbered(3)), RULES, broken=0)
    (cache / "packs" / "x.1.2@host.draft").mkdir()
    (cache / "unpacked").mkdir()
    (cache / "unpacked" / "0123.array").write_bytes(b"unpacked")
    (cache / "unpacked" / "0123.array.7.tmp").write_bytes(b"given up")
    os.utime(cache / "unpacked" / "0123.array.7.tmp", (1, 1))
    listed = cached_packs()
    assert [one.shape for one in listed] == [(3, 3, 8, 8), (), (), ()]
    assert [one.is_draft for one in listed] == [False, True, False, False]
    assert [one.root for one in listed[2:]] == [
        "unpacked for packing",
        "unfinished, given up",
    ]
    assert listed[0].path == made.path
    assert listed[0].root == str(log.parent)
    assert listed[0].size >= made.path.stat().st_size
    assert clear(listed) == sum(one.size for one in listed)
    assert cached_packs() == []
    assert [path for path in cache.rglob("*") if path.is_file()] == []
