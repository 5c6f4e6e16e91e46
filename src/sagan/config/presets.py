"""Named settings, each with its source and what it gave there."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sagan.config import Config, LossConfig, from_dict, load_toml, nearest, to_dict
from sagan.config.plain import joined
from sagan.config.recipe import AVATARS, DEMO_SECONDS, TWO_CORES, recipe
from sagan.errors import SaganError


class Intended(NamedTuple):
    """The pictures that a preset is for, as they are distributed."""

    name: str
    pictures: int
    """To train on."""
    classes: int
    """0 where none are learned."""

    def __str__(self) -> str:
        within = f" in {self.classes} classes" if self.classes else ""
        return f"{self.name}, {self.pictures:,} pictures{within}"

    def are(self, pictures: int, classes: int) -> bool:
        """Whether so many pictures, give or take one in twenty, in so many classes can be these."""
        is_near = abs(pictures - self.pictures) <= self.pictures / 20
        return is_near and self.classes in (0, classes)


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Settings under a name."""

    title: str
    """What it is, in a line."""
    source: str
    """Where the values come from."""
    published: tuple[str, ...] = ()
    """Numbers to expect, each with where it stands; none where there is none we could check."""
    data: Intended | None = None
    """The pictures it is for, which only ``--data.source`` can give; None: built in."""
    differs: tuple[str, ...] = ()
    """What the source does and no setting expresses; what holds for all: docs/faithfulness.md."""
    settings: dict[str, Any]
    """What differs from the defaults, which are nearly all the authors' values."""


_IMAGENET = Intended("ImageNet", 1_281_167, 1000)
_CIFAR10 = Intended("CIFAR-10", 50_000, 10)
_VECTORS = (
    "the discriminator's singular vectors advance at each of its passes; here once before each of"
    " its updates"
)

_Settings = dict[str, dict[str, Any]]


def _both(**settings: Any) -> _Settings:
    """The same settings for both networks."""
    return {"generator": settings, "discriminator": settings}


_NO_AVERAGE: _Settings = {"train": {"ema_decay": 0.0}}
_RELEASED: _Settings = {
    "optimizer": {"eps_form": "uncorrected"},
    "train": {"ema_decay": 0.0, "discriminator_power_iteration": "pass"},
}
_NORMALISED_TABLES: _Settings = joined(
    _both(initialization="orthogonal"),
    {
        "generator": {
            "class_tables": "spectral",
            "batch_norm_eps": 1e-4,
            "batch_norm_momentum": 0.1,
            "last_batch_norm_momentum": 0.1,
        }
    },
)
_STUDIOGAN = joined(
    _NORMALISED_TABLES,
    _NO_AVERAGE,
    _both(spectral_norm_eps=1e-6),
    {"discriminator": {"shortcut_input": "relu"}, "optimizer": {"eps": 1e-6}},
)
_CIFAR: _Settings = {
    "data": {"resolution": 32, "horizontal_flip": True},
    "generator": {"channels": (4, 4, 4, 4), "attention": (16,)},
    "discriminator": {"channels": (2, 2, 2, 2), "final_resolution": 8, "attention": (16,)},
    "optimizer": {"generator_lr": 2e-4, "discriminator_lr": 2e-4, "beta1": 0.5},
    "train": {"steps": 100_000, "batch_size": 64, "discriminator_steps": 5, "ema_decay": 0.0},
}


def _differing(values: Mapping[str, Mapping[str, Any]]) -> _Settings:
    """What differs from the defaults, and the source, which says what the name means."""
    usual = to_dict(Config())
    found = {
        section: {
            name: value
            for name, value in fields.items()
            if value != usual[section][name] or (section, name) == ("data", "source")
        }
        for section, fields in values.items()
    }
    return {section: fields for section, fields in found.items() if fields}


_DEMO = to_dict(recipe(AVATARS, TWO_CORES, DEMO_SECONDS))
_DEMO_AS_SAGAN = joined(
    _DEMO,
    _both(spectral_norm="all"),
    {
        "generator": {"latent_skips": False},
        "loss": asdict(LossConfig()),
        "train": {
            "batch_size": 16,
            "discriminator_steps": 2,
            "reuse_fakes": False,
            "generator_power_iteration": "step",
        },
    },
)


