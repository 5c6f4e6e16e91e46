import math
import tomllib
from dataclasses import replace
from itertools import pairwise

import pytest

from sagan import config as settings
from sagan.config.effort import memory_of_a_step
from sagan.config.presets import preset
from sagan.config.recipe import (
    AVATARS,
    DEMO_SECONDS,
    TRAINING_SHARE,
    TWO_CORES,
    LearningMaterial,
    Machine,
    recipe,
)
from sagan.errors import SaganError

GPU = Machine(kind="gpu", speed=2e13, bfloat16=True, memory=40 * 2**30, overhead=0.033)
DIGITS = LearningMaterial(pictures=60_000, classes=10, smallest_class=5_000, channels=1, side=28)
TIMES = [20 * 1.6**n for n in range(24)]  # up to ten days


def seen(config):
    return config.train.steps * config.train.batch_size


def test_a_long_run_can_do_without_measuring():
    config = recipe(AVATARS, TWO_CORES, 3600, {"evaluation": {"samples": 0}})
    assert config.evaluation.interval > 0
    assert config.evaluation.samples == 0


def test_five_minutes_on_two_cores_are_the_demonstration():
    assert recipe(AVATARS, TWO_CORES, DEMO_SECONDS) == preset("avatars32")


@pytest.mark.parametrize("machine", [TWO_CORES, GPU, replace(GPU, memory=None)])
@pytest.mark.parametrize("material", [AVATARS, DIGITS, replace(AVATARS, pictures=300, side=70)])
def test_more_time_never_gives_smaller_pictures_or_narrower_networks(material, machine):
    chosen = [recipe(material, machine, seconds) for seconds in TIMES]
    sizes = [(config.data.size, config.generator.base_channels) for config in chosen]
    assert sizes == sorted(sizes)
    for (one, before), (other, after) in pairwise(zip(sizes, chosen, strict=True)):
        assert one != other or seen(after) > seen(before)


@pytest.mark.parametrize("side", [16, 20, 24, 32, 47, 48, 50, 63, 64, 100, 128, 1000])
def test_pictures_are_never_enlarged(side):
    config = recipe(replace(DIGITS, side=side), GPU, 1e6)
    assert config.data.resolution <= side
    assert config.data.resolution >= min(128, side) * 0.8  # as networks have them
    settings.plan(config.generator, config.data.size)


@pytest.mark.parametrize(("side", "resolution"), [(28, 32), (31, 32), (8, 16), (1, 16)])
def test_but_for_those_of_mnist_and_tiny_ones(side, resolution):
    assert recipe(replace(DIGITS, side=side), GPU, 1e6).data.resolution == resolution


def test_size_that_is_wanted():
    wide = {"data": {"resolution": 64, "width": 96}}
    for seconds in (600, 86_400):
        config = recipe(AVATARS, TWO_CORES, seconds, wide)
        assert config.data.size == (64, 96)
    assert config.loss.r1 == pytest.approx(0.2 * math.sqrt(6) ** 1.32, rel=0.05)


@pytest.mark.parametrize("memory", [2**28, 2**30, 2**33])
@pytest.mark.parametrize("seconds", [180, 10_000, 1e6])
def test_memory_is_respected(memory, seconds):
    config = recipe(AVATARS, replace(GPU, memory=memory), seconds)
    assert memory_of_a_step(config, "gpu") < memory
    assert config.train.batch_size >= 16


@pytest.mark.parametrize("pictures", [16, 17, 31, 32, 300, 5_000, 50_000])
@pytest.mark.parametrize("machine", [TWO_CORES, GPU])
def test_a_batch_is_never_more_than_the_pictures(pictures, machine):
    config = recipe(replace(AVATARS, pictures=pictures, classes=0), machine, 1800)
    assert config.train.batch_size <= min(pictures, 256)
    assert bool(config.data.augment) == (pictures < 5_000)


def test_the_time_is_filled_but_for_a_tenth():
    for seconds in (60, 1800, 86_400):
        config = recipe(AVATARS, TWO_CORES, seconds)
        taken = config.train.steps * TWO_CORES.seconds_per_step(config)
        assert 0.98 * TRAINING_SHARE * seconds < taken <= TRAINING_SHARE * seconds
        assert config.train.sample_interval <= config.train.steps
        wanted = 0 if seconds < 900 else math.ceil(config.train.steps / 4)
        assert config.evaluation.interval == wanted


