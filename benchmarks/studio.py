"""The studio's server: time to the first picture, and from asking to picture and attention.

    python -m benchmarks.studio

Starts ``sagan studio --no-open`` in processes of its own: for avatars64, and for a generator of
128 x 128 pixels and 1,000 classes with random weights in half precision (the preset imagenet128).
"""

import argparse
import http.client
import json
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from sagan.config import network_shape
from sagan.config.presets import preset
from sagan.nn.residual import make_generator
from sagan.runs.checkpoint import Checkpoint, halved, save


class Client:
    """One connection to a server that was just started.

    Args:
        model: What it shows.
    """

    def __init__(self, model: str) -> None:
        self._begin = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sagan", "studio", model, "--no-open", "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"http://([\d.]+):(\d+)", line)
        assert found, line
        self._connection = http.client.HTTPConnection(found[1], int(found[2]), timeout=60)
        [self.model] = json.loads(self._answer("GET", "/api/models"))["models"]

    @property
    def age(self) -> float:
        """Seconds since the command was given."""
        return time.perf_counter() - self._begin

    def draw(self, number: int) -> int:
        """Asks for a picture with its attention; bytes of the answer."""
        classes = len(self.model["classes"])
        latent = torch.randn(
            self.model["latentDim"], generator=torch.Generator().manual_seed(number)
        )
        shares = [float(place == number % classes) for place in range(classes)]
        body = json.dumps({"latent": latent.tolist(), "shares": shares})
        return len(self._answer("POST", "/api/models/0/draw", body))

    def end(self) -> None:
        """Ends the server."""
        self._connection.close()
        self.process.terminate()
        self.process.communicate(timeout=20)

    def _answer(self, method: str, path: str, body: str | None = None) -> bytes:
        self._connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
        return content


def random_model(path: Path) -> None:
    """Writes a generator of 128 x 128 pixels and 1,000 classes that has learned nothing."""
    config = preset("imagenet128")
    names = tuple(f"class {number}" for number in range(1000))
    generator = make_generator(config.generator, **network_shape(config.data, len(names)))
    parts = {"generator_ema": generator.state_dict()}
    checkpoint = Checkpoint(config=config.with_channels(3), class_names=names, step=0, parts=parts)
    save(halved(checkpoint), path)


def measure(model: str, starts: int, pictures: int) -> None:
    """Prints a line."""
    firsts, times, size = [], [], 0
    for start in range(starts):
        client = Client(model)
        size = client.draw(0)
        firsts.append(client.age)
        for number in range(pictures if start == starts - 1 else 0):
            begin = time.perf_counter()
            client.draw(number)
            times.append(1e3 * (time.perf_counter() - begin))
        client.end()
    times.sort()
    name, *_ = Path(model).name.partition(".")
    print(
        f"{name:<14}first picture after {statistics.median(firsts):.2f} s (median of {starts}); "
        f"then {statistics.median(times):.1f} ms each (median of {pictures}; 90 % below "
        f"{times[int(0.9 * len(times))]:.1f} ms), {size / 1e6:.2f} MB"
    )


def main() -> None:
    """Measures both models."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=100)
    options = parser.parse_args()
    measure("avatars64", options.starts, options.pictures)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "imagenet128.safetensors"
        random_model(path)
        print(f"imagenet128   file of {path.stat().st_size / 1e6:.0f} MB, random weights")
        measure(str(path), options.starts, options.pictures)


if __name__ == "__main__":
    main()
