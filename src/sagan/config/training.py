"""Settings of the optimisation: losses, Adam, the loop, and measuring on the way."""

import math
from dataclasses import dataclass
from typing import Literal

from sagan.config.checks import checking, settle
from sagan.errors import SaganError

LossName = Literal["hinge", "non-saturating", "kl", "least-squares", "wasserstein"]
Precision = Literal["auto", "float32", "bfloat16"]
FakeLabels = Literal["uniform", "data"]
PowerIteration = Literal["pass", "step"]
JudgesPowerIteration = Literal["update", "pass"]
EpsForm = Literal["corrected", "uncorrected"]
BatchStatistics = Literal["process", "all"]
OnDivergence = Literal["stop", "rollback"]
TrackerName = Literal["tensorboard", "wandb", "trackio"]

MOST_ROLLBACKS = 20
"""A run that halves its learning rates more often learns nothing any more."""


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What the two networks minimise."""

    name: LossName = "hinge"
    """The adversarial loss. kl is the released code's other one: non-saturating for the
    discriminator, linear for the generator."""
    relativistic: bool = False
    """Judge pairs: the difference of a real and a generated picture's logits (RpGAN)."""
    gradient_penalty: float = 0.0
    """Weight of the penalty that pulls the gradient's length to 1 between real and generated
    pictures (WGAN-GP: 10)."""
    r1: float = 0.0
    """Weight of half the squared gradient at real pictures (the literature's gamma)."""
    r2: float = 0.0
    """Weight of half the squared gradient at generated pictures."""
    penalty_interval: int = 1
    """Apply gradient_penalty, r1 and r2 only in every n-th discriminator update, n times as
    strongly."""
    lecam: float = 0.0
    """Weight of the squared distance between the logits of one side, real or generated, and the
    moving average of the other's, for small data sets (LeCam: 0.3 on CIFAR)."""
    lecam_decay: float = 0.99
    """Decay of these moving averages per discriminator update."""
    consistency_real: float = 0.0
    """Weight of how much mirroring and shifting a real picture changes its logit (CR, bCR: 10)."""
    consistency_fake: float = 0.0
    """The same for generated pictures (bCR: 10)."""

    def __post_init__(self) -> None:
        settle("loss", self)
        check = checking("loss", self)
        for name in (
            "gradient_penalty",
            "r1",
            "r2",
            "lecam",
            "consistency_real",
            "consistency_fake",
        ):
            check(name, 0 <= getattr(self, name) < float("inf"), "a weight, at least 0")
        check("penalty_interval", self.penalty_interval >= 1, "at least 1")
        check("lecam_decay", 0 <= self.lecam_decay < 1, "from 0 to below 1")
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
        if self.penalty_interval > 1 and not self.penalizes_gradients:
            raise SaganError(
                f"loss.penalty_interval = {self.penalty_interval} spaces out no penalty; set "
                "gradient_penalty, r1 or r2, or leave it 1"
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
    """Decay of Adam's second moment (the released code: 0.999, the paper's text: 0.9)."""
    eps: float = 1e-8
    """Added to Adam's denominator."""
    eps_form: EpsForm = "corrected"
    """Which denominator: the root of the second moment after its bias correction (corrected, as in
    PyTorch) or before it (uncorrected, as in TensorFlow, hence in the released code: in the first
    steps eps weighs up to 1 / sqrt(1 - beta2) times more)."""
    decay_start: float = 1.0
    """Part of the run (0 to 1) after which both learning rates fall linearly to 0; 1: never."""

    def __post_init__(self) -> None:
        settle("optimizer", self)
        check = checking("optimizer", self)
        for name in ("generator_lr", "discriminator_lr", "eps"):
            check(name, getattr(self, name) > 0, "positive")
        for name in ("beta1", "beta2"):
            check(name, 0 <= getattr(self, name) < 1, "at least 0 and below 1")
        check("decay_start", 0 <= self.decay_start <= 1, "between 0 and 1")

    def eps_after_correction(self, update: int) -> float:
        """What an Adam that corrects the second moment first has to add in an update, from 1.

        Uncorrected, the denominator is sqrt(v) + eps and the rate carries sqrt(1 - beta2^t).
        Divided by that it is sqrt(v / (1 - beta2^t)) + eps / sqrt(1 - beta2^t).

        Source: Kingma and Ba 2015, end of section 2.
        """
        if self.eps_form == "corrected":
            return self.eps
        return self.eps / math.sqrt(1 - self.beta2**update)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long to train, with what batches, and what to write on the way."""

    steps: int = 1_000_000
    """Generator updates."""
    batch_size: int = 256
    """Pictures in one update of either network, over all processes: each takes an equal share."""
    discriminator_steps: int = 1
    """Discriminator updates before each generator update."""
    reuse_fakes: bool = False
    """Update the generator with the pictures that the discriminator saw last: one pass less."""
    accumulate: int = 1
    """Parts in which a batch is computed, to save memory. The gradients are added up, but batch
    norm sees one part at a time."""
    batch_statistics: BatchStatistics = "process"
    """Whose pictures batch norm sees in training where there are several processes: each its own
    (process, as in the released code) or those of all."""
    generator_power_iteration: PowerIteration = "pass"
    """When the generator's spectral norm takes a power iteration: before each pass (pass, as in the
    released code) or once per step (step: faster)."""
    discriminator_power_iteration: JudgesPowerIteration = "update"
    """When the discriminator's spectral norm takes a power iteration: before each of its updates
    (update), or before the generator's as well (pass, as in the released code, which forgets this
    one when the pass is over)."""
    fake_labels: FakeLabels = "uniform"
    """Classes of generated pictures: all equally often (uniform), or as often as those of the real
    pictures that the discriminator sees (data)."""
    freeze_discriminator: int = 0
    """How many blocks of the discriminator, from the picture on, keep their weights, with the
    attention after them (FreezeD); for a small set that begins from a model (--from)."""
    ema_decay: float = 0.999
    """Decay of the moving average of the generator's weights, which draws all pictures; 0: none."""
    ema_start: int = 0
    """Step at which averaging begins, with the full decay; 0: from the first step, with a decay
    that grows to its full value, as in TensorFlow."""
    seed: int = 0
    """Random seed of the run."""
    device: str = "auto"
    """Where to compute: auto, cpu, cuda or mps."""
    precision: Precision = "auto"
    """Number format of forward passes; auto: bfloat16 where the hardware multiplies it fast."""
    checkpoint_activations: bool = False
    """Keep the input of each residual block alone, and compute the rest again in the backward pass:
    less memory, most of it for large pictures and batches, up to a quarter more time, and the same
    weights to the last bit."""
    compile: bool = False
    """Compile both networks with torch.compile. The first steps take one to two minutes; later ones
    a third less with large networks on a GPU, 7 to 20 % less with small ones on a CPU."""
    log_interval: int = 50
    """Steps from one line of the log to the next."""
    watch_interval: int = 200
    """Steps from one check of the run, which may raise alarms (docs/runs.md), to the next; 0:
    never."""
    log: tuple[TrackerName, ...] = ()
    """Where the log goes too, with the sample grids and figures of the attention: tensorboard,
    wandb, trackio. Each writes into the run folder. Repeat the flag."""
    sample_interval: int = 1000
    """Steps from one sample grid to the next; before the first, there are some after 1, 4, 16,
    64 and so on steps, where most happens."""
    checkpoint_interval: int = 1000
    """Steps from one checkpoint to the next."""
    keep_checkpoints: int = 3
    """How many of the newest checkpoints to keep; 0: all."""
    on_divergence: OnDivergence = "stop"
    """When a loss or a gradient is NaN or infinite: end (stop), or go on from the last good
    checkpoint with half the learning rates (rollback)."""
    most_rollbacks: int = 3
    """How often a run may go back so, before it ends after all (at most 20)."""
    keep_every: int = 0
    """Write a checkpoint at all multiples of so many steps, and keep it for good; 0: none."""
    keep_best: str = ""
    """Keep the best checkpoint, by a metric of sagan evaluate that is measured on the way
    (evaluation.interval): fd, kid, pr, ...; RUN@best is its name. Empty: none."""

    def __post_init__(self) -> None:
        settle("train", self)
        check = checking("train", self)
        intervals = ("log_interval", "sample_interval", "checkpoint_interval")
        for name in ("steps", "discriminator_steps", "accumulate", *intervals):
            check(name, getattr(self, name) >= 1, "at least 1")
        check("watch_interval", self.watch_interval >= 0, "at least 0")
        pictures = self.batch_size
        check("batch_size", pictures >= 2, "at least 2, since batch norm needs two pictures")
        check(
            "accumulate",
            pictures % self.accumulate == 0 and pictures >= 2 * self.accumulate,
            f"a divisor of train.batch_size {pictures} that leaves two pictures a portion",
        )
        allowed = f"from 1 to {MOST_ROLLBACKS}"
        check("most_rollbacks", 1 <= self.most_rollbacks <= MOST_ROLLBACKS, allowed)
        check("keep_checkpoints", self.keep_checkpoints >= 0, "at least 0")
        check("keep_every", self.keep_every >= 0, "at least 0")
        check("log", len(set(self.log)) == len(self.log), "each tracker once")
        check("freeze_discriminator", self.freeze_discriminator >= 0, "at least 0")
        check("ema_decay", 0 <= self.ema_decay < 1, "at least 0 and below 1")
        check("ema_start", self.ema_start >= 0, "at least 0")
        check("seed", self.seed >= 0, "at least 0")

    @property
    def pictures_per_step(self) -> int:
        """Real pictures that the discriminator sees in a step."""
        return self.discriminator_steps * self.batch_size

    def is_kept(self, step: int) -> bool:
        """Whether the checkpoint of a step stays for good, by ``keep_every``."""
        return self.keep_every > 0 and step % self.keep_every == 0

    def checkpoint_after(self, step: int) -> bool:
        """Whether a checkpoint is due after a step, counted from 1."""
        return step % self.checkpoint_interval == 0 or self.is_kept(step)

    def samples_after(self, step: int) -> bool:
        """Whether a sample grid is due after a step, counted from 1."""
        is_power_of_4 = step & (step - 1) == 0 and step.bit_length() % 2 == 1
        is_early = step < self.sample_interval and is_power_of_4
        return is_early or step % self.sample_interval == 0


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What to measure during training, and at its end."""

    interval: int = 0
    """Steps from one measurement of the averaged generator to the next; 0: at the end only, with
    fewer pictures or not at all where time_share asks for it."""
    time_share: float = 0.1
    """Largest share of the time for measuring (0 to 1); with an interval the last step is measured
    in any case."""
    metrics: tuple[str, ...] = ("fd", "kid", "pr", "dc", "intra")
    """What to measure, as in sagan evaluate. Repeat the flag."""
    samples: int = 2000
    """Generated pictures per evaluation, and as many training pictures; 0: never measure, whatever
    the interval."""
    extractor: str = "efficientnet-lite0"
    """Network that gives the features, as in sagan evaluate."""
    weights: str = ""
    """Weights file of this network; empty: where sagan evaluate looks for it."""

    def __post_init__(self) -> None:
        settle("evaluation", self)
        check = checking("evaluation", self)
        check("interval", self.interval >= 0, "at least 0")
        check("time_share", 0 < self.time_share <= 1, "above 0 and at most 1")
        check("samples", self.samples == 0 or self.samples >= 2, "0 or at least 2")
