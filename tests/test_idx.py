"""IDX files: MNIST and its kin."""

import gzip
import struct

import numpy as np
import pytest

from sagan.config import DataConfig
from sagan.data import load_dataset, open_dataset
from sagan.data.idx import FASHION_NAMES, is_idx, load_idx
from sagan.errors import SaganError

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def idx(array):
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def noise(count=5, size=(28, 28), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *size), dtype=np.uint8)


LABEL_VALUES = np.array([2, 0, 1, 2, 0], np.uint8)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "digits"
    root.mkdir()
    (root / IMAGES).write_bytes(idx(noise()))
    (root / f"{LABELS}.gz").write_bytes(gzip.compress(idx(LABEL_VALUES)))
    return root


def test_pictures_are_padded_grey_and_labelled(folder):
    data = load_dataset(DataConfig(source=str(folder), resolution=32))
    assert data.images.shape == (5, 3, 32, 32)
    assert data.images.dtype == np.uint8
    assert data.images.flags.c_contiguous
    for channel in range(3):
        np.testing.assert_array_equal(data.images[:, channel, 2:30, 2:30], noise())
    assert data.images.sum() == 3 * noise().sum(dtype=int)  # black around
    assert data.labels.tolist() == LABEL_VALUES.tolist()
    assert data.labels.dtype == np.int64
    assert data.class_names == ("0", "1", "2")


@pytest.mark.parametrize("resolution", [16, 64, 128])
def test_other_resolutions_show_the_same(folder, resolution):
    left = np.zeros((5, 28, 28), np.uint8)
    left[:, :, :14] = 200
    (folder / IMAGES).write_bytes(idx(left))
    images = load_idx(folder, resolution).images
    assert images.shape == (5, 3, resolution, resolution)
    middle = images[:, :, resolution // 2].astype(int)
    eighth = resolution // 8
    assert abs(middle[..., 2 * eighth : 3 * eighth] - 200).max() < 20
    assert middle[..., 5 * eighth :].max() < 20
    assert (images[:, :1] == images).all()


def test_pictures_that_are_no_squares_are_padded_to_one(folder):
    (folder / IMAGES).write_bytes(idx(noise(size=(20, 31))))
    images = load_idx(folder, 32).images
    np.testing.assert_array_equal(images[:, 1, 6:26, :31], noise(size=(20, 31)))
    with pytest.raises(SaganError, match="are 20 x 31, no squares; give a --resolution"):
        open_dataset(str(folder), None)


def test_without_a_resolution_pictures_stay_as_they_are(folder):
    np.testing.assert_array_equal(open_dataset(str(folder), None).images[:, 0], noise())


def test_without_classes_no_labels_are_needed(folder):
    (folder / f"{LABELS}.gz").unlink()
    data = load_idx(folder, 32, conditional=False)
    assert (data.class_names, data.labels.tolist()) == ((), [0] * 5)
    with pytest.raises(SaganError, match=r"no labels train-labels.* beside .*data.labels none"):
        load_idx(folder, 32)


def test_the_held_out_split_is_the_other_files(folder):
    with pytest.raises(SaganError, match=r"no t10k-images-idx3-ubyte .*held-out split needs; put"):
        open_dataset(str(folder), 32, part="held-out")
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(noise(3, seed=1))))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(np.array([1, 1, 0], np.uint8)))
    data = open_dataset(str(folder), 32, part="held-out")
    np.testing.assert_array_equal(data.images[:, 0, 2:30, 2:30], noise(3, seed=1))
    assert data.labels.tolist() == [1, 1, 0]
    assert data.fingerprint != load_idx(folder, 32).fingerprint


@pytest.mark.parametrize("name", ["fashion-mnist", "FashionMNIST/raw"])
def test_fashion_is_known_by_its_folder(folder, name):
    fashion = folder.parent / name
    fashion.parent.mkdir(exist_ok=True)
    folder.rename(fashion)
    assert load_idx(fashion, 32).class_names == FASHION_NAMES
    many = np.array([10, 0, 1, 2, 0], np.uint8)
    (fashion / f"{LABELS}.gz").write_bytes(gzip.compress(idx(many)))
    assert load_idx(fashion, 32).class_names == tuple(map(str, range(11)))


def test_a_folder_is_one_of_idx_files_by_their_names(folder, tmp_path):
    assert is_idx(folder)
    assert not is_idx(tmp_path)
    assert not is_idx(folder / IMAGES)


# --- faults

PIXELS = idx(noise())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with nothing, not 00 00 08 03; fetch"),
        (b"P5 28 28", "begins with 50 35 20 32, not 00 00 08 03; fetch"),
        (idx(LABEL_VALUES), "begins with 00 00 08 01, not 00 00 08 03; fetch"),
        (PIXELS[:10], "is cut off within its header; fetch"),
        (PIXELS[:-1], r"must hold 5 x 28 x 28 bytes and holds less; fetch"),
        (PIXELS + b"\0", r"must hold 5 x 28 x 28 bytes and holds more; fetch"),
        (PIXELS[:4] + b"\xff" * 12, "cut off or damaged: it must hold 4294967295 x"),
        (idx(noise(0)), "holds no pictures; fetch"),
        (idx(noise(4)), r"holds 4 pictures but .* 5 labels; take both from one set"),
    ],
)
def test_damaged_files_are_named(folder, content, message):
    (folder / IMAGES).write_bytes(content)
    with pytest.raises(SaganError, match=message) as caught:
        load_idx(folder, 32)
    assert IMAGES in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(PIXELS)[:-20], b"\x1f\x8b\x08"])
def test_damaged_compression_is_named(folder, content):
    (folder / IMAGES).unlink()
    (folder / f"{IMAGES}.gz").write_bytes(content)
    with pytest.raises(SaganError, match=rf"cannot read .*{IMAGES}\.gz \(.*\); fetch it anew"):
        load_idx(folder, 32)
