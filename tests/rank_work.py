"""What the processes of tests/test_ranks.py do; each is one rank, as torchrun starts them."""

import json
import multiprocessing
import os
import signal
import socket
import sys
import time
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from conftest import pooled_extractor, tiny
from safetensors.torch import save_file

from sagan.config import LossConfig
from sagan.data import Dataset
from sagan.data.intact import PictureCheck
from sagan.errors import FaultError, SaganError, StoppedError
from sagan.evaluation import extraction, periodic
from sagan.evaluation.periodic import PeriodicEvaluation
from sagan.nn import averaging
from sagan.nn.batch_norm import ConditionalBatchNorm2d, statistics_over
from sagan.system import randomness
from sagan.system.ranks import ALONE, ranks_of_torchrun
from sagan.system.signals import Interruption
from sagan.training import draws, outputs
from sagan.training import steps as training_steps
from sagan.training.agreement import common_tensors, require_same_state
from sagan.training.driver import Driver
from sagan.training.guards import Guards
from sagan.training.loop import train_steps
from sagan.training.state import new_state
from sagan.training.trackers import Trackers

CPU = torch.device("cpu")
EXACT = torch.autocast("cpu", enabled=False)
PAIRED = LossConfig(name="non-saturating", relativistic=True, r1=1.0, r2=1.0)
DRAWING = LossConfig(name="wasserstein", gradient_penalty=1.0, consistency_real=1.0)
CASES = {
    "several updates": (LossConfig(), {"discriminator_steps": 2, "reuse_fakes": True}),
    "updates in turn": (PAIRED, {"discriminator_steps": 3}),
    "portions": (PAIRED, {"accumulate": 2}),
    "averages of logits": (LossConfig(lecam=0.3), {}),
    "own statistics": (DRAWING, {"batch_statistics": "process", "accumulate": 2}),
}


def started(folder, work, *arguments, count=2):
    """Starts ranks; what one prints is in ``rank-N.txt`` of the folder."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["rank_work"])
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    ranks = []
    for rank in range(count):
        given = (rank, count, port, Path(folder), work, arguments)
        ranks.append(context.Process(target=_as_rank, args=given))
        ranks[-1].start()
    return ranks


def printed(folder):
    """What the ranks have printed, each."""
    return [path.read_text() for path in sorted(Path(folder).glob("rank-*.txt"))]


def _as_rank(rank, count, port, folder, work, arguments):
    place = {"RANK": rank, "WORLD_SIZE": count, "LOCAL_RANK": rank, "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in place.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "SAGAN_CACHE": str(folder / "cache")}
    torch.set_num_threads(1)
    averaging.STATISTICS_BATCHES = 1
    file = (folder / f"rank-{rank}.txt").open("w", buffering=1)
    os.dup2(file.fileno(), 2)  # what torch's own code says goes there too
    sys.stdout = sys.stderr = file  # until the end
    work(*arguments)


def configured(case, *, alone=False):
    """The settings of a case; alone, those of one process that does the same.

    Adam's eps is large: where a gradient is 0 but for rounding, Adam would otherwise move a weight
    as far as any other.
    """
    loss, train = CASES[case]
    config = tiny(**{"batch_size": 8, "steps": 2, "batch_statistics": "all", **train})
    if alone and config.train.batch_statistics == "process":
        accumulate = 2 * config.train.accumulate
        config = replace(config, train=replace(config.train, accumulate=accumulate))
    rates = replace(config.optimizer, generator_lr=2e-3, discriminator_lr=2e-3, eps=1e-3)
    data = replace(config.data, horizontal_flip=True)
    return replace(config, loss=loss, optimizer=rates, data=data)


def trained(config, ranks=ALONE):
    """A state after its steps on noise, and the terms of the loss after each."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (24, 3, 32, 32), dtype=np.uint8)
    labels, names = np.arange(24) % 2, ("even", "odd")
    dataset = Dataset(images=images, labels=labels, class_names=names, fingerprint="noise")
    given = {"label_frequencies": torch.tensor([0.25, 0.75]), "device": CPU, "autocast": EXACT}
    with in_double():
        state = new_state(config, 2, CPU)
        for optimizer in (state.generator_optimizer, state.discriminator_optimizer):
            optimizer._adam.found_inf = torch.zeros((), dtype=torch.float32)  # it wants no other
        steps = train_steps(state, dataset, config, **given, ranks=ranks)
        return state, [{name: term.item() for name, term in terms.items()} for terms in steps]


