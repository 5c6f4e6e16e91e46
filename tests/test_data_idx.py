"""IDX files: MNIST and its kin."""

import gzip
import pickle
import struct
from dataclasses import replace

import numpy as np
import pytest

from sagan.config import DataConfig
from sagan.data.catalog import in_split
from sagan.data.sources.idx import FASHION_NAMES, idx
from sagan.errors import SaganError

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
CONFIG = DataConfig()
LABEL_VALUES = np.array([2, 0, 1, 2, 0], np.uint8)


def idx_bytes(array):
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def noise(count=5, size=(28, 28), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *size), dtype=np.uint8)


def write(folder, prefix="train", images=None, labels=LABEL_VALUES, dot="-", packed=False):
    folder.mkdir(parents=True, exist_ok=True)
    images = noise() if images is None else images
    for kind, array in ((f"images{dot}idx3", images), (f"labels{dot}idx1", labels)):
        content = idx_bytes(array)
        name = f"{prefix}-{kind}-ubyte"
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder


def catalog(path, **settings):
    found = idx(path, DataConfig(**settings))
    assert found is not None
    return found


def pictures(found):
    return np.stack([found.read(number, found.names[number]) for number in range(len(found))])


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SAGAN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    root = write(tmp_path / "digits")
    (root / LABELS).unlink()
    (root / f"{LABELS}.gz").write_bytes(gzip.compress(idx_bytes(LABEL_VALUES)))
    return root


def test_pictures_are_padded_and_labelled(folder):
    found = catalog(folder)
    images = pictures(found)
    assert (images.shape, images.dtype) == ((5, 32, 32), np.uint8)
    np.testing.assert_array_equal(images[:, 2:30, 2:30], noise())
    assert images.sum() == noise().sum(dtype=int)  # black around
    assert found.labels.tolist() == LABEL_VALUES.tolist()
    assert found.class_names == ("0", "1", "2")
    assert found.splits == ("train",)
    assert list(found.names) == [f"train/{number}" for number in range(5)]
    assert found.notes == ["pictures of 28 x 28 are padded with black to 32 x 32"]


def test_at_their_own_size_pictures_are_not_padded(folder):
    found = catalog(folder, resolution=28)
    np.testing.assert_array_equal(pictures(found), noise())
    assert found.notes == []


def test_pictures_that_are_no_squares_are_padded_to_one(folder):
    (folder / IMAGES).write_bytes(idx_bytes(noise(size=(20, 31))))
    images = pictures(catalog(folder))
    np.testing.assert_array_equal(images[:, 6:26, :31], noise(size=(20, 31)))
    assert images.shape == (5, 32, 32)


def test_without_classes_no_labels_are_needed(folder):
    (folder / f"{LABELS}.gz").unlink()
    found = catalog(folder, labels="none")
    assert (found.class_names, found.labels.tolist()) == ((), [0] * 5)
    with pytest.raises(SaganError, match=r"no labels train-labels.* beside .*data.labels none"):
        idx(folder, CONFIG)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("prefix", ["t10k", "test"])
def test_the_other_files_are_the_part_test(folder, prefix, packed):
    write(folder, prefix, noise(3, seed=1), np.array([1, 1, 0], np.uint8), packed=packed)
    found = catalog(folder)
    assert found.splits == ("train", "test")
    test = in_split(found, "test")
    np.testing.assert_array_equal(pictures(test)[:, 2:30, 2:30], noise(3, seed=1))
    assert test.labels.tolist() == [1, 1, 0]
    assert len(in_split(found, "")) == 5


@pytest.mark.parametrize("place", ["", "raw", "MNIST/raw", "KMNIST/raw", "FashionMNIST/raw"])
@pytest.mark.parametrize("dot", ["-", "."])
@pytest.mark.parametrize("packed", [False, True])
def test_every_layout_is_found(tmp_path, place, dot, packed):
    write(tmp_path / "root" / place, dot=dot, packed=packed)
    found = catalog(tmp_path / "root")
    np.testing.assert_array_equal(pictures(found)[:, 2:30, 2:30], noise())
    assert found.labels.tolist() == LABEL_VALUES.tolist()


def test_a_file_can_be_named_itself(folder):
    found = catalog(folder / IMAGES)
    assert (len(found), found.splits, found.labels.tolist()) == (5, (), LABEL_VALUES.tolist())


def test_several_sets_in_one_folder_are_refused(tmp_path):
    write(tmp_path / "MNIST" / "raw")
    write(tmp_path / "KMNIST" / "raw")
    with pytest.raises(SaganError, match=r"several data sets lie in .*; name one: .*KMNIST/raw, "):
        idx(tmp_path, CONFIG)


@pytest.mark.parametrize("place", ["fashion-mnist", "FashionMNIST/raw"])
def test_fashion_is_known_by_its_folder(tmp_path, place):
    every = np.arange(10, dtype=np.uint8)
    root = write(tmp_path / place, images=noise(10), labels=every)
    assert catalog(root).class_names == FASHION_NAMES
    write(tmp_path / place, images=noise(10), labels=every + 1)
    assert catalog(root).class_names == tuple(map(str, range(1, 11)))


