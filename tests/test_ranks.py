"""Several processes train as one does. Those that are started here talk by gloo."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rank_work
import torch
from conftest import tiny
from rank_work import CASES, compared, configured, normalized, printed, started
from safetensors.torch import load_file

from sagan import config as settings
from sagan.data import Dataset
from sagan.errors import FaultError, SaganError
from sagan.runs.events import ROLLED_BACK, events
from sagan.runs.folder import checkpoint_files
from sagan.runs.log import log_records
from sagan.system import ranks as ranks_module
from sagan.system.ranks import ALONE, Ranks, told
from sagan.training import agreement
from sagan.training.draws import draw_reals, own_share, step_inputs
from sagan.training.driver import Driver
from sagan.training.preparation import device_of_rank, require_equal_shares

PATIENCE = 120  # seconds for what takes a few, on a machine that has more to do


def ended(ranks):
    """Waits for the ranks and returns their exit codes."""
    end = time.monotonic() + PATIENCE
    for process in ranks:
        process.join(max(0, end - time.monotonic()))
    late = [process for process in ranks if process.is_alive()]
    for process in late:
        process.kill()
    assert not late, "a rank waits for ever"
    return [process.exitcode for process in ranks]


def wait_for(what):
    """Waits until something is true."""
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def logged_steps(folder):
    """The steps of a log's lines with losses."""
    return [record["step"] for record in log_records(folder) if "generator" in record]


def ranks_of(count):
    return [Ranks(rank=rank, count=count) for rank in range(count)]


# --- what a rank takes of a batch


def test_each_portion_of_a_batch_is_divided():
    batch = torch.arange(12)
    assert own_share(batch, 1, ALONE) is batch
    halves = [own_share(batch, 1, ranks).tolist() for ranks in ranks_of(2)]
    assert halves == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]
    portions = [own_share(batch, 2, ranks).tolist() for ranks in ranks_of(2)]
    assert portions == [[0, 1, 2, 6, 7, 8], [3, 4, 5, 9, 10, 11]]


@pytest.mark.parametrize("order", ["shuffled", "balanced"])
def test_shares_together_are_the_batch_of_one_process(dataset, order):
    config = tiny(batch_size=12, accumulate=2, discriminator_steps=2)
    config = replace(config, data=replace(config.data, order=order, horizontal_flip=True))
    given = {"first": 3, "pinned": False}

    def inputs(ranks=ALONE):
        return next(step_inputs(dataset, config, torch.ones(2) / 2, **given, ranks=ranks))

    whole, shares = inputs(), [inputs(ranks) for ranks in ranks_of(3)]
    for pick in (
        lambda of: of.draws.latents,
        lambda of: of.draws.labels,
        lambda of: of.updates[1].draws.latents,
        lambda of: of.updates[1].reals.images,
        lambda of: of.updates[1].reals.labels,
        lambda of: of.updates[1].reals.flipped,
    ):
        parts = [pick(share).chunk(2) for share in shares]
        together = torch.cat([part[portion] for portion in range(2) for part in parts])
        assert torch.equal(together, pick(whole))
    assert {update.number for share in shares for update in share.updates} == {6, 7}


def test_only_own_pictures_are_read(dataset):
    read = []

    class Watched(np.ndarray):
        def __getitem__(self, rows):
            read.extend(np.atleast_1d(rows).tolist())
            return np.asarray(self)[rows]

    watched = Dataset(
        images=dataset.images.view(Watched),
        labels=dataset.labels,
        class_names=dataset.class_names,
        fingerprint="noise",
    )
    draw_reals(watched, tiny(batch_size=12), 0, ranks=Ranks(rank=1, count=2))
    assert len(read) == 6


@pytest.mark.parametrize(
    ("batch", "portions", "count"), [(9, 1, 2), (4, 1, 4), (12, 3, 4), (8, 2, 3)]
)
def test_a_batch_that_cannot_be_shared_is_refused(batch, portions, count):
    config = tiny(batch_size=batch, accumulate=portions).train
    with pytest.raises(SaganError, match=rf"batch_size {batch} .* {count} processes") as found:
        require_equal_shares(config, Ranks(count=count))
    least = 2 * count * portions
    assert f"at least {least}" in str(found.value)
    require_equal_shares(replace(config, batch_size=least), Ranks(count=count))


