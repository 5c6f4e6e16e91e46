"""Folders of pictures: what is one, and which part and class it belongs to."""

import io
import os
import pickle
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sagan.config import DataConfig
from sagan.data.catalog import counted, in_split
from sagan.data.sources.folder import picture_folder
from sagan.data.sources.judging import is_picture
from sagan.data.sources.layout import layout_of
from sagan.errors import SaganError


def png(colour="red", kind="PNG", size=(8, 8)):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, kind)
    return file.getvalue()


PICTURE = png()


def fill(root, *names):
    """Writes pictures, or with a tuple (name, content) other files."""
    for entry in names:
        name, content = entry if isinstance(entry, tuple) else (entry, PICTURE)
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def catalog_of(root, **settings):
    found = picture_folder(root, DataConfig(source=str(root), **settings))
    assert found is not None
    return found


def classes(catalog):
    names = catalog.class_names or (None,)
    return {name: names[label] for name, label in zip(catalog.names, catalog.labels, strict=True)}


def parts(catalog):
    return {
        name: catalog.splits[part]
        for name, part in zip(catalog.names, catalog.split_of, strict=True)
    }


def reasons(catalog):
    return dict(catalog.passed_over)


# --- layouts


def test_a_flat_folder_has_no_classes(tmp_path):
    found = catalog_of(fill(tmp_path, "b.png", "a.jpg", "c.PNG"))
    assert (found.names, found.class_names) == (["a.jpg", "b.png", "c.PNG"], ())
    assert not found.labels.any()
    assert found.kind == "a folder"


def test_sub_folders_are_classes_in_natural_order(tmp_path):
    found = catalog_of(fill(tmp_path, "a10/1.png", "a2/1.png", "a2/deep/er/2.png", "b/3.png"))
    assert found.class_names == ("a2", "a10", "b")
    assert classes(found) == {
        "a10/1.png": "a10",
        "a2/1.png": "a2",
        "a2/deep/er/2.png": "a2",
        "b/3.png": "b",
    }
    assert found.labels.dtype == np.int64
    assert found.kind == "a folder with one folder per class"


def test_numbers_sort_by_value(tmp_path):
    fill(tmp_path, *(f"{number}/a.png" for number in range(12)))
    assert catalog_of(tmp_path).class_names == tuple(map(str, range(12)))


def test_one_class_is_one_class(tmp_path):
    assert catalog_of(fill(tmp_path, "cat/1.png")).class_names == ("cat",)


def test_without_labels_everything_at_any_depth_is_one_set(tmp_path):
    found = catalog_of(fill(tmp_path, "a/1.png", "a/b/2.png", "loose.png"), labels="none")
    assert (len(found), found.class_names, found.splits) == (3, (), ())


@pytest.mark.parametrize("outer", ["animals", "Animals/images", "export 2024", "a/b/c"])
def test_an_outer_folder_is_no_class(tmp_path, outer):
    found = catalog_of(fill(tmp_path / "animals", f"{outer}/cat/1.png", f"{outer}/dog/2.png"))
    assert found.class_names == ("cat", "dog")
    assert found.notes == [f"the pictures are in {outer}"]


@pytest.mark.parametrize("outer", ["images", "celeba", "data/IMG"])
def test_an_outer_folder_whose_name_says_nothing_holds_no_class(tmp_path, outer):
    found = catalog_of(fill(tmp_path / "celeba", f"{outer}/1.png", f"{outer}/2.png"))
    assert found.class_names == ()


