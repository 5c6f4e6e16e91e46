import io
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import tiny
from PIL import Image

import sagan
from sagan.data import Dataset
from sagan.errors import SaganError
from sagan.images import enlarge, grid
from sagan.images.batch import Pictures
from sagan.images.variety import nearest_distance
from sagan.nn.residual import Discriminator, Generator
from sagan.runs import checkpoint as checkpoints
from sagan.runs.checkpoint import Checkpoint
from sagan.runs.run import load_checkpoint
from sagan.sampling.generator import (
    TrainedDiscriminator,
    TrainedGenerator,
    class_sheet,
    for_inference,
    logged_variety,
    varieties,
)
from sagan.sampling.latents import draw_latents
from sagan.sampling.network import label_number


@pytest.fixture
def model(tmp_path):
    """A file with an untrained generator, different averaged weights and a discriminator."""
    size = {"resolution": 32, "num_classes": 2}
    checkpoint = Checkpoint(
        config=tiny(),
        class_names=("dark", "light"),
        step=0,
        parts={
            "generator": Generator(tiny().generator, **size).state_dict(),
            "generator_ema": Generator(tiny().generator, **size).state_dict(),
            "discriminator": Discriminator(tiny().discriminator, **size).state_dict(),
        },
    )
    path = tmp_path / "model.safetensors"
    checkpoints.save(checkpoint, path)
    return path


def test_opening_a_model_draws_no_random_numbers(model):
    before = torch.get_rng_state()
    sagan.load_generator(model)
    sagan.load_discriminator(model)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_picture_depends_on_its_seed_and_label_alone(model):
    generator = sagan.load_generator(model)
    together = generator.sample(range(70), "light")
    alone = np.concatenate([generator.sample([seed], "light") for seed in (0, 3, 69)])
    difference = np.abs(together[[0, 3, 69]].astype(int) - alone)
    assert difference.max() <= 1
    assert np.abs(together[0].astype(int) - together[1]).max() > 10


def test_labels_by_name_and_number_one_or_many(model):
    generator = sagan.load_generator(model)
    by_name = generator.sample([1, 2], ["dark", "light"])
    np.testing.assert_array_equal(by_name, generator.sample([1, 2], [0, 1]))
    for labels in (np.array(["dark", "light"]), np.array([0, 1], np.uint8), torch.tensor([0, 1])):
        np.testing.assert_array_equal(by_name, generator.sample([1, 2], labels))
    assert by_name.shape == (2, 3, 32, 32)
    assert by_name.dtype == np.uint8
    assert generator.sample([], 0).shape == (0, 3, 32, 32)


def test_averaged_weights_are_used(model):
    checkpoint = checkpoints.load(model)
    generator = Generator(checkpoint.config.generator, resolution=32, num_classes=2).eval()
    generator.load_state_dict(checkpoint.parts["generator_ema"])
    latents, labels = torch.randn(3, 16), torch.tensor([0, 1, 1])
    with torch.no_grad():
        expected = generator(latents, labels)
    torch.testing.assert_close(
        sagan.load_generator(model)(latents, labels), expected, rtol=0, atol=1e-5
    )


def test_discriminator_judges(model):
    checkpoint = checkpoints.load(model)
    discriminator = Discriminator(checkpoint.config.discriminator, resolution=32, num_classes=2)
    discriminator.load_state_dict(checkpoint.parts["discriminator"])
    images, labels = torch.rand(3, 3, 32, 32), torch.tensor([0, 1, 1])
    logits = sagan.load_discriminator(model)(images, labels)
    assert logits.shape == (3,)
    torch.testing.assert_close(logits, discriminator(images, labels).detach())
    torch.testing.assert_close(sagan.load_discriminator(model)(images.double(), labels), logits)
    assert sagan.load_discriminator(model)(images[:0], labels[:0]).shape == (0,)


