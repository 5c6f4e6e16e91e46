"""Runs that begin from a model: settings, record, going on."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny

import sagan
from sagan import cli
from sagan.config import Config, DataConfig
from sagan.config.presets import preset
from sagan.errors import SaganError
from sagan.images import save_png
from sagan.interop.conversion import convert_files
from sagan.runs import checkpoint as checkpoints
from sagan.runs.folder import checkpoint_files
from sagan.runs.run import load_checkpoint
from sagan.sampling.generator import for_inference
from sagan.training.driver import Driver
from sagan.training.forecast import forecast
from sagan.training.origin import model_settings, run_settings, starting_settings
from sagan.training.transfer import Transfer

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def more_pictures(tmp_path_factory, picture_folder):
    """One of the two classes that the model knows, and a new one."""
    folder = tmp_path_factory.mktemp("more")
    shutil.copytree(picture_folder / "light", folder / "light")
    shutil.copytree(picture_folder / "dark", folder / "black")
    return folder


def settings_for(source, **train):
    config = tiny(seed=3, **train)
    return replace(config, data=replace(config.data, source=str(source)))


def parts(folder, step=None):
    file = (
        checkpoint_files(folder)[-1]
        if step is None
        else folder / "checkpoints" / f"step-{step:08d}.safetensors"
    )
    return checkpoints.load(file).parts


def same(first, second):
    return first.keys() == second.keys() and all(
        first[part][name].equal(second[part][name]) for part in first for name in first[part]
    )


def run(*arguments):
    try:
        cli.main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_a_run_begins_with_the_models_weights_and_says_so(
    tmp_path, trained_run, more_pictures, capsys
):
    driver = Driver(settings_for(more_pictures, steps=1), tmp_path / "new", start_from=trained_run)
    driver.begin()
    newest = load_checkpoint(trained_run)[0]
    begun = parts(tmp_path / "new", 0)
    for part in ("generator", "discriminator", "generator_ema"):
        assert begun[part]["blocks.1.conv1.weight"].equal(
            newest.parts[part]["blocks.1.conv1.weight"]
        )
    assert not any("optimizer" in part for part in begun)
    printed = capsys.readouterr().err
    assert f"begins from {checkpoint_files(trained_run)[-1]}, step 2" in printed
    assert "classes that the model knows: light" in printed
    assert "new, at the mean of the model's classes: black" in printed
    record = json.loads((tmp_path / "new" / "from.json").read_text())
    assert record["model"] == str(trained_run)
    assert record["step"] == 2
    assert len(record["sha256"]) == 64
    assert record["transfer"]["new_classes"] == ["black"]
    driver.train()
    assert [r["step"] for r in driver.run.records() if "event" not in r] == [1, 1]


def test_it_goes_on_exactly_and_without_the_model(tmp_path, trained_run, more_pictures):
    given = tmp_path / "given"
    shutil.copytree(trained_run, given)
    config = settings_for(more_pictures)
    straight = Driver(config, tmp_path / "straight", start_from=given)
    straight.train()
    first = Driver(config, tmp_path / "resumed", start_from=given)
    first.begin()
    shutil.rmtree(given)
    second = Driver(config, tmp_path / "resumed")
    assert second.state.step == 0
    assert second.beginning is None
    second.begin()
    for _ in second.preparation.steps(second.state):
        if second.state.step == 3:
            second.outputs.save(samples=False, checkpoint=True)
            break
    third = Driver(config, tmp_path / "resumed", start_from=given)
    assert third.state.step == 3
    third.train()
    assert same(parts(tmp_path / "straight"), parts(tmp_path / "resumed"))


def test_a_run_that_died_before_its_first_checkpoint_begins_from_the_recorded_model(
    tmp_path, trained_run, more_pictures
):
    given, folder = tmp_path / "given", tmp_path / "new"
    shutil.copytree(trained_run, given)
    config = settings_for(more_pictures, steps=1)
    Driver(config, folder, start_from=given).begin()
    begun = parts(folder, 0)
    (folder / "checkpoints" / "step-00000000.safetensors").unlink()
    again = Driver(config, folder)
    again.begin()
    assert same(begun, parts(folder, 0))
    (folder / "checkpoints" / "step-00000000.safetensors").unlink()
    file = checkpoint_files(given)[-1]
    checkpoints.save(replace(checkpoints.load(file), step=1), file)
    with pytest.raises(SaganError, match=r"no longer what it was; give --from") as caught:
        Driver(config, folder)
    assert "\n" not in str(caught.value)
    Driver(config, folder, start_from=given).begin()


def test_the_same_model_and_seed_give_the_same_weights(tmp_path, trained_run, more_pictures):
    for name in ("one", "other"):
        torch.manual_seed(ord(name[0]))
        Driver(settings_for(more_pictures), tmp_path / name, start_from=trained_run).begin()
    assert same(parts(tmp_path / "one"), parts(tmp_path / "other"))


def test_a_begun_run_takes_no_other_model(tmp_path, trained_run, picture_folder):
    config = settings_for(picture_folder, steps=1)
    exported = tmp_path / "model.safetensors"
    checkpoints.save(for_inference(load_checkpoint(trained_run)[0]), exported)
    Driver(config, tmp_path / "plain").train()
    with pytest.raises(SaganError, match=r"was not begun from a model; leave --from out"):
        Driver(config, tmp_path / "plain", start_from=trained_run)
    Driver(config, tmp_path / "new", start_from=trained_run).begin()
    with pytest.raises(SaganError, match=r"begins from .*, not .*model.safetensors; leave --from"):
        Driver(config, tmp_path / "new", start_from=exported)
    # The same content under another name is the same model.
    copied = tmp_path / "copy.safetensors"
    shutil.copy(checkpoint_files(trained_run)[-1], copied)
    assert Driver(config, tmp_path / "new", start_from=copied).state.step == 0
    (tmp_path / "new" / "from.json").write_text("[" * 100_000)
    with pytest.raises(SaganError, match=r"cannot read .*from.json"):
        Driver(config, tmp_path / "new")
    (tmp_path / "new" / "from.json").write_text("[]")
    with pytest.raises(SaganError, match=r"from.json names no model"):
        Driver(config, tmp_path / "new")


def test_what_is_no_checkpoint_is_named_with_the_way_on(tmp_path, picture_folder):
    config = settings_for(picture_folder)
    torch.save({"a": torch.zeros(2)}, tmp_path / "G.pth")
    with pytest.raises(SaganError, match=r"G.pth is no checkpoint.*sagan convert .*G.pth -o"):
        Driver(config, tmp_path / "new", start_from=tmp_path / "G.pth")
    with pytest.raises(SaganError, match="there is no checkpoint"):
        Driver(config, tmp_path / "new", start_from=tmp_path / "nothing")
    assert not (tmp_path / "new").exists()


def test_a_model_of_another_size_is_refused_by_name(tmp_path, trained_run, picture_folder):
    config = settings_for(picture_folder)
    config = replace(config, generator=replace(config.generator, base_channels=16))
    config = replace(config, discriminator=replace(config.discriminator, base_channels=16))
    for begin in (Driver, forecast):
        with pytest.raises(
            SaganError, match=r"step-00000002.safetensors: only \d+% of the weights"
        ):
            begin(config, tmp_path / "new", start_from=trained_run)
    assert not (tmp_path / "new").exists()


def test_colours_that_a_grey_model_takes_away_are_told(tmp_path, capsys):
    for number in range(9):
        grey = np.full((3, 32, 32), 20 * number, np.uint8)
        save_png(grey, tmp_path / "without" / f"{number}.png")
    config = settings_for(tmp_path / "without", steps=1)
    Driver(config.with_channels(1), tmp_path / "grey").train()
    assert "colours, which" not in capsys.readouterr().err
    (tmp_path / "red").mkdir()
    red = np.broadcast_to(np.array([200, 10, 10], np.uint8)[:, None, None], (3, 32, 32))
    for number in range(9):
        save_png(red, tmp_path / "red" / f"{number}.png")
    new = run_settings(
        None, tmp_path / "new", source=str(tmp_path / "red"), start_from=tmp_path / "grey"
    )
    Driver(new, tmp_path / "new", start_from=tmp_path / "grey").begin()
    assert "9 pictures have colours, which data.channels 1 makes grey" in capsys.readouterr().err


@pytest.mark.parametrize("files", ["GD", "G"])
def test_a_converted_file_is_a_start(tmp_path, picture_folder, files):
    checkpoint, _ = convert_files([GOLDEN / f"biggan_32_{part}.safetensors" for part in files])
    checkpoints.save(checkpoint, tmp_path / "converted.safetensors")
    with pytest.raises(SaganError, match=r"does not say which pictures.*--data.source"):
        run_settings(None, tmp_path / "new", start_from=tmp_path / "converted.safetensors")
    config = run_settings(
        None,
        tmp_path / "new",
        source=str(picture_folder),
        start_from=tmp_path / "converted.safetensors",
    )
    assert config.data.channels == 3
    train = replace(tiny().train, steps=1)
    driver = Driver(
        replace(config, train=train),
        tmp_path / "new",
        start_from=tmp_path / "converted.safetensors",
    )
    assert driver.beginning
    assert driver.beginning.transfer.share == 1
    driver.train()
    assert sagan.load_generator(tmp_path / "new").class_names == ("dark", "light")


def test_settings_come_from_the_model_or_from_a_preset_with_its_networks(trained_run, tmp_path):
    model = model_settings(trained_run)
    assert model.data.channels == 3
    assert starting_settings(model) == model
    chosen = starting_settings(model, preset("imagenet128"), source="mine")
    assert chosen.generator == model.generator
    assert chosen.discriminator == model.discriminator
    assert chosen.data.resolution == 32
    assert chosen.data.source == "mine"
    assert chosen.train == preset("imagenet128").train
    assert run_settings(chosen, tmp_path, start_from=trained_run) is chosen


def test_what_belongs_to_the_models_pictures_is_not_asked_of_others():
    model = Config(
        data=DataConfig(
            source="old",
            split="val",
            crop="box",
            box=(0, 0, 9, 9),
            horizontal_flip=True,
            resolution=64,
        )
    )
    assert starting_settings(model, source="old") == model
    expected = DataConfig(source="new", horizontal_flip=True, resolution=64)
    assert starting_settings(model, source="new").data == expected


def test_the_models_pictures_are_read_as_before_however_they_are_named(
    tmp_path, trained_run, picture_folder, capsys
):
    checkpoint, _ = load_checkpoint(trained_run)
    source = picture_folder / ".." / picture_folder.name
    data = DataConfig(source=str(picture_folder), resolution=32, crop="pad", held_out=0.1)
    model = tmp_path / "model.safetensors"
    config = replace(checkpoint.config, data=data)
    checkpoints.save(replace(checkpoint, config=config), model)
    again = run_settings(None, tmp_path / "new", source=str(source), start_from=model)
    assert again.data == replace(data, source=str(source), channels=3)
    for crop, told in (("pad", ""), ("centre", ": crop pad, held_out 0.1\n")):
        changes = {"crop": crop} if crop == "pad" else {"crop": crop, "held_out": 0.0}
        settings = replace(again, data=replace(again.data, **changes))
        settings = replace(settings, train=replace(settings.train, batch_size=4))
        Driver(settings, tmp_path / crop, start_from=model).begin()
        printed = capsys.readouterr().err
        assert ("not taken over, of how its pictures were read" in printed) == bool(told)
        assert told in printed


def test_the_command(tmp_path, trained_run, more_pictures, capsys):
    new = tmp_path / "new"
    command = ["train", "--from", trained_run, "--run", new, "--data.source", more_pictures]
    assert run(*command, "--train.steps=1", "--train.freeze-discriminator=2") == 0
    printed = capsys.readouterr()
    assert "100% of the weights are the model's" in printed.err
    assert printed.out.splitlines()[0] == str(new / "checkpoints" / "step-00000001.safetensors")
    assert run(*command, "--train.steps=2", "--train.freeze-discriminator=2") == 0
    assert f"continuing {new} at step 1" in capsys.readouterr().err
    assert run("train", "--run", new, "--train.steps=3") == 0
    assert (
        run(
            "train",
            more_pictures,
            "--from",
            trained_run,
            "--run",
            tmp_path / "pics",
            "--print-config",
        )
        == 0
    )
    assert f'source = "{more_pictures}"' in capsys.readouterr().out
    assert run("train", trained_run, "--run", tmp_path / "other") == 2
    assert f"--from {trained_run} --run NEW" in capsys.readouterr().err


def test_one_picture_more_is_a_new_run_from_the_old_one(tmp_path, picture_folder, capsys):
    source, old, new = tmp_path / "pictures", tmp_path / "old", tmp_path / "new"
    shutil.copytree(picture_folder, source)
    Driver(settings_for(source, steps=1), old).train()
    capsys.readouterr()
    save_png(np.zeros((3, 32, 32), np.uint8), source / "dark" / "another.png")
    assert run("train", "--run", old, "--train.steps=2") == 2
    refusal = capsys.readouterr().err
    assert refusal.count("\n") == 1
    assert "other pictures" in refusal
    assert f"--from {old} begins it with these weights" in refusal
    assert run("train", "--from", old, "--run", new) == 0
    assert "100% of the weights" in capsys.readouterr().err
    assert sagan.train(None, new).steps == 1


def test_other_settings_and_losses_that_are_not_finite_name_the_way_on(tmp_path, picture_folder):
    config = settings_for(picture_folder, steps=1)
    Driver(config, tmp_path / "run").train()
    way_on = rf"another --run \(--from {tmp_path / 'run'} begins it with these weights\)"
    slower = replace(config.optimizer, generator_lr=1e-5)
    with pytest.raises(SaganError, match=rf"optimizer.generator_lr .*choose {way_on}"):
        Driver(replace(config, optimizer=slower), tmp_path / "run")
    longer = replace(config, train=replace(config.train, steps=2))
    driver = Driver(longer, tmp_path / "run")
    next(driver.state.discriminator.parameters()).data.fill_(float("inf"))
    with pytest.raises(SaganError, match=rf"lower the learning rates in {way_on}"):
        driver.train()
    driver = Driver(
        replace(longer, optimizer=slower), tmp_path / "new", start_from=tmp_path / "run"
    )
    driver.train()


def test_nothing_names_the_settings(tmp_path):
    with pytest.raises(SaganError, match="nothing names the settings"):
        sagan.train(None, tmp_path / "new")


def test_long_lists_are_cut_for_people():
    names = tuple(map(str, range(20)))
    transfer = Transfer(share=0.75, model_classes=names, known_classes=names, not_taken=names)
    assert transfer.lines() == [
        "75% of the weights are the model's",
        "classes that the model knows: 0, 1, 2, 3, 4 and 15 more",
        "not taken: 0, 1, 2, 3, 4 and 15 more",
    ]
