"""Archives of pictures: as in a folder, and nothing that one says is believed."""

import io
import json
import os
import pickle
import struct
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest
from test_data_folders import PICTURE, catalog_of, classes, fill, parts, png, reasons

from sagan.config import DataConfig
from sagan.data.catalog import in_split
from sagan.data.sources import members
from sagan.data.sources.archive import picture_archive, picture_shards
from sagan.errors import SaganError

SUFFIXES = ("zip", "stored.zip", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz")


def packed(folder, suffix):
    """Packs all files of a folder, in an order that is not sorted."""
    archive = folder.with_name(f"{folder.name}.{suffix}")
    files = sorted((path for path in folder.rglob("*") if path.is_file()), reverse=True)
    names = [path.relative_to(folder).as_posix() for path in files]
    if suffix.endswith("zip"):
        method = zipfile.ZIP_STORED if suffix.startswith("stored") else zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(archive, "w", method) as file:
            for path, name in zip(files, names, strict=True):
                file.write(path, name)
        return archive
    mode = {"gz": "w:gz", "gz ": "w:gz", "bz2": "w:bz2", "xz": "w:xz"}.get(
        suffix[-3:].strip("."), "w"
    )
    with tarfile.open(archive, "w:gz" if suffix == "tgz" else mode) as file:
        for path, name in zip(files, names, strict=True):
            file.add(path, f"./{name}")
    return archive


def opened(path, **settings):
    found = picture_archive(path, DataConfig(source=str(path), **settings))
    assert found is not None
    return found


def shards(path, **settings):
    found = picture_shards(path, DataConfig(source=str(path), **settings))
    assert found is not None
    return found


LAYOUTS = {
    "flat": ["1.png", "2.png"],
    "classes": ["b/1.png", "a/2.png", "a/deep/3.png", ("a/notes.txt", "x")],
    "wrapped": ["pets/cat/1.png", "pets/dog/2.png", "__MACOSX/x.png", "pets/.DS_Store"],
    "divided": ["x/train/a/1.png", "x/train/b/2.png", "x/val/a/3.png", "x/val/b/4.png"],
    "listed": ["1.png", "2.png", ("labels.csv", "file,label\n1.png,b\n2.png,a\n")],
    "named oddly": ["ж/猫 é.png", ("b/no suffix", PICTURE)],
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_archive_is_read_as_the_folder(tmp_path, layout, suffix):
    folder = fill(tmp_path / "set", *LAYOUTS[layout])
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        path.write_bytes(png((number, 0, 0)))
    expected, found = catalog_of(folder), opened(packed(folder, suffix))
    assert classes(found) == classes(expected)
    assert found.class_names == expected.class_names
    assert found.splits == expected.splits
    if expected.splits:
        assert parts(found) == parts(expected)
    if suffix in ("zip", "stored.zip", "tar"):
        assert found.names == expected.names
    assert sum("no picture" in reason for _, reason in found.passed_over) == sum(
        "no picture" in reason for _, reason in expected.passed_over
    )
    read = pickle.loads(pickle.dumps(found.read))
    for index, name in enumerate(found.names):
        assert read(index, name) == (folder / name).read_bytes()
    for index in reversed(range(len(found))):  # against the order of a compressed tar
        assert found.read(index, found.names[index]) == (folder / found.names[index]).read_bytes()


def test_an_archive_around_a_folder_of_its_name(tmp_path):
    folder = fill(tmp_path / "holiday", "holiday/1.png", "holiday/2.png")
    assert opened(packed(folder, "tar.gz")).class_names == ()


def test_kinds_are_told(tmp_path):
    folder = fill(tmp_path / "set", "a/1.png", "b/2.png")
    assert opened(packed(folder, "zip")).kind == "a zip archive with one folder per class"
    kind = opened(packed(folder, "tar.gz")).kind
    assert kind == "a tar archive compressed by gzip with one folder per class"


def test_a_chosen_part_is_read(tmp_path):
    folder = fill(tmp_path / "set", ("test/1.png", png("blue")), "train/2.png", ("a.txt", ""))
    found = in_split(opened(packed(folder, "zip")), "test")
    assert found.read(0, found.names[0]) == png("blue")


def test_stamps_follow_the_content(tmp_path):
    folder = fill(tmp_path / "set", "1.png", "2.png")
    first = opened(packed(folder, "zip")).stamps
    fill(folder, ("2.png", png("blue")), "3.png")
    second = opened(packed(folder, "zip")).stamps
    assert (first == second[:2]).tolist() == [True, False]
    first = opened(packed(folder, "tar")).stamps
    os.utime(folder.with_name("set.tar"), ns=(1, 1))
    assert (first != opened(folder.with_name("set.tar")).stamps).all()


def test_processes_that_were_forked_do_not_share_a_place_in_the_file(tmp_path):
    folder = fill(tmp_path / "set", *(f"{number}.png" for number in range(9)))
    found = opened(packed(folder, "tar"))
    found.read(0, found.names[0])
    mine = members._opened_here(str(tmp_path / "set.tar"), "tar", os.getpid())
    assert members._opened_here(str(tmp_path / "set.tar"), "tar", os.getpid() + 1) is not mine


# --- what is no archive of pictures


def test_other_files_are_of_another_kind(tmp_path):
    fill(tmp_path, "a.png", ("a.txt", "x"), ("empty", ""))
    np.savez(tmp_path / "set.npz", images=np.zeros(3))
    import gzip

    (tmp_path / "idx.gz").write_bytes(gzip.compress(b"\0\0\x08\x03" + bytes(1000)))
    for name in ("a.png", "a.txt", "empty", "set.npz", "idx.gz", "."):
        assert picture_archive(tmp_path / name, DataConfig()) is None


def test_an_archive_without_pictures_says_what_is_there(tmp_path):
    folder = fill(tmp_path / "set", ("a.txt", "x"))
    with pytest.raises(SaganError, match=r"no pictures in .*set\.zip; found were 1 other files"):
        opened(packed(folder, "zip"))


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
        (b"Rar!\x1a\x07\x01\0", "RAR"),
        (b"\x28\xb5\x2f\xfd", "Zstandard"),
    ],
)
def test_archives_that_cannot_be_read(tmp_path, head, kind):
    fill(tmp_path, ("set.tar.zst", head + bytes(600)))
    with pytest.raises(SaganError, match=rf"is a {kind} archive; unpack it, or pack it as \.zip"):
        opened(tmp_path / "set.tar.zst")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_an_archive_that_is_cut_off(tmp_path, suffix, share):
    rng = np.random.default_rng(0)
    folder = fill(tmp_path / "set", *((f"{i}.png", rng.bytes(4000)) for i in range(5)))
    path = packed(folder, suffix)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(SaganError, match=r"damaged or cut off: .*\); fetch it anew"):
        opened(path)


