"""NumPy files of every usual naming and shape."""

import io
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest

from sagan.config import DataConfig
from sagan.data.catalog import in_split
from sagan.data.looking import survey_of
from sagan.data.opening import load_dataset, open_dataset
from sagan.data.sources import blocks
from sagan.data.sources.arrays import arrays
from sagan.data.survey_text import warnings_of
from sagan.errors import SaganError

CONFIG = DataConfig()
RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (6, 3, 8, 10), dtype=np.uint8)
LAST = COLOUR.transpose(0, 2, 3, 1)
GREY = COLOUR[:, 0]
LABELS = np.array([0, 1, 2, 0, 1, 2])


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SAGAN_CACHE", str(tmp_path / "cache"))


def pictures(found):
    return np.stack([found.read(number, found.names[number]) for number in range(len(found))])


def saved(path, compressed=False, **content):
    (np.savez_compressed if compressed else np.savez)(path, **content)
    return path


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("images", "labels"),
    [("images", "labels"), ("arr_0", "arr_1"), ("x", "y"), ("X", "Y"), ("data", "labels")],
)
@pytest.mark.parametrize("stored", [COLOUR, LAST], ids=["first", "last"])
def test_every_naming_and_order(tmp_path, images, labels, compressed, stored):
    path = saved(tmp_path / "set.npz", compressed, **{images: stored, labels: LABELS})
    found = arrays(path, CONFIG)
    np.testing.assert_array_equal(pictures(found), LAST)
    assert found.class_names == ("0", "1", "2")
    assert found.labels.tolist() == LABELS.tolist()
    assert (found.splits, found.notes, found.kind) == ((), [], "a NumPy file")
    assert list(found.names) == list("012345")
    none = arrays(path, DataConfig(labels="none"))
    assert (none.class_names, none.labels.tolist()) == ((), [0] * 6)


@pytest.mark.parametrize(
    ("naming", "splits"),
    [
        (("x_train", "y_train", "x_test", "y_test"), ("train", "test")),
        (("X_train", "Y_train", "X_test", "Y_test"), ("train", "test")),
        (("train_images", "train_labels", "val_images", "val_labels"), ("train", "val")),
        (("trainX", "trainY", "validX", "validY"), ("train", "val")),
        (("images_train", "targets_train", "images_test", "targets_test"), ("train", "test")),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_parts_are_recognised(tmp_path, naming, splits, compressed):
    content = (GREY[:4], LABELS[:4], GREY[4:], LABELS[4:, None])
    path = saved(tmp_path / "set.npz", compressed, **dict(zip(naming, content, strict=True)))
    found = arrays(path, CONFIG)
    assert found.splits == splits
    second = in_split(found, splits[1])
    np.testing.assert_array_equal(pictures(second), GREY[4:])
    np.testing.assert_array_equal(pictures(in_split(found, "train")), GREY[:4])
    assert (second.labels.tolist(), list(second.names)) == (
        [1, 2],
        [f"{splits[1]}/{n}" for n in "01"],
    )


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        (COLOUR, LAST),
        (LAST, LAST),
        (np.asfortranarray(LAST), LAST),
        (GREY, GREY),
        (GREY[..., None], GREY),
        (GREY[:, None], GREY),
        (np.concatenate([COLOUR, COLOUR[:, :1]], 1), np.concatenate([LAST, LAST[..., :1]], 3)),
        (COLOUR[..., :4, :4], LAST[:, :4, :4]),
        (GREY.astype(np.uint16), GREY),
        (GREY.astype(">u2"), GREY),
    ],
)
def test_every_shape_is_understood(tmp_path, stored, shown):
    np.save(tmp_path / "set.npy", stored)
    found = pictures(arrays(tmp_path / "set.npy", CONFIG))
    np.testing.assert_array_equal(found, shown)
    assert found.dtype == stored.dtype.newbyteorder("=")


