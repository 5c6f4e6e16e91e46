import re
import subprocess
import sys

import numpy as np
import pytest

from sagan import config as settings
from sagan.config import Config, TrainConfig
from sagan.errors import SaganError


def test_toml_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[train]\nsteps = 7\n[optimizer]\nbeta1 = 0\n")
    config = settings.load_toml(path)
    assert config.train.steps == 7
    assert type(config.optimizer.beta1) is float


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"train": {"stepz": 3}}, ["train.stepz", "did you mean steps"]),
        ({"trian": {}}, ["trian", "did you mean train"]),
        ({"train": 3}, ["train", "table"]),
        ({"train": {"steps": "many"}}, ["train.steps", "whole number", "many"]),
        ({"train": {"steps": True}}, ["train.steps", "whole number"]),
        ({"train": {"steps": 0}}, ["train.steps", "0", "at least 1"]),
        ({"train": {"batch_size": 1}}, ["train.batch_size", "at least 2"]),
        ({"train": {"precision": "float16"}}, ["train.precision", "bfloat16"]),
        ({"train": {"ema_decay": 1.0}}, ["train.ema_decay", "below 1"]),
        ({"data": {"resolution": 100}}, ["data.resolution", "100 x 100", "96 x 96 or 112 x 112"]),
        (
            {"data": {"resolution": 48}},
            ["discriminator.attention", "32", "16 (24 x 24)"],
        ),
        ({"generator": {"base_channels": 1}}, ["generator.base_channels", "at least 2", "32 x 32"]),
        ({"generator": {"base_channels": 0}}, ["generator.base_channels", "at least 1"]),
        ({"generator": {"attention": [24]}}, ["generator.attention", "24", "8, 16, 32"]),
        ({"generator": {"attention": [4]}}, ["generator.attention", "4"]),
        ({"generator": {"attention": [16, 16]}}, ["generator.attention", "repetition"]),
        (
            {"discriminator": {"attention_blocks": [1]}},
            ["discriminator.attention_blocks", "empty discriminator.attention"],
        ),
        (
            {"discriminator": {"attention": [], "attention_blocks": [9]}},
            ["discriminator.attention_blocks", "1 to 6"],
        ),
        ({"generator": {"attention_value_divisor": 3}}, ["attention_value_divisor", "3"]),
        ({"generator": {"upsampling": "cubic"}}, ["generator.upsampling", "nearest or bilinear"]),
        ({"generator": {"architecture": "dcgan"}}, ["generator.architecture", "no classes"]),
        (
            {
                "data": {"labels": "none"},
                "discriminator": {"architecture": "dcgan", "shortcut_input": "relu"},
            },
            ["discriminator.shortcut_input", "dcgan"],
        ),
        ({"generator": {"attention": 16}}, ["generator.attention", "list of whole numbers"]),
        ({"generator": {"channels": [4, 4]}}, ["generator.channels", "6 numbers"]),
        ({"discriminator": {"channels": [4]}}, ["discriminator.channels", "at least 5"]),
        ({"discriminator": {"attention": [128]}}, ["discriminator.attention", "128"]),
        ({"discriminator": {"final_resolution": 5}}, ["final_resolution", "4, 8 or 16"]),
        ({"data": {"augment": ["color"]}}, ["data.augment", "color", "colour or translation"]),
        ({"data": {"augment": "colour"}}, ["data.augment", "list of texts"]),
        ({"data": {"augment": ["cutout", "cutout"]}}, ["data.augment", "repetition"]),
        ({"loss": {"name": "wgan"}}, ["loss.name", "hinge or non-saturating", "wasserstein"]),
        ({"loss": {"r1": -1}}, ["loss.r1", "-1.0", "at least 0"]),
        ({"loss": {"lecam": float("nan")}}, ["loss.lecam", "nan", "finite"]),
        ({"loss": {"consistency_fake": float("inf")}}, ["loss.consistency_fake", "inf"]),
        ({"loss": {"lecam_decay": 1.0}}, ["loss.lecam_decay", "below 1"]),
        ({"loss": {"penalty_interval": 0}}, ["loss.penalty_interval", "at least 1"]),
        ({"loss": {"penalty_interval": 4}}, ["loss.penalty_interval = 4", "r1 or r2"]),
        ({"loss": {"name": "wasserstein", "relativistic": True}}, ["relativistic", "wasserstein"]),
        ({"loss": {"name": "kl", "relativistic": True}}, ["relativistic", "non-saturating"]),
        ({"loss": {"gradient_penalty": 10, "r1": 1}}, ["gradient_penalty", "r1", "choose one"]),
        ({"optimizer": {"beta2": 1.0}}, ["optimizer.beta2"]),
        ({"optimizer": {"generator_lr": 0}}, ["optimizer.generator_lr", "positive"]),
    ],
)
def test_mistakes_are_named(values, words):
    with pytest.raises(SaganError) as caught:
        settings.from_dict(values)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("content", "word"), [(None, "no file"), ("x = [", "TOML"), ("[train]\nstep = 1", "steps")]
)
def test_bad_files(tmp_path, content, word):
    path = tmp_path / "bad.toml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SaganError, match=word) as caught:
        settings.load_toml(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, []),
        ({"loss": {"relativistic": True, "lecam": 0.1}}, []),
        ({"loss": {"r1": 1}, "discriminator": {"attention": [64]}}, ["fused kernels"]),
        ({"loss": {"r1": 1}}, []),
        (
            {"loss": {"name": "wasserstein", "gradient_penalty": 10}},
            ["discriminator.spectral-norm none"],
        ),
        ({"loss": {"name": "wasserstein"}}, []),
        ({"train": {"reuse_fakes": True, "accumulate": 2}}, ["saves less memory"]),
        (
            {"data": {"order": "balanced"}, "train": {"fake_labels": "data"}},
            ["equally often too"],
        ),
        ({"data": {"order": "balanced"}}, []),
        (
            {"train": {"compile": True}, "discriminator": {"conditioning": "auxiliary"}},
            ["only the generator is compiled"],
        ),
        (
            {"loss": {"name": "wasserstein"}, "discriminator": {"spectral_norm": "none"}},
            ["bound on the discriminator's slope"],
        ),
        (
            {"generator": {"class_tables": "spectral", "spectral_norm": "attention"}},
            ["generator.class_tables acts as drawn: tables are divided"],
        ),
        ({"generator": {"class_tables": "spectral"}}, []),
        (
            {"discriminator": {"attention_product": "cosine", "attention_form": "residual"}},
            ["discriminator.attention_product changes nothing: there is no attention"],
        ),
        (
            {"generator": {"attention_pooling": False, "attention": []}},
            ["generator.attention_pooling changes nothing"],
        ),
    ],
    ids=str,
)
def test_what_should_be_done_knowingly_is_remarked_upon(values, words):
    remarks = settings.from_dict(values).remarks()
    assert len(remarks) == len(words)
    for remark, word in zip(remarks, words, strict=True):
        assert word in remark
        assert "\n" not in remark


