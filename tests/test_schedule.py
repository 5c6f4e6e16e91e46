from types import SimpleNamespace

import pytest

from sagan.config import EvaluationConfig
from sagan.training import watch as schedule_module
from sagan.training.watch import EvaluationSchedule


@pytest.fixture
def clock(monkeypatch):
    """Time, to be set as ``clock.now``."""
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(schedule_module, "time", clock)
    return clock


def run(schedule, clock, *, steps, cost):
    """Steps of one second, evaluations of ``cost`` seconds; returns the steps evaluated."""
    evaluated = []
    for step in range(1, steps + 1):
        clock.now += 1
        if schedule.is_due(step):
            with schedule.timed():
                clock.now += cost
            evaluated.append(step)
    return evaluated


def test_every_interval_and_at_the_end(clock):
    schedule = EvaluationSchedule(EvaluationConfig(interval=10), 25)
    assert run(schedule, clock, steps=25, cost=0) == [10, 20, 25]


def test_an_interval_of_zero_is_never(clock):
    assert run(EvaluationSchedule(EvaluationConfig(), 25), clock, steps=25, cost=0) == []


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_evaluations_stay_within_their_share(clock, share):
    schedule = EvaluationSchedule(EvaluationConfig(interval=10, time_share=share), 2000)
    evaluated = run(schedule, clock, steps=1999, cost=5)
    assert len(evaluated) >= 3
    assert 5 * len(evaluated) <= share * clock.now + 5  # the first one's cost is not known before
    assert 5 * (len(evaluated) + 3) > share * clock.now
    assert schedule.is_due(2000)


def test_a_failed_evaluation_counts_too(clock):
    schedule = EvaluationSchedule(EvaluationConfig(interval=1, time_share=0.5), 100)
    clock.now = 1
    assert schedule.is_due(1)

    def fail():
        with schedule.timed():
            clock.now = 11
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not schedule.is_due(2)
    assert schedule.last_duration == 10
