"""Pictures of other channels and sides than 3 and powers of two, through everything there is."""

import io
import json
import math
import shutil
from dataclasses import replace
from functools import cache

import numpy as np
import numpy_sagan as formula
import pytest
import torch
from conftest import pooled_extractor, tiny
from PIL import Image
from test_cli import mistake, pixels, run

import sagan
from sagan import config as settings
from sagan.ablation import variants
from sagan.config import DiscriminatorConfig, GeneratorConfig, least_weights, map_sizes, plan
from sagan.data.dataset import dataset_of
from sagan.errors import SaganError
from sagan.images import as_rgb, png_bytes
from sagan.images.drawing import Query, attention_panel
from sagan.images.figure import attention_figure
from sagan.images.maps import attended_regions, heat_map, key_grid
from sagan.images.queries import choose_query_points, grid_points, query_index
from sagan.inspection import attention_statistics
from sagan.inspection.spread import attention_spread, uniform_spread
from sagan.losses import augment
from sagan.nn.folding import fold
from sagan.nn.residual import make_discriminator, make_generator
from sagan.report.neighbours import _compared, find_neighbours
from sagan.runs import checkpoint as checkpoints
from sagan.runs.folder import checkpoint_files
from sagan.sampling.attention import captured_inputs
from sagan.sampling.generator import load_discriminator, load_generator
from sagan.training.driver import Driver
from sagan.training.footprint import peak_bytes, upper_bound
from sagan.training.forecast import parameters

SHAPES = [(1, 24, 24), (3, 32, 48), (4, 48, 32)]
MODES = {1: "L", 3: "RGB", 4: "RGBA"}

shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
every_shape = pytest.mark.parametrize(
    "shape", [(1, 48, 48), (3, 64, 96), (4, 96, 64), (1, 28, 28), (4, 16, 64)], ids=str
)


def attended(size):
    """The height of the map before the pictures, and that map."""
    return map_sizes(size)[-2][0], map_sizes(size)[-2]


def networks(shape, architecture, **settings):
    channels, *size = shape
    size = tuple(size)
    classes = 0 if architecture == "dcgan" else 2
    both = {"architecture": architecture, "base_channels": 8, "attention": (attended(size)[0],)}
    fitting = {"resolution": size, "channels": channels, "num_classes": classes}
    return (
        make_generator(GeneratorConfig(latent_dim=16, **both, **settings), **fitting),
        make_discriminator(DiscriminatorConfig(**both, **settings), **fitting),
    )


# --- geometry


@pytest.mark.parametrize(
    ("size", "maps"),
    [
        (32, [(4, 4), (8, 8), (16, 16), (32, 32)]),
        (48, [(6, 6), (12, 12), (24, 24), (48, 48)]),
        (28, [(7, 7), (14, 14), (28, 28)]),
        ((64, 96), [(4, 6), (8, 12), (16, 24), (32, 48), (64, 96)]),
        ((64, 16), [(16, 4), (32, 8), (64, 16)]),
    ],
)
def test_maps_double_from_the_first_to_the_picture(size, maps):
    assert map_sizes(size) == maps
    generator, discriminator = GeneratorConfig(attention=()), DiscriminatorConfig(attention=())
    assert [(x.height, x.width) for x in plan(generator, size)] == maps
    assert [(x.height, x.width) for x in plan(discriminator, size)][: len(maps) - 1] == maps[-2::-1]


@pytest.mark.parametrize(
    ("size", "nearest"),
    [
        ((100, 100), "96 x 96 or 112 x 112"),
        ((47, 47), "48 x 48 or 40 x 40"),
        ((1000, 1000), "448 x 448"),
        ((0, 0), "16 x 16"),
        ((60, 100), "56 x 104"),
        ((32, 200), "48 x 192"),
        ((2**62, 1), "448"),
    ],
)
def test_a_size_without_network_names_the_nearest(size, nearest):
    with pytest.raises(SaganError) as caught:
        map_sizes(size)
    message = str(caught.value)
    assert f"{size[0]} x {size[1]} pixels" in message
    assert nearest in message
    assert "\n" not in message