def test_rates_fall_with_the_length_and_with_large_batches():
    rates = [recipe(DIGITS, TWO_CORES, s).optimizer.generator_lr for s in (180, 1800, 20_000)]
    assert rates == [2e-3, 1.5e-3, 1e-3]
    assert recipe(DIGITS, TWO_CORES, 1e6).optimizer.generator_lr == 5e-4
    large = recipe(DIGITS, GPU, 30)
    assert large.train.batch_size == 256
    assert seen(large) < 300_000
    assert large.optimizer.generator_lr == 1.5e-3


def test_bfloat16_is_for_machines_that_have_it():
    without = replace(TWO_CORES, bfloat16=False)
    for seconds in (180, 1e5):
        assert recipe(DIGITS, TWO_CORES, seconds).train.precision == "auto"
        assert recipe(DIGITS, without, seconds).train.precision == "float32"


def test_what_is_given_stays_and_the_rest_follows_from_it():
    given = {"generator": {"base_channels": 64}, "optimizer": {"beta2": 0.9}}
    config, usual = (recipe(AVATARS, TWO_CORES, 1800, values) for values in (given, {}))
    assert (config.generator.base_channels, config.optimizer.beta2) == (64, 0.9)
    assert config.train.steps < usual.train.steps
    steps = recipe(AVATARS, TWO_CORES, 1800, {"train": {"steps": 77}}).train
    assert steps.steps == 77
    assert steps.log_interval <= 8
    # A plan of channels that fits pictures of one size decides the size.
    plan = {"generator": {"channels": [16, 8, 4, 2, 1]}}
    assert recipe(AVATARS, TWO_CORES, 180, plan).data.resolution == 64


def test_a_dcgan_loses_what_it_has_no_choice_in_unless_it_was_asked_for():
    networks = {name: {"architecture": "dcgan"} for name in ("generator", "discriminator")}
    given = {**networks, "data": {"labels": "none", "resolution": 32}}
    material = LearningMaterial(pictures=6_000, side=64)
    assert not recipe(material, TWO_CORES, 600, given).generator.latent_skips
    asked = settings.joined(given, {"generator": {"latent_skips": True}})
    with pytest.raises(SaganError, match=r"generator\.latent_skips .* left out with dcgan"):
        recipe(material, TWO_CORES, 600, asked)


def test_more_updates_of_the_discriminator_take_their_time():
    twice = {"train": {"discriminator_steps": 2}}
    config, usual = (recipe(AVATARS, TWO_CORES, 180, given) for given in (twice, {}))
    assert config.train.steps < 0.8 * usual.train.steps


def test_values_are_ordinary_settings():
    for machine, seconds in ((TWO_CORES, 180), (GPU, 1e5)):
        config = recipe(AVATARS, machine, seconds)
        assert settings.from_dict(tomllib.loads(settings.to_toml(config))) == config


@pytest.mark.parametrize(
    ("material", "seconds", "given", "words"),
    [
        (AVATARS, 19, {}, "19 seconds are too short.*--minutes 0.33"),
        (AVATARS, math.nan, {}, "too short"),
        (replace(AVATARS, pictures=15), 60, {}, "there are 15 pictures .* the recipe needs 16"),
        (replace(AVATARS, pictures=1), 60, {}, "there is 1 picture to"),
        (AVATARS, 60, {"data": {"resolution": 256}}, r"too few to learn .*--minutes \d+\)"),
        (AVATARS, 60, {"generator": {"attention": [5]}}, "generator.attention"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(material, seconds, given, words):
    with pytest.raises(SaganError, match=words) as refused:
        recipe(material, TWO_CORES, seconds, given)
    assert "\n" not in str(refused.value)


def test_the_time_of_steps_that_were_measured():
    measured = {(32, 16): 109.7, (32, 24): 154.1, (32, 32): 193.5, (32, 48): 336.5}
    measured |= {(64, 16): 493.6, (64, 24): 771.2, (64, 32): 1125.0}  # ms, in a slower hour
    for (side, width), milliseconds in measured.items():
        width = {"base_channels": width}
        given = {"data": {"resolution": side}, "generator": width, "discriminator": width}
        told = TWO_CORES.seconds_per_step(recipe(AVATARS, TWO_CORES, 7200, given))
        assert 1.16 * told == pytest.approx(milliseconds / 1000, rel=0.08)


def test_memory_is_about_what_is_counted():
    from sagan.training.footprint import peak_bytes

    config = recipe(AVATARS, TWO_CORES, 180)
    counted = peak_bytes(config, 14, bfloat16=False)
    assert 0.9 < memory_of_a_step(config) / counted < 1.4
