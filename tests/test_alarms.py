import json
from pathlib import Path

import pytest

from sagan.runs import alarms
from sagan.runs.alarms import CHECKS, RULES, Alarms, variety_of
from sagan.runs.events import ALARM, CLEARED, events

RUNS = json.loads((Path(__file__).parent / "golden" / "watched_runs.json").read_text())
SOUND = {
    alarms.VARIETY: 0.8,
    alarms.VARIETY_BY_CLASS: {f"class {n}": 0.8 for n in range(14)},
    alarms.SATURATION: 0.1,
    alarms.LOSS: 3.0,
    alarms.MEMORY: 0.1,
    alarms.SIGMA: 1.01,
}
ONE_OF_14 = {**SOUND[alarms.VARIETY_BY_CLASS], "class 5": 0.02}
WRONG = {
    "collapsed-class": {alarms.VARIETY_BY_CLASS: ONE_OF_14},
    "little-variety": {alarms.VARIETY: 0.59},
    "saturated-discriminator": {alarms.SATURATION: 0.96},
    "exploding-loss": {alarms.LOSS: 1e10},
    "memorising": {alarms.MEMORY: 0.51},
    "sigma-off": {alarms.SIGMA: 1.6},
}


def checks(*numbers, first=100, every=100):
    """Records of a log, each of a sound check but for what is given."""
    return [{"step": first + every * n, **SOUND, **more} for n, more in enumerate(numbers)]


def told(records):
    """What a run says on its way."""
    followed = Alarms()
    return [change for record in records for change in followed.check(record)]


@pytest.mark.parametrize("name", WRONG)
def test_every_alarm_is_raised_once_after_some_checks_and_cleared_after_as_many(name):
    wrong, sound = [WRONG[name]] * (CHECKS + 2), [{}] * CHECKS
    found = told(checks(*wrong, *sound))
    raised, cleared = found
    assert (raised["event"], raised["alarm"], raised["step"]) == (ALARM, name, 100 * CHECKS)
    assert (cleared["event"], cleared["alarm"]) == (CLEARED, name)
    assert cleared["step"] == 100 * (2 * CHECKS + 2)
    remedy = next(rule.remedy for rule in RULES if rule.name == name)
    assert raised["detail"].endswith(f"; {remedy}")
    assert "\n" not in raised["detail"]
    assert Alarms(checks(*wrong)).standing.keys() == {name}
    assert not Alarms(checks(*wrong, *sound)).standing


def test_every_rule_is_tried():
    assert WRONG.keys() == {rule.name for rule in RULES}


@pytest.mark.parametrize("name", WRONG)
def test_checks_must_follow_each_other(name):
    wrong = WRONG[name]
    assert not told(checks(*([wrong] * (CHECKS - 1) + [{}]) * 5))
    stands = [wrong] * CHECKS + ([{}] * (CHECKS - 1) + [wrong]) * 5
    assert len(told(checks(*stands))) == 1


@pytest.mark.parametrize("run", [name for name in RUNS if name != "origin"])
def test_measured_runs_raise_what_they_deserve(run):
    records = RUNS[run]
    assert len(records) >= CHECKS
    expected = {"little-variety"} if run == "avatars32-sagan, seed 0" else set()
    assert {change["alarm"] for change in told(records)} == expected


def test_the_class_is_named():
    [found] = told(checks(*[WRONG["collapsed-class"]] * CHECKS))
    assert "of the class class 5 (variety 0.02)" in found["detail"]
    [found] = told(checks(*[{alarms.VARIETY_BY_CLASS: {"": 0.0}}] * CHECKS))
    assert found["detail"].startswith("nearly one picture is drawn (variety 0.00")
    many = {alarms.VARIETY_BY_CLASS: dict.fromkeys("abcde", 0.1)}
    [found] = told(checks(*[many] * CHECKS))
    assert "of the classes a, b, c and 2 more" in found["detail"]


def test_what_was_not_measured_says_nothing():
    wrong = checks(*[WRONG["memorising"]] * CHECKS)
    for record in wrong[1:]:
        del record[alarms.MEMORY]
    assert not told(wrong)
    for record in wrong:
        record[alarms.MEMORY] = 0.9
    silent = [{"step": 9}, {"step": 10, "generator": 0.5}, *events(wrong, "alarm")]
    assert len(told([wrong[0], *silent, *wrong[1:]])) == 1


@pytest.mark.parametrize("value", [None, "1", [], {}, True, float("nan"), float("inf"), 10**400])
def test_a_garbled_log_is_passed_over(value):
    garbled = dict.fromkeys(SOUND, value)
    assert not [alarm for alarm in told(checks(*[garbled] * CHECKS)) if value is not True]
    by_class = {alarms.VARIETY_BY_CLASS: {"cat": value, "dog": 0.01}}
    [found] = told(checks(*[by_class] * CHECKS))
    assert "dog" in found["detail"]


def test_going_on_says_what_not_stopping_would_have_said():
    numbers = [{}, *[WRONG["memorising"]] * 4, *[{}] * 4, *[WRONG["exploding-loss"]] * 4]
    records = checks(*numbers)
    whole = told(records)
    assert len(whole) == 3
    for cut in range(len(records)):
        followed = Alarms(records[:cut])
        later = [change for record in records[cut:] for change in followed.check(record)]
        assert later == whole[len(whole) - len(later) :]
        assert len(told(records[:cut])) + len(later) == len(whole)


def test_a_few_good_classes_make_up_for_no_bad_ones():
    assert variety_of({"": 0.5}) == 0.5
    assert variety_of({"a": 0.4, "b": 0.4, "c": 2.0, "d": 2.0, "e": 2.0}) == 0.4
