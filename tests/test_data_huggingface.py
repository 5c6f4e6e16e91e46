"""Parquet, Arrow and saved data sets of Hugging Face, and its hub."""

import json
import pickle
import sys

import numpy as np
import pytest

from sagan.config import DataConfig
from sagan.data.catalog import in_split
from sagan.data.sources.huggingface import hub_catalog, huggingface
from sagan.errors import SaganError
from sagan.images import png_bytes

CONFIG = DataConfig()
pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def encoded(number):
    return png_bytes(np.random.default_rng(number).integers(0, 256, (3, 8, 8), dtype=np.uint8))


def table(numbers, labels=None, names=("cat", "dog"), column="image", **more):
    """As Hugging Face writes it: bytes and path of a picture, features in the metadata."""
    pictures = [{"bytes": encoded(number), "path": f"{number}.png"} for number in numbers]
    kind = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    columns = {column: pyarrow.array(pictures, kind)}
    features = {column: {"_type": "Image"}}
    if labels is not None:
        columns["label"] = pyarrow.array(labels)
        features["label"] = {"names": list(names), "_type": "ClassLabel"}
    columns |= {name: pyarrow.array(values) for name, values in more.items()}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pyarrow.table(columns).replace_schema_metadata(metadata)


def write_arrow(rows, path, stream=True):
    open_file = pyarrow.ipc.new_stream if stream else pyarrow.ipc.new_file
    with open_file(str(path), rows.schema) as file:
        file.write_table(rows, max_chunksize=2)


def contents(found):
    return [found.read(number, found.names[number]) for number in range(len(found))]


@pytest.mark.parametrize("form", ["parquet", "stream", "file"])
def test_one_file(tmp_path, form):
    rows = table(range(5), [0, 1, 1, 0, 1])
    path = tmp_path / ("rows.parquet" if form == "parquet" else "rows.arrow")
    if form == "parquet":
        parquet.write_table(rows, path, row_group_size=2)
    else:
        write_arrow(rows, path, stream=form == "stream")
    found = huggingface(path, CONFIG)
    assert contents(found) == [encoded(number) for number in range(5)]
    assert (found.class_names, found.labels.tolist()) == (("cat", "dog"), [0, 1, 1, 0, 1])
    assert (found.splits, list(found.names)) == ((), list("01234"))
    again = pickle.loads(pickle.dumps(found.read))
    assert [again(number, "") for number in (4, 0, 3)] == [encoded(n) for n in (4, 0, 3)]
    assert huggingface(path, DataConfig(labels="none")).class_names == ()


@pytest.mark.parametrize(
    ("labels", "names", "classes"),
    [
        ([0, None, 1, -1, 0], ("cat", "dog"), ("cat", "dog")),
        ([3, None, 7, None, 3], None, ("3", "7")),
        (["a", None, "b", "", "a"], None, ("a", "b")),
    ],
)
def test_rows_without_a_label_are_left_out_and_told(tmp_path, labels, names, classes):
    rows = table(range(5), labels, names) if names else table(range(5), label=labels)
    parquet.write_table(rows, tmp_path / "rows.parquet")
    found = huggingface(tmp_path / "rows.parquet", CONFIG)
    assert (found.class_names, found.labels.tolist()) == (classes, [0, 1, 0])
    assert found.passed_over == [("1", "without a label"), ("3", "without a label")]
    assert contents(found) == [encoded(number) for number in (0, 2, 4)]
    assert len(huggingface(tmp_path / "rows.parquet", DataConfig(labels="none"))) == 5


@pytest.mark.parametrize("place", ["", "data"])
def test_a_folder_of_parts(tmp_path, place):
    folder = tmp_path / "set" / place
    folder.mkdir(parents=True)
    for number, name in enumerate(["train-00001-of-00002", "train-00000-of-00002", "test-00000"]):
        parquet.write_table(table([number, 5], [0, 1]), folder / f"{name}.parquet")
    (tmp_path / "set" / "README.md").write_text("")
    found = huggingface(tmp_path / "set", CONFIG)
    assert found.splits == ("train", "test")
    assert contents(in_split(found, "")) == [encoded(n) for n in (1, 5, 0, 5)]
    assert contents(in_split(found, "test")) == [encoded(n) for n in (2, 5)]


def test_a_saved_data_set(tmp_path):
    datasets = pytest.importorskip("datasets")
    folder = tmp_path / "picture"
    for name, number in (("cat", 0), ("dog", 1)):
        (folder / name).mkdir(parents=True)
        (folder / name / "a.png").write_bytes(encoded(number))
    loaded = datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(tmp_path))
    loaded["test"] = loaded["train"].select([1])
    loaded.save_to_disk(str(tmp_path / "saved"))
    found = huggingface(tmp_path / "saved", CONFIG)
    assert (found.splits, found.class_names) == (("train", "test"), ("cat", "dog"))
    assert contents(in_split(found, "")) == [encoded(0), encoded(1)]
    test = in_split(found, "test")
    assert (contents(test), test.labels.tolist()) == ([encoded(1)], [1])
    assert len(huggingface(tmp_path / "saved" / "test", CONFIG)) == 1
    state = tmp_path / "saved" / "test" / "state.json"
    state.write_text(json.dumps({"_data_files": [{"filename": "../../picture/cat/a.png"}]}))
    with pytest.raises(SaganError, match=r"state.json names files elsewhere"):
        huggingface(tmp_path / "saved", CONFIG)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder in place of a data set on the hub."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "hub" / "data"
    folder.mkdir(parents=True)
    parquet.write_table(table(range(4), [0, 1, 1, 0]), folder / "train-00000-of-00001.parquet")
    parquet.write_table(table([7], [1]), folder / "test-00000-of-00001.parquet")
    return tmp_path / "hub"


