import io
import json
from contextlib import redirect_stderr
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import state_of, tiny

from sagan.nn.attention import row_entropy
from sagan.nn.focus import Focus, focus_of, mean_focus
from sagan.nn.layers import SelfAttention2d
from sagan.report.charts import draw_charts
from sagan.report.history import read_history
from sagan.runs.attention_log import LoggedLayer, attention_key, attention_keys
from sagan.training.driver import Driver
from sagan.training.focus import AttentionWatch

ALIVE = Focus(gamma=0.3, entropy=0.5, peak=0.2, contribution=0.1)


def layer_of(sharpness, gamma=0.5):
    layer = SelfAttention2d(16)
    with torch.no_grad():
        layer.gamma.fill_(gamma)
        layer.query.weight.mul_(sharpness)
    return layer


def test_entropy_of_rows_with_a_known_answer():
    rows = torch.tensor([[1.0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0, 0]])
    torch.testing.assert_close(
        row_entropy(rows), torch.tensor([0, 4, 2]).float().log().clamp(min=0)
    )


@pytest.mark.parametrize("queries", [7, 1024])
def test_focus_is_the_mean_over_all_positions(monkeypatch, queries):
    monkeypatch.setattr("sagan.nn.focus._QUERIES", queries)
    layer, x = layer_of(3), torch.randn(3, 16, 8, 8)
    rows = layer.attention_rows(x, torch.arange(64)).detach().double()
    focus = focus_of(layer, x)
    entropy = -(rows * rows.log()).sum(2).mean() / np.log(16)
    assert focus.entropy == pytest.approx(entropy.item(), rel=1e-5)
    assert focus.peak == pytest.approx(rows.amax(2).mean().item(), rel=1e-5)
    added = (layer(x) - x).norm() / x.norm()
    assert focus.contribution == pytest.approx(added.item(), rel=1e-5)
    assert focus.gamma == 0.5


def test_focus_at_its_ends():
    x = torch.randn(2, 16, 8, 8)
    everywhere = focus_of(layer_of(0), x)
    assert everywhere.entropy == pytest.approx(1)
    assert everywhere.peak == pytest.approx(1 / 16)
    one = focus_of(layer_of(1e6), x)
    assert one.entropy == pytest.approx(0, abs=0.02)
    assert one.peak == pytest.approx(1, abs=0.02)
    assert focus_of(layer_of(1, gamma=0.0), x).contribution == 0
    assert focus_of(layer_of(1), torch.zeros(1, 16, 8, 8)).contribution == 0


def test_precision_of_passes_does_not_reach_the_measures():
    layer, x = layer_of(3), torch.randn(1, 16, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert focus_of(layer, x) == focus_of(layer, x.clone())
        inside = focus_of(layer, x)
    assert inside == focus_of(layer, x)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({}, ""),
        ({"contribution": 0.009}, "hardly used: it adds 0.9 % to its input"),
        ({"peak": 0.91}, "saturated: a place gives 91 % of its attention to one key"),
        ({"entropy": 0.985}, "uniform: its entropy is 98.5 % of the greatest possible"),
        ({"contribution": 0.001, "peak": 0.99}, "hardly used: it adds 0.1 % to its input"),
        ({"contribution": 0.01, "peak": 0.8, "entropy": 0.98}, ""),
    ],
)
def test_what_is_wrong_is_said(change, word):
    assert replace(ALIVE, **change).remark == word


def test_the_mean_of_several_pictures():
    other = Focus(gamma=0.3, entropy=0.7, peak=0.4, contribution=0.3)
    mean = mean_focus([ALIVE, other])
    assert vars(mean) == pytest.approx(
        {"gamma": 0.3, "entropy": 0.6, "peak": 0.3, "contribution": 0.2}
    )


def test_names_in_the_log_are_found_again():
    layers = [LoggedLayer("generator", "16"), LoggedLayer("discriminator", "8-2")]
    names = [attention_key("attention_peak", layer) for layer in layers]
    assert names == ["generator_attention_peak_16", "discriminator_attention_peak_8-2"]
    names += ["generator", "variety", "my_generator_attention_peak_16", "generator_gamma_16"]
    assert attention_keys("attention_peak", names) == dict(zip(layers, names, strict=False))
    assert list(attention_keys("gamma", names)) == layers[:1]


@pytest.fixture
def driver(tmp_path, picture_folder):
    """Builds drivers of runs that differ in nothing but their folder and the settings given."""

    def build(name="run", discriminator=None, generator=None, **train):
        config = tiny(**train)
        config = replace(
            config,
            data=replace(config.data, source=str(picture_folder)),
            generator=replace(config.generator, **(generator or {})),
            discriminator=replace(config.discriminator, **(discriminator or {})),
        )
        return Driver(config, tmp_path / name)

    return build


