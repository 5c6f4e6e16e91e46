import re
import shlex
import subprocess
import sys
import tomllib
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from sagan import cli
from sagan import config as settings
from sagan.cli.presets import field_docstrings
from sagan.config.presets import PRESETS, preset
from sagan.errors import SaganError

PAGE = Path(__file__).parent.parent / "docs" / "presets.md"


def shown(capsys, *arguments):
    with suppress(SystemExit):
        cli.main(["presets", *arguments])
    return capsys.readouterr().out


@pytest.mark.parametrize("name", PRESETS)
def test_round_trips_are_the_identity(name):
    config = preset(name)
    assert settings.from_dict(settings.to_dict(config)) == config
    assert settings.from_dict(tomllib.loads(settings.to_toml(config))) == config


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_holds_only_what_differs(name):
    differing = {
        difference.partition(" ")[0]
        for difference in settings.differences(settings.Config(), preset(name))
    }
    named = {
        f"{section}.{item}" for section, values in PRESETS[name].settings.items() for item in values
    }
    assert named - differing <= {"data.source"}  # which says what the name means


def test_the_released_settings():
    config = preset("imagenet128")
    assert (config.data.resolution, config.train.batch_size) == (128, 256)
    assert config.generator.attention == config.discriminator.attention == (32,)
    rates = config.optimizer
    assert (rates.generator_lr, rates.discriminator_lr) == (1e-4, 4e-4)
    assert (rates.beta1, rates.beta2, rates.eps) == (0.0, 0.999, 1e-8)
    assert config.train.ema_decay == 0
    assert (config.train.steps, config.train.discriminator_steps) == (1_000_000, 1)
    assert config.train.fake_labels == "uniform"
    assert config.generator.latent_dim == 128
    assert config.generator.initialization == config.discriminator.initialization == "xavier"


@pytest.mark.parametrize(("name", "places"), [("feat64", (64,)), ("baseline", ())])
def test_the_paper_moves_nothing_but_the_attention(name, places):
    config = preset(f"imagenet128-{name}")
    assert settings.differences(preset("imagenet128"), config) == [
        f"{network}.attention ((32,) and {places!r})" for network in ("generator", "discriminator")
    ]


def test_the_class_tables_and_the_average_of_the_best_open_result():
    config = preset("imagenet128-biggan-schedule")
    assert config.generator.class_tables == "drawn"
    assert (config.train.ema_decay, config.train.ema_start) == (0.999, 2000)
    assert config.discriminator.shortcut_input == "raw"


def test_studiogan_and_mmgeneration_differ_in_these_on_cifar():
    assert settings.differences(preset("cifar10-studiogan"), preset("cifar10-mmgen")) == [
        "generator.spectral_norm_eps (1e-06 and 1e-12)",
        "discriminator.spectral_norm_eps (1e-06 and 1e-12)",
        "discriminator.shortcut_input ('relu' and 'raw')",
        "optimizer.eps (1e-06 and 1e-08)",
    ]


@pytest.mark.parametrize(
    ("name", "classes", "parameters"),
    [
        ("imagenet128-studiogan", 1000, (42_017_412, 39_448_258)),
        ("cifar10-studiogan", 10, (4_386_308, 1_075_586)),
        ("cifar10-mmgen", 10, (4_386_308, 1_075_586)),
    ],
)
def test_networks_are_as_large_as_their_repositories(name, classes, parameters):
    import torch

    from sagan.nn.residual import make_discriminator, make_generator

    config = preset(name)
    size = {"resolution": config.data.resolution, "num_classes": classes}
    networks = []
    with torch.device("meta"):
        for make, section in (
            (make_generator, config.generator),
            (make_discriminator, config.discriminator),
        ):
            networks.append(make(replace(section, spectral_norm="none"), **size))
    counts = tuple(sum(p.numel() for p in network.parameters()) for network in networks)
    assert counts == parameters


@pytest.mark.parametrize("name", [name for name in PRESETS if PRESETS[name].data])
def test_pictures_that_only_the_user_has_are_asked_for(name, capsys):
    command = ["train", name, "--run", "runs/x", "--print-config"]
    for source, expected in ([], True), (["--data.source", "pictures"], False):
        with suppress(SystemExit):
            cli.main([*command, *source])
        assert (f"{name} is for {PRESETS[name].data}" in capsys.readouterr().err) is expected


def test_what_no_setting_expresses_is_said(capsys):
    words = " ".join(shown(capsys, "celeba64").split())
    assert len(PRESETS["celeba64"].differs) > 1
    for text in PRESETS["celeba64"].differs:
        assert f"differs {text}" in words


SHRUNK = {64: 16, 32: 16, 16: 8, 8: 8, 4: 4}
"""Where attention stands in networks for 32 pixels instead."""
ELSEWHERE = ("attention_blocks", "hidden_channels")
"""Settings that need others to change too, or other widths than those of CIFAR-10's presets."""


