"""What the paper compares: settings that differ in one choice."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sagan.config import (
    AttentionForm,
    Config,
    EvaluationConfig,
    LossConfig,
    NormalizedLayers,
    OptimizerConfig,
    map_sizes,
    nearest,
)
from sagan.errors import SaganError

Axis = Literal["attention", "normalization", "models"]

PLACES = (8, 16, 32, 64)
"""Resolutions of the paper's Table 1, where the first map is 4 x 4."""
USUAL_METRICS: dict[Axis, tuple[str, ...]] = {
    "attention": ("fd", "kid", "is"),
    "normalization": ("fd", "kid", "is"),
    "models": ("fd", "is", "intra", "accuracy"),
}
"""What each table or figure of the paper measures, by key; the kernel distance, which few pictures
do not bias, and class accuracy in addition."""


@dataclass(frozen=True)
class Variant:
    """One of the runs to compare."""

    name: str
    explanation: str
    config: Config


def variants(config: Config, axis: Axis, names: Sequence[str] = ()) -> tuple[Variant, ...]:
    """What the paper compares, around given settings.

    ``attention``: none; attention at each of 8, 16, 32 and 64 pixels that both networks have; a
    residual block of equal size at the same places (Table 1); of pictures whose side is no power of
    2, the maps after as many doublings. ``normalization``: spectral norm in
    the discriminator only and in both networks, each with one learning rate and with two (Figure
    3); one rate is the generator's, two are the settings' own or, where those are equal, half and
    twice as much, the paper's 1 to 4. ``models``: AC-GAN, SNGAN with projection and SAGAN (Table
    2). ``names`` chooses some of them; without, all are taken.

    Raises:
        SaganError: The architecture leaves no choice, SAGAN would have no attention, or there is
            no variant of a name.
    """
    if "dcgan" in (config.generator.architecture, config.discriminator.architecture):
        raise SaganError("an ablation needs residual networks; choose another preset than dcgan's")
    axes = {
        "attention": _attention_axis,
        "normalization": _normalization_axis,
        "models": _models_axis,
    }
    made = {variant.name: variant for variant in axes[axis](config)}
    for name in names:
        if name not in made:
            raise SaganError(
                f"there is no variant {name!r}{nearest(name, made)}; known are {', '.join(made)}"
            )
    return tuple(variant for variant in made.values() if not names or variant.name in names)


def measured_as_usual(config: Config, axis: Axis) -> Config:
    """The settings with the metrics of the paper's comparison, unless they have their own."""
    if config.evaluation.metrics != EvaluationConfig().metrics:
        return config
    return replace(config, evaluation=replace(config.evaluation, metrics=USUAL_METRICS[axis]))


def _attention_axis(config: Config) -> tuple[Variant, ...]:
    def changed(form: AttentionForm, *heights: int) -> Config:
        both = {"attention": heights, "attention_form": form}
        generator = replace(config.generator, **both)
        discriminator = replace(config.discriminator, attention_blocks=(), **both)
        return replace(config, generator=generator, discriminator=discriminator)

    lowest = max(8, config.discriminator.final_resolution)
    maps = map_sizes(config.data.size)
    doublings = {4 << number: size for number, size in enumerate(maps[:-1])}
    places = [doublings[place] for place in PLACES if lowest <= place and place in doublings]
    forms: dict[AttentionForm, str] = {"attention": "self-attention", "residual": "residual block"}
    found = [Variant("none", "no attention", changed("attention"))]
    for form, words in forms.items():
        for height, width in places:
            explanation = f"{words} at {height} x {width} in both networks"
            found.append(Variant(f"{form}-{height}", explanation, changed(form, height)))
    return tuple(found)


def _normalization_axis(config: Config) -> tuple[Variant, ...]:
    rate, two = config.optimizer.generator_lr, _two_rates(config)
    one = replace(config.optimizer, discriminator_lr=rate)
    rates: dict[str, tuple[str, OptimizerConfig]] = {
        "": (f"one learning rate {rate:g}", one),
        "-two-rates": (f"learning rates {two.generator_lr:g} and {two.discriminator_lr:g}", two),
    }
    networks: dict[str, tuple[str, NormalizedLayers]] = {
        "discriminator": ("the discriminator", "none"),
        "both": ("both networks", "all"),
    }
    return tuple(
        Variant(
            name + ending,
            f"spectral norm in {where}, {words}",
            replace(
                config,
                generator=replace(config.generator, spectral_norm=layers),
                discriminator=replace(config.discriminator, spectral_norm="all"),
                optimizer=optimizer,
            ),
        )
        for name, (where, layers) in networks.items()
        for ending, (words, optimizer) in rates.items()
    )


def _models_axis(config: Config) -> tuple[Variant, ...]:
    """As their papers have them, on the networks, batches and pictures of the settings.

    AC-GAN has the logarithmic loss, a second head and no spectral norm; SNGAN the hinge loss,
    projection, and spectral norm in the discriminator alone. Neither has attention or two rates.
    """
    rate = config.optimizer.generator_lr
    alike = replace(config.optimizer, discriminator_lr=rate)
    judge = replace(config.discriminator, conditioning="projection")
    if not config.generator.attention or not (judge.attention or judge.attention_blocks):
        raise SaganError(
            "SAGAN has attention in both networks, and these settings have not; give "
            "--generator.attention and --discriminator.attention"
        )
    plain_generator = replace(config.generator, attention=(), spectral_norm="none")
    plain = replace(judge, attention=(), attention_blocks=())
    acgan = replace(
        config,
        loss=LossConfig(name="non-saturating"),
        generator=plain_generator,
        discriminator=replace(plain, spectral_norm="none", conditioning="auxiliary"),
        optimizer=alike,
    )
    hinge = LossConfig(name="hinge")
    sngan = replace(
        config,
        loss=hinge,
        generator=plain_generator,
        discriminator=replace(plain, spectral_norm="all"),
        optimizer=alike,
    )
    sagan = replace(
        config,
        loss=hinge,
        generator=replace(config.generator, spectral_norm="all"),
        discriminator=replace(judge, spectral_norm="all"),
        optimizer=_two_rates(config),
    )
    return (
        Variant("acgan", f"AC-GAN, one learning rate {rate:g}", acgan),
        Variant("sngan-projection", f"SNGAN with projection, one learning rate {rate:g}", sngan),
        Variant("sagan", "SAGAN: attention, spectral norm in both networks, two rates", sagan),
    )


def _two_rates(config: Config) -> OptimizerConfig:
    """Those of the settings; where they are equal, half and twice as much, the paper's 1 to 4."""
    rates = config.optimizer
    if rates.generator_lr != rates.discriminator_lr:
        return rates
    rate = rates.generator_lr
    return replace(rates, generator_lr=rate / 2, discriminator_lr=2 * rate)
