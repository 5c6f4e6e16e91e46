"""The door to all sources: what is opened, which part of it, with how many channels."""

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sagan
from sagan.config import DataConfig
from sagan.data import catalog_of, load_dataset, opening, portable
from sagan.data.cached import cached_packs
from sagan.data.catalog import Catalog
from sagan.data.dataset import Rows, dataset_of
from sagan.data.looking import survey_of
from sagan.data.opening import open_dataset
from sagan.data.packfile import header_size, open_pack
from sagan.data.portable import write_portable
from sagan.errors import SaganError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("SAGAN_CACHE", str(folder))
    return folder


@dataclass(frozen=True)
class Stored:
    """Reads from one array of pictures (N, H, W, C)."""

    path: Path

    def __call__(self, index, name):
        return np.load(self.path)[index]


def offered(monkeypatch, tmp_path, pictures, **fields):
    """A source called "set" that is recognised as these pictures."""
    (tmp_path / "set").mkdir(exist_ok=True)
    path = tmp_path / "set" / "pictures.npy"
    np.save(path, pictures)
    count = len(pictures)
    catalog = Catalog(
        **{
            "kind": "an array",
            "root": tmp_path / "set",
            "names": list(map(str, range(count))),
            "stamps": np.full(count, path.stat().st_mtime_ns, np.uint64),
            "read": Stored(path),
            "labels": np.arange(count) % 2,
            "class_names": ("even", "odd"),
            **fields,
        }
    )
    monkeypatch.setattr(opening, "RECOGNISERS", (lambda found, config: catalog,))
    return str(tmp_path / "set")


def coloured(count=12, size=(8, 8)):
    return np.random.default_rng(0).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def first_channel_last(images):
    return np.asarray(images[:]).transpose(0, 2, 3, 1)


def test_pictures_labels_and_origin(monkeypatch, tmp_path):
    pictures = coloured()
    source = offered(monkeypatch, tmp_path, pictures)
    data = sagan.open_dataset(Path(source))
    np.testing.assert_array_equal(first_channel_last(data.images), pictures)
    assert data.labels.tolist() == [0, 1] * 6
    assert data.class_names == ("even", "odd")
    assert data.origin is not None
    assert data.origin.catalog.kind == "an array"
    assert data.origin.pack.facts["height"].tolist() == [8] * 12
    assert data.fingerprint == dataset_of(data.images, data.labels, ("even", "odd")).fingerprint
    plain = open_dataset(source, labels="none")
    assert (plain.class_names, plain.labels.any()) == ((), False)
    assert plain.fingerprint != data.fingerprint
    assert len(cached_packs()) == 1  # labels are not packed
    config = DataConfig(source=source, resolution=4, width=16)
    assert load_dataset(config).images.shape == (12, 3, 4, 16)


@pytest.mark.parametrize(("where", "channels"), [((), 1), ((0,), 3), ((150,), 3)])
def test_channels_are_those_found(monkeypatch, tmp_path, where, channels):
    pictures = np.repeat(coloured(200)[..., :1], 3, axis=-1)
    for number in where:
        pictures[number] = (200, 30, 30)
    monkeypatch.setattr(opening, "_LOOKED_AT", 2)  # the first and the last
    source = offered(monkeypatch, tmp_path, pictures)
    data = open_dataset(source)
    assert data.images.shape == (200, channels, 8, 8)
    if channels == 3:
        np.testing.assert_array_equal(first_channel_last(data.images), pictures)
    monkeypatch.setattr(opening, "decode_one", None)  # and remembered
    assert open_dataset(source).fingerprint == data.fingerprint
    for wanted in (1, 3):
        assert open_dataset(source, channels=wanted).images.shape[1] == wanted


def test_pictures_of_several_sizes_need_a_resolution(monkeypatch, tmp_path):
    for name, size in (("a", (8, 8)), ("b", (6, 8))):
        Image.new("RGB", size, "red").save(tmp_path / f"{name}.png")

    @dataclass(frozen=True)
    class Files:
        def __call__(self, index, name):
            return tmp_path / f"{name}.png"

    source = offered(monkeypatch, tmp_path, coloured(2), names=["a", "b"], read=Files())
    with pytest.raises(SaganError, match=r"a is 8 x 8, b is 6 x 8; give a --resolution"):
        open_dataset(source)
    assert open_dataset(source, 4).images.shape == (2, 3, 4, 4)


# --- parts


def divided(monkeypatch, tmp_path, *names):
    numbers = np.arange(12) // 6
    return offered(monkeypatch, tmp_path, coloured(), splits=names, split_of=numbers)


