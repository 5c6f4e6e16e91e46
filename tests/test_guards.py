import io
import json
from contextlib import redirect_stderr
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import state_of, tiny

from sagan import images
from sagan.config import LossConfig
from sagan.data import Dataset, load_dataset, opening
from sagan.data.opening import held_out_of
from sagan.images.variety import nearest_distance
from sagan.runs import alarms
from sagan.runs.alarms import CHECKS, Alarms
from sagan.sampling.generator import load_generator, rows_of_class
from sagan.training.driver import Driver
from sagan.training.guards import (
    Guards,
    fixed_batch,
    largest_singular_value,
    saturation,
)


def test_distance_to_the_nearest_other_picture():
    levels = np.array([0, 51, 255], np.uint8)
    flat = np.broadcast_to(levels[:, None, None, None], (3, 1, 8, 8))
    assert nearest_distance(flat) == pytest.approx((0.2 + 0.2 + 0.8) / 3)
    assert nearest_distance(flat[[0, 0, 2, 2]]) == 0
    seen = np.concatenate([flat, np.full_like(flat, 255)], axis=1)[:, [0, 0, 0, 1]]
    assert nearest_distance(seen) == pytest.approx(nearest_distance(flat))


@pytest.mark.parametrize("size", [(4, 4), (32, 32), (24, 64), (128, 128)])
def test_neither_colour_nor_grain_makes_pictures_differ(size):
    rng = np.random.default_rng(0)
    shape = rng.integers(60, 190, (1, 1, *size)).repeat(3, axis=1)
    hue = rng.uniform(-30, 30, size=(20, 3, 1, 1))
    coloured = np.round(shape + hue - hue.mean(1, keepdims=True)).astype(np.uint8)
    others = rng.integers(0, 256, (20, 3, *size), dtype=np.uint8)
    assert coloured.std(axis=0).mean() > 10
    assert nearest_distance(coloured) < 0.05 * nearest_distance(others)


def test_models_that_come_along_vary():
    generator, found = load_generator("avatars64"), {}
    from sagan.data import open_dataset

    data = open_dataset("avatars", 32, generated_images=2000)
    for label, name in enumerate(data.class_names):
        rows = rows_of_class(data, label, 16)
        drawn = generator.sample(range(len(rows)), name)
        found[name] = nearest_distance(drawn) / nearest_distance(data.images[rows])
    assert alarms.variety_of(found) > alarms.LITTLE_VARIETY
    assert not alarms.collapsed_classes(found)


@pytest.fixture
def driver(tmp_path, picture_folder):
    """Builds drivers of runs that differ in nothing but their folder and the settings given."""

    def build(name="run", held_out=0.0, **train):
        config = tiny(**{"watch_interval": 1, **train})
        data = replace(config.data, source=str(picture_folder), held_out=held_out)
        return Driver(replace(config, data=data), tmp_path / name)

    return build


@pytest.mark.usefixtures("slow_bfloat16")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_watching_leaves_no_trace_in_training(driver, precision, accumulate):
    watched = driver("watched", precision=precision, accumulate=accumulate)
    watched.train()
    alone = driver("alone", precision=precision, accumulate=accumulate, watch_interval=0)
    alone.train()
    expected, found = state_of(alone), state_of(watched)
    assert all(torch.equal(expected[name], found[name]) for name in expected | found)
    assert any(alarms.LOSS in record for record in watched.run.records())
    assert not any(alarms.LOSS in record for record in alone.run.records())


def test_measuring_changes_neither_networks_nor_random_numbers(driver):
    one = driver(steps=1)
    one.train()
    before, numbers = state_of(one), torch.get_rng_state()
    first = one.guards.signals()
    after = state_of(one)
    assert all(torch.equal(before[name], after[name]) for name in before | after)
    assert torch.equal(numbers, torch.get_rng_state())
    assert one.guards.signals() == first
    for network in (one.state.generator, one.state.discriminator):
        for layer in network.modules():
            assert getattr(layer, "kept_kernel", None) is None
        assert all(parameter.grad is None for parameter in network.parameters())