@pytest.mark.parametrize(
    ("stored", "limits", "said"),
    [
        ((GREY / 255).astype(np.float32), (0, 1), "read as 0 (black) to 1 (white)"),
        ((GREY / 127.5 - 1).astype(np.float16), (-1, 1), "read as -1 (black) to 1 (white)"),
        (GREY.astype(np.float64), (0, 255), "read as 0 (black) to 255 (white)"),
        (GREY.astype(np.int64), (0, 255), "read as 0 (black) to 255 (white)"),
    ],
)
def test_floats_are_judged_by_their_values(tmp_path, stored, limits, said):
    np.save(tmp_path / "set.npy", stored)
    found = arrays(tmp_path / "set.npy", CONFIG)
    np.testing.assert_array_equal(pictures(found), stored)  # the rules make 8 bits of them
    assert found.range == limits
    assert said in found.notes[0]
    shown = open_dataset(tmp_path / "set.npy", 8, width=10)
    assert abs(shown.images[:, 0].astype(int) - GREY).max() <= (stored.dtype == np.float16)
    assert shown.origin.pack.facts["lowest"].tolist() == stored.min(axis=(1, 2)).tolist()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("late", "limits"), [(3.0, (0, 255)), (-0.5, (-1, 1)), (-4.0, None), (255.5, None)]
)
def test_one_late_value_counts_as_much_as_the_first(tmp_path, late, limits, compressed):
    stored = np.tile(GREY / 255, (30, 1, 1))
    stored[131, 3, 4] = late
    path = saved(tmp_path / "set.npz", compressed, images=stored)
    if limits is None:
        with pytest.raises(SaganError, match=rf"from .*{late:g}.*say which are black and white"):
            arrays(path, CONFIG)
    else:
        found = arrays(path, CONFIG)
        assert found.range == limits
        assert "in 180 pictures" in found.notes[0]


@pytest.mark.parametrize("compressed", [False, True])
def test_one_late_level_shows_that_there_are_more_than_two(tmp_path, compressed):
    stored = np.tile((GREY > 99).astype(np.uint8), (30, 1, 1))
    stored[131, 3, 4] = 2
    found = arrays(saved(tmp_path / "set.npz", compressed, images=stored), CONFIG)
    np.testing.assert_array_equal(pictures(found), stored)
    assert found.notes == []


def test_of_very_many_values_some_are_looked_at_and_the_rest_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "_LOOKED_THROUGH", 1000)
    stored = np.tile(GREY / 255, (30, 1, 1))
    stored[131, 3, 4] = 3
    np.save(tmp_path / "set.npy", stored)
    config = DataConfig(source=str(tmp_path / "set.npy"), resolution=8, width=10)
    dataset = load_dataset(config)
    assert dataset.origin.catalog.range == (0, 1)
    values = survey_of(dataset, config).values
    assert (values.outside, values.highest, values.top) == (1, 3, 1)


def test_values_far_below_white_are_told(tmp_path):
    np.save(tmp_path / "set.npy", GREY / 85)
    config = DataConfig(source=str(tmp_path / "set.npy"), resolution=8, width=10)
    found = survey_of(load_dataset(config), config)
    assert any("come out dark" in warning for warning in warnings_of(found))


def test_a_picture_with_holes_is_none(tmp_path):
    stored = GREY / 255
    stored[4, 1, 1] = np.nan
    np.save(tmp_path / "set.npy", stored)
    dataset = open_dataset(tmp_path / "set.npy", 8, width=10, broken=0.5)
    assert dataset.origin.pack.entry.tolist() == [0, 1, 2, 3, 5]
    np.save(tmp_path / "set.npy", np.full((2, 8, 8), np.nan))
    with pytest.raises(SaganError, match="holds no numbers but NaN or infinity"):
        arrays(tmp_path / "set.npy", CONFIG)


def test_a_stated_range_leaves_the_values_to_the_rules(tmp_path):
    stored = np.linspace(-3, 3, 600).reshape(6, 10, 10)
    np.save(tmp_path / "set.npy", stored)
    with pytest.raises(SaganError, match=r"from -3 to 3, .*: --data.range -3 --data.range 3$"):
        arrays(tmp_path / "set.npy", CONFIG)
    found = arrays(tmp_path / "set.npy", DataConfig(range=(-3.0, 3.0)))
    np.testing.assert_array_equal(pictures(found), stored)
    assert found.notes == []


