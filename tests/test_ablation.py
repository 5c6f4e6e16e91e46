import csv
from dataclasses import replace

import pytest
from conftest import tiny
from PIL import Image
from test_cli import TINY, mistake, run

from sagan.ablation import (
    USUAL_METRICS,
    finished_histories,
    measured_as_usual,
    run_ablation,
    running,
    summaries,
    variants,
)
from sagan.ablation.summary import measured_by_step
from sagan.config import differences, presets
from sagan.errors import DivergedError, SaganError
from sagan.evaluation.measures import METRICS
from sagan.evaluation.periodic import periodic_evaluation
from sagan.runs.log import log_records
from sagan.runs.status import run_status


def test_the_attention_axis_is_the_papers_table():
    config = presets.preset("imagenet128")
    found = {variant.name: variant.config for variant in variants(config, "attention")}
    names = [f"{form}-{r}" for form in ("attention", "residual") for r in (8, 16, 32, 64)]
    assert list(found) == ["none", *names]
    assert found["attention-32"] == config
    for name, changed in found.items():
        fields = {text.partition(" ")[0].partition(".")[2] for text in differences(config, changed)}
        assert fields <= {"attention", "attention_form"}, name
    assert found["residual-8"].discriminator.attention == (8,)
    assert [variant.name for variant in variants(presets.preset("avatars32"), "attention")] == [
        "none",
        "attention-8",
        "attention-16",
        "residual-8",
        "residual-16",
    ]


def test_the_normalization_axis_is_the_papers_figure():
    found = variants(presets.preset("imagenet128"), "normalization")
    chosen = {
        variant.name: (
            variant.config.generator.spectral_norm,
            variant.config.optimizer.generator_lr,
            variant.config.optimizer.discriminator_lr,
        )
        for variant in found
    }
    assert chosen == {
        "discriminator": ("none", 1e-4, 1e-4),
        "discriminator-two-rates": ("none", 1e-4, 4e-4),
        "both": ("all", 1e-4, 1e-4),
        "both-two-rates": ("all", 1e-4, 4e-4),
    }
    assert all(variant.config.discriminator.spectral_norm == "all" for variant in found)
    equal = variants(presets.preset("avatars32"), "normalization")[3].config.optimizer
    assert equal.discriminator_lr == 4 * equal.generator_lr


@pytest.fixture
def setting(picture_folder, extractor, monkeypatch):
    monkeypatch.setattr("sagan.evaluation.periodic.load_extractor", lambda *_, **__: extractor)
    config = tiny(steps=2)
    return replace(
        config,
        data=replace(config.data, source=str(picture_folder)),
        evaluation=replace(config.evaluation, samples=8),
    )


def test_an_interrupted_ablation_goes_on_and_gives_the_same_table(setting, tmp_path, monkeypatch):
    evaluate = periodic_evaluation(setting.evaluation, "cpu")
    options = {"evaluate": evaluate, "seeds": (0, 1), "points": 2}
    options["names"] = ("both", "discriminator")
    whole = run_ablation(setting, "normalization", tmp_path / "whole", **options)
    stops = running.Driver.train
    calls = []

    def train(driver):
        calls.append(driver)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return stops(driver)

    with monkeypatch.context() as interrupted:
        interrupted.setattr(running.Driver, "train", train)
        with pytest.raises(KeyboardInterrupt):
            run_ablation(setting, "normalization", tmp_path / "parts", **options)
    assert run_ablation(setting, "normalization", tmp_path / "parts", **options) == whole
    monkeypatch.setattr(running.Driver, "train", None)  # nothing is left to train
    log = tmp_path / "parts" / "both-seed1" / "log.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not ('"evaluation"' in line and '"step": 2' in line)]
    assert len(kept) == len(lines) - 1  # as if stopped before the last evaluation, in mid-line
    log.write_text("".join(kept) + '{"step": 2, "eval')
    assert run_ablation(setting, "normalization", tmp_path / "parts", **options) == whole
    monkeypatch.setattr(running.Driver, "train", stops)
    log.write_text("".join(line for line in kept if "finished" not in line))
    assert run_ablation(setting, "normalization", tmp_path / "parts", **options) == whole
    assert run_status(log.parent).state == "finished"
    with (tmp_path / "whole" / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["variant"] for row in rows] == ["discriminator", "both"]
    assert all(float(row["FD (Pooled), spread"]) > 0 for row in rows)
    assert (tmp_path / "whole" / "table.md").read_text() == whole
    with Image.open(tmp_path / "whole" / "curves.png") as picture:
        assert picture.width > 1000


def test_the_best_on_the_way_is_the_lowest_or_the_highest_as_the_table_says(monkeypatch):
    brightness = replace(
        METRICS["fd"], key="brightness", titles=("ISness{network}",), better="lower"
    )
    monkeypatch.setitem(METRICS, "brightness", brightness)  # begins like another
    names = ("FD (Pooled)", "recall", "ISness (Pooled)", "nearest-neighbour ratio", "unheard of")
    history = {step: dict.fromkeys(names, float(step)) for step in (2, 3, 1)}
    found = summaries([history])
    assert {name: summary.best for name, summary in found.items()} == {
        "FD (Pooled)": 1,
        "recall": 3,
        "ISness (Pooled)": 1,
        "nearest-neighbour ratio": None,
        "unheard of": None,
    }
    assert str(found["ISness (Pooled)"]) == "3 (best 1)"
    assert str(found["recall"]) == "3 (best 3)"