def test_the_named_sizes_are_possible():
    for pair in ((48, 52), (450, 10), (33, 91)):
        with pytest.raises(SaganError) as caught:
            map_sizes(pair)
        for text in str(caught.value).partition("nearest are ")[2].split(" or "):
            height, width = map(int, text.split(" x "))
            assert map_sizes((height, width))[-1] == (height, width)


@pytest.mark.parametrize(("final", "smallest"), [(4, (6, 9)), (8, (12, 18)), (16, (24, 36))])
def test_the_discriminator_stops_after_as_many_halvings(final, smallest):
    config = DiscriminatorConfig(final_resolution=final, attention=())
    stages = plan(config, (96, 144))
    assert (stages[-1].height, stages[-1].width) == smallest
    channels = [stage.channels for stage in stages]
    assert channels == [stage.channels for stage in plan(config, 64)]


@pytest.mark.parametrize(("size", "place"), [(32, (16, 16)), (48, (24, 24)), ((80, 64), (20, 16))])
def test_one_setting_fits_pictures_of_every_size(size, place):
    for config in (GeneratorConfig(attention=(16,)), DiscriminatorConfig(attention=(16,))):
        found = [(s.height, s.width) for s in plan(config, size) if s.attention is not None]
        assert found == [place]
        by_height = replace(config, attention=(place[0],))
        assert plan(by_height, size) == plan(config, size)


def test_attention_stands_where_keys_can_be_pooled():
    config = DiscriminatorConfig(attention=(7,))
    with pytest.raises(SaganError, match=r"discriminator\.attention = 7 .* among 8 \(14 x 14\)"):
        plan(config, 28)
    assert plan(replace(config, attention_pooling=False), 28)[1].attention.name == "7"
    with pytest.raises(SaganError, match=r"attention_blocks .* among 1, whose maps can be pooled"):
        plan(replace(config, attention=(), attention_blocks=(2,)), 28)


def test_attention_has_more_than_one_key():
    for where in ({"attention": (2,)}, {"attention": (), "attention_blocks": (4,)}):
        config = DiscriminatorConfig(final_resolution=2, **where)
        with pytest.raises(SaganError, match=r"discriminator\.attention"):
            plan(config, 32)
        assert plan(replace(config, attention_pooling=False), 32)


def test_an_ablation_compares_the_maps_that_there_are(config_of):
    config = config_of((3, 48, 72))
    names = [variant.name for variant in variants(config, "attention")]
    assert names == ["none", "attention-12", "attention-24", "residual-12", "residual-24"]
    assert "at 24 x 36 in both" in variants(config, "attention")[2].explanation


def test_a_place_is_named_by_its_height():
    [place] = [x.attention for x in plan(GeneratorConfig(attention=(32,)), (64, 96)) if x.attention]
    assert (place.name, str(place)) == ("32", "32 x 48")


# --- networks


@every_shape
@pytest.mark.parametrize("architecture", ["residual", "dcgan"])
def test_networks_pass_forwards_and_backwards(shape, architecture):
    generator, discriminator = networks(shape, architecture)
    latents, labels = torch.randn(3, 16), torch.tensor([0, 1, 1])
    images = generator(latents, labels)
    assert images.shape == (3, *shape)
    assert images.abs().max() <= 1
    logits = discriminator(images, labels)
    assert logits.shape == (3,)
    logits.sum().backward()
    for network in (generator, discriminator):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert name.startswith("attention") or parameter.grad.abs().max() > 0, name
    for network, config in ((generator, GeneratorConfig), (discriminator, DiscriminatorConfig)):
        settings = config(architecture=architecture, base_channels=8, attention=())
        if network is generator:
            settings = replace(settings, latent_dim=16)
        least = least_weights(settings, shape[1:], network.num_classes)
        assert 0 < least < sum(parameter.numel() for parameter in network.parameters())


