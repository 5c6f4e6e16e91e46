"""Feature extractors: uint8 pictures -> vectors in which distances mean something.

A number means something only beside the network, the weights and the resize rule it came from, so
an extractor states all three. Weights are found and their SHA-256 checked before any work; none is
ever fetched.
"""

import importlib.util
from dataclasses import dataclass, field
from hashlib import file_digest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sagan.config import nearest
from sagan.errors import SaganError
from sagan.evaluation.pretrained import PRETRAINED, WEIGHTS_SHA256
from sagan.system.device import pick_device
from sagan.system.extras import install

EXTRACTORS = tuple(PRETRAINED)
"""Names of the extractors; the first needs nothing but installed packages."""


@dataclass(frozen=True, eq=False)
class FeatureExtractor:
    """A pretrained network with all that a record of its numbers must state."""

    name: str
    """One of :data:`EXTRACTORS`."""
    title: str
    """The name in print."""
    weights_sha256: str
    """Of the weights file, 64 hexadecimal digits."""
    resize: str
    """How pictures of any size become the network's input."""
    feature_dim: int
    """Length D of a feature vector."""
    logit_dim: int
    """Number K of class logits; 0 where the network has none."""
    network: nn.Module = field(repr=False)
    """uint8 (N, 3, H, W) -> features float32 (N, D) and logits float32 (N, K)."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Where the network computes."""
    batch_size: int = 256
    """Pictures in one pass; a CPU is fastest with as many as its caches hold."""

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, D) and logits (N, K) of uint8 (N, 3, H, W) pictures, on :attr:`device`.

        In float32 everywhere: the shortened products of CUDA (TF32) would shift the numbers.
        """
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            passes = [self.network(part.to(self.device)) for part in images.split(self.batch_size)]
        features, logits = zip(*passes, strict=True)
        return torch.cat(features), torch.cat(logits)


def load_extractor(
    name: str = "efficientnet-lite0", *, weights: Path | None = None, device: str = "cpu"
) -> FeatureExtractor:
    """Builds an extractor from weights that are on this machine.

    Args:
        name: One of :data:`EXTRACTORS`.
        weights: File of the weights; otherwise they come with the installed package
            (``efficientnet-lite0``) or lie in torch hub's folder (all others).
        device: auto, cpu, cuda or mps.

    Raises:
        SaganError: The name is unknown, a package is not installed, the weights are absent or not
            the expected ones, or the device is absent.
    """
    if name not in PRETRAINED:
        raise SaganError(
            f"unknown feature extractor {name!r}{nearest(name, EXTRACTORS)}; "
            f"there are {', '.join(EXTRACTORS)}"
        )
    specification = PRETRAINED[name]
    place = pick_device(device)
    for package in specification.packages:
        if importlib.util.find_spec(package) is None:
            raise SaganError(
                f"{specification.title} needs the package {package}, which is not installed; "
                f"run: {install(specification.extra)}"
            )
    weights = weights or specification.weights_folder() / specification.weights_file
    _verify(name, weights)
    network: Any = specification.build(name, weights).eval().requires_grad_(False)
    return FeatureExtractor(
        name=name,
        title=specification.title,
        weights_sha256=WEIGHTS_SHA256[name],
        resize=specification.resize,
        feature_dim=specification.feature_dim,
        logit_dim=specification.logit_dim,
        network=network.to(device=place, memory_format=torch.channels_last),
        device=place,
        batch_size=specification.cpu_batch_size if place.type == "cpu" else 256,
    )


def _verify(name: str, weights: Path) -> None:
    title, source = PRETRAINED[name].title, PRETRAINED[name].weights_source
    try:
        with weights.open("rb") as file:
            found = file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SaganError(
            f"cannot read the weights of {title} at {weights} ({error.strerror or error}); "
            f"get them from {source} and put them there, or name their file with --weights"
        ) from error
    if found != WEIGHTS_SHA256[name]:
        raise SaganError(
            f"{weights} does not hold the weights of {title}: its SHA-256 is {found} instead of "
            f"{WEIGHTS_SHA256[name]}; get the file again from {source}"
        )