@contextmanager
def in_double():
    """Networks, pictures and latents in float64, in which rounding is far from every difference."""
    torch.set_default_dtype(torch.float64)
    try:
        with (
            patch.object(draws, "to_float", lambda images: images.double() * (2 / 255) - 1),
            patch.object(randomness, "normal", lambda *n, random: torch.randn(n, generator=random)),
        ):
            yield
    finally:
        torch.set_default_dtype(torch.float32)


def compared(config, ranks=ALONE):
    """What ought to be the same, by name."""
    state, terms = trained(config, ranks)
    shared = config.train.batch_statistics == "all"
    tensors = dict(common_tensors(state, shares_statistics=shared))
    found = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    for step, of_step in enumerate(terms):
        values = {name: torch.tensor(value).double() for name, value in of_step.items()}
        found |= {f"{step}.{name}": value for name, value in values.items()}
    return found


def normalized(dtype, ranks=ALONE):
    """Output, gradient and running statistics of batch norm of 12 pictures, or of a rank's part."""
    random = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(12, 4, 5, 3, generator=random) for _ in range(2))
    x = 3 * x + 100
    norm = ConditionalBatchNorm2d(4, momentum=0.5)
    own = (12 // ranks.count) * ranks.rank
    x, weight = (tensor[own : own + 12 // ranks.count].to(dtype) for tensor in (x, weight))
    x.requires_grad_()
    with statistics_over(ranks, norm):
        y = norm(x)
    (y * weight).sum().backward()
    assert norm.ranks is ALONE
    return {"y": y.detach(), "gradient": x.grad, "mean": norm.running_mean, "var": norm.running_var}


def train_every_case(folder):
    """Leaves for each case what rank 0 has, and of batch norm what each has."""
    with ranks_of_torchrun() as ranks:
        for case in CASES:
            found = compared(configured(case), ranks)
            if ranks.is_first:
                save_file(found, folder / f"{case}.safetensors")
        for dtype in (torch.float32, torch.bfloat16):
            save_file(normalized(dtype, ranks), folder / f"{dtype}-{ranks.rank}.safetensors")
    with ranks_of_torchrun() as ranks:  # a program may train twice
        assert ranks.any_of_all(ranks.rank == 1, False) == (True, False)
        assert ranks.from_all(ranks.rank) == [0, 1]


def disagree(folder, source):
    """Leaves what each rank was told about every kind of disagreement, and when."""
    told = {}

    def tell(kind, work):
        begin = time.monotonic()
        try:
            work()
        except (SaganError, StoppedError) as error:
            told[kind] = [str(error), error.exit_code, error.is_told, time.monotonic() - begin]

    config = tiny(steps=2, batch_size=8)
    config = replace(config, data=replace(config.data, source=source))
    with ranks_of_torchrun() as ranks:
        rank = ranks.rank
        other = replace(
            config, train=replace(config.train, seed=rank, device=("auto", "cpu")[rank])
        )
        tell("settings", lambda: Driver(other, folder / "settings", ranks=ranks))
        places = (source, str(folder / "absent"))
        lost = replace(config, data=replace(config.data, source=places[rank]))
        tell("pictures", lambda: Driver(lost, folder / "pictures", ranks=ranks))
        tell("stop", lambda: ranks.together(stop if ranks.is_first else int))
        small = replace(config, train=replace(config.train, batch_size=6, accumulate=3))
        tell("share", lambda: Driver(small, folder / "share", ranks=ranks))
        driver = Driver(config, folder / "run", ranks=ranks)
        tell("nothing", lambda: require_same_state(driver.state, driver.preparation))
        driver.state.generator.norm.running_mean += rank  # which are each rank's own
        driver.train()
        if rank:
            moments = driver.state.discriminator_optimizer.tensors()
            moments["linear.weight.exp_avg_sq"].flatten()[3] += 1e-6
        tell("tensor", lambda: require_same_state(driver.state, driver.preparation))
        if ranks.is_first:
            (folder / "run" / "samples").rename(folder / "run" / "moved")
            (folder / "run" / "samples").touch()
        tell(
            "disk",
            lambda: ranks.together(lambda: driver.outputs.save(samples=True, checkpoint=True)),
        )
        if ranks.is_first:
            (folder / "run" / "samples").unlink()
    (folder / f"told-{rank}.json").write_text(json.dumps(told))


def stop():
    """What a signal does in the midst of something."""
    raise StoppedError("stopped by SIGTERM")


def command(*arguments):
    """Runs the command."""
    from sagan.cli import main

    main(list(arguments))


def falter(folder, source):
    """Leaves what each rank was told about what only one has met, and what runs came to."""
    told = {}
    config = tiny(steps=3, batch_size=8, watch_interval=0)
    config = replace(
        config,
        data=replace(config.data, source=source),
        evaluation=replace(config.evaluation, samples=150, interval=2, time_share=1.0),
    )
    with ranks_of_torchrun() as ranks:
        for kind, (place, name, work, at_rank) in FAULTS.items():
            with patch.object(place, name, work) if ranks.rank == at_rank else nullcontext():
                told[kind] = how_it_ends(folder / kind, config, ranks)
        for kind, (place, name, at_rank) in STOPS.items():
            stops = ranks.rank == at_rank
            with patch.object(place, name, is_sent_a_signal) if stops else nullcontext():
                told[kind] = how_it_ends(folder / kind, config, ranks)
            told[f"{kind}, again"] = how_it_ends(folder / kind, config, ranks)
        train = replace(
            config.train,
            on_divergence="rollback",
            checkpoint_interval=2,
            batch_statistics="all",
            watch_interval=1,
        )
        with spoiled_once(3) if ranks.rank else nullcontext():
            told["rollback"] = how_it_ends(folder / "rollback", replace(config, train=train), ranks)
    (folder / f"told-{ranks.rank}.json").write_text(json.dumps(told))


def how_it_ends(folder, config, ranks):
    """What a training ends with: the message, the exit code, seconds."""
    begin, asked = time.monotonic(), Interruption()
    evaluation = PeriodicEvaluation(config.evaluation, "cpu", ranks, asked)
    evaluation.__dict__["extractor"] = pooled_extractor()
    try:
        driver = Driver(config, folder, evaluation, ranks=ranks, asked=asked)
        reached = driver.train().steps
        require_same_state(driver.state, driver.preparation)
        return [f"{reached} steps, {driver.state.rollbacks} rollbacks", 0, 0.0]
    except (SaganError, StoppedError, RuntimeError) as error:
        return [str(error), getattr(error, "exit_code", 1), time.monotonic() - begin]


def breaks(*_, **__):
    """What a disk or a library does at the wrong moment."""
    raise FaultError("it is broken")


def is_sent_a_signal(*_, **__):
    """Long work in which a signal comes."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)


FAULTS = {
    "log": (Trackers, "record", breaks, 0),
    "guards": (Guards, "after", breaks, 0),
    "pictures": (PictureCheck, "raise_failed", breaks, 1),
    "best": (outputs, "best_mark", breaks, 0),
    "end": (Guards, "remarks", breaks, 0),
}
STOPS = {
    "drawing": (extraction, "_rows", 1),
    "computing": (periodic, "measurement_of", 0),
}


@contextmanager
def spoiled_once(step):
    """Spoils a gradient of this rank in a step, counted from 1, the first time."""
    judge, spoiled = training_steps.apply_gradients, []

    def spoil(state, optimizer, terms, ranks):
        if state.step + 1 == step and not spoiled:
            spoiled.append(step)
            next(
                p for p in state.discriminator.parameters() if p.grad is not None
            ).grad += torch.inf
        judge(state, optimizer, terms, ranks)

    with patch.object(training_steps, "apply_gradients", spoil):
        yield
