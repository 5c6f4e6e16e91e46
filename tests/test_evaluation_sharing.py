"""Two processes measure together, each with a cache of its own as on two machines."""

import multiprocessing
import os
import socket
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from conftest import pooled_extractor, tiny

import sagan
from sagan.data import Dataset
from sagan.errors import SaganError
from sagan.evaluation import extraction, periodic
from sagan.evaluation.periodic import PeriodicEvaluation
from sagan.system.ranks import ALONE, ranks_of_torchrun

SAMPLES = 300
"""Two batches and a piece of a third."""


def pictures():
    images = np.random.default_rng(0).integers(0, 256, (400, 3, 32, 32), dtype=np.uint8)
    names, labels = ("dark", "light"), np.arange(400) % 2
    return Dataset(images=images, labels=labels, class_names=names, fingerprint="noise")


def evaluation_of(ranks):
    evaluation = PeriodicEvaluation(replace(tiny().evaluation, samples=SAMPLES), "cpu", ranks)
    evaluation.__dict__["extractor"] = pooled_extractor()
    return evaluation


def measured(run, ranks):
    evaluation = evaluation_of(ranks)
    found = evaluation(sagan.load_generator(run), pictures())
    return found, evaluation.extractor.network.seen


def fails(*_, **__):
    raise RuntimeError("the device is gone")


def failing(run, ranks, place, name, on_rank):
    """What each rank says where one of them fails, and that they understand each other after it."""
    before = getattr(place, name)
    if ranks.rank == on_rank:
        setattr(place, name, fails)
    try:
        measured(run, ranks)
        told = ""
    except (SaganError, RuntimeError) as error:
        told = str(error)
    finally:
        setattr(place, name, before)
    return told, ranks.any_of_all(ranks.is_first, False)


def one_rank(rank, port, folder, run):
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ["SAGAN_CACHE"] = str(folder / f"cache-{rank}")
    with ranks_of_torchrun() as ranks:
        found = {
            "together": measured(run, ranks),
            "extracting": failing(run, ranks, extraction, "_rows", 1),
            "writing": failing(run, ranks, extraction._RowFile, "write", 0),
            "computing": failing(run, ranks, periodic, "measurement_of", 0),
            "removing": failing(run, ranks, periodic, "features_path", 0),
            "again": measured(run, ranks),
        }
    return found, (folder / f"cache-{rank}").exists()


@pytest.fixture(scope="module")
def by_rank(tmp_path_factory, trained_run):
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context) as pool:
        both = [pool.submit(one_rank, rank, port, folder, trained_run) for rank in range(2)]
        return [one.result(timeout=100) for one in both]


def test_two_ranks_find_the_numbers_of_one(by_rank, trained_run, tmp_path, monkeypatch):
    monkeypatch.setenv("SAGAN_CACHE", str(tmp_path))
    alone, seen = measured(trained_run, ALONE)
    assert seen == 2 * SAMPLES
    for rank, (told, _) in enumerate(by_rank):
        found, shares = told["together"]
        assert found == alone, rank
        assert shares == (2 * 172, 2 * 128)[rank]  # of the batches 128, 128, 44


def test_only_the_first_rank_has_files(by_rank):
    assert [has_cache for _, has_cache in by_rank] == [True, False]


@pytest.mark.parametrize(
    ("what", "on_rank"), [("extracting", 1), ("writing", 0), ("computing", 0), ("removing", 0)]
)
def test_a_failure_of_one_is_one_of_all_and_nobody_waits(by_rank, what, on_rank):
    for rank, (told, _) in enumerate(by_rank):
        message, agreed = told[what]
        where = "" if rank == on_rank else f" (on rank {on_rank})"
        assert message == f"the device is gone{where}"
        assert agreed == (True, False)


def test_after_failures_a_measurement_is_right_again(by_rank):
    for told, _ in by_rank:
        assert told["again"][0] == told["together"][0]