@pytest.mark.parametrize("size", [(72, 24), (24, 72), (256, 64), (512, 128), (128, 512)])
def test_tall_pictures_are_as_good_as_wide_ones(size):
    data = {"resolution": size[0], "width": size[1]}
    networks = {"generator": {"attention": [8]}, "discriminator": {"attention": [8]}}
    config = settings.from_dict({"data": data, **networks})
    assert config.data.size == size
    blocks = len(settings.plan(config.discriminator, size))
    with pytest.raises(SaganError, match=f"at most {blocks}, the blocks"):
        settings.from_dict(
            {"data": data, **networks, "train": {"freeze_discriminator": blocks + 1}}
        )


def test_differences_name_the_fields():
    other = settings.from_dict({"train": {"seed": 3}, "data": {"resolution": 64}})
    found = settings.differences(Config(), other)
    assert found == ["data.resolution (128 and 64)", "train.seed (0 and 3)"]


def test_needs_no_torch():
    code = "import sys, sagan.config; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_class_names_are_different():
    with pytest.raises(SaganError, match="two classes are called 'a'"):
        settings.require_class_names(["a", "b", "a"])


def test_the_width_of_squares_is_one_setting_however_it_is_written():
    plain, twice = (
        settings.from_dict({"data": {"resolution": 64, "width": width}}) for width in (0, 64)
    )
    assert plain == twice
    assert settings.from_dict({"data": {"resolution": 64, "width": 96}}).data.size == (64, 96)


def test_sample_grids_come_at_an_interval_and_more_of_them_early():
    train = TrainConfig(sample_interval=100)
    due = [step for step in range(1, 401) if train.samples_after(step)]
    assert due == [1, 4, 16, 64, 100, 200, 300, 400]
    assert all(TrainConfig(sample_interval=1).samples_after(step) for step in range(1, 70))
    sparse = TrainConfig(sample_interval=3)
    assert [step for step in range(1, 17) if sparse.samples_after(step)] == [1, 3, 6, 9, 12, 15]


@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        (settings.TrainConfig, {"precision": "bf16"}, "train.precision = 'bf16'"),
        (settings.TrainConfig, {"seed": True}, "train.seed must be a whole number"),
        (settings.TrainConfig, {"fake_labels": "foo"}, "train.fake_labels = 'foo'"),
        (settings.DataConfig, {"resolution": "32"}, "data.resolution must be a whole number"),
        (settings.DataConfig, {"resolution": 32.0}, "data.resolution must be a whole number"),
        (settings.DataConfig, {"crop": "middle"}, "data.crop = 'middle'"),
        (settings.DataConfig, {"augment": "colour"}, "data.augment must be a list of texts"),
        (settings.DataConfig, {"augment": ("hue",)}, "data.augment = 'hue'"),
        (settings.DataConfig, {"frame": 0}, "data.frame must be a text"),
        (settings.GeneratorConfig, {"latent_skips": "no"}, "generator.latent_skips must be true"),
        (settings.GeneratorConfig, {"attention": (16.0,)}, "generator.attention must be a whole"),
        (settings.DiscriminatorConfig, {"conditioning": "projecton"}, "conditioning = 'projecton'"),
        (settings.LossConfig, {"name": "foo"}, "loss.name = 'foo'"),
        (settings.OptimizerConfig, {"eps": float("inf")}, "optimizer.eps = inf"),
        (settings.Config, {"train": {"steps": 3}}, "train must be a TrainConfig"),
    ],
)
def test_settings_built_in_python_are_checked_as_those_of_files(section, values, words):
    with pytest.raises(SaganError, match=re.escape(words)):
        section(**values)


def test_what_means_the_same_is_the_same(tmp_path):
    config = settings.Config(
        data=settings.DataConfig(source=tmp_path, resolution=np.int64(32), range=[0, 1]),
        generator=settings.GeneratorConfig(attention=[16], latent_dim=np.int32(8)),
        discriminator=settings.DiscriminatorConfig(attention=np.array([16])),
        optimizer=settings.OptimizerConfig(beta1=0, generator_lr=np.float32(0.5)),
    )
    assert config.data.source == str(tmp_path)
    assert config.data.range == (0.0, 1.0)
    assert config.generator.attention == (16,)
    assert settings.load_toml(saved(config, tmp_path)) == config


def saved(config, folder):
    path = folder / "config.toml"
    path.write_text(settings.to_toml(config))
    return path
