import json
import math
from dataclasses import replace

import pytest
import torch
from conftest import tiny

from sagan.cli.program import main
from sagan.config import load_toml, to_toml
from sagan.config.training import MOST_ROLLBACKS
from sagan.errors import DivergedError, SaganError
from sagan.nn import spectral
from sagan.runs import checkpoint as checkpoints
from sagan.runs.folder import checkpoint_files
from sagan.training import steps as training_steps
from sagan.training.driver import Driver
from sagan.training.state import new_state

CPU = torch.device("cpu")
CONV = "blocks.1.conv1.weight"


@pytest.fixture(scope="module")
def config(picture_folder):
    config = tiny(checkpoint_interval=2, sample_interval=100, on_divergence="rollback")
    return replace(config, data=replace(config.data, source=str(picture_folder)))


@pytest.fixture(scope="module")
def straight(config, tmp_path_factory):
    """The last state of a run that went back from step 4 to 2 and was left alone."""
    driver = Driver(config, tmp_path_factory.mktemp("straight") / "run")
    with pytest.MonkeyPatch.context() as patch:
        planted(patch, at_step(4, times=1))
        driver.train()
    return values(driver.state)


def planted(monkeypatch, is_now, value=math.inf, network="discriminator", parameter=CONV):
    """Spoils one number of one gradient before those updates that ``is_now`` names."""
    judge = training_steps.apply_gradients

    def spoil(state, optimizer, terms, ranks):
        if optimizer is getattr(state, f"{network}_optimizer") and is_now(state):
            named = dict(getattr(state, network).named_parameters())
            named[parameter].grad[0, 0, 0, 0] = value
        judge(state, optimizer, terms, ranks)

    monkeypatch.setattr(training_steps, "apply_gradients", spoil)


def at_step(number, times=math.inf):
    """True in a step, counted from 1, the first few times that it is taken."""
    taken = []

    def is_now(state):
        if state.step + 1 == number:
            taken.append(number)
        return state.step + 1 == number and len(taken) <= times

    return is_now


def values(state):
    return {
        f"{part}.{name}": tensor.clone()
        for part, tensors in state.parts().items()
        for name, tensor in tensors.items()
    }


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def ended_with(command):
    with pytest.raises(SystemExit) as ended:
        main(command)
    return ended.value.code


def events(folder):
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [record for record in records if record.get("event") == "rolled-back"]


@pytest.mark.parametrize("value", [math.inf, math.nan, -1e30], ids=str)
@pytest.mark.parametrize("network", ["discriminator", "generator"])
def test_gradient_that_is_not_finite_stops_before_the_update_and_is_named(
    tmp_path, config, monkeypatch, network, value
):
    """Adam takes squares: that of 1e30 is infinite."""
    config = replace(config, train=replace(config.train, on_divergence="stop"))
    driver = Driver(config, tmp_path / "run")
    before = []
    hit = at_step(4)

    def is_now(state):
        before.append(values(state))
        return hit(state)

    planted(monkeypatch, is_now, value, network)
    with pytest.raises(DivergedError) as caught:
        driver.train()
    told = str(caught.value)
    assert told.startswith(f"step 4: the gradient of {network}.{CONV} is not finite, so the update")
    assert "step-00000002.safetensors" in told
    assert len(before) == 4  # the reading follows the step
    after = values(driver.state)
    for name, tensor in before[-1].items():
        is_moved = name.endswith((".u", ".v", "running_mean", "running_var", "num_batches_tracked"))
        is_other = name.startswith(("generator", "discriminator")) and not name.startswith(network)
        if not (is_moved or is_other or name.startswith("generator_ema")):
            assert torch.equal(tensor, after[name]), name


def test_later_gradients_do_not_hide_the_first():
    state = new_state(tiny(), 2, CPU)

    def update(broken):
        for name, parameter in state.discriminator.named_parameters():
            parameter.grad = torch.ones_like(parameter)
            if name.startswith(broken):
                parameter.grad.flatten()[0] = math.nan
        terms = {"discriminator_real": torch.tensor(1.0)}
        training_steps.apply_gradients(state, state.discriminator_optimizer, terms)

    update("nothing")
    moved = values(state)
    for broken in ("linear.weight", "nothing", "blocks.0.conv1"):
        update(broken)
    assert state.diverged.item() == 1
    assert state.discriminator_optimizer.not_finite() == ["linear.weight"]
    assert same(moved, values(state))


