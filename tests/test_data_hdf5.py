"""HDF5 files of BigGAN, StudioGAN and others."""

import builtins
import pickle

import numpy as np
import pytest

from sagan.config import DataConfig
from sagan.data.catalog import in_split
from sagan.data.sources.hdf5 import hdf5
from sagan.errors import SaganError
from sagan.system.memory import Memory

CONFIG = DataConfig()
RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (6, 3, 8, 8), dtype=np.uint8)
LAST = COLOUR.transpose(0, 2, 3, 1)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def test_without_the_library_the_way_is_named(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "h5py":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    (tmp_path / "a.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(SaganError, match="is HDF5; to read it, pip install h5py"):
        hdf5(tmp_path / "a.hdf5", CONFIG)
    (tmp_path / "b.hdf5").write_bytes(b"something else")
    assert hdf5(tmp_path / "b.hdf5", CONFIG) is None
    assert hdf5(tmp_path, CONFIG) is None


@pytest.fixture
def write(tmp_path):
    h5py = pytest.importorskip("h5py")

    def written(**content):
        path = tmp_path / "set.hdf5"
        with h5py.File(path, "w") as file:
            for name, value in content.items():
                value = value if isinstance(value, tuple) else (value, {})
                file.create_dataset(name, data=value[0], **value[1])
        return path

    return written


def pictures(found):
    return np.stack([found.read(number, found.names[number]) for number in range(len(found))])


@pytest.mark.parametrize("compression", [None, "lzf", "gzip"])
@pytest.mark.parametrize("count", [1, 4, 6])
def test_biggan_and_studiogan(write, compression, count):
    chunked = {"chunks": (count, 3, 8, 8), "maxshape": (None, 3, 8, 8), "compression": compression}
    path = write(imgs=(COLOUR, chunked), labels=(LABELS, {"chunks": (count,), "maxshape": (None,)}))
    found = hdf5(path, CONFIG)
    np.testing.assert_array_equal(pictures(found), LAST)
    assert (found.class_names, found.labels.tolist()) == (("0", "1", "2"), LABELS.tolist())
    assert found.kind == "an HDF5 file"
    again = pickle.loads(pickle.dumps(found.read))
    np.testing.assert_array_equal(again(5, ""), LAST[5])


def test_usual_names(write):
    names = np.array([b"a", b"b", b"c"])
    path = write(
        x_train=LAST[:4] / 255,
        y_train=LABELS[:4, None],
        x_test=LAST[4:] / 255,
        y_test=LABELS[4:, None],
        class_names=names,
    )
    found = hdf5(path, CONFIG)
    np.testing.assert_array_equal(pictures(in_split(found, "test")), LAST[4:] / 255)
    assert (found.class_names, found.range) == (("a", "b", "c"), (0, 1))
    assert "read as 0 (black) to 1 (white)" in found.notes[0]


def test_another_array_can_be_the_label(write):
    galaxies = write(images=LAST, ans=LABELS)
    assert hdf5(galaxies, CONFIG).class_names == ()
    assert hdf5(galaxies, DataConfig(label="ans")).labels.tolist() == LABELS.tolist()


def test_labels_can_be_texts(write):
    found = hdf5(write(images=LAST, labels=["b", "a", "c", "b", "a", "c"]), CONFIG)
    assert (found.class_names, found.labels.tolist()) == (("a", "b", "c"), [1, 0, 2, 1, 0, 2])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": LABELS}, r"holds no pictures but a \(6,\)"),
        ({}, "holds no pictures but no arrays"),
        ({"imgs": COLOUR[:0]}, "is empty"),
        ({"imgs": np.float64(3)}, "which is no set of pictures"),
        ({"imgs": COLOUR, "labels": LABELS[:2]}, "6 pictures but 2 labels"),
        ({"imgs": ["a", "b"]}, "no pixels"),
    ],
)
def test_something_else_is_refused(write, content, message):
    path = write(**content)
    with pytest.raises(SaganError, match=message):
        hdf5(path, CONFIG)


def test_damaged_files_are_refused(write):
    path = write(imgs=COLOUR, labels=LABELS)
    content = path.read_bytes()
    for damaged in (content[:-100], content[:100], content[:8]):
        path.write_bytes(damaged)
        with pytest.raises(SaganError, match=r"cannot read .*; fetch it anew") as caught:
            hdf5(path, CONFIG)
        assert "\n" not in str(caught.value)


def test_other_files_are_not_followed(write, tmp_path):
    h5py = pytest.importorskip("h5py")
    (tmp_path / "secret").write_bytes(bytes(1000))
    path = write(labels=LABELS)
    with h5py.File(path, "a") as file:
        external = [(str(tmp_path / "secret"), 0, COLOUR.size)]
        file.create_dataset("imgs", COLOUR.shape, "u1", external=external)
    with pytest.raises(SaganError, match="imgs lies in other files; store it in this one"):
        hdf5(path, CONFIG)
    (tmp_path / "set.hdf5").rename(tmp_path / "other.hdf5")
    path = write(labels=LABELS)
    with h5py.File(path, "a") as file:
        file["imgs"] = h5py.ExternalLink(str(tmp_path / "other.hdf5"), "imgs")
    with pytest.raises(SaganError, match="holds no pictures but labels"):
        hdf5(path, CONFIG)


def test_an_enormous_chunk_takes_no_memory(tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "large.hdf5"
    with h5py.File(path, "w") as file:
        shape = (2**22, 3, 32, 32)
        file.create_dataset("imgs", shape, "u1", chunks=(2**20, 3, 32, 32), compression="gzip")
    memory = Memory(total=2**30, available=2**30)
    monkeypatch.setattr("sagan.system.memory._main_memory", lambda: memory)
    with pytest.raises(SaganError, match=r"a part of .* would take 6.0 GiB of memory"):
        hdf5(path, CONFIG)