def test_the_other_part_of_a_divided_source_is_held_out(monkeypatch, tmp_path):
    source = divided(monkeypatch, tmp_path, "train", "test")
    train, other = (open_dataset(source, part=part) for part in ("train", "held-out"))
    np.testing.assert_array_equal(first_channel_last(train.images), coloured()[:6])
    np.testing.assert_array_equal(first_channel_last(other.images), coloured()[6:])
    assert len(open_dataset(source, split="all")) == 12
    for settings in ({"split": "all"}, {"split": "test"}):
        with pytest.raises(SaganError, match=r"no held-out part; keep one .*--data\.held-out 0.1"):
            open_dataset(source, part="held-out", **settings)
    with pytest.raises(SaganError, match="no held-out part"):
        open_dataset(divided(monkeypatch, tmp_path, "a", "b"), part="held-out")


def saved(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def test_a_held_out_part_without_labels_has_no_classes(tmp_path):
    for number, name in enumerate(("train/cat/1.png", "train/dog/2.png", "val/3.png", "val/4.png")):
        saved(tmp_path / "set" / name, number)
    train, other = (open_dataset(tmp_path / "set", part=part) for part in ("train", "held-out"))
    assert (train.class_names, train.labels.tolist()) == (("cat", "dog"), [0, 1])
    assert (len(other), other.class_names) == (2, ())


def test_classes_of_the_test_part_alone_are_none_to_learn(tmp_path):
    for number, name in enumerate(
        ("train/b/1.png", "train/d/2.png", "test/a/3.png", "test/d/4.png")
    ):
        saved(tmp_path / "set" / name, number)
    train, other = (open_dataset(tmp_path / "set", part=part) for part in ("train", "held-out"))
    assert (train.class_names, train.labels.tolist()) == (("b", "d"), [0, 1])
    assert train.origin is not None
    assert train.origin.catalog.notes == ["classes without pictures in train are left out: a"]
    assert [other.class_names[label] for label in other.labels] == ["a", "d"]
    assert len(open_dataset(tmp_path / "set", split="all").class_names) == 3


def test_a_damaged_source_is_no_broken_picture(monkeypatch, tmp_path):
    @dataclass(frozen=True)
    class Damaged:
        def __call__(self, index, name):
            if index == 5:
                raise SaganError("the file is cut off; fetch it anew")
            return np.full((8, 8), index, np.uint8)

    source = offered(monkeypatch, tmp_path, coloured(), read=Damaged())
    for settings in ({"broken": 1.0}, {"broken": 1.0, "channels": 1}):
        with pytest.raises(SaganError, match=r"^the file is cut off; fetch it anew$"):
            open_dataset(source, **settings)
    assert cached_packs() == [] or cached_packs()[0].is_draft


def test_a_held_out_share_is_stable_and_keeps_equal_pictures_together(monkeypatch, tmp_path):
    pictures = coloured(1000)
    pictures[500:] = pictures[:500]

    def both(pictures, **settings):
        source = offered(monkeypatch, tmp_path, pictures)
        parts = (
            open_dataset(source, held_out=0.2, part=p, **settings) for p in ("train", "held-out")
        )
        return [(data, {picture.tobytes() for picture in data.images[:]}) for data in parts]

    (train, learned), (other, kept) = both(pictures)
    assert isinstance(other.images, Rows)
    assert len(train) + len(other) == 1000
    assert 120 < len(other) < 280
    assert not learned & kept
    for label in (0, 1):
        assert 50 < (other.labels == label).sum() < 150
    assert (
        other.fingerprint
        == dataset_of(other.images[:], other.labels, other.class_names).fingerprint
    )
    (_, fewer), (_, fewer_kept) = both(pictures[:250])
    assert fewer <= learned
    assert fewer_kept <= kept
    assert both(pictures, held_out_seed=1)[1][1] != kept


def held_out_names(source, *settings, **others):
    """The names on both sides, of frames those of their files."""
    sides = []
    for part in ("train", "held-out"):
        data = open_dataset(source, *settings, part=part, held_out=0.3, **others)
        assert data.origin is not None
        entries = data.origin.pack.entry[data.origin.rows].tolist()
        sides.append({data.origin.catalog.names[entry].partition("#")[0] for entry in entries})
    assert not sides[0] & sides[1]
    assert min(map(len, sides)) > 4
    return sides


def test_the_side_of_a_picture_is_the_same_by_all_rules_and_in_a_portable_file(tmp_path):
    for number in range(40):
        saved(tmp_path / "set" / f"{number}.png", number)
    shutil.copy(tmp_path / "set" / "0.png", tmp_path / "set" / "copy.png")
    sides = held_out_names(tmp_path / "set")
    assert any({"0.png", "copy.png"} <= side for side in sides)
    for settings in ({"channels": 1}, {"crop": "pad", "width": 16}, {"labels": "none"}):
        assert held_out_names(tmp_path / "set", 8, **settings) == sides
    for resolution in (None, 4):
        write_portable(open_dataset(tmp_path / "set", resolution), tmp_path / "set.sagan")
        for size in (4, 16):
            assert held_out_names(tmp_path / "set.sagan", size) == sides
        write_portable(open_dataset(tmp_path / "set.sagan", 2), tmp_path / "small.sagan")
        assert held_out_names(tmp_path / "small.sagan") == sides


def test_frames_of_an_animation_stay_together_in_a_portable_file(tmp_path):
    (tmp_path / "set").mkdir()
    for number in range(30):
        frames = [Image.fromarray(picture) for picture in coloured(90)[number::30]]
        path = tmp_path / "set" / f"{number}.gif"
        frames[0].save(path, save_all=True, append_images=frames[1:])
    sides = held_out_names(tmp_path / "set", 8, frame="all")
    write_portable(open_dataset(tmp_path / "set", frame="all"), tmp_path / "set.sagan")
    for size in (None, 4):
        assert held_out_names(tmp_path / "set.sagan", size) == sides


def test_a_place_is_the_same_however_it_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "avatars").mkdir()
    (tmp_path / "link").symlink_to("avatars")
    for one, other, is_same in (
        ("avatars", "avatars", True),
        ("avatars", "./avatars", False),
        ("./avatars/", str(tmp_path / "link"), True),
        ("link", "elsewhere", False),
    ):
        assert opening.is_one_place(one, other) == is_same


