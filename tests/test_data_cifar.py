"""CIFAR-10, CIFAR-100 and STL-10 as they are distributed."""

import io
import pickle
import struct
import tarfile

import numpy as np
import pytest

from sagan.config import DataConfig
from sagan.data.catalog import in_split
from sagan.data.sources.cifar import cifar
from sagan.data.sources.pickled import unpickled
from sagan.data.sources.stl10 import stl10
from sagan.errors import SaganError

CONFIG = DataConfig()


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SAGAN_CACHE", str(tmp_path / "cache"))


def noise(count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)


def text(value):
    return b"U" + bytes([len(value)]) + value


def whole(number):
    return b"J" + struct.pack("<i", number)


def python2_pickle(entries):
    """A dictionary as Python 2 pickled it (protocol 2): byte strings, lists, NumPy arrays."""
    out = b"\x80\x02}("
    for key, value in entries.items():
        out += text(key)
        if isinstance(value, np.ndarray):
            shape = b"(" + b"".join(map(whole, value.shape)) + b"t"
            out += b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
            out += b"(" + whole(0) + b"t" + text(b"b") + b"\x87R"
            dtype = b"cnumpy\ndtype\n" + text(b"u1") + whole(0) + whole(1) + b"\x87R"
            state = whole(3) + text(b"|") + b"NNN" + whole(-1) + whole(-1) + whole(0)
            dtype += b"(" + state + b"tb"
            raw = value.tobytes()
            out += b"(" + whole(1) + shape + dtype + b"\x89"
            out += b"T" + struct.pack("<i", len(raw)) + raw + b"tb"
        elif isinstance(value, list):
            items = b"".join(whole(v) if isinstance(v, int) else text(v) for v in value)
            out += b"](" + items + b"e"
        else:
            out += text(value)
    return out + b"u."


def batch(seed, labels, key=b"labels", **more):
    pictures = noise(len(labels), seed).reshape(len(labels), -1)
    return python2_pickle({b"batch_label": b"one", b"data": pictures, key: labels, **more})


@pytest.fixture
def ten(tmp_path):
    root = tmp_path / "cifar-10-batches-py"
    root.mkdir()
    (root / "data_batch_1").write_bytes(batch(1, [0, 2, 1]))
    (root / "data_batch_2").write_bytes(batch(2, [2, 2]))
    (root / "data_batch_10").write_bytes(batch(10, [0]))
    (root / "test_batch").write_bytes(batch(3, [1, 0]))
    meta = python2_pickle({b"label_names": [b"airplane", b"automobile", b"bird"]})
    (root / "batches.meta").write_bytes(meta)
    (root / "readme.html").write_text("<html>")
    return root


@pytest.fixture
def hundred(tmp_path):
    root = tmp_path / "cifar-100-python"
    root.mkdir()
    for name, seed in (("train", 1), ("test", 2)):
        content = {b"coarse_labels": [1, 0], b"data": noise(2, seed).reshape(2, -1)}
        content[b"fine_labels"] = [0, 2]
        (root / name).write_bytes(python2_pickle(content))
    names = {b"fine_label_names": [b"apple", b"bee", b"cup"], b"coarse_label_names": [b"x", b"y"]}
    (root / "meta").write_bytes(python2_pickle(names))
    return root


def pictures(found):
    """(N, 3, H, W)."""
    read = [found.read(number, found.names[number]) for number in range(len(found))]
    return np.stack(read).transpose(0, 3, 1, 2)


def archive(folder):
    path = folder.parent / f"{folder.name}.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        file.add(folder, folder.name)
    return path


@pytest.mark.parametrize("form", ["folder", "around", "archive"])
def test_cifar_10_as_distributed(ten, form):
    source = {"folder": ten, "around": ten.parent, "archive": archive(ten)}[form]
    found = cifar(source, CONFIG)
    assert (found.kind, found.splits) == ("CIFAR-10", ("train", "test"))
    assert found.class_names == ("airplane", "automobile", "bird")
    train, test = in_split(found, ""), in_split(found, "test")
    expected = np.concatenate([noise(3, 1), noise(2, 2), noise(1, 10)])
    np.testing.assert_array_equal(pictures(train), expected)
    np.testing.assert_array_equal(pictures(test), noise(2, 3))
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 2, 1, 2, 2, 0], [1, 0])


