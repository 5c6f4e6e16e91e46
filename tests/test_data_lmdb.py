"""LMDB folders as LSUN distributes them."""

import multiprocessing
import pickle
import struct
import sys

import numpy as np
import pytest

from sagan.config import DataConfig
from sagan.data.catalog import in_split
from sagan.data.sources.lmdb import lmdb_folders
from sagan.errors import SaganError
from sagan.images import png_bytes

lmdb = pytest.importorskip("lmdb")
CONFIG = DataConfig()


def encoded(number):
    return png_bytes(np.random.default_rng(number).integers(0, 256, (3, 8, 8), dtype=np.uint8))


def write(folder, numbers, **more):
    folder.mkdir(parents=True)
    with lmdb.open(str(folder), map_size=2**24) as opened, opened.begin(write=True) as transaction:
        for number in numbers:
            transaction.put(f"{number:040}".encode(), encoded(number))
        for key, value in more.items():
            transaction.put(key.encode(), value)
    (folder / "lock.mdb").unlink()
    return folder


def contents(found):
    return [found.read(number, found.names[number]) for number in range(len(found))]


def test_one_folder(tmp_path):
    folder = write(tmp_path / "bedroom_val_lmdb", range(5), length=b"5")
    found = lmdb_folders(folder, CONFIG)
    assert contents(found) == [encoded(number) for number in range(5)]
    assert found.names[3] == f"{3:040}"
    assert (found.class_names, found.splits, found.kind) == ((), (), "LMDB")
    assert found.passed_over == [("bedroom_val_lmdb/length", "no picture")]
    assert sorted(path.name for path in folder.iterdir()) == ["data.mdb"]  # nothing is written
    again = pickle.loads(pickle.dumps(found.read))
    assert again(4, found.names[4]) == encoded(4)
    assert len(pickle.dumps(found.read)) < 1000


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_other_processes_read_the_same(tmp_path):
    found = lmdb_folders(write(tmp_path / "a", range(5)), CONFIG)
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            read = pool.starmap(found.read, list(enumerate(found.names)))
        assert read == [encoded(number) for number in range(5)]


def test_a_folder_that_was_replaced_is_opened_anew(tmp_path):
    contents(lmdb_folders(write(tmp_path / "a", range(5)), CONFIG))
    (tmp_path / "a" / "data.mdb").unlink()
    (tmp_path / "a").rmdir()
    found = lmdb_folders(write(tmp_path / "a", range(7, 9)), CONFIG)
    assert contents(found) == [encoded(7), encoded(8)]


def test_categories_are_classes_and_parts_are_parts(tmp_path):
    for start, name in enumerate(["tower_train", "bedroom_train", "tower_val", "bedroom_val"]):
        write(tmp_path / f"{name}_lmdb", range(10 * start, 10 * start + 1 + start))
    found = lmdb_folders(tmp_path, CONFIG)
    assert (found.class_names, found.splits) == (("bedroom", "tower"), ("train", "val"))
    train = in_split(found, "")
    assert train.labels.tolist() == [0, 0, 1]
    assert contents(train) == [encoded(10), encoded(11), encoded(0)]
    assert train.names[2] == f"tower_train_lmdb/{0:040}"
    assert in_split(found, "val").labels.tolist() == [0] * 4 + [1] * 3
    assert lmdb_folders(tmp_path, DataConfig(labels="none")).class_names == ()


def test_keys_that_are_no_text_are_named_by_their_digits(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    with lmdb.open(str(folder), map_size=2**24) as opened, opened.begin(write=True) as transaction:
        transaction.put(b"\xff\x00", encoded(1))
        transaction.put(b"0xff00", encoded(2))
    found = lmdb_folders(folder, CONFIG)
    assert list(found.names) == ["0x" + b"0xff00".hex(), "0xff00"]
    assert contents(found) == [encoded(2), encoded(1)]


def test_other_folders_are_of_another_kind(tmp_path):
    assert lmdb_folders(tmp_path, CONFIG) is None
    (tmp_path / "cats").mkdir()
    (tmp_path / "a.png").write_bytes(encoded(0))
    assert lmdb_folders(tmp_path, CONFIG) is None
    assert lmdb_folders(tmp_path / "a.png", CONFIG) is None


def test_damaged_files_end_in_one_line(tmp_path):
    path = write(tmp_path / "a", range(9)) / "data.mdb"
    content = path.read_bytes()
    fewer = bytearray(content)
    for page in (0, 4096):
        struct.pack_into("<Q", fewer, page + 16 + 24 + 80, 3)  # entries
    newest = content[:4096] + content[:4096] + content[8192:]
    enormous = bytearray(content)
    struct.pack_into("<Q", enormous, 4096 + 16 + 24 + 96, 2**40)
    for damaged, message in (
        (b"", "cannot read"),
        (content[:100], "cannot read"),
        (bytes(len(content)), "cannot read .*page size is impossible"),
        (b"x" * 8192, "cannot read .*page size is impossible"),
        (content[:16] + bytes(4) + content[20:], "no LMDB file of this kind"),
        (content[:-4096], "is cut off"),
        (bytes(enormous), "is cut off"),
        (bytes(fewer), "is damaged: it goes in circles"),
        (newest, "holds no pictures"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(SaganError, match=rf"{message}.*; fetch it anew") as caught:
            lmdb_folders(tmp_path / "a", CONFIG)
        assert "\n" not in str(caught.value)


def test_without_the_library_the_way_is_named(tmp_path, monkeypatch):
    write(tmp_path / "a", range(2))
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(SaganError, match="is LMDB; to read it, pip install lmdb"):
        lmdb_folders(tmp_path / "a", CONFIG)