@pytest.mark.parametrize("free", [None, 0])
def test_the_hub(hub, free, monkeypatch):
    from collections import namedtuple

    if free is not None:
        import shutil

        from datasets import DatasetBuilder

        usage = namedtuple("usage", "total used free")(100, 100, 0)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        monkeypatch.setattr(DatasetBuilder, "download_and_prepare", None)
        real = DatasetBuilder.__init__

        def stated(self, *args, **kwargs):
            real(self, *args, **kwargs)
            self.info.download_size = 10**6

        monkeypatch.setattr(DatasetBuilder, "__init__", stated)
    found = hub_catalog(str(hub), CONFIG)
    assert (found.splits, found.class_names) == (("train", "test"), ("cat", "dog"))
    assert contents(found) == [encoded(n) for n in (0, 1, 2, 3, 7)]
    assert found.labels.tolist() == [0, 1, 1, 0, 1]
    where = hub if free == 0 else hub.parent / "cache"
    assert all(file.place.startswith(str(where)) for file in found.read._files)


def test_a_data_set_that_is_not_there(hub):
    with pytest.raises(SaganError, match=r"cannot load hf:.*; look at the name and the conn") as e:
        hub_catalog(f"{hub}/nowhere", CONFIG)
    assert "\n" not in str(e.value)


def test_columns_are_chosen(tmp_path):
    path = tmp_path / "a.parquet"
    rows = table(range(3), [0, 1, 1], column="photo", breed=["x", "y", "x"], id=[b"1", b"2", b"3"])
    parquet.write_table(rows, path)
    found = huggingface(path, DataConfig(label="breed"))
    assert (found.class_names, found.labels.tolist()) == (("x", "y"), [0, 1, 0])
    assert contents(found) == [encoded(n) for n in range(3)]
    with pytest.raises(SaganError, match=r"no column 'age' for data.label; it has photo, label, b"):
        huggingface(path, DataConfig(label="age"))
    parquet.write_table(rows.replace_schema_metadata(None), path)
    assert huggingface(path, CONFIG).class_names == ("0", "1")
    parquet.write_table(pyarrow.table({"jpg": [encoded(1)], "cls": [3]}), path)
    found = huggingface(path, DataConfig(label="cls"))
    assert (contents(found), found.class_names) == ([encoded(1)], ("3",))
    parquet.write_table(pyarrow.table({"a": [encoded(1)], "b": [b"x"]}), path)
    with pytest.raises(SaganError, match=r"no column of pictures among a, b; call one image"):
        huggingface(path, CONFIG)


def test_a_part_without_labels_and_rows_without_pictures(tmp_path):
    parquet.write_table(table([0, 1], [0, 1]), tmp_path / "train.parquet")
    parquet.write_table(table([2, 3], [-1, -1]), tmp_path / "test.parquet")
    found = huggingface(tmp_path, CONFIG)
    assert (len(found), found.splits) == (2, ("train", "test"))
    unnamed = in_split(huggingface(tmp_path, DataConfig(split="test")), "test")
    assert (contents(unnamed), unnamed.class_names) == ([encoded(2), encoded(3)], ())
    kind = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    rows = pyarrow.array([{"bytes": None, "path": "/etc/passwd"}, None], kind)
    parquet.write_table(pyarrow.table({"image": rows}), tmp_path / "b.parquet")
    assert contents(huggingface(tmp_path / "b.parquet", CONFIG)) == [b"", b""]
    parquet.write_table(table([], pyarrow.array([], "int64")), tmp_path / "c.parquet")
    with pytest.raises(SaganError, match="has no rows; give pictures"):
        huggingface(tmp_path / "c.parquet", CONFIG)


def test_damaged_files_end_in_one_line(tmp_path):
    whole = tmp_path / "a.parquet"
    parquet.write_table(table(range(5)), whole)
    write_arrow(table(range(5)), tmp_path / "a.arrow")
    for path in (whole, tmp_path / "a.arrow"):
        content = path.read_bytes()
        for damaged in (content[:-20], content[:50], content[:100] + content[200:]):
            path.write_bytes(damaged)
            with pytest.raises(SaganError, match=r"cannot read .*; fetch it anew") as caught:
                contents(huggingface(path, CONFIG))
            assert "\n" not in str(caught.value)


def test_without_the_library_the_way_is_named(tmp_path, monkeypatch):
    parquet.write_table(table(range(2)), tmp_path / "a.parquet")
    for name in ("pyarrow", "datasets"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SaganError, match="pip install datasets"):
        huggingface(tmp_path / "a.parquet", CONFIG)
    with pytest.raises(SaganError, match="pip install datasets"):
        hub_catalog("mnist", CONFIG)


def test_other_sources_are_of_another_kind(tmp_path):
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "a.png").write_bytes(encoded(0))
    parquet.write_table(pyarrow.table({"file_name": ["a.png"]}), tmp_path / "metadata.parquet")
    for path in (tmp_path, tmp_path / "cats", tmp_path / "cats" / "a.png"):
        assert huggingface(path, CONFIG) is None
