"""Quality of ours beside another project's own code: same pictures, same processor time, one core.

    python -m benchmarks.rivals ours --minutes 30 --folder runs/ours
    python -m benchmarks.rivals lightweight-gan --minutes 30 --folder runs/lightweight

Each call trains on the 50,000 avatars of 32 x 32 pixels, with one thread, until the process has
used so many minutes of processor time (what other programs take is not counted), draws 5,000
pictures in the classes' frequencies and measures them as ``sagan evaluate`` does, against 5,000
real ones. The folder keeps the pictures as ``.npz``, a grid of 96 of them and ``result.json``; a
table is printed, with a row for each kind of weights. Other projects' packages are installed by
whoever measures them: ``pip install -c constraints.txt lightweight-gan``. What came of it:
docs/lab/rivals.md.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol
from unittest import mock

import numpy as np
import torch
from torch import nn

import sagan
from sagan import images
from sagan.config.presets import preset
from sagan.data import Dataset, load_dataset
from sagan.errors import SaganError
from sagan.evaluation.picture_sets import proportional_labels
from sagan.evaluation.pretrained import import_torchvision
from sagan.evaluation.record import figure
from sagan.system.device import keep_freed_memory
from sagan.system.files import write_text
from sagan.training.driver import Driver

COUNT = 5000
METRICS = ("fd", "kid", "pr", "dc")
TIMED_STEPS = 80  # a multiple of the interval of the penalties


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a rival did with its time."""

    steps: int
    pictures_seen: int
    """Real pictures, each time one is seen."""
    parameters: Mapping[str, int]
    """By network."""
    drawn: Mapping[str, np.ndarray]
    """uint8 (5000, 3, 32, 32) by the name of the weights: their average, or those of the end."""


class Rival(Protocol):
    """Another project's own networks and training, or ours."""

    package: str
    """Its distribution, whose version is recorded."""

    def __call__(self, pictures: Dataset, folder: Path, clock: Clock) -> Trained:
        """Prepares, starts the clock, trains while time is left, stops the clock, draws."""
        ...


class Clock:
    """Processor time of this process, all its threads together.

    Attributes:
        budget: Seconds to spend.
        used: Seconds spent until :meth:`stop`.
    """

    def __init__(self, budget: float) -> None:
        self.budget = budget
        self.used = 0.0
        self._begin = time.process_time()

    def start(self) -> None:
        """What was done before, such as reading the pictures, does not count."""
        self._begin = time.process_time()

    @property
    def left(self) -> float:
        """Seconds."""
        return self.budget - (time.process_time() - self._begin)

    def stop(self) -> None:
        """Nor does what follows."""
        self.used = time.process_time() - self._begin


class Ours:
    """A preset; its rates fall as its steps pass, so a step is timed first, in the same budget."""

    package = "sagan"

    def __init__(self, name: str) -> None:
        self.settings = preset(name)

    def __call__(self, pictures: Dataset, folder: Path, clock: Clock) -> Trained:
        """Times a step, then trains for as many as the rest of the time allows."""
        first = self._opened(folder / "timing", TIMED_STEPS)
        clock.start()
        first.train()
        steps = int(clock.left / ((clock.budget - clock.left) / TIMED_STEPS))
        driver = self._opened(folder / "run", steps - steps % 4)
        outcome = driver.train()
        clock.stop()
        generator = sagan.load_generator(folder / "run")
        labels = proportional_labels(pictures.label_frequencies, COUNT)
        return Trained(
            steps=outcome.steps,
            pictures_seen=outcome.images_seen,
            parameters=_parameters(driver.state.generator, driver.state.discriminator),
            drawn={"average": generator.sample(range(COUNT), labels)},
        )

    def _opened(self, folder: Path, steps: int) -> Driver:
        """A run that does not measure itself."""
        train = replace(self.settings.train, steps=steps, checkpoint_interval=steps)
        return Driver(replace(self.settings, train=train), folder)


class LightweightGan:
    """lucidrains' lightweight-gan (MIT), without classes; its Trainer as its command calls it.

    It asks for CUDA when it is imported and moves everything there; here everything stays. Its
    periodical sheets and checkpoints are left out, and pictures are loaded in its process.

    Args:
        settings: What differs from the defaults of its command, by the Trainer's names.
    """

    package = "lightweight-gan"

    def __init__(self, **settings: Any) -> None:
        command = {
            "batch_size": 10,
            "gradient_accumulate_every": 4,
            "attn_res_layers": [32],
            "disc_output_size": 1,
        }
        self.settings = {**command, **settings}

    def __call__(self, pictures: Dataset, folder: Path, clock: Clock) -> Trained:
        """Trains from a folder of PNG files; its average stays behind for many thousand steps."""
        source = folder / "pictures"
        _write_pictures(pictures, source)
        keep_freed_memory()  # as ours does
        with _lightweight_gan_without_cuda() as module:
            trainer = module.Trainer(
                base_dir=folder,
                image_size=pictures.images.shape[-1],
                num_workers=0,
                use_aim=False,
                **self.settings,
            )
            trainer.evaluate = trainer.save = lambda *_, **__: None
            trainer.set_data_src(source)
            torch.manual_seed(0)
            random.seed(0)  # decides what it augments
            clock.start()
            while clock.left > 0:
                trainer.train()
            clock.stop()
            gan = trainer.GAN
            gan.eval()
            draw = partial(self._drawn, trainer)
            return Trained(
                steps=trainer.steps,
                pictures_seen=trainer.steps
                * trainer.batch_size
                * trainer.gradient_accumulate_every,
                parameters=_parameters(gan.G, gan.D),
                drawn={"last": draw(gan.G), "average": draw(gan.GE)},
            )

    @staticmethod
    def _drawn(trainer: Any, generator: nn.Module) -> np.ndarray:
        latents = torch.randn(COUNT, trainer.latent_dim, generator=torch.manual_seed(0))
        drawn = trainer.generate_(generator, latents)  # float (N, 3, R, R) in [0, 1]
        return drawn.mul(255).round().to(torch.uint8).numpy()