def test_what_is_logged(driver):
    one = driver(steps=2, held_out=0.3)
    one.train()
    found = [record for record in one.run.records() if alarms.LOSS in record]
    assert [record["step"] for record in found] == [1, 2]
    signals = one.guards.signals()
    assert found[-1] == {"step": 2, alarms.LOSS: found[-1][alarms.LOSS], **signals}
    assert set(signals[alarms.VARIETY_BY_CLASS]) == {"dark", "light"}
    assert 0 <= signals[alarms.SATURATION] <= 1
    sigmas = signals[alarms.SIGMA_BY_LAYER]
    assert signals[alarms.SIGMA] == max(sigmas.values())
    assert sigmas.keys() == signals[alarms.SINGULAR_VALUE_BY_LAYER].keys()
    assert {name.partition(".")[0] for name in sigmas} == {"generator", "discriminator"}
    assert min(sigmas.values()) == pytest.approx(1, abs=0.01)


def broken_run(driver, breaks, steps=CHECKS, **settings):
    """Trains while something is made wrong before every check; what was told, and the log."""
    one, told = driver(steps=steps, **settings), io.StringIO()
    measure = one.guards.after

    def after(terms):
        measure(breaks(one, terms) or terms)

    one.guards.after = after
    with redirect_stderr(told):
        one.train()
    return told.getvalue(), one.run.records()


def alarms_of(records):
    return [record["alarm"] for record in records if record.get("event") == "alarm"]


def constant(one, _):
    """The generator no longer heeds its latents."""
    network = one.state.generator
    network.forward = lambda latents, labels: type(network).forward(network, 0 * latents, labels)


def test_a_constant_generator_is_found(driver):
    told, records = broken_run(driver, constant, steps=CHECKS + 2)
    assert alarms_of(records) == ["collapsed-class", "little-variety"]
    assert told.count("alarm collapsed-class: nearly one picture is drawn of the classes dark") == 1
    assert told.count("alarm collapsed-class, raised at step 3") == 1  # summed up at the end


def test_an_exploding_loss_is_found(driver):
    told, records = broken_run(
        driver, lambda _, terms: {**terms, "generator": terms["generator"] * 0 - 1e10}
    )
    assert "exploding-loss" in alarms_of(records)
    assert "step 3, alarm exploding-loss: a term of the loss is 1.0e+10" in told


def test_one_collapsed_class_of_14_is_found():
    rng = np.random.default_rng(0)
    data = Dataset(
        images=rng.integers(0, 256, (14 * 20, 3, 32, 32), dtype=np.uint8),
        labels=np.arange(14 * 20) % 14,
        class_names=tuple(f"class {n}" for n in range(14)),
        fingerprint="noise",
    )
    batch = fixed_batch(data, 32)
    drawn = rng.integers(0, 256, batch.images.shape, dtype=np.uint8)
    of_five = batch.labels.numpy() == 5
    drawn[of_five] = drawn[of_five][0]
    by_class = {
        data.class_names[label]: nearest_distance(drawn[batch.labels.numpy() == label]) / real
        for label, real in batch.distances.items()
    }
    record = {alarms.VARIETY_BY_CLASS: by_class, alarms.VARIETY: alarms.variety_of(by_class)}
    followed = Alarms({"step": step, **record} for step in range(CHECKS))
    assert list(followed.standing) == ["collapsed-class"]
    assert "of the class class 5 (" in followed.standing["collapsed-class"].detail


def test_a_discriminator_that_knows_its_pictures_by_heart_is_found(driver, monkeypatch):
    one = driver(held_out=0.3)
    passed = Guards._passed
    known = {picture.tobytes() for picture in images.to_float(training_pictures(one)).numpy()}

    def by_heart(self, network, given, labels):
        if network is self._state.generator:
            return passed(self, network, given, labels)
        learned = torch.tensor([picture.tobytes() in known for picture in given.numpy()])
        return torch.where(learned, 3.0, -3.0) + torch.linspace(0, 0.1, len(given))

    monkeypatch.setattr(Guards, "_passed", by_heart)
    signals = one.guards.signals()
    assert signals[alarms.GAP] == pytest.approx(6, abs=0.1)
    assert signals[alarms.MEMORY] == pytest.approx(1, abs=0.02)
    assert list(Alarms({"step": n, **signals} for n in range(CHECKS)).standing) != []
    assert "memorising" in Alarms({"step": n, **signals} for n in range(CHECKS)).standing


