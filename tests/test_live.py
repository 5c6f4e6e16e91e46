import numpy as np
import pytest
import torch

from sagan import SaganError, load_discriminator, load_generator
from sagan.images import to_float
from sagan.runs.run import load_checkpoint
from sagan.sampling.latents import draw_latents
from sagan.sampling.live import LiveModel


@pytest.fixture(scope="module")
def model():
    return LiveModel(load_checkpoint("avatars64")[0])


@pytest.fixture(scope="module")
def asked(model):
    return draw_latents([3], model.latent_dim)[0].numpy(), np.eye(14, dtype=np.float32)[12]


def test_it_draws_what_sample_draws(model, asked):
    expected = load_generator("avatars64").sample([3], "cat")[0]
    assert np.abs(model.draw(*asked).picture.astype(int) - expected).max() <= 1


def test_maps_are_the_attention_rows(model, asked):
    attention = load_generator("avatars64").attention(3, "cat", at=[(20, 30)])
    rows = model.draw(*asked).maps["32"]
    assert rows.shape == (1024, 256)
    np.testing.assert_allclose(rows[15 * 32 + 10], attention.rows["32"][0, 0], atol=1e-6)


def test_a_scale_of_gamma_is_that_gamma(model, asked):
    generator = load_generator("avatars64")
    [layer] = generator.attention_layers().values()
    with torch.no_grad():
        layer.gamma *= 0.5
    expected = generator.sample([3], "cat")[0]
    drawn = model.draw(*asked, {"32": 0.5}).picture
    assert np.abs(drawn.astype(int) - expected).max() <= 1
    assert np.abs(drawn.astype(int) - model.draw(*asked).picture).max() > 3


def test_it_judges_for_every_class_at_once(model, asked):
    picture = model.draw(*asked).picture
    images = to_float(torch.from_numpy(picture)[None]).expand(14, -1, -1, -1)
    judge = load_discriminator("avatars64")
    expected = judge(images, torch.arange(14)).numpy(force=True)
    np.testing.assert_allclose(model.judge(picture).logits, expected, rtol=1e-5, atol=1e-5)


def test_arrays_that_cannot_be_written_are_taken_too(model, asked):
    drawn = model.draw(*asked)
    latent, shares, picture = (array.copy() for array in (*asked, drawn.picture))
    for array in (latent, shares, picture):
        array.flags.writeable = False
    np.testing.assert_array_equal(model.draw(latent, shares).picture, picture)
    judged = model.judge(picture).logits
    np.testing.assert_array_equal(judged, model.judge(drawn.picture).logits)


def test_the_explained_numbers_belong_together(model, asked):
    found = model.explain_drawing(*asked, "32", 100)
    np.testing.assert_allclose(found.products, found.keys @ found.query, atol=1e-5)
    softmax = np.exp(found.products - found.products.max())
    np.testing.assert_allclose(found.weights, softmax / softmax.sum(), atol=1e-6)
    np.testing.assert_allclose(found.gathered, found.weights @ found.values, atol=1e-5)
    [layer] = model.generator.layers
    out = layer.layer.out.kernel[:, :, 0, 0].numpy(force=True)
    np.testing.assert_allclose(found.added, found.gamma * out @ found.gathered, atol=1e-5)


def test_directions_are_principal_components_of_the_first_layer(model):
    linear = load_generator("avatars64").network.linear
    latents = torch.randn(4_000, 128, generator=torch.Generator().manual_seed(0))
    moved = [
        linear(latents @ torch.from_numpy(np.outer(d, d))).var(0).sum().item()
        for d in model.directions
    ]
    assert moved == sorted(moved, reverse=True)
    np.testing.assert_allclose(model.directions @ model.directions.T, np.eye(10), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"latent": np.zeros(3)}, "128 finite numbers"),
        ({"latent": np.full(128, np.nan)}, "128 finite numbers"),
        ({"shares": np.full(14, 0.5)}, "sum to 1"),
        ({"shares": np.eye(13)[0]}, "14 classes"),
        ({"scales": {"7": 1.0}}, "no attention at 7; it stands at 32"),
        ({"scales": {"32": np.inf}}, "finite"),
    ],
)
def test_what_does_not_fit_is_told(model, asked, change, words):
    given = {"latent": asked[0], "shares": asked[1]} | change
    with pytest.raises(SaganError, match=words):
        model.draw(**given)
