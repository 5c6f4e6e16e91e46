"""What commands write, and command lines with a mistake in them."""

import json
import os
import shlex
import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from test_cli import mistake, pixels, printed_config, run, size

from sagan.config import DataConfig
from sagan.config.presets import PRESETS
from sagan.data import load_dataset, open_dataset
from sagan.errors import SaganError
from sagan.runs import checkpoint as checkpoints
from sagan.runs.folder import checkpoint_files
from sagan.sampling.generator import load_generator
from sagan.sampling.sets import SampleSet, save_folder
from sagan.system import memory

SMALL = "train PICTURES --run x --train.batch-size 2 --train.steps 9"

# --- sets of pictures


def test_a_folder_has_a_file_per_seed_and_class(trained_run, tmp_path, capsys):
    folder = tmp_path / "new" / "pictures"
    assert run("sample", trained_run, "--seeds", "0-69,500", "-o", folder) == 0
    assert capsys.readouterr().out == f"{folder}\n"
    assert {path.name for path in folder.iterdir()} == {"dark", "light"}
    names = {f"{seed}.png" for seed in [*range(70), 500]}
    generator = load_generator(trained_run)
    for label in ("dark", "light"):
        assert {path.name for path in (folder / label).iterdir()} == names
        (expected,) = generator.sample([500], label)
        found = pixels(folder / label / "500.png").transpose(2, 0, 1)
        assert np.abs(found.astype(int) - expected).max() <= 1
    assert len(load_dataset(DataConfig(source=str(folder), resolution=32))) == 142
    larger = tmp_path / "larger"
    assert (
        run("sample", trained_run, "--class", "dark", "--seeds=3", "--scale=2", "-o", larger) == 0
    )
    assert size(larger / "dark" / "3.png") == (64, 64)


def test_pictures_are_not_written_among_others(trained_run, tmp_path, capsys):
    """They would replace somebody's own, or be learned from with them."""
    mine = tmp_path / "mine" / "dark" / "0.png"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"precious")
    for name in ("mine", "mine/dark"):
        assert run("sample", trained_run, "--seeds", "0", "-o", tmp_path / name) == 2
        assert "it is a folder that is not empty" in capsys.readouterr().err
    assert [*mine.parent.iterdir()] == [mine]
    assert mine.read_bytes() == b"precious"


def test_an_npz_is_read_back(trained_run, tmp_path):
    path = tmp_path / "set.npz"
    chosen = ["--class", "light", "--class", "dark", "--seeds", "0-65"]
    assert run("sample", trained_run, *chosen, "--truncation", 0.5, "-o", path) == 0
    expected = load_generator(trained_run).sample(range(66), "light", truncation=0.5)
    with np.load(path) as arrays:
        assert set(arrays.files) == {"images", "labels", "class_names"}
        np.testing.assert_array_equal(arrays["images"][:66], expected)
        assert arrays["labels"].dtype == np.int64
    data = open_dataset(str(path), None)
    assert data.images.shape == (132, 3, 32, 32)
    assert data.class_names == ("dark", "light")
    assert data.labels.tolist() == [1] * 66 + [0] * 66


class Plain:
    """A generator that shows its seeds; it remembers how many were asked for at once."""

    latent_dim, channels, size = 1, 3, (2, 2)

    def __init__(self, class_names=()):
        self.class_names = class_names
        self.largest = 0

    def label_numbers(self, label, count):
        return np.array([self.class_names.index(label) if self.class_names else 0] * count)

    def sample(self, seeds, label, *, truncation=None):
        self.largest = max(self.largest, len(seeds))
        return np.full((len(seeds), 3, 2, 2), 7, np.uint8)


def test_pictures_are_drawn_batch_by_batch(tmp_path):
    generator = Plain()
    save_folder(SampleSet(generator, range(1000), (None,)), tmp_path)
    assert len(list(tmp_path.glob("*.png"))) == 1000
    assert generator.largest == 64


def test_folders_of_classes_have_safe_names(tmp_path):
    names = ("../up", "a/b", "a:b")
    save_folder(SampleSet(Plain(names), [5], names), tmp_path / "set")
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    assert found == ["set/_._up/5.png", "set/a_b-2/5.png", "set/a_b/5.png"]


# --- pictures in the place of a preset