def _heykeetae(pictures: Intended, **data: Any) -> Preset:
    return Preset(
        title=f"DCGAN-style networks without classes, 64 pixels, for {pictures.name}",
        source="heykeetae/Self-Attention-GAN: README.md (the command, with the hinge loss),"
        " parameter.py, sagan_models.py, trainer.py, data_loader.py",
        data=pictures,
        differs=(
            _VECTORS,
            "its parameter.py falls back to WGAN-GP, of which its README says: without spectral"
            " norm; add --loss.name wasserstein --loss.gradient-penalty 10"
            " --generator.spectral-norm none --discriminator.spectral-norm none",
        ),
        settings=joined(
            _both(architecture="dcgan", initialization="pytorch", first_biases="drawn"),
            {
                "data": {"resolution": 64, "labels": "none", **data},
                "generator": {
                    "attention": (16, 32),
                    "batch_norm_momentum": 0.1,
                    "last_batch_norm_momentum": 0.1,
                },
                "discriminator": {"attention": (8, 4)},
                "optimizer": {"beta2": 0.9},
                "train": {
                    "batch_size": 64,
                    "ema_decay": 0.0,
                    "sample_interval": 100,
                    "keep_checkpoints": 0,
                },
            },
        ),
    )


_RELEASED_DIFFERS = (
    "batch statistics are those of each GPU's 64 pictures; here of all 256, unless in four"
    " processes or with --train.accumulate 4",
    "gradients go through the power iteration as well; here through the weight alone",
    "pictures use running batch statistics; here statistics measured on the weights that draw",
    "train_imagenet.py stops at 2,000,000 steps; here at the 1,000,000 that its README names",
)