def test_exported_file_draws_the_same(model, tmp_path):
    exported = for_inference(load_checkpoint(model)[0])
    assert exported.parts.keys() == {"generator", "discriminator"}
    checkpoints.save(exported, tmp_path / "small.safetensors")
    np.testing.assert_array_equal(
        sagan.load_generator(tmp_path / "small.safetensors").sample([5], 0),
        sagan.load_generator(model).sample([5], 0),
    )


def test_callers_random_numbers_stay_untouched(model):
    network = Generator(tiny().generator, resolution=32, num_classes=2)
    sagan.load_generator(model).sample(range(4), 0)
    before = torch.random.get_rng_state()
    TrainedGenerator(network, ("a", "b")).sample(range(4), 0)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("labels", "seeds", "words"),
    [
        ("drak", [0], "no class 'drak' .did you mean dark.*dark, light"),
        (2, [0], "no class 2.*dark, light"),
        (None, [0], "choose a class.*dark, light"),
        (["dark"], [0, 1], "1 labels for 2 pictures"),
        ("dark", [-1], "seed -1"),
        ("dark", 4, r"range\(4\), or the one seed as \[4\]"),
        ("dark", np.int64(4), r"range\(4\)"),
        ("dark", torch.tensor(4), r"range\(4\)"),
        ("dark", [1.5], "seed 1.5 is no whole number"),
        ("dark", "0-3", "seed '0' is no whole number"),
        ([0.5], [0], "no class 0.5"),
        (torch.tensor([2]), [0], "between 0 and 1"),
        (torch.tensor([0.5]), [0], "no class 0.5"),
        (np.array([[0.5, 0.5]]), [0], r"no class \[0.5, 0.5\]"),
    ],
)
def test_mistakes(model, labels, seeds, words):
    with pytest.raises(SaganError, match=words):
        sagan.load_generator(model).sample(seeds, labels)


@pytest.mark.parametrize(
    "seeds", [range(3), np.arange(3), torch.arange(3), (0, 1, 2), iter([0, 1, 2])]
)
def test_seeds_come_as_any_row_of_whole_numbers(model, seeds):
    generator = sagan.load_generator(model)
    drawn = generator.sample(seeds, np.array([0, 1, 1]))
    np.testing.assert_array_equal(drawn, generator.sample([0, 1, 2], ["dark", "light", 1]))


COUNTED = ("1", "2", "3", "cat")


@pytest.mark.parametrize(
    ("label", "class_names", "number"),
    [
        ("light", ("dark", "light"), 1),
        (1, ("dark", "light"), 1),
        (np.int64(1), ("dark", "light"), 1),
        ("1", ("dark", "light"), 1),
        ("2", ("0", "1", "2"), 2),
        (2, ("0", "1", "2"), 2),
        ("2", COUNTED, 1),  # a text that is a name is the name
        (0, COUNTED, 0),
        ("0", COUNTED, 0),
        (0, (), 0),
    ],
)
def test_a_class_has_a_name_and_a_number(label, class_names, number):
    assert label_number(label, class_names) == number


@pytest.mark.parametrize(
    ("label", "class_names", "words"),
    [
        (2, COUNTED, "'2' is the name of number 1, number 2 is '3'"),
        (1, COUNTED, "'1' is the name of number 0, number 1 is '2'"),
        (10, ("5", "10"), "'10' is the name of number 1;"),
        ("4", COUNTED, "no class '4'.*known are 1, 2, 3, cat"),
        (-1, COUNTED, "no class -1"),
        ("9" * 5000, COUNTED, "no class '9"),
        (1, (), "no classes; leave 1 out"),
    ],
)
def test_a_number_that_may_mean_two_classes_is_refused(label, class_names, words):
    with pytest.raises(SaganError, match=words):
        label_number(label, class_names)


def test_classes_named_like_numbers_draw_what_their_names_say():
    network = Generator(tiny().generator, resolution=32, num_classes=4)
    generator = TrainedGenerator(network, COUNTED)
    by_array = generator.sample([0], np.array([1]))
    np.testing.assert_array_equal(by_array, generator.sample([0], "2"))
    assert class_sheet(generator, columns=2).shape == (3, 4 * 34 + 2, 2 * 34 + 2)
    assert logged_variety(generator, noise_of(COUNTED))["variety"] > 0