def test_a_share_that_leaves_nothing_is_refused(monkeypatch, tmp_path):
    source = offered(monkeypatch, tmp_path, coloured(2))
    with pytest.raises(
        SaganError, match=r"of 2 pictures, a share of 0\.001 leaves none for the part"
    ):
        open_dataset(source, held_out=0.001, part="held-out")


def test_chosen_rows_are_read_like_an_array():
    images, rows = np.arange(60, dtype=np.uint8).reshape(5, 3, 2, 2), np.array([4, 0, 3])
    chosen = Rows(images, rows)
    assert chosen.shape == (3, 3, 2, 2)
    assert len(chosen) == 3
    for index in (1, slice(0, 2), np.array([2, 2, 0]), np.array([True, False, True])):
        np.testing.assert_array_equal(chosen[index], images[rows][index])


# --- portable files


def in_memory(count):
    images = np.ascontiguousarray(coloured(count).transpose(0, 3, 1, 2))
    return dataset_of(images, np.arange(count) % 2, ("even", "odd"))


def test_a_portable_file_holds_the_same(monkeypatch, tmp_path):
    source = offered(monkeypatch, tmp_path, coloured())
    data = open_dataset(source)
    path = tmp_path / "set.sagan"
    write_portable(data, path)
    monkeypatch.setattr(opening, "RECOGNISERS", ())
    again = open_dataset(path)
    assert again.fingerprint == data.fingerprint
    np.testing.assert_array_equal(again.images, data.images)
    np.testing.assert_array_equal(again.labels, data.labels)
    assert again.class_names == data.class_names
    assert again.origin is not None
    assert list(again.origin.catalog.names) == list(map(str, range(12)))
    assert again.origin.pack.path == path
    with np.load(path) as arrays:
        np.testing.assert_array_equal(arrays["images"], data.images)
        assert arrays["class_names"].tolist() == ["even", "odd"]
        np.testing.assert_array_equal(arrays["labels"], data.labels)
    assert open_dataset(path, 4).images.shape == (12, 3, 4, 4)
    assert open_dataset(path, channels=1).images.shape == (12, 1, 8, 8)
    assert len(open_dataset(path, held_out=0.5)) < 12


def test_what_is_made_in_memory_and_what_is_chosen_can_be_carried(monkeypatch, tmp_path):
    source = offered(monkeypatch, tmp_path, coloured(100))
    for data in (in_memory(30), open_dataset(source, held_out=0.3, part="held-out")):
        write_portable(data, tmp_path / "set.sagan")
        again = open_dataset(tmp_path / "set.sagan")
        assert again.fingerprint == data.fingerprint
        np.testing.assert_array_equal(again.images, data.images[:])


def test_settings_without_effect_on_a_portable_file_are_told(tmp_path):
    path = tmp_path / "set.sagan"
    write_portable(in_memory(4), path)
    assert open_dataset(path, 8, held_out=0.1).origin.catalog.notes == []
    told = open_dataset(path, 8, crop="pad", range=(0.0, 9.0)).origin.catalog.notes
    assert told == ["the pictures are packed already, so that data.crop, data.range have no effect"]