@pytest.mark.parametrize(
    ("train", "val"),
    [("train", "val"), ("Training", "VALID"), ("training", "validation"), ("train2017", "val2017")],
)
@pytest.mark.parametrize("outer", ["", "pets/", "data/"])
def test_divided_folders(tmp_path, train, val, outer):
    fill(tmp_path, *(f"{outer}{train}/{kind}/1.png" for kind in ("cat", "dog")))
    fill(tmp_path, f"{outer}{val}/cat/2.png", f"{outer}{val}/dog/3.png", ("readme.txt", "x"))
    found = catalog_of(tmp_path)
    assert found.splits == ("train", "val")
    assert found.class_names == ("cat", "dog")
    assert set(parts(found).values()) == {"train", "val"}
    assert found.kind == "a folder with one folder per class, divided into train, val"
    chosen = in_split(found, "")
    assert set(chosen.names) == {f"{outer}{train}/{kind}/1.png" for kind in ("cat", "dog")}
    assert in_split(found, "val").labels.tolist() == [0, 1]
    assert len(in_split(found, "all")) == 4


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("3", "7", "20"), "label numbers run from 3 to 20: the 3 that occur are the classes"),
        (("0", "1", "3"), "label numbers run from 0 to 3: the 3 that occur are the classes"),
        (("0", "1", "2"), ""),
        (("1", "2", "3"), ""),
        (("3", "7", "cat"), ""),
    ],
)
def test_gaps_between_numbered_folders_are_told(tmp_path, names, told):
    found = catalog_of(fill(tmp_path, *(f"{name}/1.png" for name in names)))
    assert found.class_names == names
    assert " ".join(found.notes).startswith(told)
    assert bool(found.notes) == bool(told)


def test_decorated_parts_need_one_decoration(tmp_path):
    root = fill(tmp_path / "a", "seg_train/seg_train/sea/1.png", "seg_train/seg_train/ice/1.png")
    fill(root, "seg_test/seg_test/sea/2.png", "seg_test/seg_test/ice/2.png", "seg_pred/3.png")
    found = catalog_of(root)
    assert found.splits == ("train", "test", "seg_pred")
    assert found.class_names == ("ice", "sea")
    other = fill(tmp_path / "b", "bullet train/1.png", "test tube/2.png", "valley/3.png")
    assert catalog_of(other).class_names == ("bullet train", "test tube", "valley")


@pytest.mark.parametrize(
    "names",
    [
        ("trainers", "testers", "boots"),
        ("strain", "stest", "wool"),
        ("TRAINERS", "TESTERS", "BOOTS"),
    ],
)
def test_a_part_is_a_word_of_its_own(tmp_path, names):
    found = catalog_of(fill(tmp_path, *(f"{name}/1.png" for name in names)))
    assert (found.splits, sorted(found.class_names)) == ((), sorted(names))


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train-images", "test-images"),
        ("trainA", "testA"),
        ("myTrain", "myTest"),
        ("X TRAIN", "X TEST"),
    ],
)
def test_decorated_parts_of_every_spelling(tmp_path, train, test):
    found = catalog_of(fill(tmp_path, f"{train}/a/1.png", f"{train}/b/1.png", f"{test}/a/2.png"))
    assert (found.splits, found.class_names) == (("train", "test"), ("a", "b"))


def test_a_class_may_be_called_train(tmp_path):
    found = catalog_of(fill(tmp_path, "bus/1.png", "car/2.png", "train/3.png"))
    assert (found.class_names, found.splits) == (("bus", "car", "train"), ())


def test_other_folders_beside_the_parts_are_parts_of_their_own(tmp_path):
    root = fill(tmp_path, "train/a/1.png", "train/b/1.png", "test/a/2.png", "extra/3.png", "x.png")
    found = catalog_of(root)
    assert found.splits == ("train", "test", "extra")
    assert reasons(found)["x.png"] == "outside the parts train, test, extra"


def test_a_part_alone(tmp_path):
    found = catalog_of(fill(tmp_path, "test/cat/1.png", "test/dog/1.png"))
    assert (found.splits, found.class_names) == (("test",), ("cat", "dog"))
    assert len(in_split(found, "")) == 2


def test_classes_that_are_divided_themselves(tmp_path):
    names = [f"{kind}/{part}/1.png" for kind in ("cat", "dog") for part in ("train", "test")]
    found = catalog_of(fill(tmp_path, *names))
    assert (found.splits, found.class_names) == (("train", "test"), ("cat", "dog"))
    assert in_split(found, "").names == ["cat/train/1.png", "dog/train/1.png"]


