import tomllib

import pytest

from sagan import config as settings
from sagan.errors import SaganError
from sagan.presets import PRESETS, preset


@pytest.mark.parametrize("name", PRESETS)
def test_round_trips_are_the_identity(name):
    config = preset(name)
    assert settings.from_dict(settings.to_dict(config)) == config
    assert settings.from_dict(tomllib.loads(settings.to_toml(config))) == config


def test_the_released_settings():
    config = preset("imagenet128")
    assert (config.data.resolution, config.train.batch_size) == (128, 256)
    assert config.generator.attention == config.discriminator.attention == (32,)
    rates = config.optimizer
    assert (rates.generator_lr, rates.discriminator_lr) == (1e-4, 4e-4)
    assert (rates.beta1, rates.beta2, rates.eps) == (0.0, 0.999, 1e-8)
    assert config.train.ema_decay == 0


def test_unknown_preset_names_the_nearest():
    with pytest.raises(SaganError, match="did you mean avatars32"):
        preset("avatar32")
