"""The order of batches, the built-in avatars, and folders of pictures."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sagan.config import DataConfig
from sagan.data import avatars, batch_indices, dataset, load_dataset, open_dataset
from sagan.data.avatars import CLASS_NAMES, CREDITS, FAMILIES, load_avatars
from sagan.errors import SaganError
from sagan.images import save_png


def load_folder(folder, resolution, **settings):
    return open_dataset(folder, resolution, channels=3, **settings)


# --- order


@pytest.mark.parametrize(("length", "batch"), [(10, 10), (10, 3), (7, 4), (5, 1), (64, 48)])
def test_each_epoch_is_a_permutation(length, batch):
    epochs = 4
    steps = -(-epochs * length // batch)
    order = np.concatenate([batch_indices(length, batch, step, seed=5) for step in range(steps)])
    for epoch in order[: epochs * length].reshape(epochs, length):
        assert sorted(epoch) == list(range(length))


def test_order_is_independent_of_where_one_starts():
    order = [batch_indices(23, 5, step, seed=1) for step in range(20)]
    dataset._permutation.cache_clear()
    for step in (17, 3, 4, 0, 19):
        np.testing.assert_array_equal(batch_indices(23, 5, step, seed=1), order[step])


def test_epochs_and_seeds_differ():
    first, second = (batch_indices(50, 50, step, seed=0) for step in range(2))
    assert (first != second).any()
    assert (first != batch_indices(50, 50, 0, seed=1)).any()


def test_a_batch_belongs_to_its_caller():
    batch = batch_indices(10, 5, 0, seed=0)
    kept = batch.copy()
    batch[:] = -1
    np.testing.assert_array_equal(batch_indices(10, 5, 0, seed=0), kept)


def test_a_batch_larger_than_the_dataset_is_refused():
    with pytest.raises(SaganError, match=r"batch of 8 .* from 7; .*--train\.batch-size.*more pict"):
        batch_indices(7, 8, 0, seed=0)


# --- avatars


@pytest.fixture(scope="module")
def atlas():
    return avatars.load_atlas(32)


def test_avatars_are_a_function_of_seed_and_split():
    first, again = load_avatars(32, 60), load_avatars(32, 60)
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert first.fingerprint == again.fingerprint
    others = [load_avatars(32, 60, seed=1), load_avatars(32, 60, split="held-out")]
    for other in others:
        assert (other.images != first.images).any()
        assert (other.labels != first.labels).any()
    assert len({d.fingerprint for d in [first, *others]}) == 3


@pytest.mark.parametrize("count", [1, 4, 49, 51, 54, 1001])
def test_families_share_equally_and_colours_within_robots(atlas, count):
    labels, _ = avatars.draw(avatars.layer_sizes(atlas), count, split="train", seed=0)
    counts = np.bincount(labels, minlength=14)
    assert (abs(counts[:10] - count / 50) <= 1).all()
    assert (abs(counts[10:] - count / 5) <= 1).all()
    assert abs(counts[:10].sum() - count / 5) <= 1


def test_label_frequencies_sum_to_one():
    data = load_avatars(32, 100)
    np.testing.assert_allclose(data.label_frequencies, [0.02] * 10 + [0.2] * 4)
    assert load_avatars(32, 10, conditional=False).label_frequencies.tolist() == [1.0]


def test_labels_tell_the_colour():
    data = load_avatars(32, 500)
    for name, channel in [("red robot", 0), ("green robot", 1), ("blue robot", 2)]:
        images = data.images[data.labels == CLASS_NAMES.index(name)]
        assert images.mean((0, 2, 3)).argmax() == channel


def test_a_robot_part_has_one_shape_in_every_colour(atlas):
    for layer in atlas[0]:
        coverage = layer[:, 3].reshape(10, 10, -1).astype(float)
        assert abs(coverage - coverage[:1]).mean() < 0.5


def test_splits_share_no_combination_of_parts(atlas):
    sizes = avatars.layer_sizes(atlas)
    seen = {}
    for split in ("train", "held-out"):
        labels, parts = avatars.draw(sizes, 20_000, split=split, seed=0)
        families = avatars.family_of(labels)
        assert (avatars.is_held_out(families, parts) == (split == "held-out")).all()
        seen[split] = set(map(tuple, np.column_stack([families, parts]).tolist()))
    assert not seen["train"] & seen["held-out"]
    assert min(map(len, seen.values())) > 10_000


def test_a_tenth_of_the_combinations_is_held_out_whatever_the_parts():
    parts = np.stack(np.meshgrid(*[np.arange(10)] * 5), axis=-1).reshape(-1, 5)
    padded = np.pad(parts, [(0, 0), (0, 3)])
    held_out = avatars.is_held_out(np.zeros(len(parts), dtype=int), padded)
    assert held_out.mean() == pytest.approx(0.1, abs=0.005)
    for column in parts.T:
        shares = np.bincount(column, weights=held_out) / np.bincount(column)
        np.testing.assert_allclose(shares, 0.1, atol=0.015)


def test_composition_equals_one_picture_at_a_time(atlas):
    labels, parts = avatars.draw(avatars.layer_sizes(atlas), 50, split="train", seed=3)
    images = load_avatars(32, 50, seed=3).images
    for label, choice, image in zip(labels, parts, images, strict=True):
        family = int(avatars.family_of(label))
        canvas = np.full((3, 32, 32), 255.0)
        for layer, part in zip(atlas[family], choice, strict=False):
            red_green_blue_alpha = layer[part + (10 * label if family == 0 else 0)].astype(float)
            canvas = red_green_blue_alpha[:3] + canvas * (1 - red_green_blue_alpha[3] / 255)
        assert abs(image - canvas).max() <= 1


@pytest.mark.parametrize("label", [3, 10, 11, 12, 13])
def test_shrunk_parts_compose_to_the_shrunk_picture(atlas, label):
    """The order of work must not matter: Pillow composes the full-size files, then shrinks."""
    family = int(avatars.family_of(label))
    name = CLASS_NAMES[label]
    layers = avatars._layer_files([FAMILIES[family][name]])
    choice = [len(files) // 2 for files in layers]
    canvas = None
    for files, part in zip(layers, choice, strict=True):
        with Image.open(files[part]) as image:
            canvas = canvas or Image.new("RGBA", image.size, "white")
            canvas.alpha_composite(image.convert("RGBA"))
    assert canvas is not None
    expected = np.asarray(canvas.convert("RGB").resize((32, 32), Image.Resampling.BOX))
    variant = np.array([label if family == 0 else 0])
    image = avatars.compose(atlas[family], np.array([choice]), variant, len(FAMILIES[family]))[0]
    assert abs(image - expected.transpose(2, 0, 1).astype(float)).mean() < 1.5


def test_layers_rise_from_the_body_to_what_is_worn():
    order = {
        folder: [files[0].parent.name.partition("#")[2] for files in avatars._layer_files([folder])]
        for folder in ("set1/red", "set5")
    }
    assert order["set1/red"] == ["01Body", "02Face", "Mouth", "Eyes", "Accessory"]
    assert order["set5"] == (
        ["Body", "Eye", "Eyebrow", "Mouth", "Cloth", "FacialHair", "Top", "Accessories"]
    )


def test_parts_are_shrunk_without_the_colours_of_invisible_pixels(tmp_path, monkeypatch):
    pixels = np.zeros((16, 16, 4), dtype=np.uint8)
    pixels[:, ::2] = (255, 0, 0, 255)
    pixels[:, 1::2] = (0, 255, 0, 0)
    Image.fromarray(pixels).save(tmp_path / "part.png")
    monkeypatch.setenv("SAGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(avatars, "_layer_files", lambda _: [[tmp_path / "part.png"]] * 2)
    made = avatars.load_atlas(8)
    (tmp_path / "part.png").unlink()
    for atlas in (made, avatars.load_atlas(8)):
        assert [len(family) for family in atlas] == [2] * 5
        for layer in [layer for family in atlas for layer in family]:
            assert layer.shape == (1, 4, 8, 8)
            assert (abs(layer[0] - np.array([127.5, 0, 0, 127.5])[:, None, None]) <= 1).all()


def test_avatars_are_packed_pictures_with_names():
    data = load_avatars(32, 14)
    assert data.images.shape == (14, 3, 32, 32)
    assert data.images.dtype == np.uint8
    assert data.images.flags.c_contiguous
    assert data.labels.dtype == np.int64
    assert data.class_names == CLASS_NAMES
    assert len(CLASS_NAMES) == 14
    assert len(FAMILIES) == 5
    assert "\n" not in CREDITS


# --- folders


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("SAGAN_CACHE", str(folder))
    return folder


@pytest.fixture
def root(tmp_path, cache):
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder


def save(path: Path, colour: str | tuple[int, int, int] = "red", size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def square(pixels: np.ndarray) -> np.ndarray:
    """The centre 32 columns of (32, W, ...) as (3, 32, 32)."""
    left = (pixels.shape[1] - 32) // 2
    pixels = pixels[:, left : left + 32]
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=-1)
    return pixels.transpose(2, 0, 1)


def over_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return rgb * share + 255 * (1 - share)


def make_grey(path, levels):
    Image.fromarray(levels[..., 0]).save(path)
    return levels[..., 0]


def make_rgb(path, levels):
    Image.fromarray(levels[..., :3]).save(path)
    return levels[..., :3]


def make_rgba(path, levels):
    Image.fromarray(levels).save(path)
    return over_white(levels[..., :3], levels[..., 3])


def make_palette(path, levels):
    indices = levels[..., 0] % 4
    image = Image.fromarray(indices)
    image.putpalette([200, 10, 20, 30, 220, 40, 50, 60, 240, 0, 0, 0])
    image.save(path, transparency=bytes([255, 128, 255, 0]))
    colours = np.array([[200, 10, 20], [30, 220, 40], [50, 60, 240], [0, 0, 0]])
    return over_white(colours[indices], np.array([255, 128, 255, 0])[indices])


def make_grey16(path, levels):
    wide = levels[..., 0].astype(np.uint16) * 256 + levels[..., 1]
    Image.fromarray(wide).save(path)
    with Image.open(path) as image:
        assert image.mode == "I;16"
    return wide / 257


def make_cmyk(path, levels):
    Image.fromarray(levels, mode="CMYK").save(path, format="TIFF")
    return (255 - levels[..., :3].astype(float)) * (255 - levels[..., 3:].astype(float)) / 255


def make_rotated(path, levels):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: turn clockwise to see it upright
    Image.fromarray(np.rot90(levels[..., :3], 1).copy()).save(path, exif=exif)
    return levels[..., :3]


@pytest.mark.parametrize("size", [(8, 4), (64, 64), (1000, 600)])
@pytest.mark.parametrize("extension", ["png", "jpg"])
def test_small_and_large_pictures_are_resized_whole(root, size, extension):
    pixels = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    pixels[:, size[0] // 2 :] = 255
    Image.fromarray(pixels).save(root / f"a.{extension}")
    image = load_folder(root, 32).images[0].astype(int)
    assert image[:, :, :8].mean() < 5
    assert image[:, :, -8:].mean() > 250


def test_classes_are_sorted_subfolders_and_the_rest_is_ignored(root):
    for name in ("b/2.png", "a/1.png", "b/deep/3.png", ".hidden/x.png", "a/.x.png"):
        save(root / name)
    (root / "a" / "notes.txt").write_text("no picture")
    (root / ".x.png").touch()
    data = load_folder(root, 8)
    assert data.class_names == ("a", "b")
    assert data.labels.tolist() == [0, 1, 1]
    assert data.labels.dtype == np.int64
    np.testing.assert_allclose(data.label_frequencies, [1 / 3, 2 / 3])
    assert data.images.flags.c_contiguous


def test_without_classes_all_pictures_form_one_set(root):
    for name in ("b/2.png", "a/1.png", "loose.png"):
        save(root / name)
    data = load_folder(root, 8, labels="none")
    assert (len(data), data.class_names, data.labels.tolist()) == (3, (), [0, 0, 0])


def test_loose_pictures_have_no_classes(root):
    save(root / "a.png")
    assert load_folder(root, 8).class_names == ()


def test_names_and_links_beyond_ascii(root, tmp_path):
    save(root / "кошки" / "猫 é.png")
    save(tmp_path / "elsewhere" / "hund.png")
    (root / "ünter").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert load_folder(root, 8).class_names == ("ünter", "кошки")


def test_the_second_load_opens_no_picture(root, cache, monkeypatch):
    save(root / "a" / "1.png", "red")
    save(root / "b" / "1.png", "blue")
    first = load_folder(root, 8)
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("opened a picture"))
    second = load_folder(root, 8)
    np.testing.assert_array_equal(second.images, first.images)
    assert second.fingerprint == first.fingerprint
    assert not second.images.flags.writeable
    assert len(list(cache.iterdir())) == 1


def test_any_change_packs_anew(root):
    file = save(root / "a" / "1.png", "red")
    marks = [load_folder(root, 8).fingerprint]
    save(file, "blue")
    os.utime(file, ns=(1, 1))
    marks.append(load_folder(root, 8).fingerprint)
    save(root / "b" / "1.png", "blue")
    marks.append(load_folder(root, 8).fingerprint)
    marks.append(load_folder(root, 8, labels="none").fingerprint)
    marks.append(load_folder(root, 16).fingerprint)
    (root / "b").rename(root / "c")
    marks.append(load_folder(root, 8).fingerprint)
    assert len(set(marks)) == len(marks)


# --- faults


def test_a_folder_that_is_none(root):
    with pytest.raises(SaganError, match=r"there is no folder or file .*nowhere; give a path"):
        load_folder(root / "nowhere", 8)
    (root / "a.bin").write_text("no picture")
    with pytest.raises(SaganError, match=r"a\.bin is a file of 10 bytes, which holds no pictures"):
        load_folder(root / "a.bin", 8)


def test_subfolders_beside_loose_pictures(root):
    save(root / "cats" / "a.png")
    save(root / "stray.png")
    with pytest.raises(SaganError, match=r"\(cats\) and loose pictures \(stray.png\); move"):
        load_folder(root, 8)


def test_a_damaged_atlas_is_built_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(avatars, "cache_folder", lambda: tmp_path)
    atlas = [[np.zeros((2, 4, 8, 8), np.uint8)] for _ in avatars.FAMILIES]
    built = []

    def build(path, _):
        built.append(path)
        np.savez(path, **{f"{i}.0": family[0] for i, family in enumerate(atlas)})

    monkeypatch.setattr(avatars, "_write_atlas", build)
    avatars.load_atlas(8)
    built[0].write_bytes(built[0].read_bytes()[:100])
    np.testing.assert_array_equal(avatars.load_atlas(8)[2][0], atlas[2][0])
    assert len(built) == 2


def test_a_link_back_up_adds_no_pictures(root):
    save(root / "a" / "1.png")
    save(root / "b" / "1.png")
    (root / "a" / "loop").symlink_to(root, target_is_directory=True)
    assert len(load_folder(root, 8)) == 2


def test_no_permission(root, monkeypatch):
    def refuse(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    save(root / "a.png")
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(SaganError, match=r"pictures: Permission denied; make it readable"):
        load_folder(root, 8)


def test_a_cache_that_cannot_be_written(root, tmp_path, monkeypatch):
    save(root / "a.png")
    blocked = tmp_path / "blocked"
    blocked.touch()
    monkeypatch.setenv("SAGAN_CACHE", str(blocked / "sagan"))
    with pytest.raises(SaganError, match=r"cache folder .*blocked.*; set SAGAN_CACHE"):
        load_folder(root, 8)
    with pytest.raises(SaganError, match=r"cache folder .*blocked.*; set SAGAN_CACHE"):
        load_avatars(32, 1)


def test_the_cache_folder_follows_the_environment(monkeypatch):
    monkeypatch.setenv("SAGAN_CACHE", "/one")
    monkeypatch.setenv("XDG_CACHE_HOME", "/two")
    assert dataset.cache_folder() == Path("/one")
    monkeypatch.delenv("SAGAN_CACHE")
    assert dataset.cache_folder() == Path("/two/sagan")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert dataset.cache_folder() == Path.home() / ".cache" / "sagan"


# --- by config


def test_load_dataset_composes_avatars():
    data = load_dataset(DataConfig(resolution=32, generated_images=10))
    assert (len(data), data.class_names) == (10, CLASS_NAMES)


def test_load_dataset_reads_folders(root):
    save(root / "a" / "1.png")
    data = load_dataset(DataConfig(source=str(root), resolution=32))
    assert data.class_names == ("a",)
    assert data.images.shape == (1, 3, 32, 32)


def test_load_dataset_without_classes():
    config = DataConfig(resolution=32, generated_images=10, labels="none")
    data = load_dataset(config)
    assert data.class_names == ()
    assert not data.labels.any()
    assert data.fingerprint != load_avatars(32, 10).fingerprint


def test_load_dataset_refuses_what_it_lacks(root):
    with pytest.raises(
        SaganError, match=r"no folder or file avatar \(did you mean avatars\?\); give"
    ):
        load_dataset(DataConfig(source="avatar"))
    save(root / "a.png")
    with pytest.raises(SaganError, match=r"no held-out part; keep one"):
        open_dataset(str(root), 128, part="held-out")


def test_import_is_light():
    code = (
        "import sys, sagan.data; print([m for m in ('torch', 'PIL', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_without_a_resolution_pictures_stay_as_they_are(tmp_path):
    for name, side in (("a", 48), ("b", 48)):
        save_png(np.full((3, side, side), 7, np.uint8), tmp_path / f"{name}.png")
    assert open_dataset(str(tmp_path), None).images.shape == (2, 1, 48, 48)
    with pytest.raises(SaganError, match="avatars can be had at every resolution; give"):
        open_dataset("avatars", None)
    save_png(np.full((3, 48, 32), 7, np.uint8), tmp_path / "c.png")
    with pytest.raises(SaganError, match=r"a.png is 48 x 48, c.png is 32 x 48; give a --resol"):
        open_dataset(str(tmp_path), None)
    (tmp_path / "c.png").write_bytes(b"no picture")
    with pytest.raises(SaganError, match=r"1 of 3 pictures .*\(c.png: no picture\)"):
        open_dataset(str(tmp_path), None)


def test_a_part_that_is_none_is_refused(picture_folder):
    for source in (str(picture_folder), "avatars"):
        with pytest.raises(
            SaganError, match="part = 'heldout' is out of range; it must be train or"
        ):
            open_dataset(source, 32, part="heldout", held_out=0.3)


def test_chosen_rows_look_like_an_array(picture_folder):
    images = open_dataset(picture_folder, 32, held_out=0.4).images
    assert (images.dtype, images.ndim, images.shape[1:]) == (np.uint8, 4, (3, 32, 32))