def training_pictures(driver):
    return torch.from_numpy(np.array(driver.dataset.images[np.arange(len(driver.dataset))]))


def test_without_pictures_held_out_or_a_gap_memory_is_not_measured(driver, monkeypatch):
    assert alarms.MEMORY not in driver("none").guards.signals()
    monkeypatch.setattr(Guards, "_passed", lambda self, network, given, labels: torch.zeros(16))
    one = driver("no gap", held_out=0.3)
    assert alarms.MEMORY not in one.guards._of_logits(torch.zeros(16))


def test_what_is_held_out_is_found_without_the_source(driver, monkeypatch):
    one = driver(held_out=0.3)
    expected = load_dataset(one.config.data, "held-out")
    monkeypatch.setattr(opening, "load_dataset", None)
    found = held_out_of(one.dataset, one.config.data)
    assert (found.fingerprint, len(found)) == (expected.fingerprint, len(expected))
    assert np.array_equal(found.images[:], expected.images[:])
    assert alarms.MEMORY not in driver("none held out", held_out=1e-9).guards.signals()


def test_a_run_that_goes_on_keeps_its_alarms(driver):
    broken_run(driver, constant, steps=CHECKS)
    told, records = broken_run(driver, constant, steps=CHECKS + 2)
    assert alarms_of(records) == ["collapsed-class", "little-variety"]
    assert "step 4, alarm" not in told


@pytest.mark.parametrize(
    ("loss", "real", "fake", "share"),
    [
        ({"name": "hinge"}, [0.9, 1.1, 5.0, 0.0], [-0.9, -1.1, -5.0, 2.0], 0.5),
        ({"name": "non-saturating"}, [4.0, 5.0], [-4.0, -5.0], 0.5),
        ({"name": "kl"}, [5.0, 5.0], [-5.0, -5.0], 1),
        ({"name": "least-squares"}, [1.0, 0.9], [0.1, 0.5], 0.25),
        ({"name": "wasserstein"}, [90.0, 90.0], [-90.0, -90.0], 0),
        ({"name": "non-saturating", "relativistic": True}, [9.0, 9.0], [5.0, 4.0], 0.5),
        ({"name": "hinge", "relativistic": True}, [9.0, 9.0], [7.0, 8.5], 0.5),
    ],
)
def test_saturation_is_where_the_loss_has_no_slope(loss, real, fake, share):
    assert saturation(LossConfig(**loss), torch.tensor(real), torch.tensor(fake)) == share


@pytest.mark.parametrize("shape", [(1, 7), (7, 1), (3, 3), (64, 40), (40, 300)])
def test_the_largest_singular_value(shape):
    matrix = torch.randn(shape)
    expected = torch.linalg.matrix_norm(matrix, 2).item()
    assert largest_singular_value(matrix) == pytest.approx(expected, rel=0.01)
    assert largest_singular_value(torch.zeros(shape)) == 0
    assert np.isnan(largest_singular_value(matrix * torch.nan))


def test_the_fixed_batch_mixes_classes_and_leaves_small_ones_out():
    labels = np.array([0] * 9 + [1] * 3 + [2] * 100)
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (len(labels), 1, 8, 8), dtype=np.uint8)
    data = Dataset(images=pictures, labels=labels, class_names=("a", "b", "c"), fingerprint="")
    batch = fixed_batch(data, 4)
    assert batch.distances.keys() == {0, 2}
    assert batch.labels[:6].tolist() == [0, 2, 0, 2, 0, 2]
    assert batch.seeds[:6] == [0, 0, 1, 1, 2, 2]
    assert batch.images.shape[0] == len(batch.labels) == len(batch.seeds) <= 8 * 4
    lone = fixed_batch(replace(data, class_names=(), labels=labels * 0), 32)
    assert set(lone.labels.tolist()) == {0}
    assert len(lone.seeds) == 64


def test_numbers_that_are_not_finite_stay_out_of_the_log(driver, monkeypatch):
    one = driver(steps=1)
    monkeypatch.setattr(Guards, "signals", lambda _: {alarms.GAP: float("nan"), alarms.SIGMA: 1.0})
    one.train()
    [line] = [line for line in one.run.log_path.read_text().splitlines() if alarms.LOSS in line]
    assert alarms.GAP not in json.loads(line)
    assert json.loads(line)[alarms.SIGMA] == 1.0
