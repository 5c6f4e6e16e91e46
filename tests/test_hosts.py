"""Two machines, as two network namespaces joined by a cable; what dies there, and what comes back.

Needs the right to make network namespaces (root on Linux), and is skipped without it.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sagan.runs.log import log_records
from sagan.runs.run import load_checkpoint

ROOT = Path(__file__).parent.parent
STEPS = 30
PATIENCE = 120
SETTINGS = {
    "data.resolution": 32,
    "generator.base-channels": 8,
    "discriminator.base-channels": 8,
    "train.batch-size": 4,
    "train.steps": STEPS,
    "train.checkpoint-interval": 5,
    "train.sample-interval": STEPS,
    "train.log-interval": 10,
    "evaluation.samples": 0,
}


def ip(*words):
    return subprocess.run(["ip", *words], capture_output=True, check=False).returncode == 0


class Host:
    """A namespace with one end of the cable; ``torchrun`` is started in it."""

    def __init__(self, number, folder):
        self.name = f"sagan-{os.getpid()}-{number}"
        self.cable = f"sg{os.getpid() % 10**8}-{number}"
        self.address = f"10.213.7.{number}"
        self.folder = folder
        self.log = folder / f"host-{number}.log"
        self.agent = None

    def train(self, first, pictures):
        words = [
            *("ip", "netns", "exec", self.name, sys.executable, "-m", "torch.distributed.run"),
            *("--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "2"),
            *("--rdzv-backend", "c10d", "--rdzv-endpoint", f"{first.address}:29400"),
            *("--rdzv-conf", f"is_host={str(self is first).lower()}"),
            *("--local-addr", self.address, "--rdzv-id", "test"),
            *("-m", "--", "sagan", "train", "--run", str(self.folder / "run")),
            *("--data.source", str(pictures)),
            *(f"--{name}={value}" for name, value in SETTINGS.items()),
        ]
        variables = {
            "PYTHONPATH": str(ROOT / "src"),
            "SAGAN_CACHE": str(self.folder / "cache"),
            "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": self.cable,
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # docs/scale.md says why
        }
        with self.log.open("ab") as log:
            self.agent = subprocess.Popen(
                words, env={**os.environ, **variables}, stdout=log, stderr=log
            )

    def processes(self):
        words = ["ip", "netns", "pids", self.name]
        found = subprocess.run(words, capture_output=True, text=True, check=False)
        return [int(word) for word in found.stdout.split()]

    def kill(self, *, worker_only=False):
        for process in self.processes():
            if not worker_only or process != self.agent.pid:
                os.kill(process, 9)
        if not worker_only:
            self.agent.wait(10)

    def told(self, words):
        return len(re.findall(words, self.log.read_text(errors="replace")))


def wait_for(condition, *hosts):
    """Seconds until it holds."""
    begin = time.monotonic()
    while not condition():
        logs = "\n".join(host.log.read_text(errors="replace")[-3000:] for host in hosts)
        assert time.monotonic() < begin + PATIENCE, logs
        time.sleep(0.05)
    return time.monotonic() - begin


@pytest.fixture
def hosts(tmp_path):
    """Two hosts that reach each other and nothing else."""
    if shutil.which("ip") is None:
        pytest.skip("there is no command ip")
    both = [Host(number, tmp_path) for number in (1, 2)]
    try:
        for host in both:
            if not ip("netns", "add", host.name):
                pytest.skip("network namespaces may not be made here")
        one, other = both
        assert ip("link", "add", one.cable, "type", "veth", "peer", "name", other.cable)
        for host in both:
            assert ip("link", "set", host.cable, "netns", host.name)
            assert ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", host.cable)
            for device in ("lo", host.cable):
                assert ip("-n", host.name, "link", "set", device, "up")
        yield both
    finally:
        for host in both:
            if host.agent is not None:
                host.kill()
            ip("netns", "del", host.name)


def checkpoints(folder):
    return len(list((folder / "run" / "checkpoints").glob("*.safetensors")))


def test_a_dead_worker_and_a_dead_host_end_the_others_at_once_and_training_goes_on(
    hosts, picture_folder, tmp_path
):
    one, other = hosts
    for host in hosts:
        host.train(one, picture_folder)
    wait_for(lambda: checkpoints(tmp_path), *hosts)

    other.kill(worker_only=True)
    took = wait_for(lambda: one.told("another process of this training has ended") == 1, *hosts)
    assert took < 20
    wait_for(lambda: one.told("continuing .* at step") == 1, *hosts)

    other.kill()
    took = wait_for(lambda: one.told("another process of this training has ended") == 2, *hosts)
    assert took < 20
    other.train(one, picture_folder)  # the machine is back, or another one in its place
    wait_for(lambda: one.told("continuing .* at step") == 2, *hosts)

    assert [host.agent.wait(PATIENCE) for host in hosts] == [0, 0]
    checkpoint, _ = load_checkpoint(tmp_path / "run")
    assert checkpoint.step == STEPS
    steps = [record["step"] for record in log_records(tmp_path / "run") if "generator" in record]
    assert steps == list(range(10, STEPS + 1, 10))
    assert other.told("step ") == 0  # the first rank alone speaks
