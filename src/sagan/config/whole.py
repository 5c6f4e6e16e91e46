"""All settings of a run together, checked against each other."""

from dataclasses import dataclass, field, replace
from typing import get_type_hints

from sagan.config.checks import checking
from sagan.config.data import DataConfig
from sagan.config.networks import DiscriminatorConfig, GeneratorConfig, NetworkConfig, idle
from sagan.config.plan import plan
from sagan.config.training import EvaluationConfig, LossConfig, OptimizerConfig, TrainConfig
from sagan.errors import SaganError

_LARGE_ATTENTION = 64
"""Height of maps from which on attention by the explicit formula takes much memory."""


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
        for name, kind in get_type_hints(Config).items():
            if not isinstance(getattr(self, name), kind):
                raise SaganError(f"{name} must be a {kind.__name__}; config.from_dict takes tables")
        stages = {}
        for name, network in self.networks.items():
            checking(name, network)(
                "architecture",
                network.architecture == "residual" or not self.data.conditional,
                "residual where data.labels is found, since dcgan has no classes",
            )
            stages[name] = plan(network, self.data.size)
        check = checking("train", self.train)
        blocks = len(stages["discriminator"])
        check(
            "freeze_discriminator",
            self.train.freeze_discriminator <= blocks,
            f"at most {blocks}, the blocks of the discriminator",
        )
        is_residual = "residual" in (self.generator.architecture, self.discriminator.architecture)
        check(
            "checkpoint_activations",
            not self.train.checkpoint_activations or (is_residual and not self.train.compile),
            "false with train.compile, which chooses by itself what to keep, and without residual"
            " networks",
        )
        check(
            "accumulate",
            self.train.accumulate == 1 or not self.loss.lecam,
            "1 with loss.lecam, whose averages move with whole batches",
        )

    @property
    def networks(self) -> dict[str, NetworkConfig]:
        """The settings of both networks by name."""
        return {"generator": self.generator, "discriminator": self.discriminator}

    def with_channels(self, channels: int) -> "Config":
        """The same with the channels of the pictures decided."""
        return replace(self, data=replace(self.data, channels=channels))

    def remarks(self) -> list[str]:
        """What is allowed, but should be done knowingly; a line each."""
        loss, discriminator = self.loss, self.discriminator
        found = [
            f"{name}.{setting} {what}"
            for name, network in self.networks.items()
            for setting, what in idle(network).items()
        ]
        if loss.gradient_penalty and discriminator.spectral_norm == "all":
            found.append(
                "loss.gradient_penalty pulls slopes to 1 and discriminator.spectral_norm bounds "
                "them too; published WGAN-GP goes with --discriminator.spectral-norm none"
            )
        large = [height for height in discriminator.attention if height >= _LARGE_ATTENTION]
        if loss.penalizes_gradients and large:
            found.append(
                "on GPUs penalties on gradients take the discriminator's attention by the explicit "
                "formula, since fused kernels have no second derivative: more memory"
            )
        if self.train.reuse_fakes and self.train.accumulate > 1:
            found.append(
                "train.reuse_fakes keeps the fakes of all portions until the generator's update, "
                "so that train.accumulate saves less memory"
            )
        if self.data.order == "balanced" and self.train.fake_labels == "data":
            found.append(
                "data.order balanced shows every class equally often, so that train.fake_labels "
                "data draws them equally often too"
            )
        if loss.name == "wasserstein" and not (
            loss.penalizes_gradients or discriminator.spectral_norm == "all"
        ):
            found.append(
                "loss.name wasserstein needs a bound on the discriminator's slope; "
                "set loss.gradient_penalty or discriminator.spectral_norm"
            )
        if self.train.compile and discriminator.conditioning == "auxiliary":
            found.append(
                "train.compile leaves a discriminator with discriminator.conditioning auxiliary as "
                "it is; only the generator is compiled"
            )
        return found
