"""The commands data and pack, and what training says and asks of its pictures."""

import json
import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from test_cli import TINY, mistake, printed_config, run, size

import sagan
from sagan.config.presets import PRESETS, Intended, Preset, preset
from sagan.data import load_dataset, opening
from sagan.errors import SaganError
from sagan.images.contact import contact_sheet
from sagan.training.preparation import require_intended

SETTINGS = {
    "data": {"resolution": 32},
    "generator": {"base_channels": 8, "latent_dim": 16, "attention": [16]},
    "discriminator": {"base_channels": 8, "attention": [16]},
    "train": {"steps": 1, "batch_size": 4, "precision": "float32", "ema_decay": 0.5},
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SAGAN_CACHE", str(tmp_path / "cache"))


def looked(capsys, *arguments):
    assert run("data", *arguments) == 0
    return capsys.readouterr().out


def rows(table):
    return {line[:14].strip(): line[14:] for line in table.splitlines()}


def test_the_table(capsys, picture_folder):
    found = rows(looked(capsys, picture_folder))
    assert found["pictures"].startswith("16 in 2 classes")
    assert found["classes"] == "2: dark 8, light 8"
    assert found["sizes"] == "all 32 x 32"
    assert found["rule"] == "centre square, kept at 32 x 32, colour"
    assert found["enlarged"] == "none"


def test_without_a_size_the_pictures_are_those_of_training(capsys, tmp_path):
    for number in range(16):
        pixels = np.random.default_rng(number).integers(0, 256, (80, 70, 3), dtype=np.uint8)
        path = tmp_path / "large" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
    assert run("data", tmp_path / "large") == 0
    looked_at = capsys.readouterr()
    assert "most of these reach 64: add --data.resolution 64 here and there" in looked_at.err
    rule = rows(looked_at.out)["rule"]
    assert rule == "centre square, reduced to 32 x 32, colour"
    trained = ["train", tmp_path / "large", "--run", tmp_path / "run", "--train.steps", 1]
    small = ["--train.batch-size", 16, "--generator.base-channels", 8]
    assert run(*trained, *small, "--discriminator.base-channels", 8) == 0
    assert f"rule: {rule}" in capsys.readouterr().err
    assert run("data", tmp_path / "large", "--data.resolution", 48) == 0
    assert "note: " not in capsys.readouterr().err
    packed, again = tmp_path / "packed.sagan", tmp_path / "again.sagan"
    assert run("pack", tmp_path / "large", "-o", packed) == 0
    assert "most of these reach 64" in capsys.readouterr().err
    assert run("data", packed) == 0  # it has 32 pixels now, whatever they came from
    assert "reach" not in capsys.readouterr().err
    assert run("pack", packed, "-o", again, "--data.resolution", 64) == 0
    assert "16 of 16 pictures are smaller than wanted" in capsys.readouterr().err


def test_a_size_that_no_network_has_is_refused_before_packing(capsys, picture_folder):
    for command in (["data"], ["pack"]):
        line = mistake(capsys, *command, picture_folder, "--data.resolution", 33)
        assert "no network has pictures of 33 x 33" in line
    assert "nothing is packed" in looked(capsys, "--cache")


def test_a_list_that_names_few_of_the_pictures_is_told(capsys, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(40):
        Image.new("RGB", (32, 32), (number, 0, 0)).save(folder / f"{number}.png")
    (folder / "labels.csv").write_text("file,label\n" + "".join(f"{n}.png,a\n" for n in range(8)))
    note = "note: 32 of 40 pictures are left out: without a label in labels.csv"
    assert note in looked(capsys, folder)
    assert "are left out" not in looked(capsys, folder / "labels.csv")


def test_a_place_that_is_not_there_is_no_preset(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in ("./nopics", "~/nopics", str(tmp_path / "nopics"), "nopics.zip", "no/pics"):
        line = mistake(capsys, "train", place, "--run", tmp_path / "run")
        assert f"there is no folder or file {place}" in line
    line = mistake(capsys, "train", "nopics", "--run", tmp_path / "run")
    assert "there is no preset or path 'nopics'" in line


def test_celeba_with_its_partition_is_what_its_preset_is_for(tmp_path, monkeypatch):
    intended = replace(PRESETS["celeba64"], data=Intended("CelebA", 20, 0))
    monkeypatch.setitem(PRESETS, "celeba64", intended)
    names = [f"{number:06d}.jpg" for number in range(1, 21)]
    (tmp_path / "img_align_celeba").mkdir()
    for number, name in enumerate(names):
        Image.new("RGB", (178, 218), (number, 0, 0)).save(tmp_path / "img_align_celeba" / name)
    lines = [f"{name} {max(0, number - 17)}\n" for number, name in enumerate(names)]
    (tmp_path / "list_eval_partition.txt").write_text("".join(lines))
    config = replace(preset("celeba64").data, source=str(tmp_path))
    require_intended("celeba64", config)
    assert len(load_dataset(config)) == 20
    with pytest.raises(SaganError, match="celeba64 is for CelebA, 20 pictures, and"):
        require_intended("celeba64", replace(config, split="val"))


def test_the_source_may_be_a_flag_and_settings_count(capsys, picture_folder):
    flags = ["--data.source", picture_folder, "--data.resolution", 64, "--data.labels", "none"]
    found = rows(looked(capsys, *flags, "--data.crop", "pad", "--data.channels", 1))
    assert found["rule"] == "whole picture on white, enlarged to 64 x 64, grey"
    assert found["pictures"] == "16 without classes (--data.labels none)"
    assert found["enlarged"] == "16, up to 2 times"
    assert found["packed"].startswith("0.0625 MiB")


def test_json_is_all_there_is_on_stdout(capsys, tmp_path, picture_folder):
    found = json.loads(looked(capsys, picture_folder, "--json", "-o", tmp_path / "sheet.png"))
    assert found["classes"] == {"dark": 8, "light": 8}
    assert found["rules"]["size"] == [32, 32]
    assert found["source"] == str(picture_folder)


def test_the_sheet_shows_what_the_network_sees(capsys, tmp_path):
    for name, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        for number in range(3):
            path = tmp_path / "pictures" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = Image.new("RGB", (100, 50), (0, 255, 0))  # what is cut away is green
            picture.paste(colour, (25, 0, 75, 50))
            picture.save(path)
    sheet = tmp_path / "sheet.png"
    assert str(sheet) in looked(capsys, tmp_path / "pictures", "-o", sheet)
    with Image.open(sheet) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    colours = {tuple(map(int, colour)) for colour in np.unique(pixels, axis=0)}
    assert {(255, 0, 0), (0, 0, 255)} <= colours
    assert (0, 255, 0) not in colours
    blue = (pixels == (0, 0, 255)).all(axis=1).sum()
    assert blue == 3 * 64 * 64  # cells of 64 pixels and more, three pictures of a class


@pytest.mark.parametrize(("side", "channels"), [(28, 1), (64, 4), (100, 3)])
def test_cells_of_a_sheet_are_64_pixels_or_more(side, channels):
    pictures = np.zeros((3, channels, side, 2 * side), np.uint8)
    sheet = contact_sheet([("", "", pictures)], columns=8)
    factor = -(-64 // side)
    assert sheet.shape[0] == 3
    assert sheet.shape[1] >= factor * side >= 64
    assert sheet.shape[2] >= 3 * factor * 2 * side


def test_transparent_pictures_lie_on_a_chequered_ground():
    clear = np.zeros((1, 4, 64, 64), np.uint8)
    sheet = contact_sheet([("", "", clear)], columns=1)
    assert set(np.unique(sheet)) == {204, 255}


def test_names_of_any_length_leave_the_pictures_in_their_place():
    pictures = np.zeros((2, 3, 64, 64), np.uint8)
    short, long = (
        contact_sheet([(name, "2 pictures", pictures)], columns=2, title=name)
        for name in ("a", "n" * 5000)
    )
    assert (short == 0).sum() >= 2 * 3 * 64 * 64
    assert (long == 0).sum() >= 2 * 3 * 64 * 64
    assert long.shape[2] < short.shape[2] + 250


def test_a_quick_look_packs_nothing(capsys, tmp_path, picture_folder):
    found = rows(looked(capsys, picture_folder, "--sample", 5, "-o", tmp_path / "sheet.png"))
    assert found["looked at"] == "5 of 16 pictures, evenly chosen"
    assert found["classes"] == "2: dark 8, light 8"
    assert "will take about" in found["packed"] or "less than a second" in found["packed"]
    assert size(tmp_path / "sheet.png")[0] > 64
    assert "nothing is packed" in looked(capsys, "--cache")


def test_a_sheet_of_a_few_pictures_of_many_classes(capsys, tmp_path):
    for number in range(40):
        folder = tmp_path / "pictures" / f"class {number}"
        folder.mkdir(parents=True)
        for copy in range(2):
            Image.new("RGB", (64, 64), (number, copy, 0)).save(folder / f"{copy}.png")
    sheet = tmp_path / "sheet.png"
    looked(capsys, tmp_path / "pictures", "--sample", 3, "-o", sheet)
    assert 3 * 68 < size(sheet)[1] < 5 * 68
    looked(capsys, tmp_path / "pictures", "-o", sheet)
    assert 16 * 68 < size(sheet)[1] < 18 * 68


def test_size_and_time_are_told_before_packing(capsys, monkeypatch, picture_folder):
    monkeypatch.setattr("sagan.data.looking._WORTH_SAYING", 0)
    assert run("data", picture_folder) == 0
    assert "note: packing 16 pictures (once) will take about 0:00 and" in capsys.readouterr().err
    assert run("data", picture_folder) == 0
    assert "packing" not in capsys.readouterr().err


def test_the_cache_is_listed_and_cleared(capsys, picture_folder):
    looked(capsys, picture_folder)
    looked(capsys, picture_folder, "--data.resolution", 64)
    _, first, second, total = looked(capsys, "--cache").splitlines()
    assert {line.split("  ")[1].strip() for line in (first, second)} == {"16"}
    assert all(str(picture_folder) in line for line in (first, second))
    assert "32 x 32" in first + second
    assert "64 x 64" in first + second
    assert " in " in total
    name = first.split()[0]
    assert "free again" in looked(capsys, "--clear-cache", name)
    assert name not in looked(capsys, "--cache")
    assert "not in the cache" in mistake(capsys, "data", "--clear-cache", name)
    looked(capsys, "--clear-cache", "all")
    assert "nothing is packed" in looked(capsys, "--cache")


def test_a_packed_file_is_a_source_like_any_other(capsys, tmp_path, picture_folder):
    packed = tmp_path / "pictures.sagan"
    assert run("pack", picture_folder, "-o", packed) == 0
    assert capsys.readouterr().out == f"{packed}\n"
    found = rows(looked(capsys, packed))
    assert found["classes"] == "2: dark 8, light 8"
    assert run("train", packed, "--run", tmp_path / "run", "--train.steps", 1, *TINY) == 0
    assert "pictures: 16 in 2 classes" in capsys.readouterr().err


def test_training_tells_what_it_learns_from_once(capsys, tmp_path, picture_folder):
    folder = tmp_path / "run"
    command = ["train", "--run", folder, "--data.source", picture_folder, *TINY]
    assert run(*command, "--train.steps", 1) == 0
    told = capsys.readouterr().err
    assert "pictures: 16 in 2 classes (8 each)" in told or "(dark 8 to light 8)" in told
    assert "rule: centre square, kept at 32 x 32, colour" in told
    kept = json.loads((folder / "data.json").read_text())
    assert kept["classes"] == {"dark": 8, "light": 8}
    assert run(*command, "--train.steps", 2) == 0
    assert "pictures:" not in capsys.readouterr().err
    (folder / "data.json").write_text("{")
    assert run(*command, "--train.steps", 3) == 0
    assert "pictures: 16" in capsys.readouterr().err
    assert json.loads((folder / "data.json").read_text()) == kept


def test_pictures_from_no_source_need_no_telling(capsys, tmp_path, monkeypatch, dataset):
    monkeypatch.setattr("sagan.training.preparation.load_dataset", lambda *_, **__: dataset)
    assert run("train", "--run", tmp_path / "run", "--train.steps", 1, *TINY) == 0
    assert "rule:" not in capsys.readouterr().err
    assert not (tmp_path / "run" / "data.json").exists()


@pytest.fixture
def sources(tmp_path, picture_folder):
    """The same pictures as a folder, a zip, a folder with a table, and arrays."""
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for path in sorted(picture_folder.rglob("*.png")):
            archive.write(path, path.relative_to(picture_folder).as_posix())
    listed = tmp_path / "listed"
    listed.mkdir()
    lines = ["file_name,label"]
    for path in sorted(picture_folder.rglob("*.png")):
        name = f"{path.parent.name}-{path.name}"
        shutil.copy(path, listed / name)
        lines.append(f"{name},{path.parent.name}")
    (listed / "metadata.csv").write_text("\n".join(lines) + "\n")
    images = np.random.default_rng(0).integers(0, 256, (16, 3, 32, 32), dtype=np.uint8)
    labels = np.arange(16) // 8
    names = np.array(["dark", "light"])
    np.savez(tmp_path / "pictures.npz", images=images, labels=labels, class_names=names)
    return {
        "folder": picture_folder,
        "zip": tmp_path / "pictures.zip",
        "table": listed,
        "arrays": tmp_path / "pictures.npz",
    }


@pytest.mark.parametrize("kind", ["folder", "zip", "table", "arrays"])
def test_two_lines_work_on_what_users_have(capsys, tmp_path, sources, kind):
    found = rows(looked(capsys, sources[kind]))
    assert found["classes"] == "2: dark 8, light 8"
    folder = tmp_path / "run"
    assert run("train", sources[kind], "--run", folder, "--train.steps", 1, *TINY) == 0
    assert json.loads((folder / "data.json").read_text())["used"] == 16


@pytest.mark.parametrize("kind", ["folder", "zip", "table", "arrays"])
def test_the_first_argument_of_train_may_be_pictures(capsys, tmp_path, sources, kind):
    config = printed_config(capsys, sources[kind], "--run", tmp_path / "run", "--train.steps", 9)
    assert config.data.source == str(sources[kind])
    assert config.data.resolution == PRESETS["avatars32"].settings["data"]["resolution"]
    twice = ["train", sources[kind], "--run", tmp_path / "run", "--data.source", "x"]
    assert "both name pictures" in mistake(capsys, *twice)


def test_pictures_that_are_not_there_are_no_unknown_preset(capsys, tmp_path):
    steps = ["--run", tmp_path / "run", "--train.steps", 9]  # without, they are looked at
    config = printed_config(capsys, "hf:owner/name", *steps)
    assert config.data.source == "hf:owner/name"
    for absent in (tmp_path / "pictures", "pictures.zip", "some/folder"):
        line = mistake(capsys, "train", absent, "--run", tmp_path / "run")
        assert f"there is no folder or file {absent}" in line
    assert "did you mean avatars32" in mistake(capsys, "train", "avatar32", "--run", "run")


def test_a_preset_comes_before_a_file_of_its_name(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "avatars32").write_text("")
    assert run("train", "avatars32", "--run", "run", "--print-config") == 0
    printed = capsys.readouterr()
    assert 'source = "avatars"' in printed.out
    assert printed.err == "note: avatars32 is the preset; the pictures are ./avatars32\n"


@pytest.mark.parametrize("command", ["data", "pack"])
def test_what_is_no_source(capsys, tmp_path, trained_run, picture_folder, command):
    end = ["-o", tmp_path / ("x.png" if command == "data" else "x.sagan")]
    assert "which pictures" in mistake(capsys, command, *end)
    assert "is a preset" in mistake(capsys, command, "imagenet128", *end)
    assert "is built in" in mistake(capsys, command, "avatars", *end)
    assert "is a run folder" in mistake(capsys, command, trained_run, *end)
    assert "there is no folder or file /no/such" in mistake(capsys, command, "/no/such", *end)
    both = [picture_folder, "--data.source", picture_folder]
    assert "both name pictures" in mistake(capsys, command, *both, *end)
    assert "data.crop" in mistake(capsys, command, picture_folder, "--data.crop", "box", *end)
    assert "no part 'val'" in mistake(capsys, command, picture_folder, "--data.split", "val", *end)
    assert "name must end in" in mistake(capsys, command, picture_folder, "-o", tmp_path / "x.gif")
    assert not end[1].exists()


def test_mistakes_of_a_look(capsys, picture_folder):
    assert "--sample 0" in mistake(capsys, "data", picture_folder, "--sample", 0)
    assert "give nothing else" in mistake(capsys, "data", picture_folder, "--cache")
    for other in (("--json",), ("--sample", 4), ("--data.resolution", 64), ("-o", "x.png")):
        assert "give nothing else" in mistake(capsys, "data", "--cache", *other)


def test_a_sheet_is_not_laid_among_the_pictures(capsys, picture_folder):
    sheet = ("-o", picture_folder / "sheet.png")
    assert "would be one of" in mistake(capsys, "data", picture_folder, *sheet)
    assert "would be one of" in mistake(capsys, "data", "--data.source", picture_folder, *sheet)


@pytest.fixture
def preset_for_pets(monkeypatch):
    preset = Preset(title="", source="", data=Intended("Pets", 16, 2), settings=SETTINGS)
    monkeypatch.setitem(PRESETS, "pets32", preset)


def test_a_preset_takes_what_it_is_for(capsys, tmp_path, picture_folder, preset_for_pets):
    sagan.train("pets32", tmp_path / "run", source=str(picture_folder))
    again = ["train", "pets32", "--run", tmp_path / "run", "--data.source", picture_folder]
    assert run(*again) == 0
    assert "pictures: 16 in 2 classes" in capsys.readouterr().err


def test_a_source_is_listed_once(capsys, tmp_path, monkeypatch, picture_folder, preset_for_pets):
    listed = []

    def counting(path, config):
        listed.append(path)
        return picture_folder_of(path, config)

    picture_folder_of = opening.RECOGNISERS[-1]
    monkeypatch.setattr(opening, "RECOGNISERS", (counting,))
    new = ["--run", tmp_path / "run", "--data.source", picture_folder]
    packed = ["-o", tmp_path / "pictures.sagan"]
    for command in (
        ["data", picture_folder],
        ["data", picture_folder, "--sample", 4],
        ["pack", picture_folder, *packed],
        ["train", "pets32", *new],
        ["train", "pets32", *new],
    ):
        listed.clear()
        assert run(*command) == 0
        assert listed == [picture_folder]


def test_a_preset_refuses_other_pictures_unless_told(
    capsys, tmp_path, picture_folder, preset_for_pets
):
    other = tmp_path / "other"
    shutil.copytree(picture_folder, other)
    shutil.copytree(picture_folder / "dark", other / "grey")
    begin = ["train", "pets32", "--run", tmp_path / "run", "--data.source"]
    line = mistake(capsys, *begin, other)
    assert "pets32 is for Pets, 16 pictures in 2 classes" in line
    assert f"{other} has 24 in 3 classes;" in line
    assert "--other-pictures" in line
    assert "avatars is built in" in mistake(capsys, *begin, "avatars")
    compare = ["ablate", "pets32", "--axis", "attention", "--run", tmp_path / "run", "--points", 1]
    assert "--other-pictures" in mistake(capsys, *compare, "--data.source", other)
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "cache" / "packs").exists()  # refused before packing
    with pytest.raises(SaganError, match="pets32 is for Pets"):
        sagan.train("pets32", tmp_path / "run", source=str(other))
    assert run(*begin, other, "--other-pictures") == 0
    assert run(*begin, other, "--train.steps", 2) == 0  # a run that was begun goes on


@pytest.mark.parametrize(
    ("count", "classes", "expected"),
    [
        (1_281_167, 1000, True),
        (1_281_000, 1000, True),
        (50_000, 1000, False),
        (1_281_167, 999, False),
    ],
)
def test_pictures_are_known_by_their_numbers(count, classes, expected):
    assert PRESETS["imagenet128"].data.are(count, classes) is expected


def test_a_preset_without_classes_asks_for_no_number_of_them():
    assert PRESETS["celeba64"].data.are(202_599, 0)
    assert PRESETS["celeba64"].data.are(202_599, 10_177)
    assert not PRESETS["celeba64"].data.are(30_000, 0)
    assert str(PRESETS["celeba64"].data) == "CelebA, 202,599 pictures"
    assert str(PRESETS["imagenet128"].data) == "ImageNet, 1,281,167 pictures in 1000 classes"
