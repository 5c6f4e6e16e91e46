import numpy as np
import pytest
import torch

from sagan import config as settings
from sagan.data import Dataset
from sagan.images import save_png


def tiny(**train):
    """A network of the smallest width, for pictures of two classes."""
    return settings.from_dict(
        {
            "data": {"resolution": 32},
            "generator": {"base_channels": 8, "latent_dim": 16, "attention": [16]},
            "discriminator": {"base_channels": 8, "attention": [16]},
            "optimizer": {"generator_lr": 1e-3, "discriminator_lr": 2e-3, "beta2": 0.9},
            "train": {
                "steps": 6,
                "batch_size": 4,
                "ema_decay": 0.5,
                "precision": "float32",
                "log_interval": 1,
                "sample_interval": 3,
                "checkpoint_interval": 3,
                **train,
            },
        }
    )


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def picture_folder(tmp_path_factory):
    """A folder of pictures: two classes, eight pictures each."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 128)):
        for number in range(8):
            pixels = rng.integers(low, low + 128, (3, 32, 32), dtype=np.uint8)
            save_png(pixels, folder / name / f"{number}.png")
    return folder


@pytest.fixture
def dataset():
    """Two classes of six noise pictures."""
    rng = np.random.default_rng(0)
    return Dataset(
        images=rng.integers(0, 256, (12, 3, 32, 32), dtype=np.uint8),
        labels=np.arange(12) % 2,
        class_names=("even", "odd"),
        fingerprint="noise",
    )


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory, picture_folder):
    """The folder of a finished run of two steps."""
    from dataclasses import replace

    from sagan.training.driver import Driver

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    config = tiny(steps=2)
    config = replace(config, data=replace(config.data, source=str(picture_folder)))
    Driver(config, folder).train()
    return folder