def test_variety_is_told_class_by_class():
    network = Generator(tiny().generator, resolution=32, num_classes=3)
    generator = TrainedGenerator(network, ("own", "wider", "alike"))
    own = generator.sample(range(8), "own")
    wider = generator.sample(range(8), "wider").astype(np.float64)
    middle = wider.mean(axis=0)
    narrow = np.round(middle + (wider - middle) / 4).astype(np.uint8)
    data = Dataset(
        images=np.concatenate([own, narrow, own[[0] * 8]]),
        labels=np.repeat([0, 1, 2], 8),
        class_names=generator.class_names,
        fingerprint="",
    )
    found = varieties(generator, data)
    assert found.keys() == {"own", "wider"}  # real pictures that are all alike say nothing
    assert found["own"] == 1
    rounded = nearest_distance(generator.sample(range(8), "wider")) / nearest_distance(narrow)
    assert found["wider"] == pytest.approx(rounded, rel=1e-6)
    assert rounded > 3
    quartile = 1 + (found["wider"] - 1) / 4
    assert logged_variety(generator, data)["variety"] == pytest.approx(quartile, abs=1e-4)


def noise_of(class_names):
    images = np.random.default_rng(0).integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)
    labels = np.arange(12) % len(class_names)
    return Dataset(images=images, labels=labels, class_names=class_names, fingerprint="noise")


def test_devices_are_those_of_the_command(model):
    for load in (sagan.load_generator, sagan.load_discriminator):
        assert load(model, device="auto").device.type in ("cpu", "cuda", "mps")
        with pytest.raises(SaganError, match="there is no device 'tpu' here"):
            load(model, device="tpu")


def test_a_trained_network_says_what_it_is_in_a_line(model):
    generator, discriminator = sagan.load_generator(model), sagan.load_discriminator(model)
    plain = Generator(tiny().generator, resolution=32, num_classes=2)
    count = sum(parameter.numel() for parameter in plain.parameters())
    assert repr(generator) == (
        f"TrainedGenerator(32 x 32 pixels, 2 classes, {count:,} parameters, attention: 16 x 16)"
    )
    assert repr(discriminator).startswith("TrainedDiscriminator(32 x 32 pixels, 2 classes, ")
    bare = Generator(replace(tiny().generator, attention=()), resolution=32, num_classes=0)
    assert "no classes" in repr(TrainedGenerator(bare, ()))
    assert "attention: none" in repr(TrainedGenerator(bare, ()))


def test_label_out_of_range_is_no_crash(model):
    with pytest.raises(SaganError, match="between 0 and 1"):
        sagan.load_generator(model)(torch.randn(1, 16), torch.tensor([2]))


def test_unconditional_generator():
    generator = Generator(tiny().generator, resolution=32, num_classes=0)
    trained = TrainedGenerator(generator, ())
    assert trained.sample([0, 1]).shape == (2, 3, 32, 32)
    with pytest.raises(SaganError, match="no classes"):
        trained.sample([0], "cat")


def test_truncation_bounds_the_latent_smoothly():
    plain = draw_latents(range(50), 64)
    cut = draw_latents(range(50), 64, truncation=0.8)
    assert cut.abs().max() <= 0.8
    assert torch.equal(cut.flatten().argsort(), plain.flatten().argsort())
    torch.testing.assert_close(draw_latents(range(50), 64, truncation=8.0), plain)
    # The standard deviation of the normal distribution cut off at 0.8.
    assert cut.std().item() == pytest.approx(0.4424, abs=0.01)
    for value in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(SaganError, match="above 0 and finite"):
            draw_latents([0], 4, truncation=value)


