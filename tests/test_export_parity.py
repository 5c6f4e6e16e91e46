import math
from dataclasses import replace

import pytest
import torch

from sagan.export.parity import COMPARED, LIMITS, batches, greatest_differences, limits_of
from sagan.export.portable import PortableDiscriminator, PortableGenerator
from sagan.nn.exposed import ExposedDiscriminator, ExposedGenerator
from sagan.runs.run import load_checkpoint
from sagan.sampling.generator import discriminator_of, generator_of


@pytest.fixture(scope="module")
def checkpoint():
    return load_checkpoint("fashion32")[0]


@pytest.fixture
def portable(checkpoint):
    return PortableGenerator(ExposedGenerator(generator_of(checkpoint).network))


def test_all_classes_and_several_batch_sizes_are_asked(portable):
    asked = list(batches(portable))
    assert len({len(inputs["latents"]) for inputs in asked}) > 3
    assert torch.cat([inputs["labels"] for inputs in asked]).unique().tolist() == list(range(10))
    assert sum(len(inputs["latents"]) for inputs in asked) == COMPARED == 64


def test_shares_sum_to_1_and_mix(checkpoint):
    network = ExposedGenerator(generator_of(checkpoint).network)
    shares = PortableGenerator(network, shares=True).asked(range(64))["shares"]
    torch.testing.assert_close(shares.sum(1), torch.ones(64))
    assert shares.max() < 1


def test_pictures_for_the_discriminator_have_its_form_and_range(checkpoint):
    network = ExposedDiscriminator(discriminator_of(checkpoint).network)
    images = PortableDiscriminator(network).asked(range(64))["images"]
    assert images.shape == (64, 1, 32, 32)
    assert images.abs().max() <= 1


@pytest.mark.parametrize(("output", "kind"), [("images", "images"), ("map.16", "maps")])
@pytest.mark.parametrize("wrong", [0.25, math.nan, math.inf])
def test_one_wrong_number_in_one_batch_is_found(portable, output, kind, wrong):
    assert output in portable.outputs
    calls = []

    def other(inputs):
        found = portable(**inputs)
        calls.append(len(found["images"]))
        if len(calls) == 4:
            found[output] = found[output].clone()
            found[output].view(-1)[7] += wrong
        return found

    found = greatest_differences(portable, other)
    assert calls == [1, 2, 5, 8, 8, 8, 8, 8, 8, 8]
    assert found.pop(kind) == pytest.approx(wrong, nan_ok=True)
    assert set(found.values()) == {0.0}


def test_saturated_attention_may_differ_as_far_as_rounding_takes_it(portable, checkpoint):
    assert portable.network.places
    assert limits_of(portable)["maps"] == LIMITS["maps"]
    config = checkpoint.config
    # Nothing bounds the products of its queries and keys.
    plain = replace(config, generator=replace(config.generator, attention_product="plain"))
    saturated = generator_of(replace(checkpoint, config=plain))
    limits = limits_of(PortableGenerator(ExposedGenerator(saturated.network)))
    assert limits["images"] == LIMITS["images"]
    assert LIMITS["maps"] < limits["maps"] < 3e-4
