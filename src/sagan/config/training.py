"""Settings of the optimisation: losses, Adam, the loop, and measuring on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sagan.config.checks import require
from sagan.errors import SaganError

LossName = Literal["hinge", "non-saturating", "kl", "least-squares", "wasserstein"]
Precision = Literal["auto", "float32", "bfloat16"]
FakeLabels = Literal["uniform", "data"]
PowerIteration = Literal["pass", "step"]


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What the two networks minimise."""

    name: LossName = "hinge"
    """The adversarial loss; kl is that of the released code, non-saturating for the discriminator
    and linear for the generator."""
    relativistic: bool = False
    """Compare the logits of pairs of a real and a generated picture (RpGAN)."""
    gradient_penalty: float = 0.0
    """Weight of the penalty on slopes other than 1 between real and generated pictures (WGAN-GP:
    10)."""
    r1: float = 0.0
    """Weight of half the squared slope at real pictures (gamma)."""
    r2: float = 0.0
    """Weight of half the squared slope at generated pictures (gamma)."""
    penalty_interval: int = 1
    """Discriminator updates from one with gradient_penalty, r1 and r2 to the next; their weights
    are multiplied by it."""
    lecam: float = 0.0
    """Weight of the distance to the moving averages of the other side's logits (LeCam: 0.3 on
    CIFAR), for small data."""
    lecam_decay: float = 0.99
    """Decay of these averages in one discriminator update."""
    consistency_real: float = 0.0
    """Weight of the change of logits when real pictures are flipped and moved (CR, bCR: 10)."""
    consistency_fake: float = 0.0
    """The same of generated pictures (bCR: 10)."""

    def __post_init__(self) -> None:
        for name in (
            "gradient_penalty",
            "r1",
            "r2",
            "lecam",
            "consistency_real",
            "consistency_fake",
        ):
            value = getattr(self, name)
            require(0 <= value < float("inf"), f"loss.{name}", value, "a weight, at least 0")
        interval = self.penalty_interval
        require(interval >= 1, "loss.penalty_interval", interval, "at least 1")
        require(
            0 <= self.lecam_decay < 1, "loss.lecam_decay", self.lecam_decay, "from 0 to below 1"
        )
        if self.relativistic and self.name == "wasserstein":
            raise SaganError(
                "loss.relativistic changes nothing for loss.name wasserstein, a difference already;"
                " leave it out"
            )
        if self.relativistic and self.name == "kl":
            raise SaganError(
                "loss.relativistic has no linear generator, by which alone loss.name kl differs;"
                " choose non-saturating"
            )
        if self.gradient_penalty and (self.r1 or self.r2):
            raise SaganError(
                "loss.gradient_penalty pulls slopes to 1, loss.r1 and loss.r2 pull them to 0; "
                "choose one"
            )
        if interval > 1 and not self.penalizes_gradients:
            raise SaganError(
                f"loss.penalty_interval = {interval} spaces out no penalty; set gradient_penalty,"
                " r1 or r2, or leave it 1"
            )

    @property
    def penalizes_gradients(self) -> bool:
        """Whether a second derivative of the discriminator is asked for."""
        return max(self.gradient_penalty, self.r1, self.r2) > 0


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Adam with one learning rate per network (TTUR)."""

    generator_lr: float = 1e-4
    """Learning rate of the generator."""
    discriminator_lr: float = 4e-4
    """Learning rate of the discriminator."""
    beta1: float = 0.0
    """Decay of Adam's first moment."""
    beta2: float = 0.999
    """Decay of Adam's second moment (the paper's text says 0.9, the released code runs 0.999)."""
    eps: float = 1e-8
    """Added to Adam's denominator."""
    decay_start: float = 1.0
    """Share of the run after which both rates fall linearly to 0; 1 keeps them constant."""

    def __post_init__(self) -> None:
        for name in ("generator_lr", "discriminator_lr", "eps"):
            value = getattr(self, name)
            require(value > 0, f"optimizer.{name}", value, "positive")
        for name in ("beta1", "beta2"):
            value = getattr(self, name)
            require(0 <= value < 1, f"optimizer.{name}", value, "at least 0 and below 1")
        require(
            0 <= self.decay_start <= 1,
            "optimizer.decay_start",
            self.decay_start,
            "between 0 and 1",
        )


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long, in what portions, and what is written on the way."""

    steps: int = 1_000_000
    """Generator updates."""
    batch_size: int = 256
    """Pictures in one update of either network."""
    discriminator_steps: int = 1
    """Discriminator updates before each generator update."""
    reuse_fakes: bool = False
    """Judge the discriminator's last fakes again in the generator's update: a pass less."""
    accumulate: int = 1
    """Portions in which a batch passes, to save memory; the gradients add up to the batch's, but
    batch norm takes the statistics of a portion."""
    generator_power_iteration: PowerIteration = "pass"
    """When the generator's singular vectors advance: before each of its passes, as released, or
    once a step, which normalises its weights once as well."""
    fake_labels: FakeLabels = "uniform"
    """Labels of generated pictures: every class alike, or as frequent as in the data."""
    ema_decay: float = 0.999
    """Decay of the averaged generator weights, used for every picture shown; 0 copies them."""
    ema_start: int = 0
    """Steps that only copy the weights, after which the decay is full at once; 0: it grows from the
    first step on, as TensorFlow's average does."""
    seed: int = 0
    """All randomness of the run is a function of this number and the step."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    precision: Precision = "auto"
    """Of forward passes; auto takes bfloat16 where the hardware multiplies it fast."""
    compile: bool = False
    """Compile both networks (torch.compile; on a GPU with CUDA graphs): the first steps take
    minutes more, the others less. On CPUs nothing is gained (docs/performance.md)."""
    log_interval: int = 50
    """Steps between two lines of the log."""
    sample_interval: int = 1000
    """Steps between two sample grids."""
    checkpoint_interval: int = 1000
    """Steps between two checkpoints."""
    keep_checkpoints: int = 3
    """Newest checkpoints that stay in the run folder."""

    def __post_init__(self) -> None:
        for name in (
            "steps",
            "discriminator_steps",
            "accumulate",
            "log_interval",
            "sample_interval",
            "checkpoint_interval",
            "keep_checkpoints",
        ):
            value = getattr(self, name)
            require(value >= 1, f"train.{name}", value, "at least 1")
        require(
            self.batch_size >= 2,
            "train.batch_size",
            self.batch_size,
            "at least 2, since batch norm needs two pictures",
        )
        require(
            self.batch_size % self.accumulate == 0 and self.batch_size >= 2 * self.accumulate,
            "train.accumulate",
            self.accumulate,
            f"a divisor of train.batch_size {self.batch_size} that leaves two pictures a portion",
        )
        require(
            0 <= self.ema_decay < 1, "train.ema_decay", self.ema_decay, "at least 0 and below 1"
        )
        require(self.ema_start >= 0, "train.ema_start", self.ema_start, "at least 0")
        require(self.seed >= 0, "train.seed", self.seed, "at least 0")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What is measured during training."""

    interval: int = 0
    """Steps between two evaluations of the averaged generator; 0 for none."""
    time_share: float = 0.1
    """Evaluations wait until they take no more than this share of the time; the last always is."""
    metrics: tuple[str, ...] = ("fd", "kid")
    """As for sagan evaluate; repeat the flag."""
    samples: int = 5000
    """Pictures of either side."""
    extractor: str = "efficientnet-lite0"
    """As for sagan evaluate."""
    weights: str = ""
    """Weights file of the extractor; empty: where it is usually found."""

    def __post_init__(self) -> None:
        require(self.interval >= 0, "evaluation.interval", self.interval, "at least 0")
        require(
            0 < self.time_share <= 1,
            "evaluation.time_share",
            self.time_share,
            "above 0 and at most 1",
        )
        require(self.samples >= 2, "evaluation.samples", self.samples, "at least 2")