@pytest.mark.parametrize("stored", [GREY > 99, (GREY > 99).astype(np.uint8)])
@pytest.mark.parametrize("compressed", [False, True])
def test_two_levels_are_black_and_white(tmp_path, stored, compressed):
    found = arrays(saved(tmp_path / "set.npz", compressed, images=stored), CONFIG)
    np.testing.assert_array_equal(pictures(found), 255 * (GREY > 99))
    assert len(found.notes) == (stored.dtype != bool)


@pytest.mark.parametrize(
    ("labels", "config", "names", "expected"),
    [
        (LABELS[:, None], CONFIG, "012", LABELS),
        (np.eye(3)[LABELS], CONFIG, "012", LABELS),
        (np.eye(3, dtype=bool)[LABELS], CONFIG, "012", LABELS),
        (LABELS.astype(np.float32), CONFIG, "012", LABELS),
        (np.array(list("bacbac")), CONFIG, "abc", [1, 0, 2, 1, 0, 2]),
        (
            np.array([b"x10", b"x2", b"x2", b"x2", b"x2", b"x2"]),
            CONFIG,
            ["x2", "x10"],
            [1] + [0] * 5,
        ),
        (np.ones((6, 2), int) * LABELS[:, None], DataConfig(label="1"), "012", LABELS),
    ],
)
def test_labels_of_every_kind(tmp_path, labels, config, names, expected):
    found = arrays(saved(tmp_path / "set.npz", images=GREY, labels=labels), config)
    assert found.class_names == tuple(names)
    assert found.labels.tolist() == list(expected)


def test_gaps_in_numbers_are_compacted_and_said(tmp_path):
    numbers = np.array([2**40, 7, 7, -1, 2**40, 7])
    found = arrays(saved(tmp_path / "set.npz", images=GREY, labels=numbers), CONFIG)
    assert found.class_names == ("-1", "7", str(2**40))
    assert found.labels.tolist() == [2, 1, 1, 0, 2, 1]
    assert found.notes[0].startswith(f"label numbers run from -1 to {2**40}: the 3 that occur")


def test_class_names_are_those_of_the_file(tmp_path):
    names = np.array(["a", "b", "cafe\u0301", "d"])
    content = {"images": GREY, "labels": LABELS, "class_names": names}
    found = arrays(saved(tmp_path / "set.npz", **content), CONFIG)
    assert found.class_names == ("a", "b", "caf\u00e9")
    assert found.notes == ["classes without pictures are left out: d"]