def test_without_labels_the_parts_stay_apart(tmp_path):
    found = catalog_of(fill(tmp_path, "train/a/1.png", "train/b/1.png", "val/2.png"), labels="none")
    assert (found.splits, found.class_names) == (("train", "val"), ())
    assert len(in_split(found, "")) == 2


@pytest.mark.parametrize("apart", ["val/2.png", "val/unknown/2.png", "val/images/2.png"])
def test_a_part_without_the_classes_of_train(tmp_path, apart):
    fill(tmp_path, "train/cat/1.png", "train/dog/1.png", apart)
    assert catalog_of(tmp_path).class_names == ("cat", "dog")
    assert in_split(catalog_of(tmp_path), "").labels.tolist() == [0, 1]
    assert in_split(catalog_of(tmp_path, split="val"), "val").names == [apart]
    if apart == "val/2.png":
        assert catalog_of(tmp_path, split="val").class_names == ()
        everything = catalog_of(tmp_path, split="all")
        assert classes(everything) == {"train/cat/1.png": "cat", "train/dog/1.png": "dog"}
        assert reasons(everything) == {apart: "val has no classes"}


# --- ImageNet and Tiny ImageNet as they are distributed


def test_imagenet(tmp_path):
    base = "ILSVRC/Data/CLS-LOC"
    root = fill(tmp_path, *(f"{base}/train/{i}/{i}_1.JPEG" for i in ("n01440764", "n03126707")))
    fill(root, f"{base}/train/n02012849/x.JPEG", f"{base}/test/ILSVRC2012_test_1.JPEG")
    fill(root, f"{base}/val/ILSVRC2012_val_00000001.JPEG", f"{base}/val/other.JPEG")
    fill(root, ("ILSVRC/Annotations/CLS-LOC/train/n01440764/1.xml", "<xml/>"))
    words = "n01440764 tench, Tinca tinca\nn02012849 crane\nn03126707 crane\n"
    fill(root, ("LOC_synset_mapping.txt", words))
    solution = "ImageId,PredictionString\nILSVRC2012_val_00000001,n02012849 1 2 3 4 n02012849 1 \n"
    fill(root, ("LOC_val_solution.csv", solution), ("LOC_train_solution.csv", "a,b,c\n"))
    found = catalog_of(root)
    assert found.splits == ("train", "val", "test")
    assert found.class_names == ("tench", "crane (n02012849)", "crane (n03126707)")
    assert in_split(found, "").labels.tolist() == [0, 1, 2]
    val = in_split(catalog_of(root, split="val"), "val")
    assert classes(val) == {f"{base}/val/ILSVRC2012_val_00000001.JPEG": "crane (n02012849)"}
    assert val.class_names == found.class_names
    assert reasons(found)[f"{base}/val/other.JPEG"] == "without a label in LOC_val_solution.csv"


def test_imagenet_without_lists(tmp_path):
    root = fill(tmp_path, "train/n01440764/1.JPEG", "train/n03126707/2.JPEG", "val/3.JPEG")
    assert catalog_of(root).class_names == ("n01440764", "n03126707")


def test_tiny_imagenet(tmp_path):
    root = tmp_path / "tiny-imagenet-200"
    for identity in ("n02124075", "n01443537"):
        fill(root, f"train/{identity}/images/{identity}_0.JPEG")
        fill(root, (f"train/{identity}/{identity}_boxes.txt", f"{identity}_0.JPEG\t0\t0\t62\t62\n"))
    fill(root, "val/images/val_0.JPEG", "val/images/val_1.JPEG", "test/images/test_0.JPEG")
    annotations = "val_0.JPEG\tn02124075\t0\t32\t44\t62\nval_1.JPEG\tn01443537\t52\t55\t57\t59\n"
    fill(root, ("val/val_annotations.txt", annotations), ("wnids.txt", "n02124075\nn01443537\n"))
    fill(root, ("words.txt", "n00001740\tentity\nn01443537\tgoldfish, fish\nn02124075\tcat\n"))
    found = catalog_of(root)
    assert found.splits == ("train", "val", "test")
    assert found.class_names == ("goldfish", "cat")
    assert in_split(found, "").labels.tolist() == [0, 1]
    assert classes(in_split(catalog_of(root, split="val"), "val")) == {
        "val/images/val_0.JPEG": "cat",
        "val/images/val_1.JPEG": "goldfish",
    }
    assert len(in_split(catalog_of(root, split="test"), "test")) == 1
    assert catalog_of(root, split="test").class_names == ()