def other_values(kind, name, value):
    """What a setting of a network might be instead."""
    hint = get_type_hints(kind)[name]
    if hint == tuple[int, ...]:
        return [()] if value else [(1,) * n for n in (3, 4)] + [(8,)]
    if hint is bool:
        return [not value]
    if hint is int:
        return [2 * value, value // 2]
    if hint is float:
        return [2 * value, 1e3]
    return [other for other in get_args(hint) if other != value]


def drawn_and_judged(network, labels):
    """All tensors of a network and what it makes of a batch, from one seed."""
    import torch

    from sagan.nn import advance
    from sagan.nn.layers import SelfAttention2d
    from sagan.nn.residual import make_discriminator, make_generator

    is_generator = isinstance(network, settings.GeneratorConfig)
    make = make_generator if is_generator else make_discriminator
    shape = (4, network.latent_dim) if is_generator else (4, 3, 32, 32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        built = make(network, resolution=32, num_classes=labels)
        for layer in built.modules():
            if isinstance(layer, SelfAttention2d):
                layer.gamma.data.fill_(0.5)
        advance(built)
        seen = built.train()(torch.randn(shape), torch.arange(4) % 3 if labels else None)
    return [seen, *built.state_dict().values()]


def kinds_of_networks():
    """A preset for each kind: architecture, what it has no choice of, what is normalised."""
    found = {}
    for name in PRESETS:
        for section in ("generator", "discriminator"):
            network = getattr(preset(name), section)
            kind = (section, network.architecture, settings.unread(network), network.spectral_norm)
            found.setdefault(kind, (name, section))
    return found.values()


@pytest.mark.parametrize(("name", "section"), kinds_of_networks())
def test_every_setting_of_a_network_that_is_shown_changes_it(name, section, capsys):
    import torch

    config = preset(name)
    network = getattr(config, section)
    places = tuple({SHRUNK[height] for height in network.attention})
    network = replace(network, base_channels=8, attention=places)
    labels = 3 if config.data.conditional else 0
    usual = drawn_and_judged(network, labels)
    shown_there = shown(capsys, name).split(f"[{section}]")[1].split("\n[")[0]
    for item in re.findall(r"^[ *] (\w+) = ", shown_there, re.MULTILINE):
        found = []
        for value in other_values(type(network), item, getattr(network, item)):
            with suppress(SaganError):
                other = drawn_and_judged(replace(network, **{item: value}), labels)
                found.append(len(other) != len(usual) or not all(map(torch.equal, other, usual)))
        assert any(found) or item in (*ELSEWHERE, "architecture"), item


def test_unknown_preset_names_the_nearest():
    with pytest.raises(SaganError, match="did you mean avatars32"):
        preset("avatar32")


def test_the_page_shows_every_preset():
    rows = re.findall(r"^\| `(\S+)` \| (.+?) \| (.*?) ?\|$", PAGE.read_text(), re.MULTILINE)
    assert rows == [
        (name, entry.title, "; ".join(entry.published)) for name, entry in PRESETS.items()
    ]


@pytest.mark.parametrize(
    "command", re.findall(r"^\| .* \| `sagan (train .*PICTURES.*)` \|$", PAGE.read_text(), re.M)
)
def test_configs_without_a_name_are_commands(command, capsys):
    with suppress(SystemExit):
        cli.main([*shlex.split(command), "--print-config"])
    config = settings.from_dict(tomllib.loads(capsys.readouterr().out))
    name, flags = command.split()[1], re.findall(r"--(\w+\.[\w-]+)", command)
    changed = {d.partition(" ")[0] for d in settings.differences(preset(name), config)}
    assert changed == {flag.replace("-", "_") for flag in flags}


def test_the_list_names_source_and_numbers_and_cost(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    printed = shown(capsys)
    assert max(map(len, printed.splitlines())) <= 80
    words = " ".join(printed.split())
    for name, entry in PRESETS.items():
        assert f"{name}: {entry.title} source {entry.source}" in words
        for numbers in entry.published:
            assert f"published {numbers}" in words
    assert "1,000,000 steps over 256,000,000 real pictures" in words


def test_the_list_is_quick():
    code = (
        "import atexit, sys; from sagan import cli;"
        "atexit.register(lambda: print({'torch', 'PIL'} & set(sys.modules)));"
        "cli.main(['presets'])"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert printed.stdout.endswith(b"set()\n")


def test_every_setting_is_explained_and_the_differing_are_starred(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    printed = shown(capsys, "avatars32")
    assert "billion for each real picture" in printed
    words = " ".join(printed.split())
    config = preset("avatars32")
    starred = set(re.findall(r"^\* (\w+) = ", printed, re.MULTILINE))
    for section in fields(config):
        values = getattr(config, section.name)
        docstrings = field_docstrings(type(values))
        for item in fields(values):
            assert item.name in docstrings
            assert docstrings[item.name] in words
    assert starred == {
        difference.partition(" ")[0].partition(".")[2]
        for difference in settings.differences(settings.Config(), config)
    }
    assert "* steps = 2800 (default 1000000) Generator updates." in words
    assert "[optimizer] Adam with one learning rate per network (TTUR)." in words


def test_docstrings_of_fields_are_those_below_them():
    assert field_docstrings(settings.OptimizerConfig)["beta1"] == "Decay of Adam's first moment."
    for section in fields(settings.Config):
        kind = type(getattr(settings.Config(), section.name))
        assert field_docstrings(kind).keys() == {item.name for item in fields(kind)}
