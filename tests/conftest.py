import signal

import numpy as np
import pytest
import torch
from torch import nn

from sagan import config as settings
from sagan.data import Dataset
from sagan.evaluation.features import FeatureExtractor
from sagan.images import save_png
from sagan.nn import averaging
from sagan.nn.averaging import STATISTICS_BATCHES


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


def state_of(driver):
    """Copies of all tensors of a run's state, by part and name."""
    return {
        f"{part}.{name}": tensor.clone()
        for part, tensors in driver.state.parts().items()
        for name, tensor in tensors.items()
    }


@pytest.fixture(scope="session", autouse=True)
def _signals_are_heard():
    """Commands that tests start inherit what is ignored, as in a shell's background."""
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    if hasattr(signal, "SIGHUP"):  # not on Windows
        handlers[signal.SIGHUP] = signal.SIG_DFL
    for number, handler in handlers.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _few_batches_of_statistics():
    """Every checkpoint waits for them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sagan.evaluation.opening.LATENTS", 2 * averaging.STATISTICS_BATCH_SIZE)
        patch.setattr(averaging, "STATISTICS_BATCHES", 2)
        yield


@pytest.fixture
def all_batches_of_statistics(monkeypatch):
    """As many as users have."""
    monkeypatch.setattr(averaging, "STATISTICS_BATCHES", STATISTICS_BATCHES)


@pytest.fixture
def slow_bfloat16(monkeypatch):
    """Bfloat16 where training would refuse it as slow: its properties hold there too."""
    monkeypatch.setattr("sagan.system.device.platform.machine", lambda: "any")


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


class Pooled(nn.Module):
    """Means of 4 x 4 blocks as features, and a few of them as logits; counts its pictures."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, images):
        self.seen += len(images)
        features = nn.functional.adaptive_avg_pool2d(images.float() / 255, 4).flatten(1)
        return features, 10 * features[:, :5]


def pooled_extractor():
    """A feature extractor that needs no weights."""
    return FeatureExtractor(
        name="pooled",
        title="Pooled",
        weights_sha256="0" * 64,
        resize="none",
        feature_dim=48,
        logit_dim=5,
        network=Pooled(),
        device=torch.device("cpu"),
        batch_size=64,
    )


@pytest.fixture
def extractor(tmp_path, monkeypatch):
    """A feature extractor that needs no weights, with a cache of its own."""
    monkeypatch.setenv("SAGAN_CACHE", str(tmp_path / "cache"))
    return pooled_extractor()


@pytest.fixture
def inception_weights(tmp_path, monkeypatch):
    """A file of random weights for Inception, which passes for the right one."""
    from hashlib import sha256

    from sagan.evaluation import pretrained

    assert pretrained.import_torchvision()
    from torch_fidelity import FeatureExtractorInceptionV3, feature_extractor_inceptionv3

    with monkeypatch.context() as without_weights:
        without_weights.setattr(
            feature_extractor_inceptionv3, "load_state_dict_from_url", lambda *_, **__: {}
        )
        without_weights.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        network = FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"])
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    path = tmp_path / "inception.pth"
    torch.save(network.state_dict(), path)
    monkeypatch.setitem(
        pretrained.WEIGHTS_SHA256, "inception", sha256(path.read_bytes()).hexdigest()
    )
    return path