def test_pictures_made_in_memory_are_surveyed_as_what_they_are(tmp_path):
    path = tmp_path / "set.sagan"
    write_portable(in_memory(4), path)
    config = DataConfig(source=str(path), resolution=8)
    found = survey_of(load_dataset(config), config)
    assert (found.sizes.smallest, found.sizes.largest) == ((8, 8), (8, 8))
    assert (found.modes, found.values, found.lookalikes.pictures) == ({"RGB": 4}, None, 0)


def test_a_portable_file_without_sizes_is_surveyed(tmp_path, monkeypatch):
    path = tmp_path / "set.sagan"
    monkeypatch.setattr(portable, "_describe", lambda *_: None)
    write_portable(in_memory(4), path)
    config = DataConfig(source=str(path), resolution=8)
    assert survey_of(load_dataset(config), config).sizes is None


def test_a_portable_file_knows_which_values_were_black_and_white(tmp_path):
    np.save(tmp_path / "set.npy", np.random.default_rng(0).random((4, 8, 8)))
    write_portable(open_dataset(tmp_path / "set.npy", 8), tmp_path / "set.sagan")
    config = DataConfig(source=str(tmp_path / "set.sagan"), resolution=8)
    values = survey_of(load_dataset(config), config).values
    assert (values.top, values.outside) == (1, 0)


def test_a_damaged_portable_file_is_refused(tmp_path):
    path = tmp_path / "set.sagan"
    write_portable(in_memory(30), path)
    content = path.read_bytes()
    begin = header_size((3, 8, 8))
    path.write_bytes(content[:begin] + bytes(30 * 192) + content[begin + 30 * 192 :])
    with pytest.raises(SaganError, match=r"set.sagan is damaged: its pictures are not those"):
        open_dataset(path)
    for wrong in (content[:-30], b"", b"PK", content.replace(b"digests.npy", b"digestz.npy")):
        path.write_bytes(wrong)
        with pytest.raises(SaganError, match=r"set.sagan is damaged or no packed set \("):
            open_dataset(path)


def test_labels_of_a_portable_file_are_bounded(tmp_path):
    path = tmp_path / "set.sagan"
    data = in_memory(5)
    write_portable(replace(data, labels=data.labels + 1), path)
    with pytest.raises(SaganError, match="it has a label without a class"):
        open_pack(path)


# --- faults


def test_what_is_there_is_said_where_it_cannot_be_read(monkeypatch, tmp_path):
    monkeypatch.setattr(opening, "RECOGNISERS", ())
    folder = tmp_path / "letters"
    folder.mkdir()
    with pytest.raises(SaganError, match=r"letters is an empty folder, which holds no pictures"):
        open_dataset(str(folder))
    for name in ("a.txt", "b.txt", "c.txt"):
        (folder / name).write_text("hello")
    (folder / "more").mkdir()
    with pytest.raises(SaganError, match=r"a folder with 3 \.txt files, 1 sub-folder, which"):
        open_dataset(str(folder))
    with pytest.raises(SaganError, match=r"a\.txt is a file of 5 bytes, which"):
        open_dataset(str(folder / "a.txt"))
    os.mkfifo(folder / "x.sagan")
    with pytest.raises(SaganError, match="a device or a pipe"):
        open_dataset(str(folder / "x.sagan"))
    with pytest.raises(SaganError, match=r"no folder or file avatar \(did you mean avatars\?\)"):
        load_dataset(DataConfig(source="avatar"))


def test_a_folder_that_may_not_be_read(monkeypatch, tmp_path):
    def refuse(path, config):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(opening, "RECOGNISERS", (refuse,))
    with pytest.raises(SaganError, match=r"cannot read .*: Permission denied; make it readable"):
        catalog_of(DataConfig(source=str(tmp_path)))


def test_avatars_have_every_square_size(monkeypatch):
    monkeypatch.delenv("SAGAN_CACHE")  # where their parts are kept
    data = open_dataset("avatars", 32, generated_images=10)
    assert data.images.shape == (10, 3, 32, 32)
    assert data.origin is None
    with pytest.raises(SaganError, match="avatars can be had at every resolution; give"):
        open_dataset("avatars")
    for settings in ({"width": 64}, {"channels": 1}):
        with pytest.raises(SaganError, match="avatars are coloured squares; leave"):
            open_dataset("avatars", 32, **settings)


def test_no_class_is_held_out_as_a_whole(monkeypatch, tmp_path):
    labels = np.array([0] * 18 + [1, 2])
    for seed in range(8):
        source = offered(
            monkeypatch, tmp_path, coloured(20), labels=labels, class_names=("a", "b", "c")
        )
        train = open_dataset(source, held_out=0.8, held_out_seed=seed)
        assert set(train.labels.tolist()) == {0, 1, 2}