def test_variants_can_be_chosen_and_the_work_divided(setting, tmp_path, capsys):
    setting = replace(setting, train=replace(setting.train, steps=1))
    options = {"evaluate": periodic_evaluation(setting.evaluation, "cpu"), "points": 1}
    options["seeds"] = (0, 1)
    folder = tmp_path / "run"
    for name in ("both", "discriminator-two-rates"):
        table = run_ablation(setting, "normalization", folder, names=[name], **options)
        assert [line.split(" | ")[0] for line in table.splitlines()[2:]] == [f"| {name}"]
    logs = {path: path.read_bytes() for path in folder.glob("*/log.jsonl")}
    assert len(logs) == 4
    table = run_ablation(setting, "normalization", folder, names=(), **options)
    order = ["discriminator", "discriminator-two-rates", "both", "both-two-rates"]
    assert [line.split(" | ")[0][2:] for line in table.splitlines()[2:]] == order
    assert {path: path.read_bytes() for path in logs} == logs
    assert finished_histories(folder).keys() == set(order)
    assert all(len(seeds) == 2 for seeds in finished_histories(folder).values())
    with pytest.raises(
        SaganError, match=r"no variant 'bth' \(did you mean both\?\); known are disc"
    ):
        variants(setting, "normalization", ["both", "bth"])


def test_a_run_that_diverges_is_told_and_the_others_go_on(setting, tmp_path, monkeypatch, capsys):
    setting = replace(setting, train=replace(setting.train, steps=1))
    options = {"evaluate": periodic_evaluation(setting.evaluation, "cpu"), "points": 1}
    options |= {"names": ["discriminator", "both"], "seeds": (0, 1)}
    train = running.Driver.train
    lost = {"discriminator-seed0", "discriminator-seed1", "both-seed1"}

    def diverging(driver):
        if driver.run.folder.name in lost:
            driver.begin()
            raise DivergedError("step 1: generator is nan")
        return train(driver)

    monkeypatch.setattr(running.Driver, "train", diverging)
    table = run_ablation(setting, "normalization", tmp_path / "run", **options)
    first, second = table.splitlines()[2:]
    assert "2 of 2 runs diverged" in first
    assert first.endswith("|  |  |")
    assert "1 of 2 runs diverged" in second
    assert "(best " in second
    told = "this run has diverged, the others go on: step 1: generator is nan"
    assert capsys.readouterr().err.count(told) == 3
    lost.add("both-seed0")
    with pytest.raises(DivergedError, match="every run has diverged"):
        run_ablation(setting, "normalization", tmp_path / "other", **options)


def test_the_time_left_is_that_of_all_runs(setting, tmp_path, capsys, monkeypatch):
    clock = iter(range(0, 10**6, 30))
    monkeypatch.setattr(running.time, "monotonic", lambda: next(clock))
    timed = running._Timed(lambda *_: None, 4)
    for _ in range(4):
        timed()
    lines = capsys.readouterr().err.splitlines()
    assert [line.rpartition("about ")[2] for line in lines] == [
        "1:30 left",
        "1:00 left",
        "0:30 left",
        "0:00 left",
    ]
    config = running._seeded(replace(setting, train=replace(setting.train, steps=10)), 0, 3)
    log = tmp_path / "log.jsonl"
    log.write_text(
        '{"step": 3, "evaluation": {"FD": 1}}\n{"step": 4}\n{"step": 6, "evaluation": {"FD": 1}}\n'
    )
    assert running._still_to_measure(config, tmp_path) == 2  # at 9 and 10
    assert running._still_to_measure(config, tmp_path / "new") == 4


def test_each_comparison_has_its_usual_metrics():
    plain = presets.preset("avatars32-sagan")
    for axis, keys in USUAL_METRICS.items():
        assert set(keys) <= set(METRICS)
        assert measured_as_usual(plain, axis).evaluation.metrics == keys
    chosen = replace(plain, evaluation=replace(plain.evaluation, metrics=("pr",)))
    assert measured_as_usual(chosen, "models") is chosen


def test_garbled_measurements_are_passed_over(tmp_path):
    lines = ['{"step": 1, "evaluation": null}', '{"step": 2, "evaluation": {"FD": 3, "IS": "x"}}']
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    assert measured_by_step(tmp_path) == {2: {"FD": 3.0}}


