"""Other projects' own networks as the harness sees them: BigGAN-PyTorch and PyTorch-StudioGAN.

    PEERS=path/to/folder python -m benchmarks --only train --against benchmarks.peers:biggan

The folder holds ``biggan`` and ``studiogan``, clones of ajbrock/BigGAN-PyTorch and
POSTECH-CVLab/PyTorch-StudioGAN. BigGAN-PyTorch trains by its own ``train_fns.py``; the worker of
PyTorch-StudioGAN cannot be had without its data, so that its step is written here in the order of
its ``worker.py``. What they import and do not need for this (torchvision, seaborn) is replaced by
nothing. ``..._channels_last`` gives them the order of memory that this processor likes.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from benchmarks.adapters import Batch, attention_resolution, surroundings
from benchmarks.ours import Ours
from sagan.errors import SaganError

LATENT_DIM = 128
_NOT_NEEDED = {
    "biggan": ("torchvision", "torchvision.transforms", "datasets", "animal_hash"),
    "studiogan": (
        *("torchvision", "torchvision.datasets", "torchvision.utils", "torchvision.transforms"),
        *("scipy", "scipy.linalg", "scipy.stats", "torchvision.transforms.functional"),
        *("seaborn", "matplotlib", "matplotlib.pyplot", "tqdm", "utils.style_ops", "utils.ckpt"),
    ),
}


class _Peer:
    """Generator, discriminator and their two optimisers, with what both projects share."""

    def __init__(
        self, networks: tuple[nn.Module, nn.Module], memory_format: torch.memory_format
    ) -> None:
        self.device, self.autocast = surroundings()
        self.memory_format = memory_format
        self.generator, self.discriminator = (
            network.to(self.device, memory_format=memory_format)  # pyright: ignore[reportCallIssue]
            for network in networks
        )

    def reals(self, images: Tensor) -> Tensor:
        """In [-1, 1], as their loaders give them."""
        return (images.float() / 127.5 - 1).contiguous(memory_format=self.memory_format)

    def drawn(self, count: int, num_classes: int) -> tuple[Tensor, Tensor]:
        """Latents and labels."""
        latents = torch.randn(count, LATENT_DIM, device=self.device)
        return latents, torch.randint(num_classes, (count,), device=self.device)


class BigGAN(_Peer):
    """Its networks with SAGAN's settings, trained by its ``GAN_training_function``."""

    def __init__(
        self, resolution: int, num_classes: int, width: int, memory_format: torch.memory_format
    ) -> None:
        if resolution < 64:
            raise NotImplementedError("its discriminator of 32 pixels has another plan")
        with code_of("biggan"):
            self.code = importlib.import_module("BigGAN")
            self.functions = importlib.import_module("train_fns")
            self.utils = importlib.import_module("utils")
        place = str(attention_resolution(resolution))
        common: dict[str, Any] = {
            "resolution": resolution,
            "n_classes": num_classes,
            "G_ch": width,
            "D_ch": width,
            "G_attn": place,
            "D_attn": place,
            "G_shared": False,
            "G_lr": 1e-4,
            "D_lr": 4e-4,
            "G_init": "xavier",
            "D_init": "xavier",
            "SN_eps": 1e-8,
            "skip_init": False,
        }
        activation = nn.ReLU(inplace=False)
        with mock.patch("builtins.print"):
            generator = self.code.Generator(**common, G_activation=activation)
            discriminator = self.code.Discriminator(**common, D_activation=activation)
            super().__init__((generator, discriminator), memory_format)
            self.num_classes = num_classes
            self.average = self.code.Generator(
                **{**common, "skip_init": True}, no_optim=True, G_activation=activation
            )
            self.ema = self.utils.ema(self.generator, self.average, 0.9999, 0)

    def train_step(self, batch: Batch) -> None:
        """One step of its training function."""
        images, labels = batch
        with self.autocast:
            self._train(len(images))(self.reals(images), labels)

    def _train(self, count: int) -> Any:
        if "trained" not in vars(self):
            # Its own are no plain tensors, which the counter of operations asks for.
            z, y = self.drawn(count, self.num_classes)
            z.sample_ = z.normal_  # pyright: ignore[reportAttributeAccessIssue]
            y.sample_ = partial(y.random_, 0, self.num_classes)  # pyright: ignore[reportAttributeAccessIssue]
            config = {
                "batch_size": count,
                "toggle_grads": True,
                "num_D_steps": 1,
                "num_D_accumulations": 1,
                "num_G_accumulations": 1,
                "split_D": False,
                "D_ortho": 0.0,
                "G_ortho": 0.0,
                "ema": True,
            }
            pair = self.code.G_D(self.generator, self.discriminator)
            networks = (self.generator, self.discriminator, pair)
            self.trained = self.functions.GAN_training_function(
                *networks, z, y, self.ema, {"itr": 1}, config
            )
        return self.trained

    @torch.inference_mode()
    def sample(self, count: int) -> Tensor:
        """The averaged generator in evaluation mode."""
        self.average.eval()
        latents, labels = self.drawn(count, self.num_classes)
        with self.autocast:
            return self.average(latents, self.average.shared(labels))