# --- what is a picture


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.avif", "AVIF"),
        ("a.jfif", "JPEG"),
        ("a.jpe", "JPEG"),
        ("a.jp2", "JPEG2000"),
        ("a.ppm", "PPM"),
        ("a.tga", "TGA"),
        ("a", "PNG"),
        ("photo 1.2.2024 at noon", "WEBP"),
        ("a.txt", "JPEG"),
        ("a.dat", "GIF"),
        ("a.dat", "BMP"),
        ("a.dat", "TIFF"),
        ("a.dat", "AVIF"),
        ("a.dat", "JPEG2000"),
        ("a.dat", "PPM"),
    ],
)
def test_what_pillow_reads_is_a_picture_whatever_its_name(tmp_path, name, kind):
    assert catalog_of(fill(tmp_path, (name, png(kind=kind)))).names == [name]


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"BM is no bitmap, and is a text", b"P5000 pounds", b"%PDF-1.4"]
)
def test_other_files_are_told_from_pictures(content):
    assert not is_picture(content)


def test_other_files_are_counted_by_suffix(tmp_path):
    root = fill(tmp_path, "a/1.png", "a/2.png", ("a/b.txt", "x"), ("c.TXT", "y"), ("LICENSE", "z"))
    found = catalog_of(root)
    assert counted(found.passed_over) == [
        ("no picture (.txt)", 2, "a/b.txt"),
        ("no picture (no suffix)", 1, "LICENSE"),
    ]


def test_a_folder_of_a_thousand_other_files_is_one_line(tmp_path, monkeypatch):
    fill(tmp_path, "pictures/1.png", *((f"boxes/deep/{i}.xml", "<xml/>") for i in range(1200)))
    opened = []
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda *args: opened.append(args[0]) or real(*args))
    assert catalog_of(tmp_path).passed_over == [("boxes", "a folder of 1,200 files and no picture")]
    assert len(opened) == 1000


def test_what_systems_leave_behind_is_no_class(tmp_path):
    fill(tmp_path, "cat/1.png", "cat/._1.png", "__MACOSX/cat/._1.png", "cat/@eaDir/1.png/t.jpg")
    fill(tmp_path, ".git/x.png", "lost+found/x.png", ("cat/Thumbs.db", "x"), ("desktop.ini", "x"))
    (tmp_path / "empty" / "er").mkdir(parents=True)
    found = catalog_of(tmp_path)
    assert classes(found) == {"cat/1.png": "cat"}
    assert reasons(found) == {
        "cat/._1.png": "hidden",
        ".git": "hidden",
        "__MACOSX": "left by an operating system",
        "cat/@eaDir": "left by an operating system",
        "lost+found": "left by an operating system",
        "cat/Thumbs.db": "left by an operating system",
        "desktop.ini": "left by an operating system",
        "empty/er": "an empty folder",
    }


