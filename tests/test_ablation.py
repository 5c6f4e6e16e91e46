import csv
from dataclasses import replace

import pytest
from conftest import tiny
from PIL import Image
from test_cli import TINY, mistake, run

from sagan import ablation
from sagan.ablation import run_ablation, variants
from sagan.config import differences, presets
from sagan.errors import SaganError
from sagan.evaluation.measures import METRICS
from sagan.evaluation.periodic import periodic_evaluation
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
    monkeypatch.setattr(ablation, "variants", lambda *asked: variants(*asked)[::2])
    whole = run_ablation(setting, "normalization", tmp_path / "whole", **options)
    stops = ablation.Driver.train
    calls = []

    def train(driver):
        calls.append(driver)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return stops(driver)

    with monkeypatch.context() as interrupted:
        interrupted.setattr(ablation.Driver, "train", train)
        with pytest.raises(KeyboardInterrupt):
            run_ablation(setting, "normalization", tmp_path / "parts", **options)
    assert run_ablation(setting, "normalization", tmp_path / "parts", **options) == whole
    monkeypatch.setattr(ablation.Driver, "train", None)  # nothing is left to train
    log = tmp_path / "parts" / "both-seed1" / "log.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not ('"evaluation"' in line and '"step": 2' in line)]
    assert len(kept) == len(lines) - 1  # as if stopped before the last evaluation, in mid-line
    log.write_text("".join(kept) + '{"step": 2, "eval')
    assert run_ablation(setting, "normalization", tmp_path / "parts", **options) == whole
    monkeypatch.setattr(ablation.Driver, "train", stops)
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


def test_the_best_on_the_way_is_the_lowest_or_the_highest_as_the_table_says(setting, monkeypatch):
    brightness = replace(
        METRICS["fd"], key="brightness", titles=("ISness{network}",), better="lower"
    )
    monkeypatch.setitem(METRICS, "brightness", brightness)  # begins like another
    names = ("FD (Pooled)", "recall", "ISness (Pooled)", "nearest-neighbour ratio", "unheard of")
    history = {step: dict.fromkeys(names, float(step)) for step in (2, 3, 1)}
    row = ablation._summary_row(variants(setting, "normalization")[0], setting.data, [history])
    best = {name: value for name, value in row.items() if name.endswith(", best of all")}
    assert best == {
        "FD (Pooled), best of all": 1,
        "recall, best of all": 3,
        "ISness (Pooled), best of all": 1,
    }


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
    assert not (tmp_path / "x").exists()
    with pytest.raises(SaganError, match="a seed and a measurement"):
        run_ablation(setting, "attention", tmp_path, evaluate=lambda *_: {}, points=0)
    with pytest.raises(SaganError, match="needs residual networks"):
        variants(presets.preset("celeba64"), "attention")