class StudioGAN(_Peer):
    """Its networks as ``SAGAN-256.yaml`` and its CIFAR-10 settings have them."""

    def __init__(
        self, resolution: int, num_classes: int, width: int, memory_format: torch.memory_format
    ) -> None:
        with code_of("studiogan"):
            self.resnet = importlib.import_module("models.resnet")
            ops = importlib.import_module("utils.ops")
        modules = SimpleNamespace(
            g_conv2d=ops.snconv2d,
            g_linear=ops.snlinear,
            g_bn=ops.ConditionalBatchNorm2d,
            g_act_fn=nn.ReLU(inplace=True),
            d_conv2d=ops.snconv2d,
            d_linear=ops.snlinear,
            d_embedding=ops.sn_embedding,
            d_act_fn=nn.ReLU(inplace=True),
        )
        model = SimpleNamespace(info_type="N/A", g_info_injection="N/A", backbone="resnet")
        place = attention_resolution(resolution)
        generator = self.resnet.Generator(
            *(LATENT_DIM, "N/A", resolution, width, True, [(place // 4).bit_length() - 1]),
            *("cBN", num_classes, "ortho", "N/A", False, modules, model),
        )
        discriminator = self.resnet.Discriminator(
            *(resolution, width, True, True, [(resolution // place).bit_length() - 1]),
            *("PD", "W/O", "N/A", False, num_classes, "ortho", "N/A", False, modules, model),
        )
        super().__init__((generator, discriminator), memory_format)
        self.num_classes = num_classes
        self.optimizers = [
            torch.optim.Adam(network.parameters(), lr=rate, betas=(0.0, 0.999), eps=1e-6)
            for network, rate in ((self.generator, 1e-4), (self.discriminator, 4e-4))
        ]

    def train_step(self, batch: Batch) -> None:
        """Real and fake pictures pass apart; the generator's statistics rest meanwhile."""
        images, labels = batch
        for_generator, for_discriminator = self.optimizers
        self.generator.requires_grad_(False)
        self.discriminator.requires_grad_(True)
        for_discriminator.zero_grad()
        latents, fake_labels = self.drawn(len(images), self.num_classes)
        with self.autocast:
            fakes = self.generator(latents, fake_labels)
            real = self.discriminator(self.reals(images), labels)["adv_output"]
            fake = self.discriminator(fakes, fake_labels)["adv_output"]
            loss = (1 - real).relu().mean() + (1 + fake).relu().mean()
        loss.backward()
        for_discriminator.step()
        self.generator.requires_grad_(True)
        self.discriminator.requires_grad_(False)
        for_generator.zero_grad()
        latents, fake_labels = self.drawn(len(images), self.num_classes)
        with self.autocast:
            fakes = self.generator(latents, fake_labels)
            loss = -self.discriminator(fakes, fake_labels)["adv_output"].mean()
        loss.backward()
        for_generator.step()

    @torch.inference_mode()
    def sample(self, count: int) -> Tensor:
        """The generator in evaluation mode."""
        self.generator.eval()
        with self.autocast:
            pictures = self.generator(*self.drawn(count, self.num_classes), eval=True)
        self.generator.train()
        return pictures


def ours_as_studiogan(resolution: int, num_classes: int, width: int) -> Ours:
    """Ours with the channels of PyTorch-StudioGAN's networks of 32 pixels, to stand beside them."""
    if resolution != 32:
        raise NotImplementedError("only its networks of 32 pixels have a plan of their own")
    return Ours(
        *(resolution, num_classes, width),
        generator={"channels": [4, 4, 4, 4]},
        discriminator={"channels": [2, 2, 2, 2], "final_resolution": 8},
    )


biggan = partial(BigGAN, memory_format=torch.contiguous_format)
biggan_channels_last = partial(BigGAN, memory_format=torch.channels_last)
studiogan = partial(StudioGAN, memory_format=torch.contiguous_format)
studiogan_channels_last = partial(StudioGAN, memory_format=torch.channels_last)


@contextmanager
def code_of(project: str) -> Iterator[None]:
    """Its modules can be imported within; both call one ``utils``, which does not stay."""
    folder = Path(os.environ.get("PEERS", ".")) / project
    folder = folder / "src" if project == "studiogan" else folder
    if not folder.is_dir():
        raise SaganError(f"there is no {folder}; clone the project there, and set PEERS")
    nothing = {name: mock.MagicMock() for name in _NOT_NEEDED[project] if name not in sys.modules}
    sys.modules.update(nothing)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name, module in list(sys.modules.items()):
            home = f"{vars(module).get('__file__')} {vars(module).get('__path__')}"
            if name in nothing or str(folder) in home:
                del sys.modules[name]