PRESETS: dict[str, Preset] = {
    "avatars32": Preset(
        title="32 pixels, small enough for two CPU cores: the demo",
        source="the recipe (docs/recipe.md) for these pictures and five minutes; the loss is"
        " R3GAN's (brownvc/R3GAN)",
        published=(
            "FD 268 and 299 in two runs, recall 0.12 and 0.10 in EfficientNet-Lite0 features"
            " (measured here, docs/results.md)",
        ),
        settings=_differing(_DEMO),
    ),
    "avatars32-sagan": Preset(
        title="of the same width, trained as SAGAN is: hinge loss, spectral norm in both",
        source="tuned here on two CPU cores",
        published=(
            "FD 511 to 654, recall 0.000 to 0.001, class accuracy 0.92 to 0.96 in three runs in"
            " EfficientNet-Lite0 features (measured here, docs/lab/recipe.md)",
        ),
        settings=_differing(_DEMO_AS_SAGAN),
    ),
    "imagenet128": Preset(
        title="the released code's settings: 128 pixels, attention at 32 x 32 (feat32)",
        source="brain-research/self-attention-gan: train_imagenet.py, model.py, generator.py,"
        " discriminator.py, ops.py",
        published=(
            "IS 51.43, FID 18.28 (the paper's feat32, as PyTorch-StudioGAN's"
            " docs/figures/Reproducibility_.png quotes it)",
        ),
        data=_IMAGENET,
        differs=_RELEASED_DIFFERS,
        settings=_RELEASED,
    ),
    "imagenet128-feat64": Preset(
        title="the paper's headline: the same with attention at 64 x 64 (feat64)",
        source="SAGAN paper, section 4, on the released code; attention where BigGAN-PyTorch's"
        " launch_SAGAN_bs128x2_ema.sh and mmgeneration's sagan_128x128.py have it",
        published=("IS 52.52, FID 18.65 (the paper's abstract)",),
        data=_IMAGENET,
        differs=_RELEASED_DIFFERS,
        settings=joined(_RELEASED, _both(attention=(64,))),
    ),
    "imagenet128-baseline": Preset(
        title="the released code's baseline: the same without attention",
        source="brain-research/self-attention-gan: model.py, the flag baseline",
        data=_IMAGENET,
        differs=_RELEASED_DIFFERS,
        settings=joined(_RELEASED, _both(attention=())),
    ),
    "imagenet128-paper-text": Preset(
        title="the paper's text where the released code says otherwise: C/8 values, no pooling,"
        " beta2 0.9",
        source="SAGAN paper, sections 3 and 4; the released code where the text is silent",
        data=_IMAGENET,
        differs=("the text names no batch size: 256 is the released code's",),
        settings=joined(
            _RELEASED,
            _both(attention_value_divisor=8, attention_pooling=False),
            {"optimizer": {"beta2": 0.9}},
        ),
    ),
    "imagenet128-biggan-schedule": Preset(
        title="the best open result: attention at 64 x 64, averaged weights, drawn class tables",
        source="mmgeneration: configs/sagan/sagan_128_*_noaug_bigGAN_*_imagenet1k_b32x8.py,"
        " after BigGAN-PyTorch's launch_SAGAN_bs128x2_ema.sh",
        published=(
            "IS 69.54, FID 12.83 at 826,000 steps (mmgeneration's configs/sagan/README.md)",
        ),
        data=_IMAGENET,
        differs=(
            "batch statistics are those of each GPU's 32 pictures; here of all 256, unless in eight"
            " processes or with --train.accumulate 8",
            "spectral_norm_eps is 1e-12 in the first, last and projection layers and 1e-6 in"
            " attention; here 1e-8 everywhere",
            _VECTORS,
        ),
        settings=joined(
            _both(attention=(64,), spectral_norm_eps=1e-8, first_biases="drawn"),
            {
                "generator": {
                    "class_tables": "drawn",
                    "batch_norm_momentum": 0.1,
                    "last_batch_norm_momentum": 0.1,
                },
                "train": {"ema_start": 2000},
            },
        ),
    ),
    "imagenet128-studiogan": Preset(
        title="PyTorch-StudioGAN's SAGAN: normalised class tables, ReLU in place, mirroring",
        source="PyTorch-StudioGAN: src/configs/ImageNet/SAGAN-256.yaml, src/config.py,"
        " src/models/resnet.py, src/utils/ops.py",
        published=(
            "IS 29.85, FID 34.73 at 920,000 steps, against the validation split"
            " (logs/IMAGENET/SAGAN-train-2021_02_11_16_18_59.log)",
            "IS 19.16, FID 51.82 (docs/figures/Reproducibility_.png)",
        ),
        data=_IMAGENET,
        differs=(_VECTORS,),
        settings=joined(_STUDIOGAN, _both(attention=(64,)), {"data": {"horizontal_flip": True}}),
    ),
    "cifar10-studiogan": Preset(
        title="PyTorch-StudioGAN's SAGAN for CIFAR-10, 32 pixels",
        source="PyTorch-StudioGAN: src/configs/CIFAR10/SAGAN.yaml, src/config.py,"
        " src/models/resnet.py, src/utils/ops.py",
        published=(
            "IS 8.68, FID 14.01 at 90,000 steps, against the test split (logs/CIFAR10)",
            "IS 8.64, FID 10.35 (docs/figures/StudioGAN_Benchmark_.png)",
        ),
        data=_CIFAR10,
        differs=(_VECTORS,),
        settings=joined(_STUDIOGAN, _CIFAR),
    ),
    "cifar10-mmgen": Preset(
        title="mmgeneration's SAGAN for CIFAR-10: the same, but shortcuts before the ReLU",
        source="mmgeneration: configs/sagan/sagan_32_woReLUinplace_*_cifar10_b64x1.py,"
        " configs/_base_/models/sagan/sagan_32x32.py, configs/_base_/datasets/cifar10_nopad.py",
        published=(
            "IS 9.32, FID 9.43 at 96,000 generator steps (mmgeneration's configs/sagan/README.md)",
        ),
        data=_CIFAR10,
        differs=(_VECTORS, "spectral_norm_eps is 1e-6 in attention; here 1e-12 everywhere"),
        settings=joined(_NORMALISED_TABLES, _CIFAR),
    ),
    "tinyimagenet64-studiogan": Preset(
        title="PyTorch-StudioGAN's SAGAN for Tiny ImageNet, 64 pixels, attention at 32 x 32",
        source="PyTorch-StudioGAN up to v0.3.0: src/configs/Tiny_ImageNet/SAGAN.yaml,"
        " src/config.py, src/models/resnet.py",
        published=(
            "IS 8.34, FID 51.41 at 88,000 steps, against the validation split (logs/TINY_IMAGENET)",
        ),
        data=Intended("Tiny ImageNet", 100_000, 200),
        differs=(_VECTORS,),
        settings=joined(
            _STUDIOGAN,
            {
                "data": {"resolution": 64, "horizontal_flip": True},
                "train": {"steps": 100_000},
            },
        ),
    ),
    "celeba64": _heykeetae(
        Intended("CelebA", 202_599, 0),
        split="all",
        crop="box",
        box=(9, 29, 169, 189),  # the central 160 x 160 of 178 x 218
    ),
    "lsun64": _heykeetae(
        Intended("LSUN church_outdoor_train", 126_227, 0),
        crop="stretch",
    ),
}


def preset(name: str) -> Config:
    """Returns the settings of a preset by name.

    Raises:
        SaganError: There is none of that name; names the nearest.
    """
    if name not in PRESETS:
        raise SaganError(
            f"there is no preset{' or path' * (not Path(name).exists())} {name!r}"
            f"{nearest(name, PRESETS)}; known are {', '.join(PRESETS)}; "
            "or give a .toml file or, as --data.source, pictures"
        )
    return from_dict(PRESETS[name].settings)


def named_settings(choice: Config | str | Path) -> Config:
    """Turns the name of a preset or the path of a ``.toml`` file into settings; settings stay.

    Raises:
        SaganError: There is no such preset or file, or it holds an impossible value.
    """
    if isinstance(choice, Config):
        return choice
    return load_toml(choice) if str(choice).endswith(".toml") else preset(str(choice))