def test_a_run_goes_back_and_finishes_with_half_the_rates(tmp_path, config, monkeypatch, capfd):
    planted(monkeypatch, at_step(4, times=1))
    driver = Driver(config, tmp_path / "run")
    outcome = driver.train()
    assert outcome.steps == 6
    state, rates = driver.state, config.optimizer
    assert state.rollbacks == 1
    assert state.generator_optimizer.learning_rate == rates.generator_lr / 2
    assert state.discriminator_optimizer.learning_rate == rates.discriminator_lr / 2
    (record,) = events(tmp_path / "run")
    assert (record["step"], record["from"], record["to"], record["factor"]) == (2, 4, 2, 0.5)
    assert CONV in record["reason"]
    steps = [r["step"] for r in driver.run.records() if "generator" in r]
    assert steps == [1, 2, 3, 4, 5, 6]
    told = capfd.readouterr().err
    assert "rolled back to step 2 with 0.5 of the learning rates (1 of at most 3" in told
    assert checkpoints.load(checkpoint_files(tmp_path / "run")[-1]).parts["rollbacks"]


def test_what_follows_is_the_same_as_a_run_from_that_checkpoint(tmp_path, config, monkeypatch):
    """The moments, LeCam's averages and singular vectors go back too."""
    loss = replace(config.loss, lecam=0.1)
    config = replace(config, loss=loss)
    first = Driver(config, tmp_path / "first")
    first.begin()
    for _ in first.preparation.steps(first.state):
        if first.state.step == 2:
            break
    first.state.rollbacks = 1
    for _ in first.preparation.steps(first.state):
        pass
    planted(monkeypatch, at_step(4, times=1), network="generator")
    second = Driver(config, tmp_path / "second")
    second.train()
    one, two = first.state.parts(), second.state.parts()
    assert one.keys() == two.keys()
    for part in one.keys() - {"generator_ema"}:  # whose statistics belong to a checkpoint
        assert same(one[part], two[part]), part


@pytest.mark.parametrize("killed_at", [2, 3, 5])
def test_killed_after_a_rollback_equals_straight_through(
    tmp_path, config, monkeypatch, straight, killed_at
):
    planted(monkeypatch, at_step(4, times=1))
    first = Driver(config, tmp_path / "killed")
    advance = spectral.advance

    def die(network, iterations=1):
        has_gone_back = network is first.state.generator and first.state.rollbacks
        if has_gone_back and first.state.step == killed_at:
            raise ProcessLookupError  # as good as dead: nobody saves
        advance(network, iterations)

    monkeypatch.setattr(spectral, "advance", die)
    with pytest.raises(ProcessLookupError):
        first.train()
    second = Driver(config, tmp_path / "killed")
    assert second.state.rollbacks == 1
    second.train()
    assert same(straight, values(second.state))
    assert len(events(tmp_path / "killed")) == 1


def test_at_most_so_many_rollbacks_each_with_lower_rates(tmp_path, config, monkeypatch):
    config = replace(config, train=replace(config.train, most_rollbacks=2))
    tried = []
    always = at_step(4)

    def is_now(state):
        if always(state):
            tried.append(state.discriminator_optimizer.learning_rate)
            return True
        return False

    planted(monkeypatch, is_now)
    with pytest.raises(
        DivergedError, match=r"rolled back 2 times, at last with 0\.25 of"
    ) as caught:
        Driver(config, tmp_path / "run").train()
    rate = config.optimizer.discriminator_lr
    assert tried == [rate, rate / 2, rate / 4]
    assert [record["factor"] for record in events(tmp_path / "run")] == [0.5, 0.25]
    assert "--train.most-rollbacks" in str(caught.value)

    # The message's remedy: the same command with more of them.
    monkeypatch.undo()
    planted(monkeypatch, at_step(4, times=1))
    config = replace(config, train=replace(config.train, most_rollbacks=3))
    driver = Driver(config, tmp_path / "run")
    driver.train()
    assert (driver.state.step, driver.state.rollbacks) == (6, 3)


def test_divergence_before_the_first_interval_goes_back_to_the_beginning(
    tmp_path, config, monkeypatch
):
    """Adam's moments go back to none; at half the rates the first step is another."""
    planted(monkeypatch, at_step(2, times=1))
    driver = Driver(config, tmp_path / "run")
    driver.train()
    (record,) = events(tmp_path / "run")
    assert (record["from"], record["to"]) == (2, 0)
    counts = {k: v.item() for k, v in values(driver.state).items() if k.endswith(".step")}
    assert set(counts.values()) == {6.0}


def test_divergence_at_every_first_step_ends(tmp_path, config, monkeypatch):
    planted(monkeypatch, at_step(1), math.nan)
    with pytest.raises(DivergedError, match=r"step 1: .*rolled back 3 times, at last with 0\.125"):
        Driver(config, tmp_path / "run").train()


