"""Requests for one picture to a running ``sagan serve``, beside the same picture drawn in Python.

    OMP_NUM_THREADS=1 python -m benchmarks.serve

Starts the command for avatars64 in a process of its own, asks for one picture after the other over
one connection and draws the same in this process, in turn; then asks over four connections at once.
CPU is the time that cores computed, which other programs on the machine lengthen least.
"""

import argparse
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sagan.images import png_bytes
from sagan.sampling.generator import TrainedGenerator, load_generator

MODEL = "avatars64"
CLASS = "cat"


class Client:
    """One connection to the service."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._connection = http.client.HTTPConnection(*address, timeout=60)

    def picture(self, seed: int) -> bytes:
        """Asks for a PNG."""
        self._connection.request("GET", f"/sample?seeds={seed}&class={CLASS}")
        answer = self._connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
        return content


def drawn(generator: TrainedGenerator, seed: int) -> bytes:
    """The same without a server."""
    return png_bytes(generator.sample([seed], CLASS)[0])


def timed(call: Callable[[int], bytes], seed: int) -> float:
    """Milliseconds of one call."""
    begin = time.perf_counter()
    call(seed)
    return 1e3 * (time.perf_counter() - begin)


def at_once(address: tuple[str, int], clients: int, requests: int) -> float:
    """Requests per second of several connections."""

    def ask(first: int) -> None:
        client = Client(address)
        for seed in range(first, first + requests):
            client.picture(seed)

    threads = [threading.Thread(target=ask, args=(1000 * n,)) for n in range(clients)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return clients * requests / (time.perf_counter() - begin)


def computed(process: int) -> float:
    """Seconds that the cores computed for a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def summary(name: str, milliseconds: list[float], seconds: float) -> str:
    """A line of the table."""
    ordered, count = sorted(milliseconds), len(milliseconds)
    columns = ordered[0], statistics.median(ordered), 1e3 * seconds / count, count / seconds
    return f"{name:<24}" + "".join(f"{column:>12.1f}" for column in columns)


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description="Latency and rate of sagan serve.")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--port", type=int, default=8765)
    given = parser.parse_args()
    command = [sys.executable, "-m", "sagan", "serve", MODEL, "--port", str(given.port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        found = re.search(r"http://([\d.]+):(\d+)/", server.stdout.readline())
        assert found is not None, "the server did not start"
        address = found[1], int(found[2])
        generator, client = load_generator(MODEL), Client(address)
        assert client.picture(0) == drawn(generator, 0)
        begun = computed(server.pid), computed(os.getpid())
        asked, alone = list[float](), list[float]()
        for seed in range(given.requests):
            asked.append(timed(client.picture, seed))
            alone.append(timed(lambda seed: drawn(generator, seed), seed))
        ended = computed(server.pid), computed(os.getpid())
        headings = "fastest, ms", "median, ms", "CPU, ms", "CPU, 1/s"
        print(f"{'one picture of ' + MODEL:<24}" + "".join(f"{text:>12}" for text in headings))
        print(summary("GET /sample", asked, ended[0] - begun[0]))
        print(summary("drawn in Python", alone, ended[1] - begun[1]))
        rate = at_once(address, 4, given.requests // 4)
        print(f"GET /sample, 4 connections at once: {rate:.1f} per second")
        print(json.dumps({"cores": os.cpu_count(), "load": os.getloadavg()[0]}))
    finally:
        server.terminate()
        server.wait(60)


if __name__ == "__main__":
    main()