@every_shape
@pytest.mark.parametrize("architecture", ["residual", "dcgan"])
def test_folding_changes_nothing(shape, architecture):
    latents, labels = torch.randn(2, 16), torch.tensor([0, 1])
    for network in networks(shape, architecture):
        network.eval()
        for name, parameter in network.named_parameters():
            if name.endswith("gamma"):
                parameter.data.fill_(0.7)
        given = latents if hasattr(network, "latent_dim") else torch.rand(2, *shape) * 2 - 1
        with torch.no_grad():
            expected = network(given, labels)
            found = fold(network)(given, labels)
            single = fold(network)(given[:1], labels[:1])
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(single, expected[:1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("augmentation", ["colour", "translation", "cutout"])
@shapes
def test_changes_of_pictures_keep_their_shape(shape, augmentation):
    images = torch.rand(4, *shape) * 2 - 1
    changed = augment(images, (augmentation,), torch.Generator().manual_seed(3))
    assert changed.shape == images.shape
    assert not torch.equal(changed, images)
    if augmentation == "colour":
        assert torch.equal(changed[:, 3:], images[:, 3:])
        coloured = augment(images[:, :3], ("colour",), torch.Generator().manual_seed(3))
        assert torch.equal(changed[:, :3], coloured)


# --- where attention looks


@pytest.mark.parametrize("size", [(64, 96), (96, 64), (48, 48)])
def test_a_point_belongs_to_its_cell(size):
    (height, width), (rows, columns) = size, attended(size)[1]
    for x, y in [(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1), (13, 37)]:
        cell = divmod(query_index((x, y), size, (rows, columns)), columns)
        assert cell == (y // (height // rows), x // (width // columns))
    for point in [(width, 0), (0, height), (-1, 0)]:
        with pytest.raises(SaganError, match="outside the picture"):
            query_index(point, size, (rows, columns))
    points = grid_points(min(rows, columns), size, (rows, columns))
    assert len({query_index(point, size, (rows, columns)) for point in points}) == len(points)
    with pytest.raises(SaganError, match=f"choose 1 to {min(rows, columns)}"):
        grid_points(min(rows, columns) + 1, size, (rows, columns))


@pytest.mark.parametrize("key", [(0, 0), (0, 11), (7, 0), (7, 11), (2, 9)])
def test_heat_and_arrow_are_at_the_attended_key(key):
    keys = np.full((8, 12), 0.1 / 96)
    keys[key] += 0.9
    assert np.array_equal(key_grid(keys.ravel(), (64, 96)), keys)
    heat = heat_map(keys, (160, 240), keys.max())
    top, left = np.unravel_index(heat.argmax(), heat.shape)
    assert (top // 20, left // 20) == key
    [(x, y, _)] = attended_regions(keys)
    assert (int(y * 8), int(x * 12)) == key
    image = np.zeros((1, 64, 96), np.uint8)
    query = Query((0.5, 0.5), "", (0, 0, 0), 0.001)
    panel = np.asarray(attention_panel(image, query, keys.ravel(), 240, keys.max())).astype(int)
    assert panel.shape == (160, 240, 3)
    inside = panel[key[0] * 20 + 2 : key[0] * 20 + 18, key[1] * 20 + 2 : key[1] * 20 + 18]
    assert (inside[..., 0] > inside[..., 2] + 60).mean() > 0.6


def test_a_key_grid_has_the_proportions_of_the_picture():
    with pytest.raises(AssertionError):
        key_grid(np.ones(64), (64, 96))


@shapes
def test_rows_of_a_picture_are_those_of_the_formula(run_of, shape):
    """At a point near each corner, found by dividing pixels by hand."""
    generator = load_generator(run_of(shape))
    height, width = shape[1:]
    name, (rows, columns) = str(attended(shape[1:])[0]), attended(shape[1:])[1]
    points = [(1, 1), (width - 2, 1), (1, height - 2), (width - 1, height - 1)]
    found = generator.attention(3, "even", at=points)
    with captured_inputs(generator.attention_layers()) as seen:
        generator.sample([3], "even")
    [x] = seen.values()
    assert x.shape[2:] == (rows, columns)
    layer, x = generator.network.attention[name], x.double().numpy()[0]
    weights = {
        part: getattr(layer, part).weight.double().numpy()[:, :, 0, 0] for part in ("query", "key")
    }
    query, key = (np.einsum("dc,chw->dhw", weights[part], x) for part in ("query", "key"))
    scores = np.einsum(
        "dq,dk->qk",
        query.reshape(len(query), -1),
        formula.max_pool(key[None])[0].reshape(len(key), -1),
    )
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    cells = [y // (height // rows) * columns + x // (width // columns) for x, y in points]
    assert found.rows[name].shape == (1, 4, rows * columns // 4)
    np.testing.assert_allclose(found.rows[name][0], expected[cells], rtol=1e-4)
    assert abs(expected[cells] - expected[0]).max() > 1e-3


@shapes
def test_query_points_lie_inside(shape):
    image = np.zeros(shape, np.uint8)
    image[-1:] = 255 if len(image) == 4 else 0
    image[0, shape[1] // 4 : shape[1] // 3, shape[2] // 2 : 2 * shape[2] // 3] = 255
    points = choose_query_points(image, 6)
    assert len(set(points)) == 6
    assert all(0 <= x < shape[2] and 0 <= y < shape[1] for x, y in points)
    x, y = points[0]
    assert shape[1] // 4 - 2 <= y <= shape[1] // 3 + 1
    assert shape[2] // 2 - 2 <= x <= 2 * shape[2] // 3 + 1


@pytest.mark.parametrize("points", [3, 9])
@shapes
def test_a_figure_has_panels_of_the_pictures_proportions(shape, points):
    rows, columns = attended(shape[1:])[1]
    weights = np.full((points, rows * columns // 4), 4 / (rows * columns))
    at = grid_points(3, shape[1:], (rows, columns)) if points == 9 else [(1, 1), (2, 2), (30, 9)]
    figure = attention_figure(np.full(shape, 90, np.uint8), at, {"": weights}, panel=96)
    assert figure.dtype == np.uint8
    assert len(figure) == 3
    square = attention_figure(
        np.zeros((3, 32, 32), np.uint8), at, {"": np.full((points, 64), 1 / 64)}, panel=96
    )
    assert (figure.shape[1] < square.shape[1]) == (shape[1] < shape[2])


def test_distances_are_in_longer_sides():
    def rows_of(queries):
        rows = np.zeros((1, len(queries), 8 * 12))
        rows[0, :, 0] = 1
        return rows

    spread = attention_spread(rows_of, (8, 12))
    y, x = np.mgrid[:8, :12]
    assert spread.distance == pytest.approx(np.hypot(y, x).mean() / 12)
    inside = np.clip(np.minimum(y + 4.5, 1) - np.maximum(y - 3.5, 0), 0, 1)
    inside = inside * np.clip(np.minimum(x + 4.5, 1) - np.maximum(x - 3.5, 0), 0, 1)
    assert spread.outside == pytest.approx(1 - inside.mean())
    assert uniform_spread((8, 12), 24).keys == 24


# --- pictures


def test_grey_and_transparent_pictures_as_they_are_seen():
    grey = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    assert (as_rgb(grey) == grey[0]).all()
    assert as_rgb(grey).shape == (3, 2, 3)
    some = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 7), np.uint8)
    for picture, seen in zip(some, as_rgb(some), strict=True):
        image = Image.fromarray(picture.transpose(1, 2, 0), "RGBA")
        expected = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        assert abs(np.asarray(expected)[..., :3].transpose(2, 0, 1).astype(int) - seen).max() <= 1


@shapes
def test_a_notebook_shows_pictures_of_any_shape(shape):
    pictures = sagan.images.batch.Pictures(np.zeros((3, *shape), np.uint8))
    assert pictures._repr_png_() is not None
    assert repr(pictures) == f"<3 pictures of {shape[1]} x {shape[2]} pixels>"
    assert pictures.grid(2).shape == (shape[0], 2 * shape[1] + 6, 2 * shape[2] + 6)
    assert (pictures.grid(2)[:, 0] == 255).all()


# --- a run


def noise(shape, count=8):
    images = np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)
    images[1::2] //= 2
    return dataset_of(images, np.arange(count) % 2, ("even", "odd"))


@pytest.fixture(scope="module", autouse=True)
def _surroundings(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAGAN_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(
            "sagan.evaluation.evaluate.load_extractor", lambda *_, **__: pooled_extractor()
        )
        yield


@pytest.fixture(scope="module")
def file_of(tmp_path_factory):
    """Shape -> a file of noise of that shape."""

    @cache
    def written(shape):
        path = tmp_path_factory.mktemp("pictures") / "noise.npz"
        found = noise(shape)
        np.savez(path, images=found.images, labels=found.labels, class_names=found.class_names)
        return path

    return written


@pytest.fixture(scope="module")
def config_of(file_of):
    """Shape -> settings; channels are left as found, but for those with transparency."""

    def chosen(shape, **train):
        channels, height, width = shape
        config = tiny(steps=2, sample_interval=1, checkpoint_interval=1, **train)
        place = (attended(shape[1:])[0],)
        return replace(
            config,
            data=replace(
                config.data,
                source=str(file_of(shape)),
                resolution=height,
                width=width % height and width,
                channels=4 if channels == 4 else 0,
            ),
            generator=replace(config.generator, attention=place),
            discriminator=replace(config.discriminator, attention=place),
        )

    return chosen


@pytest.fixture(scope="module")
def run_of(config_of, tmp_path_factory):
    """Shape -> a finished run of two steps."""

    @cache
    def trained(shape):
        folder = tmp_path_factory.mktemp("run") / "run"
        Driver(config_of(shape), folder).train()
        return folder

    return trained


@shapes
def test_a_run_continues_exactly(run_of, config_of, shape, tmp_path):
    shutil.copytree(run_of(shape), tmp_path / "run")
    again = replace(config_of(shape), train=replace(config_of(shape).train, steps=3))
    Driver(again, tmp_path / "run").train()
    Driver(again, tmp_path / "whole").train()
    first, second = (
        checkpoints.load(checkpoint_files(tmp_path / name)[-1]) for name in ("run", "whole")
    )
    assert first.step == second.step == 3
    for part, tensors in second.parts.items():
        for name, tensor in tensors.items():
            assert torch.equal(first.parts[part][name], tensor), name
    assert first.config.data.shape == shape


@shapes
def test_a_run_keeps_the_channels_it_found(run_of, config_of, shape):
    folder = run_of(shape)
    begun = settings.load_toml(folder / "config.toml")
    assert begun.data.channels == shape[0]
    assert Driver(config_of(shape), folder).state.step == 2  # as found is no other setting
    other = config_of(shape)
    other = replace(other, data=replace(other.data, channels=1 if shape[0] != 1 else 3))
    with pytest.raises(SaganError, match=r"data\.channels"):
        Driver(other, folder)


def test_checkpoints_without_channels_have_three(run_of, tmp_path):
    folder = run_of((3, 32, 48))
    checkpoint = checkpoints.load(checkpoint_files(folder)[-1])
    data = replace(checkpoint.config.data, channels=0)
    path = tmp_path / "old.safetensors"
    checkpoints.save(replace(checkpoint, config=replace(checkpoint.config, data=data)), path)
    assert checkpoints.load(path).config.data.channels == 3
    assert load_generator(path).sample([0], 0).shape == (1, 3, 32, 48)
    assert load_discriminator(path).channels == 3


@shapes
def test_sample(run_of, shape, tmp_path):
    channels, height, width = shape
    with Image.open(run_of(shape) / "samples" / "step-00000002.png") as sheet:
        assert sheet.mode == MODES[channels]
        assert sheet.height == 2 * (height + 2) + 2
        assert 0 < sheet.width - (8 * (width + 2) + 2) < 60  # the names of the classes
    assert run("sample", run_of(shape), "--seeds", "0-2", "-o", tmp_path / "grid.png") == 0
    with Image.open(tmp_path / "grid.png") as sheet:
        assert (sheet.mode, sheet.size) == (MODES[channels], (3 * width + 8, 2 * height + 6))
        assert np.asarray(sheet)[0].min() == 255
    assert (
        run("sample", run_of(shape), "--seeds", "0-1", "--scale", 2, "-o", tmp_path / "many") == 0
    )
    with Image.open(tmp_path / "many" / "odd" / "1.png") as picture:
        assert (picture.mode, picture.size) == (MODES[channels], (2 * width, 2 * height))
    assert run("sample", run_of(shape), "--seeds", "0-1", "-o", tmp_path / "all.npz") == 0
    with np.load(tmp_path / "all.npz") as arrays:
        images = arrays["images"]
    assert images.shape == (4, *shape)
    enlarged = pixels(tmp_path / "many" / "odd" / "1.png").reshape(2 * height, 2 * width, channels)
    assert np.array_equal(enlarged[::2, ::2].transpose(2, 0, 1), images[3])


@shapes
@pytest.mark.parametrize("suffix", ["gif", "apng", "mp4", "png"])
def test_interpolate(run_of, shape, suffix, tmp_path):
    if suffix == "mp4":
        pytest.importorskip("av")
    path = tmp_path / f"walk.{suffix}"
    small = ["--seeds", "0-1", "--frames", 2, "--scale", 1, "--class", "even"]
    assert run("interpolate", run_of(shape), *small, "-o", path) == 0
    if suffix == "mp4":
        import av

        with av.open(str(path)) as film:
            assert (film.streams.video[0].height, film.streams.video[0].width) == shape[1:]
        return
    with Image.open(path) as film:
        if suffix != "png":
            assert film.size == (shape[2], shape[1])
        if suffix != "gif":
            assert film.mode == MODES[shape[0]]


@shapes
def test_attention(run_of, shape, tmp_path):
    rows, columns = attended(shape[1:])[1]
    figure, raw = tmp_path / "figure.png", tmp_path / "rows.npy"
    assert run("attention", run_of(shape), "--grid", 3, "--raw", raw, "-o", figure) == 0
    assert np.load(raw).shape == (9, rows * columns // 4)
    assert pixels(figure).shape[2] == 3
    judge = load_discriminator(run_of(shape))
    found = judge.attention(noise(shape).images[:2], at=[(shape[2] - 1, shape[1] - 1)])
    assert found.rows[str(rows)].shape == (2, 1, rows * columns // 4)
    assert found.figure.shape[0] == 3
    heading = f"each of {rows * columns} places looks at {rows * columns // 4} blocks of 4 x 4"
    assert heading in heading_of(found)
    with pytest.raises(SaganError, match=rf"judges \(N, {', '.join(map(str, shape))}\)"):
        judge.attention(np.zeros((1, 3, 32, 32), np.uint8))


def heading_of(attention):
    """The words above the panels of a figure's only layer."""
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "sagan.sampling.attention.attention_figure",
            lambda picture, points, layers, **_: seen.extend(layers) or np.zeros((3, 1, 1)),
        )
        attention.drawn()
    return seen[0]


@shapes
def test_statistics_and_timeline(run_of, shape, tmp_path):
    for layer in attention_statistics(run_of(shape), count=2):
        rows, columns = attended(shape[1:])[1]
        assert layer.uniform.keys == rows * columns // 4
        assert 0 < layer.mean.entropy <= layer.uniform.entropy + 1e-6
        assert 0 < layer.mean.distance < math.sqrt(2)
        if layer.network == "discriminator":
            assert layer.pictures == "training"
    timeline = tmp_path / "timeline.png"
    point = f"{shape[2] - 1},{shape[1] - 1}"
    assert run("attention", run_of(shape), "--timeline", "--at", point, "-o", timeline) == 0
    assert pixels(timeline).shape[1] > 600


@shapes
def test_evaluate(run_of, shape, tmp_path):
    output = tmp_path / "record.json"
    small = ["--samples", 4, "--repeats", 1, "--metrics", "fd,kid,accuracy,neighbours"]
    assert run("evaluate", run_of(shape), *small, "-o", output) == 0
    record = json.loads(output.read_text())
    sides = shape[1] if shape[1] == shape[2] else f"{shape[1]} x {shape[2]}"
    assert record["protocol"]["resolution"] == sides
    assert all(math.isfinite(value["mean"]) for value in record["values"].values())
    assert any("transparent" in note for note in record["notes"]) == (shape[0] == 4)
    with Image.open(output.with_suffix(".png")) as sheet:
        assert sheet.mode == "RGB"
    with pytest.raises(SaganError, match=f"are {sides} pixels wide, the real ones 20"):
        sagan.evaluate(run_of(shape), metrics="fd", samples=4, repeats=1, resolution=20)


@shapes
def test_report(run_of, shape, tmp_path):
    assert run("report", run_of(shape), "-o", tmp_path / "report.html") == 0
    page = (tmp_path / "report.html").read_text()
    assert f"{shape[1]} <small>x {shape[2]} pixels" in page
    assert "cannot be had" not in page
    assert "another size" not in page


@pytest.mark.parametrize(
    ("shape", "compared"),
    [((1, 48, 48), (48, 48)), ((3, 64, 96), (32, 48)), ((4, 224, 112), (112, 56))],
)
def test_neighbours_are_compared_in_whole_blocks(shape, compared):
    images = noise(shape, 3).images
    rows = _compared(images, np.array([2, 0]))
    assert rows.shape == (2, shape[0] * compared[0] * compared[1])
    block = shape[1] // compared[0]
    corner = images[2, 0, :block, -block:].mean()
    assert rows[0, compared[1] - 1] == pytest.approx(corner, rel=1e-5)


@shapes
def test_neighbours_have_the_shape_of_the_model(run_of, shape):
    assert find_neighbours(load_generator(run_of(shape)), noise(shape, 12)).rows
    with pytest.raises(SaganError, match="another size"):
        find_neighbours(load_generator(run_of(shape)), noise((3, 32, 32), 12))


@shapes
def test_export_and_convert(run_of, shape, tmp_path, capsys):
    exported = tmp_path / "model.safetensors"
    assert run("export", run_of(shape), "-o", exported) == 0
    first, second = (load_generator(path).sample([0], "odd") for path in (run_of(shape), exported))
    assert np.array_equal(first, second)
    capsys.readouterr()
    for target in ("biggan", "studiogan", "mmgen"):
        line = mistake(capsys, "convert", exported, "--to", target, "-o", tmp_path / "files")
        assert f"{shape[1]} x {shape[2]} pixels with {shape[0]} channel" in line


@shapes
def test_models_name_their_shape(run_of, shape):
    for model in (load_generator(run_of(shape)), load_discriminator(run_of(shape))):
        assert (model.channels, *model.size) == shape
        assert model.resolution == shape[1]
        assert f"({shape[1]} x {shape[2]} pixels, " in repr(model)
        assert ("grey" in repr(model)) == (shape[0] == 1)


def test_memory_of_a_step_is_told(config_of):
    config = config_of((4, 48, 32))
    config = replace(config, data=replace(config.data, channels=4))
    size = 4 * sum(parameters(config, 2))
    assert 2 * size < peak_bytes(config, 2, bfloat16=False) < upper_bound(config, size)


@shapes
def test_penalties_and_augmentation_train(config_of, shape, tmp_path):
    config = config_of(shape)
    config = replace(
        config,
        data=replace(
            config.data, augment=("colour", "translation", "cutout"), horizontal_flip=True
        ),
        loss=replace(config.loss, r1=1.0, consistency_real=1.0, lecam=0.1),
    )
    assert Driver(config, tmp_path / "run").train().steps == 2


def test_png_bytes_keep_the_mode():
    for channels, mode in MODES.items():
        with Image.open(io.BytesIO(png_bytes(np.zeros((channels, 3, 5), np.uint8)))) as image:
            assert (image.mode, image.size) == (mode, (5, 3))
