import numpy as np
import pytest
import torch
from conftest import tiny

import sagan
from sagan.errors import SaganError
from sagan.nn.residual import Discriminator, Generator
from sagan.runs import checkpoint as checkpoints
from sagan.runs.checkpoint import Checkpoint
from sagan.runs.run import load_checkpoint
from sagan.sampling.generator import TrainedGenerator, class_sheet, draw_latents, for_inference


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
        (["dark"], [0, 1], "1 labels for 2 seeds"),
        ("dark", [-1], "seed -1"),
    ],
)
def test_mistakes(model, labels, seeds, words):
    with pytest.raises(SaganError, match=words):
        sagan.load_generator(model).sample(seeds, labels)


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
    with pytest.raises(SaganError, match="above 0"):
        draw_latents([0], 4, truncation=0.0)


def test_gradients_reach_latents_and_pictures(model):
    latents = torch.randn(2, 16, requires_grad=True)
    labels = torch.tensor([0, 1])
    images = sagan.load_generator(model)(latents, labels)
    sagan.load_discriminator(model)(images, labels).sum().backward()
    assert latents.grad.abs().max() > 0


def test_discriminator_names_the_range_of_labels(model):
    with pytest.raises(SaganError, match="between 0 and 1"):
        sagan.load_discriminator(model)(torch.rand(1, 3, 32, 32), torch.tensor([5]))


def test_class_sheet_shows_at_most_sixteen_classes():
    generator = Generator(tiny().generator, resolution=32, num_classes=100)
    trained = TrainedGenerator(generator, tuple(f"class {i}" for i in range(100)))
    assert class_sheet(trained, columns=2).shape == (3, 16 * 34 + 2, 2 * 34 + 2)
    unconditional = Generator(tiny().generator, resolution=32, num_classes=0)
    sheet = class_sheet(TrainedGenerator(unconditional, ()), columns=3)
    assert sheet.shape == (3, 3 * 34 + 2, 3 * 34 + 2)