def test_gradients_reach_latents_and_pictures(model):
    latents = torch.randn(2, 16, requires_grad=True)
    labels = torch.tensor([0, 1])
    images = sagan.load_generator(model)(latents, labels)
    sagan.load_discriminator(model)(images, labels).sum().backward()
    assert latents.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (torch.rand(1, 3, 32, 32), torch.tensor([5]), "between 0 and 1"),
        (torch.rand(1, 3, 64, 64), torch.tensor([0]), r"\(1, 3, 64, 64\).*\(N, 3, 32, 32\)"),
        (torch.rand(3, 32, 32), torch.tensor([0]), r"\(3, 32, 32\).*\(N, 3, 32, 32\)"),
        (torch.rand(1, 3, 32, 32) * 255, torch.tensor([0]), "float32 from 0.* give floats"),
        (torch.full((1, 3, 32, 32), 9, dtype=torch.uint8), torch.tensor([0]), "uint8 from 9 to 9"),
        (torch.full((1, 3, 32, 32), torch.nan), torch.tensor([0]), "from nan to nan"),
        (torch.rand(1, 3, 32, 32), None, "choose a class; known are dark, light"),
        (torch.rand(2, 3, 32, 32), torch.tensor([0]), "1 labels for 2 pictures"),
        (torch.rand(1, 3, 32, 32), torch.tensor([[0]]), r"labels must have shape \(N,\)"),
        (torch.rand(1, 3, 32, 32), torch.tensor([[0.5, 0.6]]), "sum to 1"),
    ],
)
def test_a_discriminator_refuses_what_it_was_not_made_for(model, images, labels, words):
    with pytest.raises(SaganError, match=words):
        sagan.load_discriminator(model)(images, labels)


def test_a_generator_refuses_latents_of_another_length(model):
    with pytest.raises(SaganError, match=r"\(N, 16\); got \(1, 8\)"):
        sagan.load_generator(model)(torch.randn(1, 8), torch.tensor([0]))


def test_without_classes_no_labels_are_needed():
    size = {"resolution": 32, "num_classes": 0}
    generator = TrainedGenerator(Generator(tiny().generator, **size), ())
    discriminator = TrainedDiscriminator(Discriminator(tiny().discriminator, **size), ())
    latents, zeros = torch.randn(2, 16), torch.zeros(2, dtype=torch.int64)
    images = generator(latents)
    torch.testing.assert_close(images, generator(latents, zeros))
    torch.testing.assert_close(discriminator(images), discriminator(images, zeros))


def test_checks_stay_outside_of_a_traced_graph(model):
    discriminator = sagan.load_discriminator(model)
    images, labels = torch.rand(2, 3, 32, 32), torch.tensor([0, 1])
    exported = torch.export.export(discriminator, (images, labels))
    assert "aminmax" not in str(exported.graph)
    judged = exported.module()(-images, labels)
    torch.testing.assert_close(judged, discriminator(-images, labels))


def test_class_sheet_shows_at_most_sixteen_classes():
    generator = Generator(tiny().generator, resolution=32, num_classes=100)
    trained = TrainedGenerator(generator, tuple(f"class {i}" for i in range(100)))
    assert class_sheet(trained, columns=2).shape == (3, 16 * 34 + 2, 2 * 34 + 2)
    unconditional = Generator(tiny().generator, resolution=32, num_classes=0)
    sheet = class_sheet(TrainedGenerator(unconditional, ()), columns=3)
    assert sheet.shape == (3, 3 * 34 + 2, 3 * 34 + 2)


def some_pictures(count=10):
    images = np.random.default_rng(0).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
    return Pictures(images), images


def png(contents):
    return np.asarray(Image.open(io.BytesIO(contents))).transpose(2, 0, 1)


def test_pictures_show_themselves(model, tmp_path):
    drawn = sagan.load_generator(model).sample(range(3), "dark")
    assert isinstance(drawn, Pictures)
    pictures, images = some_pictures()
    np.testing.assert_array_equal(pictures.grid(4), grid(images, 4))
    np.testing.assert_array_equal(
        png(pictures.save(tmp_path / "a.png").read_bytes()), grid(images, 8)
    )
    np.testing.assert_array_equal(png(pictures._repr_png_()), enlarge(grid(images, 8), 2))
    assert repr(pictures) == "<10 pictures of 32 x 32 pixels>"
    assert png(some_pictures(200)[0]._repr_png_()).shape == (3, 2 * 274, 2 * 274)  # 64 of them
    assert pictures[:0]._repr_png_() is None
    with pytest.raises(SaganError, match="no picture"):
        pictures[:0].save(tmp_path / "none.png")
    with pytest.raises(SaganError, match="are no pictures"):
        Pictures(images / 255)