def test_cifar_10_binary(tmp_path):
    root = tmp_path / "cifar-10-batches-bin"
    root.mkdir()
    for name, seed, labels in (("data_batch_1", 1, [0, 2]), ("test_batch", 3, [1])):
        rows = [
            bytes([label]) + picture.tobytes()
            for label, picture in zip(labels, noise(len(labels), seed), strict=True)
        ]
        (root / f"{name}.bin").write_bytes(b"".join(rows))
    (root / "batches.meta.txt").write_text("airplane\nautomobile\nbird\n\n")
    for source in (root, archive(root)):
        found = cifar(source, CONFIG)
        assert found.kind == "CIFAR-10, binary"
        assert found.class_names == ("airplane", "automobile", "bird")
        assert found.labels.tolist() == [0, 2, 1]
        np.testing.assert_array_equal(pictures(found), np.concatenate([noise(2, 1), noise(1, 3)]))


def test_cifar_100_has_two_sets_of_classes(hundred, tmp_path):
    found = cifar(hundred, CONFIG)
    assert (found.class_names, found.labels.tolist()) == (("apple", "cup"), [0, 1, 0, 1])
    assert found.notes == ["classes without pictures are left out: bee"]
    coarse = cifar(hundred, DataConfig(label="coarse"))
    assert (coarse.class_names, coarse.labels.tolist()) == (("x", "y"), [1, 0, 1, 0])
    with pytest.raises(SaganError, match=r"has no label 'colour'; --data\.label is fine or coarse"):
        cifar(hundred, DataConfig(label="colour"))
    root = tmp_path / "cifar-100-binary"
    root.mkdir()
    for name, seed in (("train", 1), ("test", 2)):
        rows = [
            bytes(labels) + picture.tobytes()
            for labels, picture in zip(((1, 0), (0, 2)), noise(2, seed), strict=True)
        ]
        (root / f"{name}.bin").write_bytes(b"".join(rows))
    (root / "fine_label_names.txt").write_text("apple\nbee\ncup\n")
    (root / "coarse_label_names.txt").write_text("x\ny\n")
    for config, same in ((CONFIG, found), (DataConfig(label="coarse"), coarse)):
        binary = cifar(root, config)
        assert binary.class_names == same.class_names
        assert binary.labels.tolist() == same.labels.tolist()
        np.testing.assert_array_equal(pictures(binary), pictures(same))


def test_other_sources_are_of_another_kind(tmp_path):
    (tmp_path / "a.txt").write_text("no archive")
    with tarfile.open(tmp_path / "b.tar", "w") as file:
        file.add(tmp_path / "a.txt", "cats/a.txt")
    for path in (tmp_path, tmp_path / "a.txt", tmp_path / "b.tar"):
        assert cifar(path, CONFIG) is None
        assert stl10(path, CONFIG) is None


# --- faults


class Evil:
    def __reduce__(self):
        return (eval, ("__import__('os').mkdir('/tmp/sagan-was-here')",))


HOSTILE = {
    "calls": (pickle.dumps(Evil()), "it names builtins.eval"),
    "objects": (pickle.dumps({"data": np.array([object])}), "an array of type 'O8'"),
    "numpy's loader": (b"cnumpy\nload\n(S'x'\ntR.", "it names numpy.load"),
    "a sub-module": (b"cnumpy.testing\nmeasure\n(S'1'\ntR.", "it names numpy.testing.measure"),
    "truncated": (batch(1, [0])[:-50], "truncated|cut off"),
    "text": (b"hello", "cannot read .*"),
    "empty": (b"", "it is cut off"),
    "a large memo": (b"\x80\x02Nr\xff\xff\xff\xff.", "holds no dictionary"),
    "a large array of bytes": (b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".", "cannot read"),
    "large bytes": (b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b".", "cannot read"),
    "no dictionary": (pickle.dumps([1, 2]), "holds no dictionary"),
    "a state of another kind": (b"\x80\x02cnumpy\nndarray\n)R(K\x01K\x02tb.", "cannot read"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_end_in_one_line(ten, name):
    content, message = HOSTILE[name]
    (ten / "data_batch_2").write_bytes(content)
    with pytest.raises(SaganError, match=message) as caught:
        cifar(ten, CONFIG)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("fetch it anew")


def test_an_array_is_rebuilt_as_it_was(tmp_path):
    arrays = {"a": np.arange(6, dtype=">i4").reshape(2, 3), "b": np.asfortranarray(np.eye(3, 2))}
    for key, value in unpickled(tmp_path, pickle.dumps(arrays, protocol=3)).items():
        np.testing.assert_array_equal(value, arrays[key])


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({b"data": noise(2, 0).reshape(2, -1)}, "holds no CIFAR pictures with labels"),
        ({b"labels": [1]}, "holds no CIFAR pictures with labels"),
        ({b"data": noise(2, 0), b"labels": [0, 1]}, "holds no CIFAR pictures with labels"),
        ({b"data": noise(2, 0).reshape(2, -1), b"labels": [b"x", b"y"]}, "holds no CIFAR"),
        ({b"data": noise(2, 0).reshape(2, -1), b"labels": [0]}, "2 pictures but 1 labels"),
        ({b"data": noise(1, 0).reshape(1, -1), b"labels": [9]}, "a label 9 but 3 class names"),
    ],
)
def test_other_pickles_are_refused(ten, entries, message):
    (ten / "data_batch_2").write_bytes(python2_pickle(entries))
    with pytest.raises(SaganError, match=message):
        cifar(ten, CONFIG)


