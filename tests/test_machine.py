import itertools
import math

import pytest
import torch
from conftest import tiny

from sagan.config.effort import operations
from sagan.config.recipe import TWO_CORES, LearningMaterial, recipe
from sagan.system.memory import Memory
from sagan.training import machine as module
from sagan.training.machine import busy, measured_machine, seconds_per_step, timed_on_noise

CPU = torch.device("cpu")


class Clock:
    """A time that passes only where steps are taken."""

    def __init__(self, monkeypatch, durations):
        self.now = 0.0
        self.taken = 0
        self.durations = durations
        monkeypatch.setattr(module.time, "perf_counter", lambda: self.now)

    def steps(self):
        for duration in self.durations:
            self.now += duration
            self.taken += 1
            yield {}


@pytest.mark.parametrize("least", [0.1, 2.0, 9.0, 25.0])
def test_whole_periods_are_timed_without_the_first_step(monkeypatch, least):
    config = recipe(LearningMaterial(pictures=100, side=32), TWO_CORES, 60)
    period = config.loss.penalty_interval
    assert period == 4
    # A first step with what never happens again, then one with penalties in every fourth.
    clock = Clock(monkeypatch, itertools.chain([9.0], itertools.cycle([1.0, 1.0, 1.0, 3.0])))
    assert seconds_per_step(clock.steps(), config, CPU, least) == pytest.approx(6 / 4)
    assert (clock.taken - 1) % period == 0
    assert clock.now - 9 >= least


def test_a_first_step_that_takes_too_long_is_the_only_one(monkeypatch):
    clock = Clock(monkeypatch, itertools.repeat(60.0))
    assert seconds_per_step(clock.steps(), tiny(), CPU, 1.0) == 60
    assert clock.taken == 1


def test_memory_that_runs_out_is_no_error():
    def exhausted():
        raise torch.OutOfMemoryError("out of memory")
        yield

    assert seconds_per_step(exhausted(), tiny(), CPU, 1.0) is None

    def broken():
        raise RuntimeError("something else")
        yield

    with pytest.raises(RuntimeError, match="something else"):
        seconds_per_step(broken(), tiny(), CPU, 1.0)


@pytest.mark.parametrize("classes", [0, 3])
def test_networks_are_timed_on_noise(classes):
    random = torch.get_rng_state()
    assert 0 < timed_on_noise(tiny(), classes, CPU, 0.01) < 60
    assert torch.equal(random, torch.get_rng_state())


def test_the_processor_at_hand(monkeypatch):
    monkeypatch.setattr(module, "_REFERENCE_SECONDS", 0.01)
    found = measured_machine(CPU)
    assert found.kind == "cpu"
    assert 1e8 < found.speed < 1e15
    assert found.overhead == 0
    assert found.memory is None or found.memory > 2**20


def test_of_a_processor_the_work_on_narrow_maps_is_told_from_its_speed(monkeypatch):
    def timed(config, classes, device, least):
        pixels = math.prod(config.data.size)
        return config.train.batch_size * (pixels * 2e-6 + operations(config) / 1e11)

    disturbed = itertools.chain([3.0, 1.0], itertools.repeat(1.0))  # while the first one is timed
    monkeypatch.setattr(module, "timed_on_noise", lambda *of: next(disturbed) * timed(*of))
    found = measured_machine(CPU)
    assert found.pixel_seconds == pytest.approx(2e-6)
    assert found.speed == pytest.approx(1e11)


def test_of_a_gpu_the_time_of_launching_is_told_from_its_speed(monkeypatch):
    def timed(config, classes, device, least):
        return 0.03 + config.train.batch_size * operations(config) / 1e13

    monkeypatch.setattr(module, "timed_on_noise", timed)
    monkeypatch.setattr(module, "memory_of", lambda _: Memory(total=2**36, available=2**35))
    monkeypatch.setattr(module, "computes_in_bfloat16", lambda *_: True)
    found = measured_machine(torch.device("cuda"))
    assert (found.kind, found.bfloat16, found.memory) == ("gpu", True, 2**35)
    assert found.overhead == pytest.approx(0.03, rel=0.05)
    assert found.speed == pytest.approx(1e13, rel=0.05)


def test_a_busy_machine_is_noticed(monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (9.6, 0.0, 0.0))
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert busy() == "note: this machine is busy: 10 programs share 2 cores"
    monkeypatch.setattr("os.getloadavg", lambda: (1.9, 9.0, 9.0))
    assert busy() == ""
