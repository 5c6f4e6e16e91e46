import io
import json
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from conftest import tiny
from PIL import Image

from sagan.data import load_dataset
from sagan.errors import SaganError
from sagan.images import to_uint8
from sagan.images.figure import attention_figure
from sagan.images.maps import attended_regions, median_overlap
from sagan.images.queries import query_index
from sagan.inspection import (
    LayerReach,
    attention_reach,
    attention_statistics,
    attention_timeline,
    reach_csv,
    reach_figure,
    reach_table,
    statistics_json,
    statistics_table,
)
from sagan.inspection.statistics import measure_network, shown_images
from sagan.inspection.timeline_figure import timeline_figure
from sagan.nn.layers import SelfAttention2d
from sagan.nn.residual import Discriminator, Generator
from sagan.runs import checkpoint as checkpoints
from sagan.runs.folder import checkpoint_files
from sagan.sampling.attention import explicit_rows
from sagan.sampling.generator import TrainedDiscriminator, TrainedGenerator
from sagan.training.driver import Driver

NAMES = ("dark", "light")


def awake(network):
    """Gives attention a part in the result, and clear preferences."""
    for layer in network.attention.values():
        torch.nn.init.constant_(layer.gamma, 0.5)
        layer.query.weight.data *= 5
    return network


def generator_with(*attention, num_classes=2, **settings):
    config = replace(tiny().generator, attention=attention, **settings)
    network = awake(Generator(config, resolution=32, num_classes=num_classes))
    return TrainedGenerator(network, NAMES[:num_classes])


def discriminator_with(*attention, num_classes=2, **settings):
    config = replace(tiny().discriminator, attention=attention, **settings)
    network = awake(Discriminator(config, resolution=32, num_classes=num_classes))
    return TrainedDiscriminator(network, NAMES[:num_classes])


def noise(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (3, 32, 32), dtype=np.uint8)


def observed(which, sides=(8, 16), **settings):
    """A network, and a function that asks it about points of one picture."""
    if which == "generator":
        model = generator_with(*sides, **settings)
        return model, partial(model.attention, 3, "light")
    model = discriminator_with(*sides, **settings)
    return model, partial(model.attention, noise(), "light")


EVERY_CELL = [(x, y) for y in range(0, 32, 2) for x in range(0, 32, 2)]
BOTH = pytest.mark.parametrize("which", ["generator", "discriminator"])


