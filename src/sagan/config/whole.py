"""All settings of a run together, checked against each other."""

from __future__ import annotations

from dataclasses import dataclass, field

from sagan.config.checks import require
from sagan.config.data import DataConfig
from sagan.config.networks import DiscriminatorConfig, GeneratorConfig
from sagan.config.training import EvaluationConfig, LossConfig, OptimizerConfig, TrainConfig


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides a run."""

    data: DataConfig = field(default_factory=DataConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        generator, discriminator = self.generator, self.discriminator
        resolution, final = self.data.resolution, self.discriminator.final_resolution
        for name, network in (("generator", generator), ("discriminator", discriminator)):
            require(
                network.architecture == "residual" or not self.data.conditional,
                f"{name}.architecture",
                network.architecture,
                "residual where data.conditional is true, since dcgan has no classes",
            )
        places = (resolution // 4).bit_length()  # 4 x 4 and after every doubling
        expected = places if generator.architecture == "residual" else places - 1
        require(
            len(generator.channels) in (0, expected),
            "generator.channels",
            generator.channels,
            f"{expected} numbers at {resolution} pixels: for 4 x 4 and after every block",
        )
        smallest = 8 if generator.architecture == "residual" else 4
        largest = resolution if generator.architecture == "residual" else resolution // 2
        _require_attention("generator", generator.attention, smallest, largest)
        require(
            final in (4, 8, 16) and final < resolution,
            "discriminator.final_resolution",
            final,
            f"4, 8 or 16 and below {resolution}",
        )
        halvings = (resolution // final).bit_length() - 1
        blocks = len(discriminator.channels) or places
        require(
            blocks >= halvings,
            "discriminator.channels",
            discriminator.channels,
            f"at least {halvings} numbers, one per block, to get from {resolution} to {final}",
        )
        if discriminator.architecture == "dcgan":
            require(final == 4, "discriminator.final_resolution", final, "4 with dcgan")
            require(
                len(discriminator.channels) in (0, halvings),
                "discriminator.channels",
                discriminator.channels,
                f"{halvings} numbers at {resolution} pixels: after every layer",
            )
        _require_attention("discriminator", discriminator.attention, final, resolution // 2)
        require(
            not (self.train.compile and self.loss.penalizes_gradients),
            "train.compile",
            self.train.compile,
            "false with penalties on gradients, since compiled code has no second derivative",
        )
        require(
            self.train.accumulate == 1 or not self.loss.lecam,
            "train.accumulate",
            self.train.accumulate,
            "1 with loss.lecam, whose averages move with whole batches",
        )
        require(
            set(discriminator.attention_blocks) <= set(range(1, blocks + 1))
            and len(set(discriminator.attention_blocks)) == len(discriminator.attention_blocks),
            "discriminator.attention_blocks",
            discriminator.attention_blocks,
            f"different numbers from 1 to {blocks}",
        )

    def remarks(self) -> list[str]:
        """What is allowed, but should be done knowingly; a line each."""
        loss, discriminator = self.loss, self.discriminator
        found = []
        if loss.gradient_penalty and discriminator.spectral_norm:
            found.append(
                "loss.gradient_penalty pulls slopes to 1 and discriminator.spectral_norm bounds "
                "them too; published WGAN-GP goes with --discriminator.no-spectral-norm"
            )
        if loss.penalizes_gradients and discriminator.attention:
            found.append(
                "penalties on gradients take the discriminator's attention by the explicit formula "
                "and in float32, since fused kernels have no second derivative: more memory"
            )
        if self.train.reuse_fakes and self.train.accumulate > 1:
            found.append(
                "train.reuse_fakes keeps the fakes of all portions until the generator's update, "
                "so that train.accumulate saves less memory"
            )
        if loss.name == "wasserstein" and not (
            loss.penalizes_gradients or discriminator.spectral_norm
        ):
            found.append(
                "loss.name wasserstein needs a bound on the discriminator's slope; "
                "set loss.gradient_penalty or discriminator.spectral_norm"
            )
        return found


def _require_attention(
    network: str, attention: tuple[int, ...], smallest: int, largest: int
) -> None:
    possible = [2**n for n in range(2, 9) if smallest <= 2**n <= largest]
    for place in attention:
        require(
            place in possible,
            f"{network}.attention",
            place,
            f"among {', '.join(map(str, possible))}, where a block ends in a map that attention"
            " can pool",
        )
    require(
        len(set(attention)) == len(attention),
        f"{network}.attention",
        attention,
        "a list without repetition",
    )