@pytest.mark.parametrize("suffix", ["zip", "stored.zip"])
def test_a_damaged_member_is_told_when_it_is_read(tmp_path, suffix):
    folder = fill(tmp_path / "set", ("1.png", bytes(range(256)) * 20), "2.png")
    path = packed(folder, suffix)
    content = bytearray(path.read_bytes())
    place = content.index(b"1.png") + (20 if suffix == "zip" else 600)
    content[place] ^= 255
    path.write_bytes(content)
    found = opened(path)
    with pytest.raises(OSError, match="damaged in the archive"):
        found.read(0, "1.png")
    assert found.read(1, "2.png") == PICTURE


# --- attacks


def hostile_tar(path, mode="w"):
    with tarfile.open(path, mode) as file:

        def add(name, content=PICTURE, **fields):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in fields.items():
                setattr(info, key, value)
            file.addfile(info, io.BytesIO(content) if info.isreg() else None)

        add("good/1.png")
        add("../outside.png")
        add("good/../../outside.png")
        add("/tmp/absolute.png")
        add("good/link.png", type=tarfile.SYMTYPE, linkname="/etc/passwd", size=0)
        add("good/hard.png", type=tarfile.LNKTYPE, linkname="good/1.png", size=0)
        add("good/pipe.png", type=tarfile.FIFOTYPE, size=0)
        add("good/zero.png", type=tarfile.CHRTYPE, size=0, devmajor=1, devminor=5)
        add("good/1.png", png("blue"))
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_what_leads_out_of_a_tar_is_passed_over(tmp_path, mode):
    inside = tmp_path / "inside"
    inside.mkdir()
    found = opened(hostile_tar(inside / "set.tar", mode))
    assert found.names == ["good/1.png"]
    assert found.read(0, "good/1.png") == png("blue")
    leads_out, link = "a path that leads out of the archive", "a link or a device in an archive"
    assert reasons(found) == {
        "../outside.png": leads_out,
        "good/../../outside.png": leads_out,
        "/tmp/absolute.png": leads_out,
        "good/link.png": link,
        "good/hard.png": link,
        "good/pipe.png": link,
        "good/zero.png": link,
        "good/1.png": "comes twice in the archive; the last one counts",
    }
    assert [path.name for path in tmp_path.rglob("*")] == ["inside", "set.tar"]