def test_a_gpu_for_each_rank_of_a_machine(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    second = Ranks(rank=3, count=4, local_rank=1)
    assert device_of_rank("auto", second) == torch.device("cuda", 1)
    assert device_of_rank("cpu", second) == torch.device("cpu")
    assert chosen == [1]
    with pytest.raises(SaganError, match="process 3 of this machine has no GPU, of which there ar"):
        device_of_rank("cuda", Ranks(rank=2, count=3, local_rank=2))


# --- several processes


@pytest.fixture(scope="module")
def every_case(tmp_path_factory):
    """What two ranks leave after each case."""
    folder = tmp_path_factory.mktemp("cases")
    ranks = started(folder, rank_work.train_every_case, folder)
    assert ended(ranks) == [0, 0], printed(folder)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_train_as_one_process(every_case, case):
    """With statistics over all as with one batch, with each its own as with twice the portions."""
    two, one = load_file(every_case / f"{case}.safetensors"), compared(configured(case, alone=True))
    assert two.keys() == one.keys()
    far = {name: (two[name] - one[name]).abs().max().item() for name in one}
    assert max(far.values()) < 1e-8, max(far, key=far.__getitem__)
    # Another division of the batch gives other weights: it is these that are compared.
    config = configured(case)
    if not config.loss.lecam:
        other = replace(config.train, accumulate=3 - config.train.accumulate)
        unlike = compared(replace(config, train=other))
        assert max((unlike[n] - one[n]).abs().max() for n in one if n in unlike) > 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_batch_norm_over_all_is_that_of_the_whole_batch(every_case, dtype):
    parts = [load_file(every_case / f"{dtype}-{rank}.safetensors") for rank in range(2)]
    whole, margin = normalized(dtype), 1e-5 if dtype is torch.float32 else 0.05
    assert parts[0]["y"].dtype is dtype
    for name in ("mean", "var"):
        assert torch.equal(parts[0][name], parts[1][name])
        torch.testing.assert_close(parts[0][name], whole[name], rtol=1e-5, atol=0)
    for name in ("y", "gradient"):
        both = torch.cat([part[name] for part in parts])
        torch.testing.assert_close(both, whole[name], rtol=margin, atol=margin)


def test_disagreement_is_told_to_all_and_a_run_goes_on_with_one(tmp_path, picture_folder, capsys):
    ranks = started(tmp_path, rank_work.disagree, tmp_path, str(picture_folder))
    assert ended(ranks) == [0, 0], printed(tmp_path)
    first, second = (json.loads((tmp_path / f"told-{rank}.json").read_text()) for rank in range(2))
    assert (
        first.keys()
        == second.keys()
        == {
            "settings",
            "pictures",
            "share",
            "stop",
            "tensor",
            "disk",
        }
    )
    words = {
        "settings": "rank 1 would train otherwise: train.seed (1 there, 0 on rank 0); give",
        "pictures": "rank 1: there is no folder or file",
        "share": "train.batch_size 6 cannot be shared by 2 processes, each in 3 portions,",
        "tensor": "step 2: discriminator_optimizer.linear.weight.exp_avg_sq of rank 1 is not",
        "disk": "cannot write ",
        "stop": "stopped by SIGTERM",
    }
    codes = {"tensor": 1, "disk": first["disk"][1], "stop": 75}
    for kind, start in words.items():
        message, code, is_told, seconds = first[kind]
        assert message.startswith(start)
        assert "\n" not in message
        assert not is_told
        assert code == codes.get(kind, 2)
        assert second[kind][1] == code
        assert seconds < 60
    assert second["pictures"][0] == first["pictures"][0].removeprefix("rank 1: ")
    assert second["disk"][0] == f"rank 0: {first['disk'][0]}"
    assert [second[kind][2] for kind in words] == [True, False, True, True, True, True]
    assert not (tmp_path / "settings").exists()

    assert logged_steps(tmp_path / "run") == [1, 2]
    assert printed(tmp_path)[1] == ""
    assert "step 2/2" in printed(tmp_path)[0]
    config = settings.load_toml(tmp_path / "run" / "config.toml")
    config = replace(config, train=replace(config.train, steps=3))
    assert Driver(config, tmp_path / "run").train().steps == 3
    said = capsys.readouterr().err
    assert "bits may differ from an uninterrupted run: " in said
    assert "processes 2 -> 1\n" in said
    assert logged_steps(tmp_path / "run") == [1, 2, 3]


def test_what_only_one_rank_meets_ends_all_by_its_cause(tmp_path, picture_folder):
    ranks = started(tmp_path, rank_work.falter, tmp_path, str(picture_folder))
    assert ended(ranks) == [0, 0], printed(tmp_path)
    first, second = (json.loads((tmp_path / f"told-{rank}.json").read_text()) for rank in range(2))
    for kind, (*_, at_rank) in rank_work.FAULTS.items():
        by_rank = [f"rank {at_rank}: it is broken"] * 2
        by_rank[at_rank] = "it is broken"
        assert [first[kind][0], second[kind][0]] == by_rank, kind
        assert first[kind][1] == second[kind][1] == 1
        assert max(first[kind][2], second[kind][2]) < 20
    for kind in rank_work.STOPS:  # in the midst of a measurement
        assert first[kind][:2] == [
            "stopped at step 2 by SIGTERM and saved; the same command continues",
            75,
        ]
        assert second[kind][:2] == first[kind][:2]
        assert max(first[kind][2], second[kind][2]) < 20
        assert first[f"{kind}, again"] == second[f"{kind}, again"] == ["3 steps, 0 rollbacks", 0, 0]
        measured = [r["step"] for r in log_records(tmp_path / kind) if "evaluation" in r]
        assert measured == [2, 3]

    # Guards, with batch statistics of all, in a run that goes back.
    assert first["rollback"] == second["rollback"] == ["3 steps, 1 rollbacks", 0, 0]
    records = log_records(tmp_path / "rollback")
    [back] = events(records, ROLLED_BACK)
    assert (back["from"], back["to"]) == (3, 2)
    assert [r["step"] for r in records if "watched_loss" in r] == [1, 2, 3]


@pytest.fixture
def training(tmp_path, picture_folder):
    """A command that trains for ever, and the run folder."""
    config = tiny(steps=100_000, batch_size=8, sample_interval=1000, checkpoint_interval=5)
    config = replace(
        config,
        data=replace(config.data, source=str(picture_folder)),
        evaluation=replace(config.evaluation, samples=0),
    )
    file = tmp_path / "tiny.toml"
    file.write_text(settings.to_toml(config))
    return ["train", str(file), "--run", str(tmp_path / "run")], tmp_path / "run"


def test_a_stop_at_one_rank_saves_and_ends_all(tmp_path, training):
    arguments, run = training
    ranks = started(tmp_path, rank_work.command, *arguments)
    wait_for(lambda: 3 in logged_steps(run))
    os.kill(ranks[1].pid, signal.SIGINT)
    assert ended(ranks) == [75, 75]
    said, silent = printed(tmp_path)
    assert silent == ""
    step = logged_steps(run)[-1]
    assert f"stopped at step {step} by SIGINT and saved; the same command continues" in said
    assert checkpoint_files(run)[-1].stem == f"step-{step:08d}"

    # The death of a rank, then of the run that goes on.
    ranks = started(tmp_path, rank_work.command, *arguments)
    wait_for(lambda: logged_steps(run)[-1] > step + 1)
    os.kill(ranks[1].pid, signal.SIGKILL)
    begin = time.monotonic()
    assert ended(ranks) == [1, -signal.SIGKILL]
    assert time.monotonic() - begin < 30
    said, _ = printed(tmp_path)
    assert "sagan: another process of this training has ended or cannot be reached" in said
    assert "Traceback" not in said
    assert ".cc:" not in said
    last = logged_steps(run)[-1]
    assert logged_steps(run) == list(range(1, last + 1))


def test_torchrun_starts_again_after_a_death(tmp_path, training):
    arguments, run = training
    given = ["--standalone", "--nproc-per-node", "2", "--max-restarts", "1", "-m", "--"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", *given]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "SAGAN_CACHE": str(tmp_path / "cache")}
    with (tmp_path / "output.txt").open("w") as output:
        process = subprocess.Popen(
            [*torchrun, "sagan", *arguments, "--train.steps", "12"],
            stdout=output,
            stderr=output,
            env=environment,
        )
    try:
        wait_for(lambda: any(step > 5 for step in logged_steps(run)))
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[1]), signal.SIGKILL)
        assert process.wait(PATIENCE) == 0, (tmp_path / "output.txt").read_text()
    finally:
        process.terminate()  # it ends its processes
        process.wait()
    assert logged_steps(run) == list(range(1, 13))
    assert "continuing" in (tmp_path / "output.txt").read_text()