def test_another_array_can_be_the_label(tmp_path):
    path = saved(tmp_path / "set.npz", images=GREY, labels=LABELS, shade=LABELS // 2)
    assert arrays(path, DataConfig(label="shade")).labels.tolist() == [0, 0, 1, 0, 0, 1]
    with pytest.raises(
        SaganError, match=r"no array 'hue' for data.label; it has images, labels, sh"
    ):
        arrays(path, DataConfig(label="hue"))


def test_the_only_array_of_pictures_is_taken(tmp_path):
    path = saved(tmp_path / "set.npz", faces=GREY, ages=LABELS, files=LABELS.astype(object))
    found = arrays(path, CONFIG)
    np.testing.assert_array_equal(pictures(found), GREY)
    assert found.notes == ["the only array that can hold pictures is faces"]


def test_a_folder_of_arrays(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    np.save(root / "x_train.npy", GREY[:4])
    np.save(root / "y_train.npy", LABELS[:4])
    np.save(root / "x_test.npy", GREY[4:])
    np.save(root / "y_test.npy", LABELS[4:])
    found = in_split(arrays(root, CONFIG), "test")
    np.testing.assert_array_equal(pictures(found), GREY[4:])
    assert found.labels.tolist() == [1, 2]
    assert arrays(tmp_path, CONFIG) is None
    kuzushiji = tmp_path / "k49"
    kuzushiji.mkdir()
    np.savez_compressed(kuzushiji / "k49-train-imgs.npz", GREY)
    np.savez_compressed(kuzushiji / "k49-train-labels.npz", LABELS)
    found = arrays(kuzushiji, CONFIG)
    np.testing.assert_array_equal(pictures(found), GREY)
    assert found.labels.tolist() == LABELS.tolist()


def test_what_is_not_compressed_is_mapped_and_the_rest_unpacked_once(tmp_path):
    plain = arrays(saved(tmp_path / "a.npz", images=COLOUR), CONFIG)
    packed = arrays(saved(tmp_path / "b.npz", True, images=COLOUR), CONFIG)
    assert not (tmp_path / "cache").exists()
    pictures(plain)
    assert not (tmp_path / "cache").exists()
    pictures(packed)
    (file,) = (tmp_path / "cache" / "unpacked").iterdir()
    assert file.stat().st_size == COLOUR.size
    os.utime(file, (1, 1))
    again = pickle.loads(pickle.dumps(packed.read))
    np.testing.assert_array_equal(again(5, ""), LAST[5])
    assert len(pickle.dumps(packed.read)) < 1000
    assert file.stat().st_mtime > 1  # it is in use, so that it is not swept


@pytest.mark.parametrize("stored", [COLOUR, GREY, GREY[:, None], LAST, COLOUR / 255])
def test_what_lies_as_it_is_wanted_is_offered_without_a_copy(tmp_path, stored):
    for name in ("set.npy", "set.npz"):
        np.save(tmp_path / name, stored) if name == "set.npy" else np.savez(tmp_path / name, stored)
        images = arrays(tmp_path / name, CONFIG).images
        if stored.shape[-1] == 3 or stored.dtype != np.uint8:
            assert images is None
        else:
            assert isinstance(images, np.memmap)
            np.testing.assert_array_equal(images, stored.reshape(6, -1, 8, 10))
    np.savez_compressed(tmp_path / "packed.npz", stored)
    assert arrays(tmp_path / "packed.npz", CONFIG).images is None


def test_a_million_pictures_open_at_once(tmp_path):
    file = tmp_path / "large.npy"
    header = io.BytesIO()
    stated = {"descr": "|u1", "fortran_order": False, "shape": (10**6, 64, 64, 3)}
    np.lib.format.write_array_header_1_0(header, stated)
    with file.open("wb") as out:
        out.write(header.getvalue() + b"\xc8")
        out.truncate(len(header.getvalue()) + 10**6 * 64 * 64 * 3)  # a hole takes no space
    found = arrays(file, CONFIG)
    assert (len(found), found.names[17], found.names[-1]) == (10**6, "000017", "999999")
    assert found.read(999_999, "").shape == (64, 64, 3)


# --- faults


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": GREY[0, 0], "b": LABELS}, r"holds no pictures but a \(10,\), b \(6,\); call the"),
        ({"a": GREY, "b": GREY}, r"holds no pictures but a \(6, 8, 10\), b"),
        ({}, "holds no pictures but no arrays"),
        ({"images": GREY[:0]}, "is empty: 0 x 8 x 10; give pictures"),
        ({"images": LAST[0]}, "is 8 x 10 x 3, which is no set of pictures"),
        ({"images": GREY.reshape(6, -1)}, "is 6 x 80, which is no set of pictures: it must"),
        ({"images": COLOUR[:, :2]}, "is 6 x 2 x 8 x 10, which is no set"),
        ({"images": LAST[:, :3, :3]}, "is 6 x 3 x 3 x 3, which is no set"),
        ({"images": GREY[:, None, None]}, "is 6 x 1 x 1 x 8 x 10, which is no set"),
        ({"images": GREY.astype("S1")}, "holds values of type bytes8, no pixels"),
        ({"images": GREY.astype(np.complex64)}, "holds values of type complex64, no pixels"),
        ({"images": GREY.astype(object)}, "holds Python objects, no pixels"),
        ({"images": GREY, "labels": LABELS[:5]}, "6 pictures but 5 labels; take both"),
        ({"images": GREY, "labels": np.array(3)}, "6 pictures but 1 labels"),
        ({"images": GREY, "labels": LABELS / 2}, "labels must be whole numbers or texts"),
        ({"images": GREY, "labels": np.ones((6, 2))}, "has 2 numbers as the label of a picture"),
        ({"images": GREY, "labels": LABELS.astype(object)}, "labels holds Python objects, which"),
        (
            {"images": GREY, "labels": LABELS + 3, "class_names": np.array(["a"])},
            "has a label 5 but 1 class names",
        ),
        (
            {"images": GREY, "labels": LABELS - 1, "class_names": np.array(["a", "b"])},
            "has a label -1 but 2 class names",
        ),
        (
            {"images": GREY, "labels": LABELS, "class_names": np.array(["a", "b", "a"])},
            "two classes are called 'a'",
        ),
        ({"images": GREY, "labels": LABELS, "class_names": GREY}, "class_names must be a list of"),
        ({"x_train": GREY, "x_test": COLOUR}, "hold pictures of several kinds; store them apart"),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_something_else_is_refused_in_one_line(tmp_path, content, message, compressed):
    path = saved(tmp_path / "set.npz", compressed, **content)
    with pytest.raises(SaganError, match=message) as caught:
        arrays(path, CONFIG)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "cache").exists()


NPY = io.BytesIO()
np.save(NPY, GREY)
NPZ = io.BytesIO()
np.savez_compressed(NPZ, images=GREY)


def header(text):
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("set.npz", b"PK\x03\x04 no archive"),
        ("set.npz", b""),
        ("set.npz", NPZ.getvalue()[:-30]),
        ("set.npy", b"no array"),
        ("set.npy", b"\x93NUMPY"),
        ("set.npy", NPY.getvalue()[:-1]),
        ("set.npy", b"\x93NUMPY\x09\x00" + NPY.getvalue()[8:]),
        ("set.npy", header("{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 2, 2)}")),
        (
            "set.npy",
            header("{'descr': '|u1', 'fortran_order': False, 'shape': (9999999, 9999, 99)}"),
        ),
        ("set.npy", header("(" * 9000)),
        ("set.npy", header("__import__('os').getcwd()")),
    ],
)
def test_damaged_files_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SaganError, match=r"cannot read .*; give a .npy or .npz|cut off") as caught:
        arrays(tmp_path / name, CONFIG)
    assert "\n" not in str(caught.value)