def test_classes_without_pictures_are_left_out(folder):
    write(folder, labels=np.array([7, 0, 7, 3, 0], np.uint8))
    (folder / f"{LABELS}.gz").unlink()
    found = catalog(folder)
    assert found.class_names == ("0", "3", "7")
    assert found.labels.tolist() == [2, 0, 2, 1, 0]
    assert "label numbers run from 0 to 7: the 3 that occur are the classes" in found.notes[1]


def test_emnist_is_set_right_and_named(tmp_path):
    stored = noise().transpose(0, 2, 1).copy()
    letters = np.array([1, 2, 26, 1, 2], np.uint8)
    write(tmp_path, "emnist-letters-train", stored, letters, packed=True)
    found = catalog(tmp_path)
    np.testing.assert_array_equal(pictures(found)[:, 2:30, 2:30], noise())
    assert found.class_names == ("a", "b", "z")
    assert found.labels.tolist() == [0, 1, 2, 0, 1]
    write(tmp_path, "emnist-balanced-train", stored, np.array([0, 10, 36, 10, 0], np.uint8))
    (tmp_path / "emnist-balanced-mapping.txt").write_text("0 48\n10 65\n36 97\n")
    with pytest.raises(SaganError, match=r"choose one with --data\.split balanced, letters, or"):
        idx(tmp_path, CONFIG)
    balanced = in_split(catalog(tmp_path, split="balanced"), "balanced")
    assert balanced.class_names == ("0", "A", "a")
    write(tmp_path, "emnist-letters-test", stored[:2], letters[:2])
    test = in_split(catalog(tmp_path, split="letters-test"), "letters-test")
    assert test.labels.tolist() == [0, 1]
    with pytest.raises(SaganError, match=r"has no part 'balanced-test'; fetch its files"):
        idx(tmp_path, DataConfig(split="balanced-test"))


def test_other_folders_and_files_are_of_another_kind(folder, tmp_path):
    assert idx(tmp_path, CONFIG) is None
    assert idx(folder / f"{LABELS}.gz", CONFIG) is None


def test_a_reader_travels_to_another_process(folder):
    found = catalog(folder)
    found.read(0, "")
    again = replace(found, read=pickle.loads(pickle.dumps(found.read)))
    np.testing.assert_array_equal(pictures(again), pictures(found))


# --- faults

PIXELS = idx_bytes(noise())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with nothing, not 00 00 08 03; fetch"),
        (b"P5 28 28", "begins with 50 35 20 32, not 00 00 08 03; fetch"),
        (idx_bytes(LABEL_VALUES), "begins with 00 00 08 01, not 00 00 08 03; fetch"),
        (PIXELS[:10], "is cut off within its header; fetch"),
        (PIXELS[:-1], r"must hold 5 x 28 x 28 bytes and holds less; fetch"),
        (PIXELS + b"\0", r"must hold 5 x 28 x 28 bytes and holds more; fetch"),
        (PIXELS[:4] + b"\xff" * 12, "cut off or damaged: it must hold 4294967295 x"),
        (idx_bytes(noise(0)), "holds no pictures; fetch"),
        (idx_bytes(noise(4)), r"holds 4 pictures but .* 5 labels; take both from one set"),
    ],
)
def test_damaged_files_are_named(folder, content, message):
    (folder / IMAGES).write_bytes(content)
    with pytest.raises(SaganError, match=message) as caught:
        idx(folder, CONFIG)
    assert IMAGES in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"no gzip", gzip.compress(PIXELS, mtime=0)[:-20], b"\x1f\x8b\x08"]
)
def test_damaged_compression_is_named(folder, content):
    (folder / IMAGES).unlink()
    (folder / f"{IMAGES}.gz").write_bytes(content)
    with pytest.raises(SaganError, match=rf"{IMAGES}\.gz .*; fetch it anew"):
        idx(folder, CONFIG)


def test_damage_within_the_compressed_bytes_is_told_when_they_are_read(folder):
    content = bytearray(gzip.compress(PIXELS))
    content[len(content) // 2] ^= 0xFF
    (folder / IMAGES).unlink()
    (folder / f"{IMAGES}.gz").write_bytes(content)
    found = catalog(folder)
    with pytest.raises(SaganError, match=rf"{IMAGES}\.gz .*; fetch it anew"):
        found.read(0, "")
    assert not list((folder.parent / "cache").rglob("*.array*"))


def test_a_header_that_promises_more_than_gzip_can_hold_takes_no_memory(folder):
    (folder / IMAGES).unlink()
    header = PIXELS[:4] + struct.pack(">3I", 2**20, 2**10, 2**10)
    (folder / f"{IMAGES}.gz").write_bytes(gzip.compress(header + bytes(1000)))
    with pytest.raises(SaganError, match=r"cannot hold the 1,024.0 GiB that it states; fetch"):
        idx(folder, CONFIG)