def test_what_leads_out_of_a_zip_is_passed_over(tmp_path):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name in ("good\\1.png", "../a.png", "/b.png", "C:\\c.png", "a\\..\\..\\d.png"):
            file.writestr(name, PICTURE)
        link = zipfile.ZipInfo("good/link.png")
        link.external_attr = 0o120777 << 16
        file.writestr(link, "/etc/passwd")
        file.mkdir("empty")
    found = opened(path)
    assert (found.names, found.class_names) == (["good/1.png"], ("good",))
    assert len(found.passed_over) == 5
    assert found.read(0, "good/1.png") == PICTURE
    assert [file.name for file in tmp_path.iterdir()] == ["set.zip"]


def test_enormous_members_take_no_memory(tmp_path):
    zeros = bytes(2**25)
    with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("1.png", PICTURE)
        file.writestr("bomb.png", zeros)
    with tarfile.open(tmp_path / "set.tar", "w") as file:
        info = tarfile.TarInfo("1.png")
        info.size = len(PICTURE)
        file.addfile(info, io.BytesIO(PICTURE))
    large = tarfile.TarInfo("bomb.png")
    large.size = 2**40
    content = (tmp_path / "set.tar").read_bytes()
    (tmp_path / "set.tar").write_bytes(content[:1024] + large.tobuf() + bytes(1024))
    del zeros
    tracemalloc.start()
    found = opened(tmp_path / "set.zip")
    assert (found.names, reasons(found)) == (
        ["1.png"],
        {"bomb.png": "too large to be a picture in an archive"},
    )
    with pytest.raises(SaganError, match="damaged or cut off"):
        opened(tmp_path / "set.tar")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**21


def test_a_zip_that_lies_about_a_size(tmp_path):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("1.png", bytes(2**24))
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\1\2")
    content[place + 24 : place + 28] = struct.pack("<I", 100)  # 100 bytes, says the list
    path.write_bytes(content)
    found = opened(path)
    tracemalloc.start()
    with pytest.raises(OSError, match="checksum"):
        found.read(0, "1.png")
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_an_enormous_header_in_a_small_tar(tmp_path):
    long = tarfile.TarInfo("././@LongLink")
    long.type = tarfile.GNUTYPE_LONGNAME
    long.size = 2**28
    tracemalloc.start()
    with tarfile.open(tmp_path / "set.tar.gz", "w:gz") as file:
        assert file.fileobj is not None
        file.fileobj.write(long.tobuf())
        for _ in range(64):
            file.fileobj.write(bytes(2**20))
    with pytest.raises(SaganError, match="a header of it is enormous"):
        opened(tmp_path / "set.tar.gz")
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.XHDTYPE])
@pytest.mark.parametrize("size", [b"-0000001000\0", b"\xff" * 11 + b"\0"])
def test_a_tar_that_leads_back_ends(tmp_path, kind, size):
    info = tarfile.TarInfo("1.png")
    info.type = kind
    header = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = size
    header[148:156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 8 * ord(" "))
    fill(tmp_path, ("set.tar", bytes(header) + bytes(2048)))
    with pytest.raises(SaganError, match=r"damaged or cut off: .*(negative|enormous|header)"):
        opened(tmp_path / "set.tar")