def test_a_bomb_is_judged_by_its_sizes(tmp_path):
    stated = {"descr": "|u1", "fortran_order": False, "shape": (2**20, 2**10, 2**10)}
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, stated)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", head.getvalue() + bytes(1000))
    with pytest.raises(SaganError, match="cut off or damaged in images; fetch it anew"):
        arrays(tmp_path / "a.npz", CONFIG)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    size = struct.pack("<I", len(head.getvalue()) + 1000)
    small = {**stated, "shape": (2**10, 2**10, 2**10)}
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, small)
    with zipfile.ZipFile(tmp_path / "b.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", head.getvalue() + bytes(1000))
    content = bytearray((tmp_path / "b.npz").read_bytes())
    size = struct.pack("<I", len(head.getvalue()) + 1000)
    assert content.count(size) == 2
    content = content.replace(size, struct.pack("<I", len(head.getvalue()) + 2**30))
    (tmp_path / "b.npz").write_bytes(content)
    with pytest.raises(SaganError, match=r"cannot hold the 1.0 GiB that it states; fetch"):
        arrays(tmp_path / "b.npz", CONFIG)


def test_damage_in_compressed_pictures_is_told_when_they_are_read(tmp_path):
    path = saved(tmp_path / "set.npz", True, images=np.tile(GREY, (20, 1, 1)))
    content = bytearray(path.read_bytes())
    content[-300] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(SaganError, match=r"cannot read .*set.npz .*; fetch it anew"):
        pictures(arrays(tmp_path / "set.npz", CONFIG))


def test_without_space_for_unpacking_it_is_refused_before(tmp_path, monkeypatch):
    import shutil
    from collections import namedtuple

    path = saved(tmp_path / "set.npz", True, images=COLOUR)
    usage = namedtuple("usage", "total used free")(100, 0, 100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(SaganError, match=r"set.npz, unpacked, would take .* set SAGAN_CACHE"):
        pictures(arrays(path, CONFIG))


def test_other_files_are_of_another_kind(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("cat/1.png", b"")
    for name in ("a.png", "a.zip", "."):
        assert arrays(tmp_path / name, CONFIG) is None