@BOTH
@pytest.mark.parametrize("pooling", [True, False])
def test_rows_sum_to_one_in_every_layer(which, pooling):
    _, ask = observed(which, attention_pooling=pooling)
    attention = ask(at=[(0, 0), (31, 31)])
    assert [place.name for place in attention.places] == list(attention.rows) == ["8", "16"]
    for name, rows in attention.rows.items():
        assert rows.shape == (1, 2, int(name) ** 2 // (4 if pooling else 1))
        assert rows.dtype == np.float32
        np.testing.assert_allclose(rows.sum(2), 1, atol=1e-5)


@BOTH
@pytest.mark.parametrize("pooling", [True, False])
def test_rows_are_those_that_the_network_itself_uses(which, pooling):
    model, ask = observed(which, attention_pooling=pooling)
    layer, seen = model.network.attention["16"], []
    with layer.register_forward_hook(lambda _, args, out: seen.append((args[0], out))):
        attention = ask(at=EVERY_CELL, layer=16)
    rows = torch.from_numpy(attention.rows["16"][0])
    x, y = seen[0]
    with torch.inference_mode():
        values = layer.value(x)
        values = torch.nn.functional.max_pool2d(values, 2) if pooling else values
        attended = (rows @ values.flatten(2).mT[0]).mT.unflatten(1, (16, 16))[None]
        implied = x + layer.gamma * layer.out(attended)
    torch.testing.assert_close(implied, y, rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_map_that_the_fused_path_implies_is_the_explicit_one():
    layer = SelfAttention2d(32)
    for part in (layer.query, layer.key):
        part.weight.normal_()
    layer.gamma.fill_(1)
    layer.value.weight.copy_(torch.eye(16, 32)[..., None, None])  # reads the first 16 channels
    layer.out.weight.copy_(torch.eye(32, 16)[..., None, None])  # writes them
    x = torch.randn(1, 32, 8, 8)
    # The first 16 channels say of each 2 x 2 block, one-hot, which key it becomes, so that the
    # channels of what the layer adds are the weights of the keys.
    x[0, :16] = torch.eye(16).unflatten(1, (4, 4)).repeat_interleave(2, 1).repeat_interleave(2, 2)
    implied = (layer(x) - x)[0, :16].flatten(1).mT
    explicit = explicit_rows(layer, x, np.arange(64))[0]
    assert explicit.max() > 0.5
    np.testing.assert_allclose(implied.numpy(), explicit, atol=1e-5)


@torch.no_grad()
def two_blobs():
    """A layer in which each of two blobs looks at the other, and its input, (1, 16, 16, 16)."""
    layer = SelfAttention2d(16)
    for part in (layer.query, layer.key):
        part.weight.zero_()
    layer.query.weight[0, 0] = layer.query.weight[1, 1] = 4.0
    layer.key.weight[0, 1] = layer.key.weight[1, 0] = 4.0
    x = torch.zeros(1, 16, 16, 16)
    x[0, 0, 2:4, 2:4] = 1  # upper left
    x[0, 1, 12:14, 10:12] = 1  # lower right
    return layer, x


@pytest.mark.parametrize(
    ("query", "key"), [((2, 3), (5, 6)), ((11, 12), (1, 1))], ids=["from-first", "from-second"]
)
def test_a_blob_looks_at_the_other_where_the_weights_say_so(query, key):
    layer, x = two_blobs()
    number = query_index(query, (16, 16), (16, 16))
    row = explicit_rows(layer, x, np.array([number]))[0, 0]
    column, line = key
    assert np.argmax(row) == line * 8 + column
    assert row.max() > 0.99
    [(left, top, _)] = attended_regions(row.reshape(8, 8))
    assert (int(left * 8), int(top * 8)) == key


def test_the_heat_of_a_blob_is_drawn_over_the_other():
    layer, x = two_blobs()
    rows = explicit_rows(layer, x, np.array([query_index((2, 2), (16, 16), (16, 16))]))[0]
    figure = attention_figure(np.zeros((3, 16, 16), np.uint8), [(2, 2)], {"": rows}).astype(int)
    panel = figure[:, 34 : 34 + 256, 20 + 264 + 20 + 4 :][:, :, :256]
    bright = (panel[0] > 180) & (panel[1] > 140) & (panel[2] < panel[1] - 40)
    lines, columns = np.nonzero(bright)
    assert len(lines) > 20
    assert set(lines // 32) == {6}
    assert set(columns // 32) == {5}


def test_a_background_point_looks_everywhere_alike():
    layer, x = two_blobs()
    row = explicit_rows(layer, x, np.array([0]))[0, 0]
    np.testing.assert_allclose(row, 1 / 64, atol=1e-6)


def test_the_map_of_a_discriminator_depends_on_its_picture_only():
    discriminator = discriminator_with(16)

    def rows(picture, label):
        return discriminator.attention(picture, label, at=[(9, 9)]).rows["16"]

    np.testing.assert_array_equal(rows(noise(), "dark"), rows(noise(), "light"))
    np.testing.assert_array_equal(rows(noise(), None), rows(noise(), "light"))
    assert not np.allclose(rows(noise(), "dark"), rows(noise(1), "dark"), atol=1e-4)


@BOTH
def test_looking_leaves_no_hook_behind(which):
    model, ask = observed(which)
    ask()
    for layer in model.attention_layers().values():
        assert not layer._forward_pre_hooks


def test_the_picture_looked_at_is_the_one_that_sampling_draws():
    generator = generator_with(16)
    attention = generator.attention([3], "light", truncation=0.7)
    sampled = generator.sample([3], "light", truncation=0.7)
    np.testing.assert_array_equal(attention.pictures, sampled)
    assert attention.names == ("light, seed 3, truncation 0.7",)


def test_several_pictures_have_the_rows_and_the_figures_of_each_alone():
    generator, discriminator = generator_with(8, 16), discriminator_with(8, 16)
    pictures = generator.sample([3, 5], "light")
    for together, alone in (
        (
            generator.attention([3, 5], "light"),
            [generator.attention(seed, "light") for seed in (3, 5)],
        ),
        (
            discriminator.attention(pictures, ["dark", "light"]),
            [discriminator.attention(pictures[0], "dark"), discriminator.attention(pictures[1], 1)],
        ),
    ):
        for name, rows in together.rows.items():
            assert rows.shape[:2] == (2, 5)
            np.testing.assert_array_equal(rows, np.concatenate([one.rows[name] for one in alone]))
        figures = np.concatenate([one.figure for one in alone], axis=1)
        np.testing.assert_array_equal(together.figure, figures)


@BOTH
def test_figures_show_all_layers_or_those_asked_for(which):
    _, ask = observed(which)
    both, fine, coarse = ask().figure, ask(layer=16).figure, ask(layer="8").figure
    assert both.dtype == np.uint8
    assert both.shape[1] > fine.shape[1] + 200
    assert fine.shape == coarse.shape
    assert not np.array_equal(fine, coarse)


def test_a_notebook_shows_attention_and_says_little(tmp_path):
    attention = generator_with(16).attention(3, "light", at=[(3, 4)])
    shown = np.asarray(Image.open(io.BytesIO(attention._repr_png_()))).transpose(2, 0, 1)
    np.testing.assert_array_equal(shown, attention.figure)
    stored = np.asarray(Image.open(attention.save(tmp_path / "a.png"))).transpose(2, 0, 1)
    np.testing.assert_array_equal(stored, attention.figure)
    expected = "Attention(generator, rows of (pictures, points, keys): 16: (1, 1, 64))"
    assert repr(attention) == expected


@BOTH
def test_attention_tells_what_each_layer_does(which):
    model, ask = observed(which)
    attention = ask(at=[(3, 4), (20, 9), (12, 30)])
    for place in attention.places:
        layer = model.network.attention[place.name]
        [focus] = attention.focus[place.name]
        rows = ask(at=EVERY_CELL, layer=place.name).rows[place.name][0] if place.height == 16 else 0
        if place.height == 16:  # all of its places
            assert focus.peak == pytest.approx(rows.max(1).mean(), rel=1e-4)
            entropy = -(rows * np.log(rows)).sum(1).mean() / np.log(rows.shape[1])
            assert focus.entropy == pytest.approx(entropy, rel=1e-4)
        assert focus.gamma == layer.gamma.item() == 0.5
        assert attention.overlaps[place.name] == median_overlap(attention.rows[place.name][0])
    lines = attention.lines()
    assert [line.split(":")[0] for line in lines if line[0] != " "] == [
        f"{which} at 8 x 8",
        f"{which} at 16 x 16",
    ]
    assert "gamma +0.500" in lines[0]
    assert f"overlap of the points' maps {attention.overlaps['8']:.2f}" in lines[0]


def test_a_single_point_overlaps_with_none():
    attention = generator_with(16).attention(3, "light", at=[(3, 4)])
    assert np.isnan(attention.overlaps["16"])
    assert "overlap" not in attention.lines()[0]


def test_the_points_that_are_chosen_are_asked_about():
    _, ask = observed("generator")
    attention = ask()
    [points] = attention.points
    assert len(set(points)) == 5
    again = ask(at=points)
    for name, rows in attention.rows.items():
        np.testing.assert_allclose(again.rows[name], rows, atol=1e-6)


def test_layers_of_one_side_are_told_apart():
    model = discriminator_with(channels=(1, 2, 2, 2), final_resolution=8, attention_blocks=(2, 3))
    assert list(model.network.attention) == ["8", "8-2"]
    assert list(model.attention(noise(), layer=8).rows) == ["8", "8-2"]
    assert list(model.attention(noise(), layer="8").rows) == ["8"]
    assert list(model.attention(noise(), layer="8-2").rows) == ["8-2"]
    both, one = model.attention(noise()).figure, model.attention(noise(), layer="8").figure
    assert both.shape[1] > one.shape[1] + 200
    layers = measure_network(model, {0: torch.rand(2, 3, 32, 32)}, "real")
    assert [layer.place.name for layer in layers] == ["8", "8-2"]
    assert layers[0].mean != layers[1].mean
    assert "discriminator, attention at 8 x 8, block 2, 2 real" in statistics_table(layers)
    plain = json.loads(statistics_json(layers))
    assert [(layer["place"], layer["resolution"]) for layer in plain] == [("8", 8), ("8-2", 8)]


def test_residual_blocks_in_place_of_attention_look_nowhere():
    generator = generator_with_residual_blocks()
    assert not generator.has_attention()
    with pytest.raises(SaganError, match="no attention layer"):
        generator.attention(0)


def generator_with_residual_blocks():
    config = replace(tiny().generator, attention_form="residual")
    return TrainedGenerator(Generator(config, resolution=32, num_classes=2), NAMES)


def test_unconditional_networks_have_figures():
    generator = generator_with(16, num_classes=0)
    assert generator.attention(0, at=[(3, 4)]).figure.ndim == 3
    discriminator = discriminator_with(16, num_classes=0)
    assert discriminator.attention(noise()).figure.ndim == 3


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: generator_with().attention(0), r"train with --generator\.attention"),
        (lambda: discriminator_with().attention(noise()), r"with --discriminator\.attention"),
        (
            lambda: generator_with(8, 16).attention(0, layer=32),
            "no attention at 32; this generator has it at 8, 16",
        ),
        (lambda: generator_with(16).attention(0, at=[(32, 0)]), "outside the picture"),
        (lambda: generator_with(16).attention(0, at=(3, 4)), "no list of pixels"),
        (lambda: generator_with(16).attention(0, at=[(3.5, 4)]), "no list of pixels"),
        (lambda: generator_with(16).attention([]), "no picture"),
        (lambda: discriminator_with(16).attention(noise(), "drak"), "known are dark, light"),
        (
            lambda: discriminator_with(16, num_classes=0).attention(noise(), "dark"),
            "no classes",
        ),
        (lambda: discriminator_with(16).attention(noise()[:, :16, :16]), r"\(N, 3, 32, 32\)"),
        (lambda: discriminator_with(16).attention(noise() / 255), "are no pictures"),
    ],
)
def test_mistakes(ask, words):
    with pytest.raises(SaganError, match=words):
        ask()


@pytest.mark.parametrize("pooling", [True, False])
def test_a_network_that_looks_everywhere_alike_has_the_uniform_statistics(pooling):
    generator = generator_with(8, 16, attention_pooling=pooling)
    for layer in generator.network.attention.values():
        layer.query.weight.zero_()
    for layer in measure_network(generator, dict.fromkeys((0, 1), torch.randn(3, 16)), "generated"):
        assert set(layer.classes) == {"dark", "light"}
        assert layer.uniform.keys == layer.place.height * layer.place.width // (4 if pooling else 1)
        assert layer.uniform.entropy == pytest.approx(np.log(layer.uniform.keys))
        for spread in (layer.mean, *layer.classes.values()):
            for name in ("entropy", "distance", "outside"):
                expected = getattr(layer.uniform, name)
                assert getattr(spread, name) == pytest.approx(expected, rel=1e-5)


def test_statistics_of_a_class_are_the_mean_over_its_pictures():
    generator, latents = generator_with(16), torch.randn(20, 16)  # more than a batch
    [together] = measure_network(generator, {1: latents}, "generated")
    alone = [measure_network(generator, {1: latent[None]}, "generated")[0] for latent in latents]
    for name in ("entropy", "distance", "outside"):
        mean = np.mean([getattr(one.mean, name) for one in alone])
        assert getattr(together.classes["light"], name) == pytest.approx(mean, rel=1e-5)


def test_a_class_called_mean_does_not_take_the_place_of_the_mean(trained_run):
    found = attention_statistics(trained_run, count=1)[0]
    own = next(iter(found.classes.values()))
    assert replace(found, classes={"mean": own, "cat": own}).rows == {
        "mean": found.mean,
        "class mean": own,
        "cat": own,
    }


def test_statistics_of_a_run_cover_both_networks(trained_run):
    layers = attention_statistics(trained_run, count=3)
    assert [(x.network, x.place.height, x.pictures) for x in layers] == [
        ("generator", 16, "generated"),
        ("discriminator", 16, "training"),
    ]
    for layer in layers:
        assert layer.count == 3
        assert 0 < layer.mean.entropy <= layer.uniform.entropy + 1e-6
        assert layer.mean.entropy == pytest.approx(
            np.mean([spread.entropy for spread in layer.classes.values()])
        )
    table = statistics_table(layers)
    for word in ("generator, attention at 16 x 16, 3 generated", "3 training", "uniform", "dark"):
        assert word in table
    plain = json.loads(statistics_json(layers))
    assert plain[1]["classes"]["light"]["entropy"] == layers[1].classes["light"].entropy
    assert plain[0]["uniform"]["effective_keys"] == pytest.approx(64)
    [dark, _] = attention_statistics(trained_run, count=3, label="dark")
    assert dark.classes == {"dark": layers[0].classes["dark"]}


def moved(run, folder, **data):
    """A copy of a run's newest checkpoint that learnt from other data."""
    checkpoint = checkpoints.load(checkpoint_files(run)[-1])
    config = replace(checkpoint.config, data=replace(checkpoint.config.data, **data))
    checkpoints.save(replace(checkpoint, config=config), folder / "moved.safetensors")
    return folder / "moved.safetensors"


def test_without_its_data_a_discriminator_is_measured_on_generated_pictures(trained_run, tmp_path):
    for source in ("/no/such/folder", "avatars"):  # gone, or of other classes
        _, judged = attention_statistics(moved(trained_run, tmp_path, source=source), count=2)
        assert judged.pictures == "generated"


def test_only_the_pictures_learned_from_are_called_training_pictures(
    trained_run, picture_folder, tmp_path
):
    changed = tmp_path / "changed"
    shutil.copytree(picture_folder, changed)
    (changed / "dark" / "0.png").unlink()
    _, judged = attention_statistics(moved(trained_run, tmp_path, source=str(changed)), count=2)
    assert judged.pictures == "real"


def of_avatars(resolution, learned):
    data = replace(tiny().data, resolution=resolution, generated_images=learned)
    dataset = load_dataset(data)
    return dataset, checkpoints.Checkpoint(
        config=replace(tiny(), data=data),
        class_names=dataset.class_names,
        step=1,
        parts={},
        dataset_fingerprint=dataset.fingerprint,
    )


def test_a_discriminator_is_shown_the_avatars_it_learned_from():
    dataset, checkpoint = of_avatars(32, 900)
    images, source = shown_images(checkpoint, [3, 12], 2)
    assert source == "training"
    for label, shown in images.items():
        first = dataset.images[dataset.labels == label][:2]
        np.testing.assert_array_equal(to_uint8(shown).numpy(), first)


def test_of_large_avatars_it_is_shown_fresh_ones_and_told_so(monkeypatch):
    monkeypatch.setattr("sagan.inspection.statistics._LARGEST_COMPOSED", 16)
    _, checkpoint = of_avatars(32, 900)
    assert shown_images(checkpoint, [3], 2).source == "fresh avatar"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_neither_drawn_nor_measured(value):
    generator = generator_with(16)
    generator.network.attention["16"].query.weight.fill_(value)
    with pytest.raises(SaganError, match="not finite; choose an earlier checkpoint"):
        generator.attention(0)
    with pytest.raises(SaganError, match="not finite; choose an earlier checkpoint"):
        measure_network(generator, {0: torch.randn(1, 16)}, "generated")


def test_mistakes_in_statistics(trained_run):
    with pytest.raises(SaganError, match="at least 1"):
        attention_statistics(trained_run, count=0)
    with pytest.raises(SaganError, match="known are dark, light"):
        attention_statistics(trained_run, label="drak")
    with pytest.raises(SaganError, match="no attention at 8"):
        attention_statistics(trained_run, layer=8)


@pytest.fixture
def run_of_three(trained_run, tmp_path):
    """A copy of a run with checkpoints at the steps 1, 2 and 3."""
    folder = tmp_path / "run"
    shutil.copytree(trained_run, folder)
    newest = checkpoints.load(checkpoint_files(folder)[-1])
    for step in (1, 3):
        path = folder / "checkpoints" / f"step-{step:08d}.safetensors"
        checkpoints.save(replace(newest, step=step), path)
    return folder


def test_the_long_range_share_over_training_is_that_of_each_checkpoint(run_of_three):
    layers = attention_reach(run_of_three, count=3)
    last = attention_statistics(run_of_three, count=3)
    assert [(layer.network, layer.place) for layer in layers] == [
        ("generator", "16 x 16"),
        ("discriminator", "16 x 16"),
    ]
    for layer, alone in zip(layers, last, strict=True):
        assert layer.uniform == alone.uniform.outside
        assert list(layer.shares) == ["mean", "dark", "light"]
        assert list(layer.shares["mean"]) == [1, 2, 3]
        assert layer.shares["mean"][3] == [alone.mean.outside]
        assert layer.shares["light"][3] == [alone.classes["light"].outside]
        expected = alone.classes["dark"].outside / alone.uniform.outside
        assert layer.over_uniform("dark")[3] == (pytest.approx(expected),)
    table = reach_table(layers)
    assert f"run, generator, attention at 16 x 16, {layers[0].pictures} pictures;" in table
    assert "step 3" in table
    lines = reach_csv(layers).splitlines()
    assert len(lines) == 1 + 2 * 3 * 3
    assert float(lines[1].split(",")[-1]) == layers[0].over_uniform("mean")[1][0]


def test_the_long_range_share_over_seeds(run_of_three, trained_run, tmp_path):
    folder = tmp_path / "ablation"
    for place, source in (
        ("looks-seed0", run_of_three),
        ("looks-seed11", trained_run),  # which has a checkpoint of step 2 alone
        ("residual-seed0", trained_run),
    ):
        shutil.copytree(source, folder / place)
    newest = checkpoints.load(checkpoint_files(trained_run)[-1])
    config = replace(
        newest.config,
        generator=replace(newest.config.generator, attention=()),
        discriminator=replace(newest.config.discriminator, attention=()),
    )
    kept = {
        part: {k: v for k, v in tensors.items() if not k.startswith("attention")}
        for part, tensors in newest.parts.items()
        if "optimizer" not in part
    }
    checkpoints.save(
        replace(newest, config=config, parts=kept),
        checkpoint_files(folder / "residual-seed0")[-1],
    )
    (folder / "looks-seed5").mkdir()  # no run
    generator, discriminator = attention_reach(folder, count=2, label="dark")
    assert generator.variant == discriminator.variant == "looks"
    alone = attention_statistics(trained_run, count=2, label="dark")
    for layer, one in zip((generator, discriminator), alone, strict=True):
        [(step, shares)] = layer.shares["dark"].items()
        assert step == 2
        assert shares == [one.mean.outside] * 2
    assert "2 seeds" in reach_table([generator])
    assert "± 0.000" in reach_table([generator])
    assert reach_figure([generator, discriminator]).shape[0] == 3
    with pytest.raises(SaganError, match=r"no run in .* has attention"):
        attention_reach(folder, layer=8)


def test_a_map_without_a_place_outside_has_no_ratio():
    layer = LayerReach(
        variant="a",
        network="discriminator",
        place="4 x 4",
        pictures="training",
        uniform=0.0,
        shares={"mean": {1: [0.0]}},
    )
    [[number]] = layer.over_uniform("mean").values()
    assert np.isnan(number)
    assert "nan" in reach_table([layer])


def test_the_timeline_of_a_run(run_of_three):
    with (run_of_three / "log.jsonl").open("a") as log:
        log.write('{"step": 3, "variety": 0.5}\n{"step": 3, "gene')
    figure = attention_timeline(run_of_three, seed=1, label="light", point=(3, 4))
    assert figure.dtype == np.uint8
    assert figure.shape[0] == 3
    assert min(figure.shape[1:]) > 400
    again = attention_timeline(run_of_three, seed=1, label="light", point=(3, 4), layer=16)
    np.testing.assert_array_equal(figure, again)
    other = attention_timeline(run_of_three, seed=1, label="light", point=(20, 4))
    assert not np.array_equal(figure, other)


def test_a_timeline_shows_the_discriminator_a_training_picture(run_of_three, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "sagan.inspection.timeline.timeline_figure", lambda *args, **_: drawn.append(args[3])
    )
    attention_timeline(run_of_three, label="light")
    attention_timeline(run_of_three, label="light", point=(3, 4))
    for snapshots in drawn:
        assert [snapshot.step for snapshot in snapshots] == [1, 2, 3]
        shown = [snapshot.attention["training picture"] for snapshot in snapshots]
        assert shown[0].pictures.min() >= 128  # light
        for attention in shown:
            np.testing.assert_array_equal(attention.pictures, shown[0].pictures)
            assert attention.points == shown[0].points
            assert (attention.network, list(attention.rows)) == ("discriminator", ["16"])
        assert snapshots[0].attention["generated picture"].network == "generator"
    assert drawn[1][0].attention["training picture"].points == (((3, 4),),)


def test_a_timeline_without_the_data_shows_the_generator_only(run_of_three, monkeypatch):
    for path in checkpoint_files(run_of_three):
        checkpoint = checkpoints.load(path)
        data = replace(checkpoint.config.data, source="/no/such/folder")
        config = replace(checkpoint.config, data=data)
        checkpoints.save(replace(checkpoint, config=config), path)
    drawn = []
    monkeypatch.setattr(
        "sagan.inspection.timeline.timeline_figure", lambda *args, **_: drawn.append(args[3])
    )
    attention_timeline(run_of_three)
    assert [list(snapshot.attention) for snapshot in drawn[0]] == [["generated picture"]] * 3


@pytest.fixture(scope="session")
def unusual_run(tmp_path_factory, picture_folder):
    """A run whose generator does not pool keys and whose discriminator attends twice at 8 x 8."""
    folder = tmp_path_factory.mktemp("runs") / "unusual"
    config = tiny(steps=2)
    blocks = {"channels": (1, 2, 2, 2), "final_resolution": 8, "attention_blocks": (2, 3)}
    config = replace(
        config,
        data=replace(config.data, source=str(picture_folder)),
        generator=replace(config.generator, attention=(8, 16), attention_pooling=False),
        discriminator=replace(config.discriminator, attention=(), **blocks),
    )
    Driver(config, folder).train()
    return folder


def test_statistics_of_unpooled_keys_and_of_two_layers_of_one_side(unusual_run):
    layers = attention_statistics(unusual_run, count=2)
    assert [(x.network, x.place.name, x.uniform.keys) for x in layers] == [
        ("generator", "8", 64),
        ("generator", "16", 256),
        ("discriminator", "8", 16),
        ("discriminator", "8-2", 16),
    ]
    eights = attention_statistics(unusual_run, count=2, layer=8)
    assert [x.place.name for x in eights] == ["8", "8", "8-2"]


def test_a_timeline_of_unpooled_keys_and_of_two_layers_of_one_side(unusual_run, monkeypatch):
    drawn = []

    def keep(*args, **named):
        drawn.append(args)
        return timeline_figure(*args, **named)

    monkeypatch.setattr("sagan.inspection.timeline.timeline_figure", keep)
    assert attention_timeline(unusual_run).ndim == 3
    assert attention_timeline(unusual_run, layer=8).ndim == 3
    names = ["generator, 8 x 8", "discriminator, 8 x 8", "discriminator, 8 x 8, block 2"]
    gammas, entropies, peaks, _ = drawn[1]
    for curves in (gammas, entropies, peaks):
        assert [curve.name for curve in curves] == names
    logged = [json.loads(line) for line in (unusual_run / "log.jsonl").read_text().splitlines()]
    expected = [x["discriminator_gamma_8-2"] for x in logged if "discriminator_gamma_8-2" in x]
    assert list(gammas[2].values) == expected != []
    for curve in (*entropies, *peaks):
        assert all(0 < value <= 1 for value in curve.values)


def test_a_timeline_of_a_discriminator_alone(trained_run, tmp_path, monkeypatch):
    """Where only the discriminator has attention, and its data are gone."""
    checkpoint = checkpoints.load(checkpoint_files(trained_run)[-1])
    config = replace(
        checkpoint.config,
        generator=replace(checkpoint.config.generator, attention=()),
        data=replace(checkpoint.config.data, source="/no/such/folder"),
    )
    network = Generator(config.generator, resolution=32, num_classes=2)
    parts = {
        "generator": network.state_dict(),
        "discriminator": checkpoint.parts["discriminator"],
    }
    checkpoint = replace(checkpoint, config=config, parts=parts)
    checkpoints.save(checkpoint, tmp_path / "checkpoints" / "step-00000002.safetensors")
    (tmp_path / "config.toml").write_text("")
    drawn = []
    monkeypatch.setattr(
        "sagan.inspection.timeline.timeline_figure", lambda *args, **_: drawn.append(args[3])
    )
    attention_timeline(tmp_path)
    assert drawn[0][0].attention["generated picture"].network == "discriminator"


def test_a_timeline_leaves_a_damaged_checkpoint_out(run_of_three):
    first = checkpoint_files(run_of_three)[0]
    first.write_bytes(first.read_bytes()[:5000])
    with pytest.warns(RuntimeWarning, match="left out: .*step-00000001"):
        attention_timeline(run_of_three)


def test_mistakes_in_a_timeline(trained_run, tmp_path):
    with pytest.raises(SaganError, match="no run folder"):
        attention_timeline(tmp_path)
    with pytest.raises(SaganError, match="outside the picture"):
        attention_timeline(trained_run, point=(32, 0))
    with pytest.raises(SaganError, match="no attention at 8"):
        attention_timeline(trained_run, layer=8)
    (tmp_path / "config.toml").write_bytes((trained_run / "config.toml").read_bytes())
    with pytest.raises(SaganError, match="no checkpoint"):
        attention_timeline(tmp_path)