def test_a_folder_or_packed_file_stands_for_its_pictures(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    np.save("set.npy", np.zeros((2, 3, 32, 32), np.uint8))
    for source in ("./pictures", "set.npy", str(tmp_path / "pictures")):
        config = printed_config(capsys, source, "--run", "run", "--train.steps", 7)
        assert (config.data.source, config.train.steps) == (source, 7)
        assert config.generator == printed_config(capsys, "--run", "run").generator
    line = mistake(capsys, "train", "./pictures", "--run", "run", "--data.source", "avatars")
    assert "both name pictures" in line


def test_a_preset_comes_before_a_folder_of_its_name(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "avatars32").mkdir()
    assert run("train", "avatars32", "--run", "run", "--print-config") == 0
    printed = capsys.readouterr()
    assert 'source = "avatars"' in printed.out
    assert printed.err == "note: avatars32 is the preset; the pictures are ./avatars32\n"


@pytest.mark.parametrize("command", [["train"], ["ablate", "--axis", "attention"]])
@pytest.mark.parametrize("name", [name for name, preset in PRESETS.items() if preset.data])
def test_a_preset_for_own_pictures_needs_them(capsys, tmp_path, command, name):
    line = mistake(capsys, *command, name, "--run", tmp_path / "run")
    assert str(PRESETS[name].data) in line
    assert "--data.source" in line
    assert not (tmp_path / "run").exists()


def test_what_a_preset_is_for_may_be_replaced_or_only_shown(capsys, tmp_path):
    begin = ["train", "celeba64", "--run", tmp_path / "run", "--print-config"]
    assert run(*begin) == 0
    assert "note: celeba64 is for CelebA" in capsys.readouterr().err
    assert run(*begin, "--data.source", "avatars") == 0
    assert capsys.readouterr().err == ""


def test_settings_without_effect_are_not_explained(capsys):
    assert run("presets", "celeba64") == 0
    shown = capsys.readouterr().out
    assert "base_channels" in shown
    for name in ("attention_form", "attention_pooling", "shortcut_input", "upsampling"):
        assert name not in shown


# --- mistakes


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a pipe, a link to a device, and a link to nothing."""
    folder = tmp_path_factory.mktemp("place")
    for name in ("f.png", "f.npz", "f.toml", "f.safetensors"):
        os.mkfifo(folder / name)
    (folder / "null.png").symlink_to("/dev/null")
    (folder / "file").write_text("")
    (folder / "pictures").mkdir()
    np.savez(folder / "set.npz", images=np.zeros((2, 3, 32, 32), np.uint8))
    return folder


@pytest.mark.parametrize(
    "line",
    [
        "sample RUN -o ''",
        "sample RUN -o .",
        "sample RUN -o /",
        "sample RUN -o x.jpg",
        "sample RUN -o null.png",
        "sample RUN -o f.png",
        "sample RUN -o /dev/stdout",
        "sample RUN -o /dev/null",
        "sample RUN -o file",
        "sample RUN -o file/x.png",
        "sample RUN -o RUN",
        "sample RUN -o RUN/config.toml",
        "sample RUN -o RUN/samples/x.png",
        "sample RUN -o x.npz --columns 3",
        "sample RUN -o x.npz --names",
        "timelapse RUN -o x.png",
        "timelapse RUN/samples",
        "sample RUN --columns 0",
        "sample RUN --columns 1.5",
        "sample RUN --scale 100000",
        "sample RUN --scale 99999999999999999999999",
        "sample RUN --scale 1000000 -o pictures",
        "sample RUN --scale 1000000 -o x.npz",
        "sample RUN --seeds ''",
        "sample RUN --seeds 0-99999,0-99999",
        "sample RUN --seeds 9999999999999999999999",
        "sample RUN --truncation inf",
        "sample RUN --truncation nan",
        "sample RUN --truncation 1e999",
        "sample RUN --class ''",
        "sample ''",
        "sample f.safetensors",
        "interpolate RUN -o .",
        "interpolate RUN -o x",
        "interpolate RUN --frames 1000000000 -o x.gif",
        "interpolate RUN --frames 100000000 -o x.png",
        "interpolate RUN --scale 100000 -o x.gif",
        "interpolate RUN --frames 1 --seeds 0-1 --class dark --scale 3000 -o x.gif",
        "interpolate RUN --frames-per-second inf -o x.gif",
        "export RUN -o x.pth",
        "export RUN --shares -o x.safetensors",
        "export RUN -o .",
        "export RUN -o RUN/checkpoints/step-00000003.safetensors",
        "export RUN/checkpoints/x.safetensors -o RUN/checkpoints/x.safetensors",
        "export x.safetensors -o ../place/x.safetensors",
        "convert RUN -o x.pth",
        "convert RUN --to mmgen -o set.npz",
        "convert f.safetensors -o x.safetensors",
        "convert RUN -o x.safetensors --class-names f.png",
        "convert RUN -o x.safetensors --batch-norm-eps inf",
        "report RUN -o x.pdf",
        "report RUN -o .",
        "report f.png",
        "evaluate RUN -o x.txt",
        "evaluate RUN --resolution 0",
        "evaluate RUN --resolution -1",
        "evaluate RUN --samples 99999999999",
        "evaluate RUN --weights f.png",
        "evaluate --compare f.png pictures",
        "attention RUN -o x.jpg",
        "attention RUN -o .",
        "attention RUN --raw x.txt",
        "attention RUN --statistics -o x.png",
        "attention RUN --statistics --samples 99999999999",
        "attention RUN --resolution 0",
        "attention RUN --picture f.png",
        "attention RUN --truncation inf",
        "demo --run ''",
        "demo --run set.npz",
        "demo --steps 0",
        "train --run ''",
        "train ./nothing --run x",
        "train RUN --run x",
        "train f.npz --run x",
        "train f.toml --run x",
        "train set.npz --run x --data.source pictures",
        "train --run x --data.source ''",
        "train --run x --data.source f.npz",
        "train --run x --data.generated-images 99999999999",
        "train --run x --data.resolution 0",
        "train --run x --optimizer.eps inf",
        "train --run x --optimizer.generator-lr nan",
        "train --run x --train.seed 99999999999999999999",
        "train --run x --train.steps ''",
        f"{SMALL} --generator.base-channels 1000000",
        f"{SMALL} --discriminator.base-channels 1000000",
        f"{SMALL} --generator.latent-dim 999999999999",
        "ablate --axis attention --run x --points 999999999999",
        "ablate --axis attention --run x --seeds ''",
        "presets ''",
    ],
)
def test_mistakes_end_in_one_line(capsys, monkeypatch, place, trained_run, picture_folder, line):
    monkeypatch.chdir(place)
    before = sorted(path.name for path in place.iterdir())
    line = line.replace("RUN", str(trained_run)).replace("PICTURES", str(picture_folder))
    mistake(capsys, *shlex.split(line))
    assert sorted(path.name for path in place.iterdir()) == before


def test_numbers_without_bound_are_named_where_they_enter(capsys, tmp_path):
    line = mistake(capsys, "train", "--run", tmp_path / "run", "--optimizer.eps", "inf")
    assert "--optimizer.eps must be a finite number" in line
    (tmp_path / "a.toml").write_text("[optimizer]\neps = inf\n")
    line = mistake(capsys, "train", tmp_path / "a.toml", "--run", tmp_path / "run")
    assert "optimizer.eps = inf is out of range" in line


def test_pictures_too_large_for_memory_are_refused_before_any_is_drawn(
    capsys, trained_run, tmp_path, monkeypatch
):
    little = memory.Memory(total=2**20, available=2**20)
    monkeypatch.setattr(memory, "_main_memory", lambda: little)
    monkeypatch.setattr("sagan.nn.residual.require_free", lambda *_: None)
    monkeypatch.setattr("sagan.sampling.generator.TrainedGenerator.sample", None)
    line = mistake(capsys, "sample", trained_run, "-o", tmp_path / "a.png", "--scale", 9)
    assert "of memory and 1 MiB are free; give fewer --seeds, a smaller --scale" in line


# --- names that are no text

BAD = "ev\x1b[31mil"


def test_class_names_that_cannot_be_shown_are_refused(capsys, tmp_path, trained_run):
    for name, shown in ((BAD, r"ev\x1b[31mil"), (os.fsdecode(b"b\xff"), r"b\udcff")):
        folder = tmp_path / "pictures"
        (folder / name).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(folder / name / "a.png")
        line = mistake(capsys, "train", folder, "--run", tmp_path / "run")
        assert f"class '{shown}'" in line
        shutil.rmtree(folder)
    checkpoint = checkpoints.load(checkpoint_files(trained_run)[-1])
    checkpoints.save(replace(checkpoint, class_names=(BAD, "b")), tmp_path / "a.safetensors")
    assert r"ev\x1b[31mil" in mistake(capsys, "sample", tmp_path / "a.safetensors")


def test_paths_that_are_no_text_are_shown_as_escapes(capsys, tmp_path, trained_run):
    folder = tmp_path / os.fsdecode(b"\xffrun")
    assert r"\udcffrun has bytes in its name" in mistake(capsys, "sample", folder)
    shutil.copytree(trained_run, folder)
    with pytest.raises(SaganError, match="are no UTF-8; rename it"):
        load_generator(folder)
    assert len(checkpoint_files(folder)) == 1  # not taken for damaged
    folder = tmp_path / "run\x1b[31m"
    assert r"run\x1b[31m" in mistake(capsys, "sample", folder)
    shutil.copytree(trained_run, folder)
    with (folder / "log.jsonl").open("ab") as log:
        log.write(b'\xff\xfe\n{"step": ' + b"[" * 100_000 + b"\n")
    assert run("report", folder) == 0
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "\x1b" not in page
    assert r"run\x1b[31m" in page


# --- metadata of checkpoints


def forged(path, model, *, change=None, text=None, tensors=None):
    """Another checkpoint with other metadata or tensors."""
    with safe_open(model, framework="pt") as file:
        header = json.loads(file.metadata()["sagan"])
        content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    header |= change or {}
    for name in content:
        content[name] = tensors(content[name]) if tensors else content[name]
    save_file(content, path, metadata={"sagan": text or json.dumps(header)})
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"step": -5}, "its step is -5"),
        ({"step": 1.5}, "its step is 1.5"),
        ({"step": True}, "its step is True"),
        ({"step": 2**63}, "its step is"),
        ({"class_names": "ab"}, "list of texts"),
        ({"class_names": [1, 2]}, "list of texts"),
        ({"class_names": {"a": 1}}, "list of texts"),
        ({"dataset_fingerprint": 3}, "of other kinds"),
        ({"versions": "0.1"}, "of other kinds"),
        ({"config": {"optimizer": {"eps": float("inf")}}}, "eps = inf"),
        ({"config": {"generator": {"base_channels": 10**6}}}, "of memory"),
    ],
)
def test_metadata_without_sense_is_refused(capsys, tmp_path, trained_run, change, words):
    model = forged(tmp_path / "a.safetensors", checkpoint_files(trained_run)[-1], change=change)
    assert words in mistake(capsys, "sample", model, "-o", tmp_path / "a.png")


def test_nested_metadata_and_whole_weights_are_refused(capsys, tmp_path, trained_run):
    model, newest = tmp_path / "a.safetensors", checkpoint_files(trained_run)[-1]
    forged(model, newest, text="[" * 100_000)
    assert "damaged" in mistake(capsys, "sample", model, "-o", tmp_path / "a.png")
    forged(model, newest, tensors=lambda tensor: tensor.int())
    line = mistake(capsys, "sample", model, "-o", tmp_path / "a.png")
    assert "torch.int32 in the checkpoint and torch.float32" in line


# --- small files that grow


def little_memory(monkeypatch):
    little = memory.Memory(total=2**22, available=2**22)
    monkeypatch.setattr(memory, "_main_memory", lambda: little)


def test_sizes_are_judged_before_memory_is_taken(tmp_path, monkeypatch):
    little_memory(monkeypatch)
    Image.new("RGB", (4000, 4000)).save(tmp_path / "a.png")
    with pytest.raises(SaganError, match=r"a.png: 16,000,000 pixels would take .* of memory"):
        open_dataset(str(tmp_path), 32)
    (tmp_path / "a.png").unlink()
    with pytest.raises(SaganError, match="9,999 avatars would take"):
        open_dataset("avatars", 32, generated_images=9999)


def test_labels_are_bounded(tmp_path):
    images = np.zeros((2, 3, 32, 32), np.uint8)
    for labels, names, words in (
        (np.array([0, 1]), {"class_names": np.array("a")}, "class_names must be a list"),
        (np.array([0, 1]), {"class_names": np.array([0.5, 1])}, "class_names must be a list"),
        (np.array(1), {}, "2 pictures but 1 labels"),
    ):
        np.savez(tmp_path / "a.npz", images=images, labels=labels, **names)
        with pytest.raises(SaganError, match=words):
            open_dataset(str(tmp_path / "a.npz"), 32)


def test_an_array_larger_than_its_file_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, archive.open("images.npy", "w") as f:
        shape = (2**40, 3, 32, 32)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(f, header)
    with pytest.raises(SaganError, match=r"a\.npz is cut off or damaged in images"):
        open_dataset(str(tmp_path / "a.npz"), 32)


def test_pipes_among_pictures_are_no_pictures(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "x.jpg")
    assert len(open_dataset(str(tmp_path), 32)) == 1


def test_classes_called_by_numbers_come_in_their_order(tmp_path):
    for name in ("10", "2", "0", "1"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (32, 32), (int(name), 0, 0)).save(tmp_path / name / "a.png")
    data = open_dataset(str(tmp_path), 32)
    assert data.class_names == ("0", "1", "2", "10")
    np.testing.assert_array_equal(data.images[:, 0, 0, 0], [0, 1, 10, 2])
    assert data.labels.tolist() == [0, 1, 3, 2]
    (tmp_path / "x").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "x" / "a.png")
    assert open_dataset(str(tmp_path), 32).class_names == ("0", "1", "2", "10", "x")
