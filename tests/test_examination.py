"""What sagan check finds in a run folder: each kind of damage, by name."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import tiny

from sagan.cli import main
from sagan.config import DataConfig
from sagan.data import load_dataset
from sagan.data.packfile import header_size
from sagan.errors import SaganError
from sagan.images import save_png
from sagan.runs import checkpoint as checkpoints
from sagan.runs.folder import checkpoint_files
from sagan.runs.locked import locked_run
from sagan.training.driver import Driver
from sagan.training.examination import examine_run


@pytest.fixture(scope="module")
def made(tmp_path_factory, picture_folder):
    """A run of four steps with all of its checkpoints, on its own copy of the pictures."""
    folder = tmp_path_factory.mktemp("examined")
    shutil.copytree(picture_folder, folder / "pictures")
    config = tiny(steps=4, checkpoint_interval=1, keep_checkpoints=9)
    config = replace(config, data=DataConfig(source=str(folder / "pictures"), resolution=32))
    Driver(config, folder / "run").train()
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made / "run", tmp_path / "run")


def findings(folder):
    return [str(found) for found in examine_run(folder).findings]


def finding(folder):
    """The first; notes on what comes after the newest good checkpoint may follow."""
    return findings(folder)[0]


def newest(folder):
    return checkpoint_files(folder)[-1]


def changed(folder, change):
    """Puts a changed checkpoint in the place of the newest, digests and all."""
    checkpoints.save(change(checkpoints.load(newest(folder))), newest(folder))


def without(checkpoint, part):
    parts = {name: named for name, named in checkpoint.parts.items() if name != part}
    return replace(checkpoint, parts=parts)


def test_a_good_run_is_well(folder, capsys):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found = examine_run(folder)
    assert found.findings == []
    assert found.exit_code == 0
    assert found.good == [1, 2, 3, 4]
    with pytest.raises(SystemExit) as ended:
        main(["check", str(folder)])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"{folder}: all is well; the run goes on from step 4\n"
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_flipped_bit_is_a_fault(folder, capsys):
    content = bytearray(newest(folder).read_bytes())
    content[-1] ^= 16
    newest(folder).write_bytes(content)
    assert finding(folder).startswith("fault: checkpoints/step-00000004.safetensors: is damaged")
    assert "is not what was written" in finding(folder)
    with pytest.raises(SystemExit) as ended:
        main(["check", str(folder), "--json"])
    assert ended.value.code == 1
    told = json.loads(capsys.readouterr().out)
    assert told["good"] == [1, 2, 3]
    assert told["findings"][0]["kind"] == "fault"


def test_a_number_that_is_not_finite_is_a_fault(folder):
    def change(checkpoint):
        checkpoint.parts["generator_ema"]["out.bias"][0] = torch.nan
        return checkpoint

    changed(folder, change)
    assert "holds numbers that are not finite, in generator_ema.out.bias" in finding(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: replace(c, config=tiny(batch_size=8)), "other settings: "),
        (lambda c: without(c, "discriminator_optimizer"), "has no discriminator_optimizer"),
        (lambda c: without(c, "discriminator"), "has no discriminator, only"),
        (lambda c: replace(c, step=9), "it is of step 9; it was renamed"),
    ],
)
def test_a_checkpoint_that_does_not_belong_is_a_mistake(folder, change, words):
    changed(folder, change)
    assert finding(folder).startswith("mistake: checkpoints/step-00000004.safetensors: ")
    assert words in finding(folder)
    assert examine_run(folder).exit_code == 2


def test_settings_that_cannot_be_read_are_a_mistake(folder):
    (folder / "config.toml").write_text("train = 7")
    assert finding(folder).startswith("mistake: config.toml: ")


def test_lines_of_the_log(folder):
    log = folder / "log.jsonl"
    lines = log.read_text().splitlines()
    losses = [line for line in lines if "images_per_second" in line]
    log.write_text("\n".join([*lines, "garbled"]))
    assert finding(folder).startswith("fault: log.jsonl: 1 line cannot be read; they")
    log.write_text("\n".join([*lines, losses[-1]]))
    assert "1 steps come twice" in finding(folder)
    log.write_text("\n".join([losses[1], losses[0], *losses[2:]]))
    assert "not in the order of steps" in finding(folder)
    log.write_text("\n".join([*losses[:1], *losses[3:]]))
    assert finding(folder) == "note: log.jsonl: lines are missing before step 4"
    log.write_text("\n".join(losses[:2]))
    assert "note: log.jsonl: lines are missing at its end, up to step 4" in findings(folder)
    log.write_text("\n".join([*lines, '{"step": 5}']))
    assert "after the newest good checkpoint; the run makes steps 5 to 5 again" in finding(folder)
    log.unlink()
    assert "it is gone" in finding(folder)


def test_samples_evaluations_and_drafts(folder):
    sample = next((folder / "samples").iterdir())
    whole = sample.read_bytes()
    sample.write_bytes(whole[: len(whole) // 2])
    assert finding(folder).startswith(f"fault: samples/{sample.name}: it cannot be read")
    sample.write_bytes(whole)
    (folder / "evaluations").mkdir()
    (folder / "evaluations" / "one.json").write_text("{")
    assert finding(folder).startswith("fault: evaluations/one.json: it cannot be read")
    (folder / "evaluations" / "one.json").unlink()
    draft = folder / "checkpoints" / "step-00000005.safetensors.7.tmp"
    draft.write_bytes(b"half")
    assert finding(folder).startswith(f"note: {draft.name}: 1 half written")
    draft.rename(folder / "checkpoints" / "step-00000005.safetensors.damaged")
    assert finding(folder).startswith("note: checkpoints/step-00000005.safetensors.damaged: set")
    assert examine_run(folder).exit_code == 0


def test_a_lock_tells_who_trains_or_died(folder):
    with locked_run(folder):
        left = (folder / "run.lock").read_bytes()
        assert "trains in this folder, so that" in finding(folder)
    (folder / "run.lock").write_bytes(left)
    assert finding(folder).endswith("died while it trained; the next start takes over")
    assert examine_run(folder).exit_code == 0


def test_what_is_due_and_missing_is_told(folder):
    log = folder / "log.jsonl"
    lines = [line for line in log.read_text().splitlines() if "finished" not in line]
    log.write_text("".join(f"{line}\n" for line in lines))
    assert findings(folder) == [
        "note: evaluation: due at step 4 and missing; sagan train makes it first"
    ]
    (folder / "samples" / "step-00000004.png").unlink()
    assert findings(folder)[0].startswith("note: samples: due at step 4 and missing")


def test_a_damaged_pack_is_a_fault(folder, made):
    data = DataConfig(source=str(made / "pictures"), resolution=32)
    pack = load_dataset(data).origin.pack
    content = pack.path.read_bytes()
    with pack.path.open("r+b") as file:
        file.seek(header_size((3, 32, 32)) + 5000)
        file.write(b"damage")
    assert finding(folder).startswith("fault: pictures: of pictures 0 to 15 in ")
    pack.path.write_bytes(bytes(len(content)))
    assert finding(folder).startswith(f"fault: pictures: {pack.path} is damaged or no packed set")
    assert finding(folder).endswith("; sagan train packs the pictures again")
    pack.path.write_bytes(content)
    assert findings(folder) == []


def test_other_pictures_are_a_mistake(folder, made):
    data = DataConfig(source=str(made / "pictures"), resolution=32)
    extra = made / "pictures" / "dark" / "9.png"
    save_png(np.full((3, 32, 32), 9, np.uint8), extra)
    try:
        assert "are not packed as they are now" in finding(folder)
        load_dataset(data)
        assert finding(folder).startswith("mistake: pictures: ")
        assert "holds others than those of the newest checkpoint" in finding(folder)
    finally:
        extra.unlink()
        load_dataset(data)
    text = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(text.replace(str(made / "pictures"), "/nowhere"))
    assert finding(folder).startswith("mistake: pictures: there is no folder or file /nowhere")


def test_other_versions_are_told(folder):
    changed(folder, lambda c: replace(c, versions={**c.versions, "torch": "1.0"}))
    assert finding(folder).startswith("note: versions: the newest checkpoint is of torch 1.0")


def test_a_folder_without_checkpoints_says_what_training_does(folder):
    for file in checkpoint_files(folder):
        file.write_text("garbage")
    assert "mistake: checkpoints: none of them is good; restore one, or" in "".join(
        findings(folder)
    )
    for file in checkpoint_files(folder):
        file.unlink()
    assert "has no checkpoints any more; put them back" in finding(folder)
    assert examine_run(folder).exit_code == SaganError.exit_code
    (folder / "log.jsonl").unlink()
    shutil.rmtree(folder / "samples")
    assert examine_run(folder).verdict.endswith("; it begins anew")


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(SaganError, match="no run folder"):
        examine_run(tmp_path)