ENDING = """
import atexit, os
from sagan.system.ranks import ranks_of_torchrun

atexit.register(lambda: print(len(os.listdir("/proc/self/task"))))  # after all others
with ranks_of_torchrun() as ranks:
    import torch._dynamo  # as the first step of a training does
    ranks.from_all(1)
"""


def test_no_thread_of_gloo_is_left_when_python_ends():
    """One that frees a tensor then would abort the process."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    place |= {"OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", ENDING],
            env=os.environ | place | {"RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    assert [process.communicate(timeout=PATIENCE)[0] for process in ranks] == ["1\n", "1\n"]


# --- a process alone, and commands that are for one


def test_the_loss_of_a_rank_is_told_in_short():
    said = "[/w/gloo/tcp/pair.cc:537] Read error [::1]:22: Connection reset. This is GLHF!"
    with (
        pytest.raises(
            FaultError, match=r"cause \(here: Read error \[::1\]:22: Connection reset\);"
        ),
        told(),
    ):
        raise RuntimeError(said)
    with pytest.raises(FaultError, match=r"\(here: RuntimeError\)"), told():
        raise RuntimeError


def test_alone_nothing_is_exchanged():
    tensors = [torch.ones(2)]
    ALONE.average(tensors)
    assert tensors[0].tolist() == [1, 1]
    assert ALONE.any_of_all(True, False) == (True, False)
    assert ALONE.together(lambda: 5) == ALONE.one_per_host_first(lambda: 5) == 5
    assert ALONE.decided_by_first(lambda: 5) == ALONE.from_first(5) == 5
    assert ALONE.gathered(torch.ones(2)).shape == (1, 2)


@pytest.mark.parametrize("name", ["demo", "ablate"])
def test_commands_for_one_process_say_so(name, monkeypatch, capsys, tmp_path):
    from sagan.cli import main

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    given = ["--axis", "attention"] if name == "ablate" else []
    with pytest.raises(SystemExit, match="2"):
        main([name, *given, "--run", str(tmp_path / "run")])
    assert capsys.readouterr().err == (
        f"rank 1: sagan: sagan {name} runs in one process; start it without torchrun\n"
    )
    assert not (tmp_path / "run").exists()


def test_gpus_without_nccl_are_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.distributed.is_nccl_available", lambda: False)
    with pytest.raises(SaganError, match="has no NCCL"):
        ranks_module._backend()
    monkeypatch.setattr("torch.distributed.is_nccl_available", lambda: True)
    assert ranks_module._backend() == "cpu:gloo,cuda:nccl"
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert ranks_module._backend() == "gloo"


def test_a_digest_sees_one_bit_and_rows_that_have_changed_places():
    tensor = torch.randn(3, 4, 2, 2).to(memory_format=torch.channels_last)
    digest = agreement._digest(tensor)
    assert torch.equal(digest, agreement._digest(tensor.clone().contiguous()))
    assert not torch.equal(digest, agreement._digest(tensor.flip(0)))
    changed = tensor.clone()
    changed.view(torch.int32)[2, 3, 1, 1] ^= 1
    assert not torch.equal(digest, agreement._digest(changed))
    assert agreement._digest(torch.tensor(3)).shape == ()