@pytest.mark.usefixtures("slow_bfloat16")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_measuring_leaves_no_trace_in_training(driver, monkeypatch, precision):
    watched = driver("watched", precision=precision)
    watched.train()
    monkeypatch.setattr(AttentionWatch, "terms", lambda _: {})
    alone = driver("alone", precision=precision)
    alone.train()
    expected, found = state_of(alone), state_of(watched)
    assert all(torch.equal(expected[name], found[name]) for name in expected | found)


@pytest.mark.parametrize("training", [True, False])
def test_measuring_changes_neither_networks_nor_random_numbers(driver, training):
    one = driver(steps=1)
    one.train()
    for network in (one.state.generator, one.state.discriminator):
        network.train(training)
    before, numbers = state_of(one), torch.get_rng_state()
    one.attention.terms()
    after = state_of(one)
    assert all(torch.equal(before[name], after[name]) for name in before | after)
    assert torch.equal(numbers, torch.get_rng_state())
    for network in (one.state.generator, one.state.discriminator):
        assert all(module.training == training for module in network.modules())
        for layer in network.attention.values():
            assert not layer._forward_pre_hooks
        for layer in network.modules():
            assert getattr(layer, "kept_kernel", None) is None
        assert all(parameter.grad is None for parameter in network.parameters())


def test_what_is_logged_is_what_the_layers_do(driver):
    one = driver(steps=1)
    one.train()
    terms = one.attention.terms()
    assert terms == one.attention.terms()
    logged = [record for record in one.run.records() if "generator" in record][-1]
    for network in ("generator", "discriminator"):
        for measure in ("gamma", "attention_entropy", "attention_peak"):
            key = f"{network}_{measure}_16"
            assert logged[key] == terms[key]
        assert 0 < terms[f"{network}_attention_entropy_16"] <= 1
        assert 1 / 64 - 1e-4 <= terms[f"{network}_attention_peak_16"] <= 1
    layer = one.state.generator.attention["16"]
    with torch.no_grad():
        layer.query.spectral_norm = None
        layer.query.weight.mul_(1e4)
        layer.gamma.fill_(0.7)
    sharp = one.attention.terms()
    assert sharp["generator_gamma_16"] == pytest.approx(0.7)
    assert sharp["generator_attention_peak_16"] > terms["generator_attention_peak_16"]
    assert sharp["generator_attention_entropy_16"] < terms["generator_attention_entropy_16"]


def test_residual_blocks_in_place_of_attention_have_gamma_only(driver):
    form = {"attention_form": "residual"}
    one = driver(steps=1, generator=form, discriminator=form)
    assert one.attention.terms() == {"generator_gamma_16": 0, "discriminator_gamma_16": 0}
    assert one.attention.remarks() == []


def test_networks_without_attention_log_nothing_of_it(driver):
    one = driver(steps=1, generator={"attention": ()}, discriminator={"attention": ()})
    one.train()
    assert one.attention.terms() == {}


def test_layers_that_show_nothing_are_told_at_the_end_of_a_run(driver, monkeypatch):
    told = io.StringIO()
    with redirect_stderr(told):
        driver("short").train()
    assert "attention at" not in told.getvalue()  # gamma begins at 0
    monkeypatch.setattr("sagan.training.focus._EARLY", 2)
    with redirect_stderr(told):
        driver("long").train()
    lines = [line for line in told.getvalue().splitlines() if "attention at" in line]
    assert [line.partition(":")[2].partition(":")[0] for line in lines] == [
        " the generator's attention at 16 is hardly used",
        " the discriminator's attention at 16 is hardly used",
    ]


def test_the_report_draws_them(driver, tmp_path):
    driver().train()
    charts = {chart.title: chart for chart in draw_charts(read_history(tmp_path / "run"))}
    for title in ("Attention gamma", "Attention entropy", "Largest weight of the attention"):
        assert "generator, layer 16 from" in charts[title].description
        assert "discriminator, layer 16 from" in charts[title].description


def test_a_log_of_an_earlier_version_has_gamma_only(tmp_path):
    line = {"step": 1, "generator_gamma_8-2": 0.5}
    (tmp_path / "log.jsonl").write_text(json.dumps(line))
    [chart] = draw_charts(read_history(tmp_path))
    assert chart.title == "Attention gamma"
    assert "generator, layer 8-2 from 0.5" in chart.description
