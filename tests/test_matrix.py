"""Every preset, made small and trained for one step, meets every command that takes a run."""

import json
import math
import re
import sys
from collections import defaultdict
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import pooled_extractor
from test_cli import mistake, pixels, run

from sagan import config as settings
from sagan.config import places, plan
from sagan.config.presets import PRESETS, preset
from sagan.images import save_png
from sagan.inspection import attention_growth, attention_timeline
from sagan.report.charts import draw_charts
from sagan.runs import checkpoint as checkpoints
from sagan.runs.folder import checkpoint_files

GAMMA = 0.7
SEED = 3


def shrunk(config):
    """The same choices at 32 pixels, in a network as narrow as its attention allows."""

    def narrow(network):
        sides = [32 * side // config.data.resolution for side in network.attention]
        fits = all(side >= 4 for side in sides)
        return replace(
            network,
            base_channels=8 // min(network.channels or (1,)),
            attention=tuple(sides) if fits else network.attention,
        )

    return replace(
        config,
        data=replace(config.data, resolution=32, crop="centre", box=()),
        generator=replace(narrow(config.generator), latent_dim=16),
        discriminator=narrow(config.discriminator),
        train=replace(config.train, steps=1, batch_size=4, precision="float32"),
    )


def altered(generator=None, discriminator=None):
    """A small preset with other attention."""
    config = shrunk(preset("avatars32-sagan"))
    return replace(
        config,
        generator=replace(config.generator, **(generator or {})),
        discriminator=replace(config.discriminator, **(discriminator or {})),
    )


PRESETS_OF = defaultdict(list)  # some differ in their size or pictures alone
for each in PRESETS:
    PRESETS_OF[shrunk(preset(each))].append(each)
CONFIGS = {" = ".join(names): config for config, names in PRESETS_OF.items()} | {
    "two layers of one side": altered(
        {"attention": (8, 16)},
        {"channels": (4, 4, 4, 4), "final_resolution": 8}
        | {"attention": (), "attention_blocks": (3, 4)},
    ),
    "unpooled layers of two sides": altered(
        {"attention": (8, 16), "attention_pooling": False},
        {"attention": (4, 8), "attention_pooling": False},
    ),
    "residual blocks instead": altered(
        {"attention_form": "residual"}, {"attention_form": "residual"}
    ),
    "attention in the generator only": altered({}, {"attention": ()}),
    "attention in the discriminator only": altered({"attention": ()}, {}),
    "classes that are named, down to 2 x 2": altered(
        {}, {"conditioning": "auxiliary", "final_resolution": 2}
    ),
    "attention by cosines": altered(
        {"attention_product": "cosine"}, {"attention_product": "cosine"}
    ),
}


def attended(network, resolution):
    """Number of keys of every attention layer of a network, coarse to fine."""
    if network.attention_form == "residual":
        return []
    pools = network.attention_pooling and network.architecture == "residual"
    found = sorted(places(plan(network, resolution)).values())
    return [place.height * place.width // (4 if pools else 1) for place in found]


def keys_of(config):
    """Network -> number of keys of each of its attention layers."""
    size = config.data.size
    return {
        "generator": attended(config.generator, size),
        "discriminator": attended(config.discriminator, size),
    }


def once(function, key):
    """A function that is called for the first of several equal arguments only."""
    results = {}

    def result(argument, **_):
        if key(argument) not in results:
            results[key(argument)] = function(argument)
        return results[key(argument)]

    return result


@pytest.fixture(scope="module", autouse=True)
def _own_cache_and_extractor(tmp_path_factory):
    """And slow drawings only once: a timeline also for the report, charts for equal curves."""
    extractor = pooled_extractor()
    stand_ins = {
        "attention_timeline": once(attention_timeline, key=str),
        "attention_growth": once(attention_growth, key=str),
        "draw_charts": once(draw_charts, key=lambda history: tuple(history.curves)),
        "load_extractor": lambda *_, **__: extractor,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAGAN_CACHE", str(tmp_path_factory.mktemp("cache")))
        for command in ("evaluation.evaluate", "report"):
            import_module(f"sagan.{command}")  # so that what it looks up is there to be replaced
        for module in [module for name, module in sys.modules.items() if name.startswith("sagan.")]:
            for name in stand_ins.keys() & vars(module).keys():
                patch.setattr(module, name, stand_ins[name])
        yield


@pytest.fixture(scope="module")
def few_pictures(tmp_path_factory):
    """A folder of two classes of four pictures each."""
    folder = tmp_path_factory.mktemp("few")
    rng = np.random.default_rng(0)
    for number in range(8):
        pixels = rng.integers(0, 256, (3, 32, 32), dtype=np.uint8)
        save_png(pixels, folder / ("even", "odd")[number % 2] / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def run_of(tmp_path_factory, few_pictures):
    """Name of a config -> its run: step 1 as trained, step 2 the same but that attention counts."""

    @cache
    def trained(name):
        folder = tmp_path_factory.mktemp("run")
        config = CONFIGS[name]
        config = replace(config, data=replace(config.data, source=str(few_pictures)))
        file = folder / "settings.toml"
        file.write_text(settings.to_toml(config))
        assert run("train", file, "--run", folder / "run") == 0
        [first] = checkpoint_files(folder / "run")
        checkpoint = checkpoints.load(first)
        parts = {
            part: {
                name: torch.full_like(tensor, GAMMA) if name.endswith("gamma") else tensor
                for name, tensor in tensors.items()
            }
            for part, tensors in checkpoint.parts.items()
        }
        second = first.with_name(first.name.replace("1", "2"))
        checkpoints.save(replace(checkpoint, step=2, parts=parts), second)
        return folder / "run"

    return trained


@pytest.fixture(params=CONFIGS)
def name(request):
    return request.param


@pytest.fixture
def config(name):
    return CONFIGS[name]


@pytest.fixture
def keys(config):
    return keys_of(config)


@pytest.fixture
def model(name, run_of, capsys):
    folder = run_of(name)
    capsys.readouterr()  # what training printed
    return folder


def assert_says_what_is_missing(capsys, network, *arguments):
    line = mistake(capsys, *arguments)
    assert f"this {network} has no attention layer; train with --{network}.attention" in line


def assert_rows(capsys, points, keys):
    """Each layer's rows went into a file that was named, and each of them sums to 1."""
    named = re.findall(r"^(.*\.npy): (\d+) points", capsys.readouterr().out, re.MULTILINE)
    rows = [np.load(file) for file, _ in named]
    assert sorted(weights.shape for weights in rows) == [(points, count) for count in keys]
    assert [int(count) for _, count in named] == [points] * len(keys)
    for weights in rows:
        np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)


def test_sample(model, config, tmp_path, capsys):
    grid = tmp_path / "grid.png"
    assert run("sample", model, "--seeds", "0-2", "-o", grid) == 0
    assert capsys.readouterr().out == f"{grid}\n"
    side, rows = config.data.resolution + 2, 2 if config.data.conditional else 1
    assert pixels(grid).shape == (2 + rows * side, 2 + 3 * side, 3)
    assert pixels(grid).std() > 1
    before = tmp_path / "before.png"
    assert run("sample", checkpoint_files(model)[0], "--seeds", "0-2", "-o", before) == 0
    assert np.array_equal(pixels(grid), pixels(before)) == (not config.generator.attention)


def test_attention_in_a_generated_picture(model, keys, tmp_path, capsys):
    figure, raw = tmp_path / "figure.png", tmp_path / "rows.npy"
    command = ["attention", model, "--seed", SEED, "--grid", 2, "--raw", raw, "-o", figure]
    if not keys["generator"]:
        assert_says_what_is_missing(capsys, "generator", *command)
        return
    assert run(*command) == 0
    assert_rows(capsys, 4, keys["generator"])
    assert pixels(figure).std() > 1


def test_attention_in_a_given_picture(model, keys, few_pictures, tmp_path, capsys):
    figure, raw = tmp_path / "figure.png", tmp_path / "rows.npy"
    picture = few_pictures / "even" / "0.png"
    command = ["attention", model, "--picture", picture, "--raw", raw, "-o", figure]
    if not keys["discriminator"]:
        assert_says_what_is_missing(capsys, "discriminator", *command)
        return
    assert run(*command) == 0
    assert_rows(capsys, 5, keys["discriminator"])
    assert pixels(figure).std() > 1


def test_attention_statistics(model, keys, tmp_path, capsys):
    output = tmp_path / "statistics.json"
    command = ["attention", model, "--statistics", "--samples", 2, "-o", output]
    if not any(keys.values()):
        assert_says_what_is_missing(capsys, "generator", *command)
        return
    assert run(*command) == 0
    layers = json.loads(output.read_text())
    found = {network: [] for network in keys}
    for layer in layers:
        found[layer["network"]].append(round(layer["uniform"]["effective_keys"]))
        assert layer["mean"]["entropy"] < layer["uniform"]["entropy"]
        for spread in (layer["uniform"], layer["mean"], *layer["classes"].values()):
            assert 0 < spread["distance"] < math.sqrt(2)
            assert 0 <= spread["outside"] <= 1
    assert {network: sorted(counts) for network, counts in found.items()} == keys


def test_attention_timeline(model, keys, tmp_path, capsys):
    figure = tmp_path / "timeline.png"
    command = ["attention", model, "--timeline", "-o", figure]
    if not any(keys.values()):
        assert_says_what_is_missing(capsys, "generator", *command)
        return
    assert run(*command) == 0
    assert capsys.readouterr().out == f"{figure}\n"
    assert pixels(figure).shape[1] > 600


def test_interpolate(model, config, tmp_path):
    sheet = tmp_path / "walk.png"
    assert run("interpolate", model, "--seeds", "0-1", "--frames", 2, "-o", sheet) == 0
    side = config.data.resolution + 2
    columns = 4 if config.data.conditional else 3  # a row per class, or else per leg
    assert pixels(sheet).shape == (2 + 2 * side, 2 + columns * side, 3)


def test_evaluate(model, config, tmp_path):
    output = tmp_path / "record.json"
    small = ["--samples", 4, "--repeats", 1, "--metrics", "fd,kid,neighbours"]
    assert run("evaluate", model, *small, "-o", output) == 0
    record = json.loads(output.read_text())
    assert record["protocol"]["fake_pictures"] == 4
    assert all(math.isfinite(value["mean"]) for value in record["values"].values())
    assert output.with_suffix(".png").exists()


def test_export(model, tmp_path):
    exported = tmp_path / "model.safetensors"
    assert run("export", model, "-o", exported) == 0
    np.testing.assert_array_equal(drawn(model, tmp_path), drawn(exported, tmp_path))


@pytest.mark.parametrize("target", ["biggan", "studiogan", "mmgen"])
def test_convert(model, config, target, tmp_path, capsys):
    """What another repository has a network for goes out, and comes in as the same."""
    folder, back = tmp_path / "files", tmp_path / "back.safetensors"
    code = run("convert", model, "--to", target, "-o", folder)
    printed = capsys.readouterr()
    if target != "studiogan":  # whose class tables, trained or not, decide
        assert (code == 0) == takes_generator(target, config.generator)
    if code:
        assert code == 2
        assert printed.err.count("\n") == 1
        assert "nothing can be written exactly" in printed.err
        assert not folder.exists()
        return
    files = [line for line in printed.out.splitlines() if Path(line).is_file()]
    assert run("convert", *files, "-o", back) == 0
    if "generator" in checkpoints.load(back).parts:
        assert abs(drawn(model, tmp_path) - drawn(back, tmp_path)).max() <= 1


def takes_generator(target, config):
    """Whether another repository has such a generator at 32 pixels."""
    channels = config.channels == (4, 4, 4, 4)
    attention = (config.attention_form, config.attention_value_divisor, config.attention_pooling)
    released = attention == ("attention", 2, True) and config.attention_product == "plain"
    everywhere = config.spectral_norm != "attention" or not config.attention
    normalised = everywhere or target == "mmgen"
    residual = config.architecture == "residual" and released and normalised
    residual = residual and not config.latent_skips
    return residual and (target == "mmgen" or channels)


def drawn(model, folder):
    assert run("sample", model, "--seeds", "0-1", "-o", folder / "sheet.png") == 0
    return pixels(folder / "sheet.png").astype(int)


def test_report(model, keys, capsys):
    assert run("report", model) == 0
    page = (model / "report.html").read_text()
    missing = "this generator has no attention layer" in page
    assert missing == (not keys["generator"])
    missing = "this discriminator has no attention layer" in page
    assert missing == (not keys["discriminator"])