@pytest.mark.parametrize("layout", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_tars_of_every_dialect(tmp_path, layout):
    names = [f"{'long name ' * 9}/{'and longer ' * 6}{number}.png" for number in range(3)]
    if layout != tarfile.USTAR_FORMAT:
        names += [f"ж{'even longer ' * 20}.png", f"{'d' * 90}/{'e' * 90}.png"]
    with tarfile.open(tmp_path / "set.tar", "w", format=layout) as file:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = 1000 * number, 0.5
            file.addfile(info, io.BytesIO(bytes([number]) * info.size))
    found = opened(tmp_path / "set.tar", labels="none")
    assert sorted(found.names) == sorted(names)
    for index, name in enumerate(found.names):
        number = names.index(name)
        assert found.read(index, name) == bytes([number]) * 1000 * number


def test_a_tar_that_grows_without_measure(tmp_path, monkeypatch):
    monkeypatch.setattr(members, "_ALWAYS_FINE", 2**20)
    fill(tmp_path / "set", ("1.png", bytes(2**22)))
    with pytest.raises(SaganError, match="would unpack to more than 200 times its size; unpack it"):
        opened(packed(tmp_path / "set", "tar.gz"))


@pytest.mark.parametrize(
    ("offset", "value"), [(42, struct.pack("<I", 2**31)), (20, struct.pack("<I", 2**31))]
)
def test_a_zip_that_points_beyond_its_end(tmp_path, offset, value):
    path = packed(fill(tmp_path / "set", "1.png"), "zip")
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\1\2") + offset
    content[place : place + 4] = value
    path.write_bytes(content)
    with pytest.raises(SaganError, match=r"damaged or cut off: .*beyond its end"):
        opened(path)


def test_a_zip_with_a_file_without_a_name(tmp_path):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x", PICTURE)
        file.writestr("1.png", PICTURE)
    path.write_bytes(path.read_bytes().replace(b"x", b"\0"))
    assert opened(path).names == ["1.png"]


def test_an_encrypted_zip(tmp_path):
    path = packed(fill(tmp_path / "set", "1.png"), "zip")
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(SaganError, match=r"is encrypted; unpack it, or pack it without a password"):
        opened(path)


# --- WebDataset


def shard(path, samples, mode="w"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as file:
        for name, content in samples.items():
            data = content if isinstance(content, bytes) else content.encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_shard_with_classes(tmp_path, mode):
    samples = {"000.jpg": PICTURE, "000.cls": "10", "001.seg.png": PICTURE, "001.cls": "2\n"}
    found = opened(shard(tmp_path / "set.tar", samples, mode))
    assert classes(found) == {"000.jpg": "10", "001.seg.png": "2"}
    assert found.class_names == ("2", "10")
    assert found.kind.endswith("with classes from the .cls file of each picture")
    assert found.passed_over == []
    assert opened(tmp_path / "set.tar", labels="none").class_names == ()


def test_a_shard_with_json_or_text(tmp_path):
    samples = {}
    for number, name in enumerate("abca"):
        samples[f"{number}.png"] = PICTURE
        samples[f"{number}.json"] = json.dumps({"label": name, "kind": number % 2, "more": {}})
        samples[f"{number}.txt"] = f"photo {number % 3}"
    path = shard(tmp_path / "set.tar", samples)
    assert opened(path).labels.tolist() == [0, 1, 2, 0]
    assert opened(path, label="kind").class_names == ("0", "1")
    assert opened(path, label="txt").class_names == ("photo 0", "photo 1", "photo 2")
    with pytest.raises(SaganError, match=r"no whole number or text 'more'; they have label, kind"):
        opened(path, label="more")


def test_a_folder_of_shards(tmp_path):
    for part, count in (("train", 2), ("val", 1)):
        for number in range(count):
            samples = {"0.jpg": png("blue"), "0.cls": "a", "1.jpg": PICTURE, "1.cls": "b"}
            shard(tmp_path / f"{part}-{number:06d}.tar", samples)
    found = shards(tmp_path)
    assert found.splits == ("train", "val")
    assert found.class_names == ("a", "b")
    train = in_split(found, "")
    assert train.labels.tolist() == [0, 1, 0, 1]
    assert train.names[2:] == ["train/train-000001.tar:0.jpg", "train/train-000001.tar:1.jpg"]
    assert [train.read(i, name) for i, name in enumerate(train.names)] == [png("blue"), PICTURE] * 2


def test_a_folder_of_shards_without_labels(tmp_path):
    for number in range(2):
        shard(tmp_path / "deep" / f"{number}.tar.gz", {"0.jpg": PICTURE, "1.jpg": PICTURE}, "w:gz")
    found = shards(tmp_path / "deep")
    assert (len(found), found.class_names, found.splits) == (4, (), ())
    (tmp_path / "deep" / "2.tar").write_bytes(b"no archive")
    assert reasons(shards(tmp_path / "deep"))["2.tar"] == "no tar archive"


def test_shards_with_folders_inside(tmp_path):
    for number in range(2):
        shard(tmp_path / f"set_{number}-of-2.tar", {"cat/0.jpg": PICTURE, "dog/0.jpg": PICTURE})
    assert shards(tmp_path).class_names == ("cat", "dog")
    assert shards(tmp_path).names[0] == "cat/set_0-of-2.tar:0.jpg"


@pytest.mark.parametrize("names", [("cat", "dog"), ("n01440764", "n01443537")])
def test_an_archive_for_each_class(tmp_path, names):
    for name in names:
        shard(tmp_path / f"{name}.tar", {"0.jpg": PICTURE, "1.jpg": PICTURE})
    assert shards(tmp_path).class_names == names


def test_shards_in_folders_of_their_parts(tmp_path):
    for part in ("train", "validation"):
        shard(tmp_path / part / "0.tar", {"0.jpg": PICTURE, "0.cls": "a"})
    assert shards(tmp_path).splits == ("train", "val")


def test_a_folder_of_pictures_is_no_folder_of_shards(tmp_path):
    packed(fill(tmp_path / "set", "1.png"), "tar")
    assert picture_shards(tmp_path / "set", DataConfig()) is None
    assert picture_shards(tmp_path, DataConfig()) is None  # a folder of pictures beside it
    assert picture_shards(tmp_path / "set.tar", DataConfig()) is None