def test_damaged_archives_and_binaries_are_refused(ten, tmp_path):
    path = archive(ten)
    content = path.read_bytes()
    path.write_bytes(content[:-3000])
    with pytest.raises(SaganError, match=r"tar.gz.*fetch it anew"):
        cifar(path, CONFIG)
    (tmp_path / "test_batch.bin").write_bytes(bytes(100))
    with pytest.raises(SaganError, match="100 bytes are no whole number of pictures"):
        cifar(tmp_path, CONFIG)


def test_links_and_paths_in_an_archive_lead_nowhere(tmp_path):
    path = tmp_path / "cifar.tar"
    with tarfile.open(path, "w") as file:
        file.addfile(tarfile.TarInfo("cifar-10-batches-py/readme"), io.BytesIO())
        link = tarfile.TarInfo("cifar-10-batches-py/test_batch")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
        enormous = tarfile.TarInfo("../../data_batch_1")
        enormous.size = 2**40
        file.addfile(enormous)
    with pytest.raises(SaganError, match=r"cut off.*; fetch it anew"):
        cifar(path, CONFIG)


def test_an_enormous_header_takes_no_memory(tmp_path):
    path = tmp_path / "cifar.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.USTAR_FORMAT) as file:
        file.addfile(tarfile.TarInfo("cifar-10-batches-py/readme"), io.BytesIO())
        header = tarfile.TarInfo("long")
        header.type, header.size = tarfile.XHDTYPE, 2**25
        file.addfile(header, io.BytesIO(bytes(2**25)))
    with pytest.raises(SaganError, match="a header of it is enormous"):
        cifar(path, CONFIG)


# --- STL-10


def stl(tmp_path, unlabeled=True):
    root = tmp_path / "stl10_binary"
    root.mkdir()
    shown = np.random.default_rng(0).integers(0, 256, (7, 3, 96, 96), dtype=np.uint8)
    stored = shown.transpose(0, 1, 3, 2)  # column after column
    (root / "train_X.bin").write_bytes(stored[:3].tobytes())
    (root / "train_y.bin").write_bytes(bytes([1, 2, 1]))
    (root / "test_X.bin").write_bytes(stored[3:5].tobytes())
    (root / "test_y.bin").write_bytes(bytes([2, 2]))
    (root / "class_names.txt").write_text("airplane\nbird\n")
    if unlabeled:
        (root / "unlabeled_X.bin").write_bytes(stored[5:].tobytes())
    return root, shown


def test_stl_10_as_distributed(tmp_path):
    root, shown = stl(tmp_path)
    for source in (root, tmp_path, archive(root)):
        found = stl10(source, CONFIG)
        assert found.class_names == ("airplane", "bird")
        assert found.labels.tolist() == [0, 1, 0, 1, 1]
        np.testing.assert_array_equal(pictures(found), shown[:5])
        assert found.splits == ("train", "test", "unlabeled")
        np.testing.assert_array_equal(pictures(in_split(found, "test")), shown[3:5])


@pytest.mark.parametrize(("split", "expected"), [("unlabeled", slice(5, 7)), ("all", slice(7))])
def test_the_unlabeled_part_has_no_classes(tmp_path, split, expected):
    root, shown = stl(tmp_path)
    found = in_split(stl10(root, DataConfig(split=split)), split)
    assert found.class_names == ()
    np.testing.assert_array_equal(pictures(found), shown[expected])


def test_stl_10_without_the_unlabeled_part(tmp_path):
    root, _ = stl(tmp_path, unlabeled=False)
    assert stl10(root, CONFIG).splits == ("train", "test")
    (root / "train_X.bin").write_bytes(bytes(100))
    with pytest.raises(SaganError, match="100 bytes are no whole number of pictures"):
        stl10(root, CONFIG)
