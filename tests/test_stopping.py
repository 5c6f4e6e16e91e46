"""A run that is stopped in any way goes on as if it had not been."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import tiny

from sagan import config as settings
from sagan import images
from sagan.cli.program import main
from sagan.errors import FaultError, SaganError, StoppedError
from sagan.evaluation.periodic import Evaluated
from sagan.runs.events import FINISHED, STARTED, STOPPED, event, events
from sagan.runs.folder import checkpoint_files, sample_files
from sagan.runs.locked import locked_run
from sagan.runs.status import run_status
from sagan.system.ranks import Ranks
from sagan.system.signals import ending_at_once
from sagan.training import outputs as outputs_module
from sagan.training import starting
from sagan.training.driver import Driver
from sagan.training.run import train

SIGNALS = [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1]
NUMBERS = Evaluated(numbers={"FD": 1.0}, by_class={}, pictures=2)


@pytest.fixture
def config(picture_folder):
    return replace(tiny(), data=replace(tiny().data, source=str(picture_folder)))


def changed(config, **train):
    return replace(config, train=replace(config.train, **train))


@pytest.fixture(scope="module")
def straight(picture_folder, tmp_path_factory):
    """The weights of a run that nothing happened to."""
    config = replace(tiny(), data=replace(tiny().data, source=str(picture_folder)))
    driver = Driver(config, tmp_path_factory.mktemp("straight") / "run")
    driver.train()
    return driver.state.parts()


def same_weights(one, other):
    return all(
        torch.equal(tensor, other[part][name])
        for part, named in one.items()
        for name, tensor in named.items()
    )


def at_step(driver, step, action):
    """Does something when the loss terms of a step are logged."""
    usual = driver.run.log

    def log(record):
        usual(record)
        if record["step"] == step and "generator" in record:
            action()

    driver.run.log = log


def send(*numbers):
    return lambda: [os.kill(os.getpid(), number) for number in numbers]


@pytest.mark.parametrize("number", [signal.SIGINT, *SIGNALS], ids=lambda number: number.name)
def test_a_signal_finishes_the_step_saves_and_continues(tmp_path, config, straight, number):
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, *SIGNALS)}
    driver = Driver(config, tmp_path / "run")
    at_step(driver, 2, send(number, *[signal.SIGTERM] * 3))
    with pytest.raises(StoppedError) as stopped:
        driver.train()
    expected = f"stopped at step 2 by {number.name} and saved; the same command continues"
    assert (str(stopped.value), stopped.value.exit_code) == (expected, 75)
    assert {one: signal.getsignal(one) for one in before} == before
    (found,) = events(driver.run.records(), STOPPED)
    assert found == {"step": 2, "event": "stopped", "by": number.name}
    assert not (tmp_path / "run" / "run.lock").exists()
    again = Driver(config, tmp_path / "run")
    assert again.state.step == 2
    again.train()
    assert same_weights(straight, again.state.parts())


@pytest.mark.parametrize(("kind", "stop"), [(STOPPED, 2), (FINISHED, 6)])
def test_the_end_is_told_when_its_checkpoint_is_in_place(tmp_path, config, monkeypatch, kind, stop):
    driver, told = Driver(config, tmp_path / "run"), []
    usual = outputs_module.checkpoints.save

    def save(checkpoint, path):
        if checkpoint.step == stop:
            os.kill(os.getpid(), signal.SIGTERM)  # again, as schedulers do
            time.sleep(0.3)
            told.extend(events(driver.run.records(), kind))
        return usual(checkpoint, path)

    monkeypatch.setattr(outputs_module.checkpoints, "save", save)
    if kind == STOPPED:
        at_step(driver, stop, send(signal.SIGTERM))
        with ending_at_once(), pytest.raises(StoppedError, match=f"at step {stop} .* and saved"):
            driver.train()
    else:
        with ending_at_once():
            driver.train()
    assert told == []
    assert [record["step"] for record in events(driver.run.records(), kind)] == [stop]


def test_a_second_interruption_acts_at_once(tmp_path, config):
    driver = Driver(config, tmp_path / "run")
    at_step(driver, 2, send(signal.SIGINT, signal.SIGINT))
    with pytest.raises(KeyboardInterrupt) as ended:
        driver.train()
    assert not isinstance(ended.value, StoppedError)
    assert checkpoint_files(tmp_path / "run") == []


def test_what_was_ignored_before_stays_ignored(tmp_path, config):
    usual = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        driver = Driver(config, tmp_path / "run")
        at_step(driver, 2, send(signal.SIGHUP))
        assert driver.train().steps == 6
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, usual)


def test_a_signal_while_samples_are_written_is_heard_one_step_later(tmp_path, config, monkeypatch):
    usual, driver = images.save_png, Driver(config, tmp_path / "run")

    def save_png(picture, path):
        if driver.state.step == 1:
            send(signal.SIGTERM)()
        return usual(picture, path)

    monkeypatch.setattr(outputs_module.images, "save_png", save_png)
    with pytest.raises(StoppedError, match="stopped at step 2 by SIGTERM and saved"):
        driver.train()
    assert Driver(config, tmp_path / "run").state.step == 2


def early_samples(config):
    return [step for step in range(1, 7) if config.train.samples_after(step)]


def test_before_the_first_step_there_is_nothing_to_save(tmp_path, config, straight, monkeypatch):
    driver = Driver(config, tmp_path / "run")
    usual = driver.preparation.steps

    def steps(state):
        send(signal.SIGTERM)()
        yield from usual(state)

    with monkeypatch.context() as patch:
        patch.setattr(type(driver.preparation), "steps", lambda _, state: steps(state))
        with pytest.raises(StoppedError, match="stopped by SIGTERM; the same command continues"):
            driver.train()
    assert checkpoint_files(tmp_path / "run") == []
    assert run_status(tmp_path / "run").state == "stopped"
    again = Driver(config, tmp_path / "run")
    again.train()
    assert same_weights(straight, again.state.parts())


class Measuring:
    """An evaluation that gets a signal, and would take a minute, at chosen calls."""

    def __init__(self, *interrupted):
        self.interrupted = interrupted
        self.calls = 0

    def __call__(self, *_):
        self.calls += 1
        if self.calls in self.interrupted:
            send(signal.SIGTERM)()
            time.sleep(60)
        return NUMBERS


def measured_steps(driver):
    return [record["step"] for record in driver.run.records() if "evaluation" in record]


@pytest.mark.parametrize(("interval", "stop"), [(2, 2), (3, 3), (0, 6)])
def test_an_evaluation_does_not_delay_the_end_and_is_made_again(
    tmp_path, config, straight, interval, stop
):
    config = replace(
        config, evaluation=replace(config.evaluation, interval=interval, time_share=1.0)
    )
    measuring = Measuring(1)
    driver, begin = Driver(config, tmp_path / "run", measuring), time.monotonic()
    with pytest.raises(StoppedError, match=f"stopped at step {stop} by SIGTERM and saved"):
        driver.train()
    assert time.monotonic() - begin < 30
    again = Driver(config, tmp_path / "run", measuring)
    assert (again.state.step, again.is_finished, measured_steps(again)) == (stop, False, [])
    again.train()
    assert measured_steps(again) == (list(range(interval, 7, interval)) if interval else [6])
    assert same_weights(straight, again.state.parts())
    calls = measuring.calls
    last = Driver(config, tmp_path / "run", measuring)
    assert last.is_finished
    last.train()
    assert measuring.calls == calls
    assert len(events(last.run.records(), FINISHED)) == 1


def test_a_measurement_that_was_put_off_is_made_when_the_run_goes_on(tmp_path, config):
    config = replace(config, evaluation=replace(config.evaluation, interval=2, time_share=1e-9))
    measuring = Measuring()
    driver = Driver(config, tmp_path / "run", measuring)
    at_step(driver, 3, send(signal.SIGTERM))
    driver.schedule.spent = 100.0  # so that there is no time for another
    with pytest.raises(StoppedError):
        driver.train()
    assert measuring.calls == 0
    again = Driver(config, tmp_path / "run", measuring)
    assert again.still_due() == {"samples": True, "evaluation": True}  # for which TERM waits not
    again.train()
    assert measured_steps(again)[0] == 3


@pytest.mark.parametrize(("step", "lost"), [(3, "file"), (3, "record"), (6, "both")])
def test_samples_that_are_missing_are_made_once(tmp_path, config, monkeypatch, step, lost):
    config = replace(config, evaluation=replace(config.evaluation, samples=0))
    driver = Driver(config, tmp_path / "run")
    usual = outputs_module.Outputs.save_samples

    def die(outputs, generator):
        if outputs.state.step == step:
            if lost == "record":
                images.save_png(np.zeros((3, 8, 8), np.uint8), outputs.run.sample_path(step))
            elif lost == "file":
                outputs.log({"step": step, "variety": 0.5})
            raise MemoryError("killed")
        usual(outputs, generator)

    with monkeypatch.context() as patch:
        patch.setattr(outputs_module.Outputs, "save_samples", die)
        with pytest.raises((FaultError, MemoryError)):
            driver.train()
    again = Driver(config, tmp_path / "run")
    assert (again.state.step, again.is_finished) == (step, False)
    again.train()
    assert sorted(sample_files(tmp_path / "run")) == early_samples(config)
    told = [r["step"] for r in again.run.records() if "variety_by_class" in r]
    assert told == early_samples(config)
    straight = Driver(config, tmp_path / "straight")
    straight.train()
    for sample, path in sample_files(tmp_path / "run").items():
        assert path.read_bytes() == straight.run.sample_path(sample).read_bytes()


def test_every_start_is_in_the_log_with_what_decides_about_bits(tmp_path, config, capsys):
    config = changed(config, steps=2)
    train(config, tmp_path / "run")
    train(changed(config, steps=4), tmp_path / "run")
    starts = events(Driver(changed(config, steps=4), tmp_path / "run").run.records(), STARTED)
    assert [start["step"] for start in starts] == [0, 2]
    where = starts[0]["where"]
    assert where["threads"] == torch.get_num_threads()
    assert where["torch"] == torch.__version__
    assert (where["precision"], where["device"], where["ranks"]) == ("float32", "cpu", 1)
    assert "bits may differ" not in capsys.readouterr().err
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        train(changed(config, steps=5), tmp_path / "run")
    finally:
        torch.set_num_threads(threads)
    told = f"note: bits may differ from an uninterrupted run: threads {threads} -> {threads + 1}\n"
    assert told in capsys.readouterr().err


def test_the_number_of_processes_is_among_what_decides_about_bits(tmp_path, config):
    there = Driver(config, tmp_path / "run").preparation
    many = replace(there, ranks=Ranks(rank=1, count=2))
    alone, shared = (starting.where_it_computes(one) for one in (there, many))
    line = starting.other_bits([event(STARTED, 0, where=alone), event(STARTED, 3, where=shared)])
    assert line == "note: bits may differ from an uninterrupted run: processes 1 -> 2\n"


def test_bits_are_told_by_the_starts_that_count():
    def start(step, **where):
        return event(STARTED, step, where={"threads": 2, "torch": "2.9", "host": "a"} | where)

    assert starting.other_bits([start(0), start(5, host="b"), start(9, time="later")]) == ""
    assert starting.other_bits([start(0), start(5, threads=1), start(5)]) == ""  # died at 5
    line = starting.other_bits([start(0), start(5, threads=1), start(9, torch="3.0")])
    assert line.endswith("run: threads 2 -> 1 -> 2; PyTorch 2.9 -> 3.0\n")
    garbage = [{"step": 0, "event": "started", "where": "?"}, {"step": 1, "event": "started"}]
    assert starting.other_bits(garbage) == ""


def test_lines_that_are_written_again_are_kept_elsewhere(tmp_path, config, capsys):
    driver = Driver(config, tmp_path / "run")
    at_step(driver, 5, lambda: (_ for _ in ()).throw(SaganError("dies")))
    with pytest.raises(SaganError, match="dies"):
        driver.train()
    with driver.run.log_path.open("ab") as file:
        file.write(b'{"step": 6, "\xff')
    lines = driver.run.log_path.read_bytes().splitlines()
    again = Driver(config, tmp_path / "run")
    again.begin()
    kept = driver.run.log_path.read_bytes().splitlines()[:-1]  # but for the new start
    assert kept + driver.run.dropped_path.read_bytes().splitlines() == lines
    assert json.loads(kept[-1])["step"] == 3
    assert "of the log, after step 3 or not readable, moved to" in capsys.readouterr().err


def test_without_its_checkpoints_a_run_does_not_begin_anew(tmp_path, config):
    config = changed(config, checkpoint_interval=2)
    train(config, tmp_path / "run")
    for path in checkpoint_files(tmp_path / "run"):
        path.unlink()
    before = (tmp_path / "run" / "log.jsonl").read_bytes()
    with pytest.raises(SaganError, match="came to step 6, but has no checkpoints any more"):
        train(config, tmp_path / "run")
    assert (tmp_path / "run" / "log.jsonl").read_bytes() == before
    (tmp_path / "run" / "log.jsonl").rename(tmp_path / "log.jsonl")
    with pytest.raises(SaganError, match=r"first move its log.jsonl and samples elsewhere"):
        train(config, tmp_path / "run")
    (tmp_path / "run" / "samples").rename(tmp_path / "samples")
    assert train(config, tmp_path / "run").steps == 6


def test_a_run_that_died_before_its_first_checkpoint_begins_anew(tmp_path, config, straight):
    driver = Driver(config, tmp_path / "run")
    at_step(driver, 2, lambda: (_ for _ in ()).throw(SaganError("dies")))
    with pytest.raises(SaganError, match="dies"):
        driver.train()
    again = Driver(config, tmp_path / "run")
    again.train()
    assert same_weights(straight, again.state.parts())


def test_drafts_of_a_killed_process_are_swept(tmp_path, config):
    driver = Driver(config, tmp_path / "run")
    driver.begin()
    drafts = ["checkpoints/step-00000003.safetensors", "samples/step-00000003.png", "log.jsonl"]
    for name in drafts:
        path = tmp_path / "run" / f"{name}.4194305.tmp"
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
    (tmp_path / "run" / "mine.4194305.tmp").write_text("whole")
    Driver(config, tmp_path / "run").train()
    assert [p.name for p in (tmp_path / "run").rglob("*.tmp")] == ["mine.4194305.tmp"]


def test_a_longer_run_tells_where_its_rates_fall(tmp_path, config, capsys):
    config = replace(config, optimizer=replace(config.optimizer, decay_start=0.5))
    train(changed(config, steps=2), tmp_path / "run")
    assert "learning rates" not in capsys.readouterr().err
    train(changed(config, steps=4), tmp_path / "run")
    told = "the learning rates now fall from step 2 to 4, no longer from 1 to 2"
    assert told in capsys.readouterr().err


def test_nothing_depends_on_a_clock_that_jumps(tmp_path, config, monkeypatch):
    straight = Driver(config, tmp_path / "straight")
    straight.train()
    jumps = iter([10.0**9, 1.0] * 10_000)
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    jumping = Driver(config, tmp_path / "jumping")
    assert jumping.train().seconds < 1000
    assert same_weights(straight.state.parts(), jumping.state.parts())


@pytest.fixture
def command(tmp_path, config):
    """A command that trains in real processes and measures nothing."""
    config = replace(config, evaluation=replace(config.evaluation, samples=0))
    (tmp_path / "tiny.toml").write_text(settings.to_toml(config))
    return ["train", str(tmp_path / "tiny.toml"), "--run", str(tmp_path / "run")]


def test_a_run_in_use_is_refused_and_can_be_looked_at(tmp_path, command, trained_run, capsys):
    holding = "import sys; from sagan.runs.locked import locked_run\n"
    holding += "with locked_run(sys.argv[1]): print(flush=True); sys.stdin.read()"
    run = [sys.executable, "-c", holding, str(trained_run)]
    with subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline()
        with pytest.raises(SystemExit) as ended:
            main(["train", "--run", str(trained_run)])
        told = capsys.readouterr().err
        assert ended.value.code == 1
        assert f"{trained_run} is in use by process {holder.pid} on" in told
        assert told.count("\n") == 1
        with pytest.raises(FaultError, match="is in use"):
            train(settings.load_toml(trained_run / "config.toml"), trained_run)
        with pytest.raises(SystemExit) as ended:
            main(["sample", str(trained_run), "--seeds", "0", "-o", str(tmp_path / "grid.png")])
        assert ended.value.code == 0
        holder.communicate(b"")
    assert (tmp_path / "grid.png").exists()


def test_a_foreign_folder_gets_no_lock(tmp_path):
    (tmp_path / "thesis.doc").write_text("precious")
    with locked_run(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.doc"]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_while_it_prepares_a_signal_ends_it_at_once(tmp_path, command, monkeypatch, capsys, number):
    def prepare(*_, **__):
        send(number)()
        time.sleep(60)

    monkeypatch.setattr("sagan.training.driver.prepare", prepare)
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 75
    told = capsys.readouterr().err
    assert told == f"stopped by {number.name}; the same command continues\n"
    assert not (tmp_path / "run").exists()


def test_the_reader_of_what_is_printed_may_go(tmp_path, command, straight):
    line = f"{sys.executable} -m sagan {' '.join(command)} 2>&1 | head -n 2"
    ended = subprocess.run(
        ["bash", "-c", f"{line}; exit ${{PIPESTATUS[0]}}"], capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr, ended.stdout.count("\n")) == (0, "", 2)
    driver = Driver(settings.load_toml(tmp_path / "tiny.toml"), tmp_path / "run")
    assert driver.is_finished
    learned = {part: straight[part] for part in ("generator", "discriminator")}
    assert same_weights(learned, driver.state.parts())


def test_closed_streams_are_nobody_s_business(tmp_path, command):
    line = f"{sys.executable} -m sagan {' '.join(command)} >&- 2>&- <&-"
    assert subprocess.run(["bash", "-c", line]).returncode == 0
    log = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert json.loads(log[-1]) == {"step": 6, "event": "finished"}


def test_a_terminal_that_is_closed_does_not_end_a_run(tmp_path, command):
    import pty

    master, slave = pty.openpty()
    run = [sys.executable, "-m", "sagan", *command]
    process = subprocess.Popen(run, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    os.read(master, 1)  # it has begun to tell
    os.close(master)
    assert process.wait(120) == 0
    driver = Driver(settings.load_toml(tmp_path / "tiny.toml"), tmp_path / "run")
    assert driver.is_finished
