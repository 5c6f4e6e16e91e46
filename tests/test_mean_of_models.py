from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import tiny

from benchmarks.mean_of_models import main, mean_of
from sagan.errors import SaganError
from sagan.runs.checkpoint import Checkpoint
from sagan.sampling.generator import for_inference, generator_of
from sagan.training.state import new_state


@pytest.fixture
def model():
    """A model of two classes whose latent reaches every block."""

    def made(seed):
        config = tiny(seed=seed)
        config = replace(config, generator=replace(config.generator, latent_skips=True))
        parts = new_state(config, 2, torch.device("cpu")).parts()
        names = ("dark", "light")
        return for_inference(Checkpoint(config=config, class_names=names, step=0, parts=parts))

    return made


EVEN = torch.tensor([0.5, 0.5])


def test_two_equal_models_are_their_mean(model):
    one = mean_of([model(0)], EVEN)
    both = mean_of([model(0), model(0)], EVEN)
    pictures = [generator_of(found).sample(range(4), [0, 1, 0, 1]) for found in (one, both)]
    np.testing.assert_array_equal(*pictures)


def without_latents(model):
    """The same with the latent in the first map alone."""
    generator = replace(model.config.generator, latent_skips=False)
    weights = {n: t for n, t in model.parts["generator"].items() if not n.endswith(".latent")}
    config = replace(model.config, generator=generator)
    return replace(model, config=config, parts={**model.parts, "generator": weights})


def test_weights_are_averaged_and_latents_that_a_model_lacks_are_0(model):
    first, second = model(0), without_latents(model(1))
    latent, name = "blocks.0.norm1.latent", "blocks.1.conv1.weight"
    first.parts["generator"][latent].fill_(3)
    mean = mean_of([first, second], EVEN).parts["generator"]
    assert torch.equal(mean[latent], torch.full_like(mean[latent], 1.5))
    expected = (first.parts["generator"][name] + second.parts["generator"][name]) / 2
    torch.testing.assert_close(mean[name], expected)


def test_models_that_are_not_alike_are_refused(model):
    whole = model(0)
    cosine = replace(whole.config.generator, attention_product="cosine")
    fewer = {n: t for n, t in whole.parts["generator"].items() if n != "blocks.0.norm1.latent"}
    table = {**whole.parts["generator"], "blocks.0.norm1.gain": torch.ones(1, 32)}
    others = [
        replace(whole, class_names=("light", "dark")),
        replace(whole, config=replace(whole.config, generator=cosine)),
        *(replace(whole, parts={**whole.parts, "generator": part}) for part in (fewer, table)),
    ]
    for first, second in [(without_latents(whole), whole), *((whole, other) for other in others)]:
        with pytest.raises(SaganError, match="first one whose latent reaches every block"):
            mean_of([first, second], EVEN)


def test_mistakes_end_in_one_line(monkeypatch, capsys, tmp_path):
    words = ["mean_of_models", str(tmp_path / "nothing"), "-o", str(tmp_path / "mean.safetensors")]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("mean_of_models: error: ")
