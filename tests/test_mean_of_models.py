from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import tiny

from benchmarks.mean_of_models import mean_of
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


def test_weights_are_averaged_and_those_a_model_lacks_are_0(model):
    first, second = model(0), model(1)
    latent = "blocks.0.norm1.latent"
    first.parts["generator"][latent].fill_(3)
    del second.parts["generator"][latent]
    mean = mean_of([first, second], EVEN).parts["generator"]
    assert torch.equal(mean[latent], torch.full_like(mean[latent], 1.5))
    name = "blocks.1.conv1.weight"
    expected = (first.parts["generator"][name] + second.parts["generator"][name]) / 2
    torch.testing.assert_close(mean[name], expected)


def test_models_that_are_not_alike_are_refused(model):
    whole, without = model(0), model(1)
    generator = replace(without.config.generator, latent_skips=False)
    config = replace(without.config, generator=generator)
    kept = {n: t for n, t in without.parts["generator"].items() if not n.endswith("latent")}
    without = replace(without, config=config, parts={**without.parts, "generator": kept})
    mean_of([whole, without], EVEN)
    cosine = replace(whole.config.generator, attention_product="cosine")
    others = [
        replace(whole, class_names=("light", "dark")),
        replace(whole, config=replace(whole.config, generator=cosine)),
    ]
    for first, second in [(without, whole), *((whole, other) for other in others)]:
        with pytest.raises(SaganError, match="first one whose latent reaches every block"):
            mean_of([first, second], EVEN)