RIVALS: dict[str, Rival] = {
    "ours": Ours("avatars32"),
    "ours-sagan": Ours("avatars32-sagan"),
    "lightweight-gan": LightweightGan(),
    # Of the size of ours, and with its flags set for many small updates in little time.
    "lightweight-gan-small": LightweightGan(
        latent_dim=64, fmap_max=64, attn_res_layers=[], gradient_accumulate_every=1, lr=1e-3
    ),
}


@contextmanager
def _lightweight_gan_without_cuda() -> Iterator[ModuleType]:
    """Its module, for which the CPU stands where it asks for CUDA."""
    try:
        import_torchvision()
        with mock.patch("torch.cuda.is_available", return_value=True):
            from lightweight_gan import lightweight_gan as module  # pyright: ignore
    except ImportError as error:
        raise SaganError(
            f"lightweight-gan cannot be imported ({error}); pip install lightweight-gan"
        ) from error

    class TorchOnCpu:
        device = staticmethod(lambda _: torch.device("cpu"))

        def __getattr__(self, name: str) -> Any:
            return getattr(torch, name)

    def stay(moved: Any, *_: Any) -> Any:
        return moved

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(module, "torch", TorchOnCpu()))
        stack.enter_context(mock.patch.object(torch.Tensor, "cuda", stay))
        stack.enter_context(mock.patch.object(nn.Module, "cuda", stay))
        yield module


def _write_pictures(pictures: Dataset, folder: Path) -> None:
    """A folder of PNG files, as other projects read it."""
    folder.mkdir(parents=True)
    for number in range(len(pictures)):
        images.save_png(pictures.images[number], folder / f"{number:05d}.png", flush=False)


def _parameters(generator: nn.Module, discriminator: nn.Module) -> dict[str, int]:
    networks = {"generator": generator, "discriminator": discriminator}
    return {
        name: sum(parameter.numel() for parameter in network.parameters())
        for name, network in networks.items()
    }


def measured(name: str, minutes: float, folder: Path) -> dict[str, Any]:
    """Trains a rival, draws, and measures: a record of everything, values by kind of weights."""
    rival, clock = RIVALS[name], Clock(60 * minutes)
    begin = time.perf_counter()
    trained = rival(load_dataset(preset("avatars32").data), folder, clock)
    wall = time.perf_counter() - begin
    values = {}
    for weights, drawn in trained.drawn.items():
        path = folder / f"pictures-{weights}.npz"
        np.savez_compressed(path, images=drawn)
        chosen = np.random.default_rng(0).permutation(COUNT)[:96]
        sheet = images.enlarge(images.grid(drawn[chosen], 12), 2)
        images.save_png(sheet, folder / f"grid-{weights}.png")
        record = sagan.evaluate(path, against="avatars", metrics=METRICS, real_samples=COUNT)
        values[weights] = {title: value.mean for title, value in record.values.items()}
    return {
        "rival": name,
        "package": f"{rival.package} {importlib.metadata.version(rival.package)}",
        "torch": torch.__version__,
        "processor seconds": round(clock.used),
        "wall seconds, preparation included": round(wall),
        **{key: value for key, value in asdict(trained).items() if key != "drawn"},
        "values": values,
    }


def rows(result: Mapping[str, Any]) -> Iterator[str]:
    """Rows of a Markdown table, one for each kind of weights, below a heading."""
    size = result["parameters"]
    known = [
        result["package"],
        f"{size['generator']:,} + {size['discriminator']:,}",
        f"{result['processor seconds']:,}",
        f"{result['steps']:,}",
        f"{result['pictures_seen']:,}",
    ]
    titles = ["rival, weights", "package", "parameters G + D", "CPU seconds", "steps", "pictures"]
    for number, (weights, values) in enumerate(result["values"].items()):
        if not number:
            yield f"| {' | '.join([*titles, *values])} |"
            yield f"|{'---|' * (len(titles) + len(values))}"
        cells = [f"{result['rival']}, {weights}", *known, *map(figure, values.values())]
        yield f"| {' | '.join(cells)} |"


def main() -> None:
    """Trains, measures and prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rival", choices=RIVALS)
    parser.add_argument("--minutes", type=float, default=30, help="of processor time (30)")
    parser.add_argument("--folder", type=Path, required=True, help="a new one, for the results")
    asked = parser.parse_args()
    if asked.folder.exists():
        parser.error(f"{asked.folder} is there already; choose a new folder")
    if asked.minutes <= 0:
        parser.error(f"--minutes {asked.minutes:g} is no time; give more than 0")
    torch.set_num_threads(1)
    try:
        result = measured(asked.rival, asked.minutes, asked.folder)
    except SaganError as error:
        parser.error(str(error))
    write_text(asked.folder / "result.json", json.dumps(result, indent=1))
    print("\n".join(rows(result)))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
