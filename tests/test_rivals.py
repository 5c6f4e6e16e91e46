"""Rivals: the clock, the steps of ours, another's code on a CPU, the table."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import rivals
from benchmarks.rivals import Clock, LightweightGan, Ours, rows
from sagan.data.dataset import dataset_of
from sagan.errors import SaganError

# Written here, with what the adapter has to bridge: CUDA is asked for on import and in use.
STAND_IN = """
import torch
assert torch.cuda.is_available(), "You need to have an Nvidia GPU with CUDA installed."

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(3, 1, 1))
    def forward(self, latents):
        return self.bias + latents.mean() + torch.zeros(len(latents), 3, 32, 32)

class Trainer:
    def __init__(self, base_dir, image_size, num_workers, use_aim, latent_dim=4, **settings):
        self.latent_dim, self.steps, self.settings = latent_dim, 0, settings
        self.batch_size = settings["batch_size"]
        self.gradient_accumulate_every = settings["gradient_accumulate_every"]
        self.GAN = torch.nn.Module()
        self.GAN.G, self.GAN.GE, self.GAN.D = Network(), Network(), Network()
        self.GAN.cuda(0)
    def set_data_src(self, folder):
        assert len(list(folder.glob("*.png"))) == 5
    def train(self):
        total = torch.zeros([], device=torch.device("cuda:0"))
        total += torch.randn(4).cuda(0).sum()
        self.steps += 1
        self.evaluate(0, num_image_tiles=8)
    def evaluate(self, *_, **__):
        raise AssertionError("costs time")
    def generate_(self, generator, latents):
        return generator(latents).clamp_(0.0, 1.0)
"""


@pytest.fixture
def passing(monkeypatch):
    """A processor that has worked a second more whenever it is asked."""
    seconds = iter(range(10**6))
    monkeypatch.setattr(rivals.time, "process_time", lambda: next(seconds))


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A package lightweight_gan on the path, and no torchvision."""
    package = tmp_path / "packages" / "lightweight_gan"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "lightweight_gan.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(package.parent)
    for name in ("lightweight_gan", "lightweight_gan.lightweight_gan"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(rivals, "import_torchvision", lambda: True)
    yield
    for name in ("lightweight_gan", "lightweight_gan.lightweight_gan"):
        sys.modules.pop(name, None)


def pictures():
    rng = np.random.default_rng(0)
    return dataset_of(rng.integers(0, 256, (5, 3, 32, 32), dtype=np.uint8))


def test_clock_counts_between_start_and_stop_alone(passing):
    clock = Clock(10)
    for _ in range(3):
        rivals.time.process_time()
    clock.start()
    assert clock.left == 9
    clock.stop()
    assert clock.used == 2
    rivals.time.process_time()
    assert clock.used == 2


def test_another_projects_code_runs_without_cuda_and_leaves_torch_as_it_was(
    stand_in, passing, monkeypatch, tmp_path
):
    monkeypatch.setattr(rivals, "COUNT", 7)
    before = torch.Tensor.cuda, torch.nn.Module.cuda, torch.cuda.is_available, torch.device
    clock = Clock(6)
    trained = LightweightGan(batch_size=3)(pictures(), tmp_path / "run", clock)
    assert before == (
        torch.Tensor.cuda,
        torch.nn.Module.cuda,
        torch.cuda.is_available,
        torch.device,
    )
    assert clock.used > 5
    assert trained.steps == 5
    assert trained.pictures_seen == 5 * 3 * 4
    assert trained.parameters == {"generator": 3, "discriminator": 3}
    assert {name: drawn.shape for name, drawn in trained.drawn.items()} == {
        "last": (7, 3, 32, 32),
        "average": (7, 3, 32, 32),
    }
    assert trained.drawn["last"].dtype == np.uint8


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightweight_gan", None)
    monkeypatch.setattr(rivals, "import_torchvision", lambda: True)
    with (
        pytest.raises(SaganError, match="pip install lightweight-gan"),
        rivals._lightweight_gan_without_cuda(),
    ):
        pass


def test_ours_plans_as_many_steps_as_fit(monkeypatch, tmp_path):
    """A step takes two seconds; timing 80 of them takes 160 of 1,000, which leaves 420 steps."""
    now, planned = [0.0], []
    monkeypatch.setattr(rivals.time, "process_time", lambda: now[0])

    def opened(config, folder):
        def train():
            planned.append(config.train.steps)
            now[0] += 2 * config.train.steps
            return SimpleNamespace(steps=config.train.steps, images_seen=0)

        network = torch.nn.Linear(2, 2)
        state = SimpleNamespace(generator=network, discriminator=network)
        return SimpleNamespace(train=train, state=state)

    monkeypatch.setattr(rivals, "Driver", opened)
    drawn = SimpleNamespace(sample=lambda seeds, labels: labels)
    monkeypatch.setattr(rivals.sagan, "load_generator", lambda folder: drawn)
    clock = Clock(1000)
    trained = Ours("avatars32")(pictures(), tmp_path, clock)
    assert planned == [80, 420]
    assert clock.used == 1000
    assert trained.parameters == {"generator": 6, "discriminator": 6}


def test_every_kind_of_weights_has_a_row():
    result = {
        "rival": "other",
        "package": "other 1.0",
        "parameters": {"generator": 1000, "discriminator": 2000},
        "processor seconds": 1800,
        "steps": 50,
        "pictures_seen": 2000,
        "values": {"last": {"FD": 400.0, "recall": 0.25}, "average": {"FD": 500.0, "recall": 0.5}},
    }
    lines = list(rows(result))
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| other, last | other 1.0 | 1,000 + 2,000 | 1,800 | 50 | 2,000 |")
    assert lines[3].endswith("| 500.0 | 0.500 |")


def test_results_are_not_written_over(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["rivals", "ours", "--folder", str(tmp_path)])
    with pytest.raises(SystemExit):
        rivals.main()
    assert "choose a new folder" in capsys.readouterr().err