def test_pictures_are_an_array_in_every_other_respect():
    pictures, images = some_pictures()
    for cut in (
        pictures[2:5],
        pictures[[1, 3]],
        pictures[images[:, 0, 0, 0] > 99],
        pictures[None, 3],
    ):
        assert type(cut) is Pictures
    plain = {
        "one": (pictures[0], images[0]),
        "channel": (pictures[:, 0], images[:, 0]),
        "sum": (pictures + np.uint8(1), images + np.uint8(1)),
        "mean": (pictures.mean(axis=0), images.mean(axis=0)),
        "compared": (pictures > 7, images > 7),
        "joined": (np.concatenate([pictures, images]), np.concatenate([images, images])),
        "stacked": (np.stack(list(pictures)), images),
    }
    for found, expected in plain.values():
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, expected)
    assert type(pictures.max()) is np.uint8
    assert int(pictures[0, 0, 0, 0]) == images[0, 0, 0, 0]
    assert pictures.transpose(0, 2, 3, 1)._repr_png_() is None
    np.testing.assert_array_equal(torch.from_numpy(pictures).numpy(), images)
    again = pickle.loads(pickle.dumps(pictures))
    assert type(again) is Pictures
    np.testing.assert_array_equal(again, images)
    changed = images.copy()
    shown = Pictures(changed)
    shown += np.uint8(1)
    np.testing.assert_array_equal(changed, images + np.uint8(1))


@pytest.mark.parametrize("name", ["config.toml", "checkpoints/step-00000002.safetensors", "x.jpg"])
def test_what_is_saved_from_python_overwrites_nothing_of_a_run(trained_run, tmp_path, name):
    run = shutil.copytree(trained_run, tmp_path / "run")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    generator = sagan.load_generator(run)
    for shown in (generator.sample([1], 0), generator.attention([1], [0])):
        with pytest.raises(sagan.SaganError, match="cannot write"):
            shown.save(run / name)
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


@pytest.mark.parametrize("labels", [1.0, object(), b"dark", [0.5]])
def test_labels_that_are_neither_names_nor_numbers_are_refused(trained_run, labels):
    with pytest.raises(sagan.SaganError, match="there is no class"):
        sagan.load_generator(trained_run).sample([1], labels)


def test_threads_see_their_own_attention():
    generator = sagan.load_generator("avatars64")
    alone = [generator.attention([seed], "cat", at=[(10, 10)]).rows for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        beside = pool.map(lambda seed: generator.attention([seed], "cat", at=[(10, 10)]), range(4))
        for own, found in zip(alone, beside, strict=True):
            np.testing.assert_allclose(found.rows["32"], own["32"], rtol=0, atol=1e-6)


def test_a_seed_means_the_same_whatever_torch_has_for_its_defaults():
    latents = draw_latents([3, 4], 16)
    pictures = sagan.load_generator("avatars64").sample([3], "cat")
    before = torch.get_default_dtype()
    try:
        for dtype in (torch.float64, torch.bfloat16):
            torch.set_default_dtype(dtype)
            assert torch.equal(draw_latents([3, 4], 16), latents)
            np.testing.assert_array_equal(
                sagan.load_generator("avatars64").sample([3], "cat"), pictures
            )
    finally:
        torch.set_default_dtype(before)
    with torch.device("meta"):
        assert torch.equal(draw_latents([3, 4], 16), latents)


def test_a_single_label_may_be_an_array(model):
    generator = sagan.load_generator(model)
    expected = generator.sample([1, 2], "light")
    for label in (torch.tensor(1), np.array(1), np.array("light")):
        np.testing.assert_array_equal(generator.sample([1, 2], label), expected)
