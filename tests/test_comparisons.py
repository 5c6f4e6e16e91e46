"""The tables of several comparisons, from run folders that are written here."""

import json
import sys
from dataclasses import replace

import pytest
from conftest import tiny

from benchmarks import comparisons
from sagan.ablation import variants
from sagan.config import to_toml
from sagan.errors import SaganError

NAME = "FD (EfficientNet-Lite0)"


def written(folder, variant, seed, *, fd, steps=4, ended=True):
    """A run of four steps that was measured twice, or once where it has not ended."""
    run = folder / f"{variant}-seed{seed}"
    run.mkdir(parents=True)
    base = tiny()
    config = replace(base, train=replace(base.train, steps=steps, seed=seed))
    if variant == "acgan":
        [config] = [v.config for v in variants(config, "models", [variant])]
    (run / "config.toml").write_text(to_toml(config))
    numbers = {2: {NAME: 2 * fd, "class accuracy": 0.25}}
    if ended:
        numbers[steps] = {NAME: fd, "class accuracy": 0.5}
    lines = [json.dumps({"step": step, "evaluation": found}) for step, found in numbers.items()]
    (run / "log.jsonl").write_text("".join(f"{line}\n" for line in lines))


def printed(capsys, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["comparisons.py", *map(str, arguments)])
    comparisons.main()
    return capsys.readouterr().out


def test_two_data_sets_stand_side_by_side(tmp_path, capsys, monkeypatch):
    first, second = tmp_path / "one", tmp_path / "two"
    for seed, fd in enumerate((100.0, 110.0, 120.0)):
        written(first, "sagan", seed, fd=fd)
        written(first, "acgan", seed, fd=fd + 50, ended=seed < 2)
    written(second, "sagan", 0, fd=7.0)
    (first / "sagan-seedx").mkdir()
    table = printed(
        capsys, monkeypatch, f"avatars={first}", f"fashion={second}", "--metrics", "fd,accuracy"
    )
    assert table.splitlines() == [
        "models, seeds: 3",
        "",
        "| variant | avatars FD | avatars class accuracy | fashion FD | fashion class accuracy |",
        "| --- | --- | --- | --- | --- |",
        "| acgan | 155 ± 7.1 (2) | 0.5 ± 0 (2) |  |  |",
        "| sagan | 110 ± 10 | 0.5 ± 0 | 7 (1) | 0.5 (1) |",
        "",
    ]


def test_each_comparison_has_its_table_and_unfinished_runs_have_none(tmp_path, capsys, monkeypatch):
    written(tmp_path / "a", "both-two-rates", 0, fd=3.0)
    written(tmp_path / "b", "residual-16", 0, fd=4.0)
    written(tmp_path / "b", "none", 0, fd=5.0)
    written(tmp_path / "c", "none", 0, fd=5.0, ended=False)
    folders = [tmp_path / name for name in "abc"]
    table = printed(capsys, monkeypatch, *folders, "--metrics", "fd")
    assert [line for line in table.splitlines() if not line.startswith("| ---")] == [
        "normalization, seeds: 1",
        "",
        "| variant | a FD |",
        "| both-two-rates | 3 |",
        "",
        "attention, seeds: 1",
        "",
        "| variant | b FD |",
        "| none | 5 |",
        "| residual-16 | 4 |",
        "",
    ]


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(SaganError, match="no runs of sagan ablate"):
        comparisons.order_of(tmp_path)