def test_without_a_checkpoint_it_ends_and_says_so(tmp_path, config, monkeypatch):
    def is_now(state):
        for path in checkpoint_files(tmp_path / "run"):
            path.unlink()
        return True

    planted(monkeypatch, is_now, math.nan)
    with pytest.raises(DivergedError, match="there is no checkpoint to go back to"):
        Driver(config, tmp_path / "run").train()


def test_damaged_checkpoint_is_passed_over(tmp_path, config, monkeypatch):
    driver = Driver(config, tmp_path / "run")
    hit = at_step(5, times=1)

    def is_now(state):
        if hit(state):
            newest = driver.run.checkpoint_path(4)
            driver.outputs.writer.join()  # it is written beside training
            newest.write_bytes(newest.read_bytes()[:-100])
            return True
        return False

    planted(monkeypatch, is_now)
    with pytest.warns(RuntimeWarning, match="damaged"):
        driver.train()
    assert driver.state.step == 6
    assert [record["to"] for record in events(tmp_path / "run")] == [2]
    assert checkpoints.load(driver.run.checkpoint_path(4)).step == 4


def test_weight_that_is_found_not_finite_when_saved_is_rolled_back_too(tmp_path, config):
    driver = Driver(config, tmp_path / "run")
    save, spoiled = driver.outputs.save_checkpoint, []

    def spoil():
        if driver.state.step == 4 and not spoiled:
            spoiled.append(driver.state.generator.out.bias.data.fill_(math.nan))
        save()

    driver.outputs.save_checkpoint = spoil
    driver.train()
    (record,) = events(tmp_path / "run")
    assert record["reason"].startswith("step 4: generator.out.bias is no longer finite")
    assert driver.state.step == 6


def test_only_a_run_that_went_back_says_so_in_its_checkpoint(trained_run):
    assert "rollbacks" not in checkpoints.load(checkpoint_files(trained_run)[-1]).parts


@pytest.mark.parametrize(
    "tensors",
    [
        {"count": torch.tensor(MOST_ROLLBACKS + 1)},
        {"count": torch.tensor(-1)},
        {"count": torch.tensor(0.5)},
        {"count": torch.zeros(2, dtype=torch.int64)},
        {"other": torch.tensor(1)},
    ],
    ids=str,
)
def test_number_of_rollbacks_in_a_file_is_judged(tensors):
    state = new_state(tiny(), 2, CPU)
    with pytest.raises(SaganError, match="rollbacks"):
        state.restore({**state.parts(), "rollbacks": tensors}, 0)


def test_a_stopped_run_continues_as_its_message_says(tmp_path, config, monkeypatch, capsys):
    """Its two ways on: the same command that may roll back, and another run with lower rates."""
    run, other = str(tmp_path / "run"), str(tmp_path / "other")
    file = tmp_path / "settings.toml"
    config = replace(config, train=replace(config.train, on_divergence="stop"))
    file.write_text(to_toml(config))
    command = ["train", str(file), "--run", run]
    with monkeypatch.context() as patch:
        planted(patch, at_step(4))
        code = ended_with(command)
    told = capsys.readouterr().err
    assert code == DivergedError.exit_code == 3
    assert f"--from {run}" in told
    assert "--train.on-divergence rollback" in told

    rate = ["--optimizer.discriminator-lr", "0.0005"]
    assert ended_with(["train", "--run", other, "--from", run, *rate]) == 0
    begun = load_toml(tmp_path / "other" / "config.toml")
    assert begun.optimizer.discriminator_lr == 0.0005
    assert checkpoints.load(checkpoint_files(tmp_path / "other")[-1]).step == 6

    planted(monkeypatch, at_step(4, times=1))
    assert ended_with([*command, "--on-divergence", "rollback"]) == 0
    assert checkpoints.load(checkpoint_files(tmp_path / "run")[-1]).step == 6
    assert len(events(tmp_path / "run")) == 1


def test_a_run_that_explodes_ends_or_goes_back(tmp_path, config):
    """For real: learning rates without spectral norm's protection."""
    bare = {"spectral_norm": "none"}
    config = replace(
        config,
        generator=replace(config.generator, **bare),
        discriminator=replace(config.discriminator, **bare),
        optimizer=replace(config.optimizer, generator_lr=1e3, discriminator_lr=1e3),
        train=replace(config.train, steps=30),
    )
    with pytest.raises(DivergedError, match="rolled back 3 times"):
        Driver(config, tmp_path / "run").train()
    assert len(events(tmp_path / "run")) == 3
    for path in checkpoint_files(tmp_path / "run"):
        parts = checkpoints.load(path).parts.values()
        assert all(t.isfinite().all() for tensors in parts for t in tensors.values())