def test_links_pipes_and_what_cannot_be_read(tmp_path, monkeypatch):
    root = fill(tmp_path / "root", "a/1.png", "z/2.png", "locked/3.png")
    outside = fill(tmp_path / "outside", "5.png", "deep/6.png")
    (root / "linked").symlink_to(outside, target_is_directory=True)
    (root / "again").symlink_to(root / "z", target_is_directory=True)
    (root / "a" / "up").symlink_to(root, target_is_directory=True)
    (root / "a" / "top").symlink_to("/", target_is_directory=True)
    (outside / "back").symlink_to(outside, target_is_directory=True)
    (root / "a" / "dead.png").symlink_to(tmp_path / "nowhere.png")
    (root / "a" / "self.png").symlink_to(root / "a" / "self.png")
    (root / "a" / "link.png").symlink_to(root / "z" / "2.png")
    os.mkfifo(root / "a" / "pipe.png")
    (root / "a" / "device.png").symlink_to("/dev/zero")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = catalog_of(root)
    assert classes(found) == {
        "a/1.png": "a",
        "a/link.png": "a",
        "linked/5.png": "linked",
        "linked/deep/6.png": "linked",
        "z/2.png": "z",
    }
    assert reasons(found) == {
        "again": "a link to a folder that was read already",
        "a/up": "a link that leads back up",
        "a/top": "a link that leads back up",
        "linked/back": "a link to a folder that was read already",
        "a/dead.png": "a dead link",
        "a/self.png": "a dead link",
        "a/pipe.png": "a pipe",
        "a/device.png": "a device",
        "locked": "a folder that cannot be read (Permission denied)",
    }


def test_one_name_typed_in_two_ways_is_one_class(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    found = catalog_of(fill(tmp_path, f"{composed}/1.png", f"{decomposed}/2.png", "x/3.png"))
    assert found.class_names == (composed, "x")
    assert sorted(found.labels.tolist()) == [0, 0, 1]


def test_the_reader_gives_files_also_after_a_choice(tmp_path):
    found = in_split(catalog_of(fill(tmp_path, "test/1.png", "train/2.png", ("x.txt", ""))), "")
    read = pickle.loads(pickle.dumps(found.read))
    assert read(0, found.names[0]) == tmp_path / "train/2.png"


def test_stamps_tell_a_change(tmp_path):
    first = catalog_of(fill(tmp_path, "1.png", "2.png")).stamps
    fill(tmp_path, ("2.png", png("blue")))
    second = catalog_of(tmp_path).stamps
    assert (first == second).tolist() == [True, False]


# --- refusals


def test_sub_folders_beside_loose_pictures(tmp_path):
    fill(tmp_path, "cats/a.png", "stray.png")
    with pytest.raises(
        SaganError,
        match=r"sub-folders \(cats\) and loose pictures \(stray\.png\); .*--data\.labels none",
    ):
        catalog_of(tmp_path)


def test_a_part_that_is_not_taken_may_be_mixed(tmp_path):
    fill(tmp_path, "train/a/1.png", "train/b/1.png", "test/a/1.png", "test/2.png")
    assert in_split(catalog_of(tmp_path), "").class_names == ("a", "b")
    with pytest.raises(SaganError, match=r"test holds both sub-folders \(a\) and .*\(2\.png\)"):
        catalog_of(tmp_path, split="test")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], r"no pictures in .*; nothing else was found either; give a place"),
        ([("a.txt", "x"), ("b/c.txt", "x")], r"found were 2 other files \(2 of \.txt\), such as a"),
        ([("cats.zip", "x")], r"1 of \.zip.*; name the archive itself: .*cats\.zip"),
        ([".hidden.png"], r"passed over: \.hidden\.png \(hidden\)"),
    ],
)
def test_a_folder_without_pictures_says_what_is_there(tmp_path, names, message):
    with pytest.raises(SaganError, match=message):
        catalog_of(fill(tmp_path, *names))


def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(SaganError, match=r"cannot read .*: Permission denied; make it readable"):
        catalog_of(tmp_path)


def test_a_file_is_no_folder(tmp_path):
    fill(tmp_path, "a.png")
    assert picture_folder(tmp_path / "a.png", DataConfig()) is None


def test_outer_folders_are_told_for_lists():
    layout = layout_of(["x/data/train/a", "x/data/train/b", "x/data/val/images"], "root")
    assert layout.outer == ["", "x", "x/data", "x/data/train", "x/data/val", "x/data/val/images"]