def test_numbers_that_one_seed_lacks_are_left_out():
    whole, part = {2: {"IS": 1.0, "FD": 3.0}}, {1: {"FD": 9.0}, 2: {"FD": 5.0}}
    found = summaries([whole, part])
    assert list(found) == ["FD"]
    assert found["FD"] == (4.0, pytest.approx(2**0.5), 3.0)
    assert str(found["FD"]) == "4 ± 1.4 (best 3)"
    large = summaries([{1: {"KID": 12000.0}}, {1: {"KID": 14345.0}}])["KID"]
    assert str(large) == "13170 ± 1700"


def test_table_2_tells_how_well_classes_are_hit(setting, tmp_path, capsys, picture_folder):
    folder = tmp_path / "models"
    command = ["ablate", "avatars32", "--axis", "models", "--run", folder, *TINY]
    command += ["--data.source", picture_folder, "--train.steps=1", "--evaluation.samples=8"]
    assert run(*command, "--points", 1) == 0
    with (folder / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["variant"] for row in rows] == ["acgan", "sngan-projection", "sagan"]
    measured = [name for name in list(rows[0])[4:] if not name.endswith("best of all")]
    assert measured == ["FD (Pooled)", "IS (Pooled)", "intra-class FD (Pooled)", "class accuracy"]
    assert all(0 <= float(row["class accuracy"]) <= 1 for row in rows)
    logged = log_records(folder / "acgan-seed0")
    [numbers] = [line["evaluation"] for line in logged if "evaluation" in line]
    assert numbers["class accuracy"] == float(rows[0]["class accuracy"])
    capsys.readouterr()
    usual = ("fd", "kid", "pr", "dc", "intra")
    named = [part for key in usual for part in ("--evaluation.metrics", key)]
    assert run(*command, "--points", 1, *named) == 2
    assert "measured differently: evaluation.metrics" in capsys.readouterr().err


def test_what_was_measured_or_learned_differently_is_refused(setting, tmp_path, picture_folder):
    evaluate = periodic_evaluation(setting.evaluation, "cpu")
    setting = replace(setting, train=replace(setting.train, steps=1))
    run_ablation(setting, "normalization", tmp_path / "run", evaluate=evaluate, points=1)
    other = replace(setting, evaluation=replace(setting.evaluation, samples=9))
    with pytest.raises(SaganError, match=r"measured differently: evaluation.samples \(8 and 9\)"):
        run_ablation(other, "normalization", tmp_path / "run", evaluate=evaluate, points=1)
    other = replace(setting, data=replace(setting.data, source=str(picture_folder / "dark")))
    with pytest.raises(SaganError, match="was trained on other pictures"):
        run_ablation(other, "normalization", tmp_path / "run", evaluate=evaluate, points=1)
    with pytest.raises(SaganError, match=r"runs of another comparison \(both\)"):
        run_ablation(setting, "models", tmp_path / "run", evaluate=evaluate, points=1)


def test_models_that_learn_classes_need_some(setting, tmp_path, picture_folder):
    setting = replace(setting, data=replace(setting.data, source=str(picture_folder / "dark")))
    with pytest.raises(SaganError, match=r"none in .*dark with data\.labels found"):
        run_ablation(setting, "models", tmp_path / "run", evaluate=lambda *_: {}, points=1)


def test_the_command(setting, picture_folder, tmp_path, capsys):
    folder = tmp_path / "ablation"
    common = ["ablate", "avatars32", "--axis", "attention", "--run", folder, *TINY]
    common += ["--data.source", picture_folder, "--train.steps=2", "--evaluation.samples=8"]
    assert run(*common, "--points", 1) == 0
    printed = capsys.readouterr().out
    assert printed.count("\n| ") >= 6
    assert str(folder / "curves.png") in printed
    assert (folder / "residual-16-seed0" / "checkpoints").is_dir()
    wrong = [*common, "--points", 1, "--optimizer.beta2", 0.5]
    assert run(*wrong) == 2
    assert "begun with other settings: optimizer.beta2 (0.99 and 0.5)" in capsys.readouterr().err


def test_mistakes_are_one_line(setting, tmp_path, capsys):
    common = ["ablate", "--run", tmp_path / "x", "--axis"]
    assert "axis" in mistake(capsys, *common, "width")
    assert "there is no preset" in mistake(capsys, "ablate", "avatar", *common[1:], "attention")
    assert "no metric" in mistake(capsys, *common, "attention", "--evaluation.metrics", "fid")
    assert "at least 1" in mistake(capsys, *common, "attention", "--train.steps", 0)
    unknown = mistake(capsys, *common, "attention", "--variants", "none,attention-15")
    assert "no variant 'attention-15'" in unknown
    for flag in ("--train.seed", "--evaluation.interval", "--evaluation.time-share"):
        assert "says it here" in mistake(capsys, *common, "attention", flag, 1)
    assert "pictures to measure" in mistake(capsys, *common, "attention", "--evaluation.samples", 0)
    assert not (tmp_path / "x").exists()
    with pytest.raises(SaganError, match="a seed, a measurement"):
        run_ablation(setting, "attention", tmp_path, evaluate=lambda *_: {}, points=0)
    with pytest.raises(SaganError, match="needs residual networks"):
        variants(presets.preset("celeba64"), "attention")
