import math
from types import SimpleNamespace

import pytest

from sagan.config import EvaluationConfig
from sagan.errors import SaganError
from sagan.evaluation.periodic import Evaluated
from sagan.training import measuring as schedule_module
from sagan.training.measuring import EvaluationSchedule, measured_at, seconds_of_steps


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


def test_an_interval_of_zero_is_the_end_and_no_samples_are_never(clock):
    assert run(EvaluationSchedule(EvaluationConfig(), 25), clock, steps=25, cost=0) == [25]
    for interval in (0, 10):
        never = EvaluationSchedule(EvaluationConfig(samples=0, interval=interval), 25)
        assert run(never, clock, steps=25, cost=0) == []


def test_the_end_may_take_a_share_of_all_sittings(clock):
    schedule = EvaluationSchedule(EvaluationConfig(time_share=0.1), 100)
    clock.now = 50
    assert schedule.seconds_left() == pytest.approx(5)
    schedule.count_in(200)
    assert schedule.seconds_left() == pytest.approx(25)
    with schedule.timed():
        clock.now = 150  # which leaves a tenth of 350, less the 100
    assert schedule.seconds_left() == 0
    assert EvaluationSchedule(EvaluationConfig(interval=1), 100).seconds_left() == math.inf


def test_earlier_sittings_are_timed_by_the_log():
    lines = [(50, 100.0), (100, 50.0), (150, None), (200, 100.0), (250, -1), (300, math.inf)]
    lines.append((350, 10**400))  # more than a float holds
    records = [{"step": step, "images_per_second": rate} for step, rate in lines]
    records.insert(2, {"step": 100, "variety": 0.5})
    assert seconds_of_steps(records, 10) == pytest.approx(5 + 10 + 10)
    assert seconds_of_steps([], 10) == 0


def test_what_keeps_an_end_from_being_measured_is_one_line(clock, capsys):
    def fail(error):
        raise error

    at_end, asked = (EvaluationSchedule(EvaluationConfig(interval=n), 9) for n in (0, 5))
    obstacle = SaganError("there is no network; install it")
    assert at_end.measured(9, lambda: fail(obstacle), "sagan evaluate run") == {}
    line = "not measured: there is no network; install it; sagan evaluate run measures the model\n"
    assert capsys.readouterr().err == line
    with pytest.warns(RuntimeWarning, match="step 5 failed, training goes on: there is no network"):
        assert asked.measured(5, lambda: fail(obstacle), "")["evaluation_error"] == str(obstacle)
    with pytest.warns(RuntimeWarning, match="step 9 failed, the model is saved: a fault"):
        at_end.measured(9, lambda: fail(RuntimeError("a fault")), "")


def test_what_was_found_is_told_and_logged(clock, capsys):
    found = Evaluated(
        numbers={"FD": 12.345},
        by_class={"intra-class FD": {"cat": 3.0}},
        pictures=7,
        notes=["there are 7"],
        protocol="pooled",
    )
    schedule = EvaluationSchedule(EvaluationConfig(), 9)
    assert schedule.measured(9, lambda: found, "") == {
        "step": 9,
        "evaluation": {"FD": 12.345},
        "evaluation_by_class": {"intra-class FD": {"cat": 3.0}},
        "evaluation_pictures": 7,
        "evaluation_protocol": "pooled",
        "evaluation_seconds": 0.0,
    }
    told = "step 9, against training pictures: FD 12.35 (0 s)\nnote: there are 7\n"
    assert capsys.readouterr().err == told


def test_the_numbers_of_a_step_are_the_last_that_its_log_holds():
    records = [
        {"step": 1, "evaluation": {"FD": 1.0}},
        {"step": 2, "evaluation": {"FD": 2.0}},
        {"step": 2, "evaluation": {"FD": 3.0}},
        {"step": 2, "evaluation": "none"},
    ]
    assert measured_at(2, records) == {"FD": 3.0}
    assert measured_at(3, records) == {}


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


def test_a_note_is_told_once_in_a_run(capsys):
    found = Evaluated(numbers={"FD": 5.0}, by_class={}, pictures=100, notes=["biased", "few"])
    schedule = EvaluationSchedule(EvaluationConfig(interval=10), 30)
    for step in (10, 20):
        schedule.measured(step, lambda: found, "sagan evaluate run")
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if line.startswith("note")] == ["note: biased", "note: few"]
    assert len(said) == 4
