"""The settings of a run: frozen dataclasses, presets with their sources, TOML in and out.

Each component receives its own section. Defaults are the authors' values, but for the averaged
weights, which they do not have; a preset holds only what differs. Nothing here imports torch.
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from sagan.errors import SaganError

RESOLUTIONS = (32, 64, 128, 256)


Augmentation = Literal["colour", "translation", "cutout"]


def _require(condition: bool, name: str, value: object, allowed: str) -> None:
    if not condition:
        raise SaganError(f"{name} = {value!r} is out of range; it must be {allowed}")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What the model learns from."""

    source: str = "avatars"
    """A folder of pictures with one sub-folder per class, a folder of IDX files (MNIST,
    Fashion-MNIST), a packed .npz or .npy file, or "avatars" (built in)."""
    resolution: int = 128
    """Side of the square pictures in pixels: 32, 64, 128 or 256."""
    conditional: bool = True
    """Use the classes; otherwise one unconditional model of all pictures."""
    horizontal_flip: bool = False
    """Mirror a random half of the training pictures (the released code does not)."""
    augment: tuple[Augmentation, ...] = ()
    """Random changes to real and generated pictures alike before they are judged (DiffAugment), for
    small data: colour, translation, cutout; repeat the flag."""
    generated_images: int = 50_000
    """Pictures in the training split of a built-in source, all in memory: 50,000 take 0.15 GB at 32
    pixels, 2.5 GB at 128 and 9.8 GB at 256."""

    def __post_init__(self) -> None:
        _require(
            self.resolution in RESOLUTIONS,
            "data.resolution",
            self.resolution,
            f"one of {', '.join(map(str, RESOLUTIONS))}",
        )
        _require(
            self.generated_images >= 1,
            "data.generated_images",
            self.generated_images,
            "at least 1",
        )
        _require(
            len(set(self.augment)) == len(self.augment),
            "data.augment",
            self.augment,
            "a list without repetition",
        )


Initialization = Literal["xavier", "orthogonal"]
Architecture = Literal["residual", "dcgan"]
Upsampling = Literal["nearest", "bilinear"]
HiddenChannels = Literal["out", "in"]
ShortcutInput = Literal["raw", "relu"]
AttentionForm = Literal["attention", "residual"]
ClassTables = Literal["plain", "drawn", "spectral"]
Precision = Literal["auto", "float32", "bfloat16"]
FakeLabels = Literal["uniform", "data"]


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """The network that draws."""

    architecture: Architecture = "residual"
    """Residual blocks as released, or dcgan: transposed convolutions in a row, without classes."""
    base_channels: int = 64
    """Channels at the full resolution; deeper stages have 2, 4, 8, 16 times as many."""
    channels: tuple[int, ...] = ()
    """Channels from 4 x 4 pixels on, in multiples of base_channels; empty: by resolution."""
    latent_dim: int = 128
    """Length of the noise vector z, drawn from N(0, I)."""
    attention: tuple[int, ...] = (32,)
    """Resolutions (pixels) after whose block a self-attention layer stands; repeat the flag."""
    attention_form: AttentionForm = "attention"
    """What stands there: attention, or a residual block of equal size to compare it with."""
    attention_value_divisor: int = 2
    """The attention's value has this part of the channels (released code 2, paper's text 8)."""
    attention_pooling: bool = True
    """Max-pool the attention's key and value 2x2 (the paper's text does not)."""
    upsampling: Upsampling = "nearest"
    """How a residual block doubles height and width (mimicry: bilinear)."""
    initialization: Initialization = "xavier"
    """Distribution of the first weights (released code: Xavier uniform, biases 0)."""
    spectral_norm: bool = True
    """Divide every weight, but those of batch norm, by its largest singular value."""
    spectral_norm_eps: float = 1e-12
    """Lower bound of the norms in the power iteration (the released code adds it)."""
    class_tables: ClassTables = "plain"
    """Gains and biases of the conditional batch norm: 1 and 0 at first; drawn like the weights and
    1 added to the gains (BigGAN-PyTorch); drawn and also divided by their largest singular value
    (spectral: PyTorch-StudioGAN, mmgeneration)."""
    batch_norm_eps: float = 1e-5
    """Added to the variance in batch norm."""
    batch_norm_momentum: float = 0.001
    """Weight of the newest batch in the running statistics (released code: decay 0.999, last layer
    0.9999); pictures are drawn with statistics measured afresh on the averaged weights."""

    def __post_init__(self) -> None:
        _require_network("generator", self)
        _require(self.latent_dim >= 1, "generator.latent_dim", self.latent_dim, "at least 1")
        _require(
            self.batch_norm_eps > 0, "generator.batch_norm_eps", self.batch_norm_eps, "positive"
        )
        _require(
            0 < self.batch_norm_momentum <= 1,
            "generator.batch_norm_momentum",
            self.batch_norm_momentum,
            "above 0 and at most 1",
        )


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    """The network that judges."""

    architecture: Architecture = "residual"
    """Residual blocks as released, or dcgan: strided convolutions in a row, without classes."""
    base_channels: int = 64
    """Channels after the first block; deeper blocks have 2, 4, 8, 16 times as many."""
    channels: tuple[int, ...] = ()
    """Channels after each block, in multiples of base_channels; empty: by resolution."""
    final_resolution: int = 4
    """Blocks halve the resolution down to this many pixels."""
    attention: tuple[int, ...] = (32,)
    """Resolutions (pixels) after whose block a self-attention layer stands; repeat the flag."""
    attention_blocks: tuple[int, ...] = ()
    """Instead: residual blocks, counted from 1, after which one stands, for blocks that do not
    halve the resolution (BigGAN-PyTorch at 32 pixels: after each)."""
    attention_form: AttentionForm = "attention"
    """What stands there: attention, or a residual block of equal size to compare it with."""
    attention_value_divisor: int = 2
    """The attention's value has this part of the channels (released code 2, paper's text 8)."""
    attention_pooling: bool = True
    """Max-pool the attention's key and value 2x2 (the paper's text does not)."""
    hidden_channels: HiddenChannels = "out"
    """Channels between a residual block's convolutions: as after it, or before it (mimicry)."""
    shortcut_input: ShortcutInput = "raw"
    """What a residual block's shortcut sees: its input before the ReLU, or after it, as where the
    ReLU works in place (PyTorch-StudioGAN, mimicry)."""
    initialization: Initialization = "xavier"
    """Distribution of the first weights (released code: Xavier uniform, biases 0)."""
    spectral_norm: bool = True
    """Divide every weight by its largest singular value."""
    spectral_norm_eps: float = 1e-12
    """Lower bound of the norms in the power iteration (the released code adds it)."""

    def __post_init__(self) -> None:
        _require_network("discriminator", self)
        _require(
            not (self.attention and self.attention_blocks),
            "discriminator.attention_blocks",
            self.attention_blocks,
            "empty where attention is given by resolution; empty discriminator.attention",
        )


RESIDUAL_ONLY = (
    "attention_blocks",
    "attention_form",
    "attention_value_divisor",
    "attention_pooling",
    "upsampling",
    "class_tables",
    "hidden_channels",
    "shortcut_input",
)


def _require_network(name: str, config: GeneratorConfig | DiscriminatorConfig) -> None:
    for item in fields(config):
        if item.name in RESIDUAL_ONLY and config.architecture == "dcgan":
            value = getattr(config, item.name)
            _require(
                value == item.default,
                f"{name}.{item.name}",
                value,
                "left out with dcgan, which has no choice there",
            )
    _require(config.base_channels >= 1, f"{name}.base_channels", config.base_channels, "at least 1")
    _require(
        not (config.attention or getattr(config, "attention_blocks", ()))
        or config.base_channels % 8 == 0,
        f"{name}.base_channels",
        config.base_channels,
        "a multiple of 8, since attention projects to an eighth of its channels",
    )
    _require(
        all(n >= 1 for n in config.channels),
        f"{name}.channels",
        config.channels,
        "a list of positive multiples",
    )
    _require(
        config.attention_value_divisor in (1, 2, 4, 8),
        f"{name}.attention_value_divisor",
        config.attention_value_divisor,
        "1, 2, 4 or 8",
    )
    _require(
        config.spectral_norm_eps > 0,
        f"{name}.spectral_norm_eps",
        config.spectral_norm_eps,
        "positive",
    )


LossName = Literal["hinge", "non-saturating", "kl", "least-squares", "wasserstein"]


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
            _require(0 <= value < float("inf"), f"loss.{name}", value, "a weight, at least 0")
        interval = self.penalty_interval
        _require(interval >= 1, "loss.penalty_interval", interval, "at least 1")
        _require(
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
            _require(value > 0, f"optimizer.{name}", value, "positive")
        for name in ("beta1", "beta2"):
            value = getattr(self, name)
            _require(0 <= value < 1, f"optimizer.{name}", value, "at least 0 and below 1")
        _require(
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
            "log_interval",
            "sample_interval",
            "checkpoint_interval",
            "keep_checkpoints",
        ):
            value = getattr(self, name)
            _require(value >= 1, f"train.{name}", value, "at least 1")
        _require(
            self.batch_size >= 2,
            "train.batch_size",
            self.batch_size,
            "at least 2, since batch norm needs two pictures",
        )
        _require(
            0 <= self.ema_decay < 1, "train.ema_decay", self.ema_decay, "at least 0 and below 1"
        )
        _require(self.ema_start >= 0, "train.ema_start", self.ema_start, "at least 0")
        _require(self.seed >= 0, "train.seed", self.seed, "at least 0")


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
        _require(self.interval >= 0, "evaluation.interval", self.interval, "at least 0")
        _require(
            0 < self.time_share <= 1,
            "evaluation.time_share",
            self.time_share,
            "above 0 and at most 1",
        )
        _require(self.samples >= 2, "evaluation.samples", self.samples, "at least 2")


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
            _require(
                network.architecture == "residual" or not self.data.conditional,
                f"{name}.architecture",
                network.architecture,
                "residual where data.conditional is true, since dcgan has no classes",
            )
        places = (resolution // 4).bit_length()  # 4 x 4 and after every doubling
        expected = places if generator.architecture == "residual" else places - 1
        _require(
            len(generator.channels) in (0, expected),
            "generator.channels",
            generator.channels,
            f"{expected} numbers at {resolution} pixels: for 4 x 4 and after every block",
        )
        smallest = 8 if generator.architecture == "residual" else 4
        largest = resolution if generator.architecture == "residual" else resolution // 2
        _require_attention("generator", generator.attention, smallest, largest)
        _require(
            final in (4, 8, 16) and final < resolution,
            "discriminator.final_resolution",
            final,
            f"4, 8 or 16 and below {resolution}",
        )
        halvings = (resolution // final).bit_length() - 1
        blocks = len(discriminator.channels) or places
        _require(
            blocks >= halvings,
            "discriminator.channels",
            discriminator.channels,
            f"at least {halvings} numbers, one per block, to get from {resolution} to {final}",
        )
        if discriminator.architecture == "dcgan":
            _require(final == 4, "discriminator.final_resolution", final, "4 with dcgan")
            _require(
                len(discriminator.channels) in (0, halvings),
                "discriminator.channels",
                discriminator.channels,
                f"{halvings} numbers at {resolution} pixels: after every layer",
            )
        _require_attention("discriminator", discriminator.attention, final, resolution // 2)
        _require(
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
        _require(
            place in possible,
            f"{network}.attention",
            place,
            f"among {', '.join(map(str, possible))}, where a block ends in a map that attention"
            " can pool",
        )
    _require(
        len(set(attention)) == len(attention),
        f"{network}.attention",
        attention,
        "a list without repetition",
    )


def load(path: str | Path) -> Config:
    """Reads a TOML file whose tables are the sections of :class:`Config`.

    Raises:
        SaganError: The file is missing, is no TOML, or holds an unknown or impossible value.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SaganError(f"there is no file {path}; check the path") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SaganError(f"cannot read {path} as TOML: {error}") from error
    try:
        return from_dict(values)
    except SaganError as error:
        raise SaganError(f"{path}: {error}") from error


def to_toml(config: Config) -> str:
    """Writes every field as TOML."""
    import tomlkit

    document = tomlkit.document()
    for section in fields(config):
        table = tomlkit.table()
        values = getattr(config, section.name)
        for item in fields(values):
            value = getattr(values, item.name)
            table.add(item.name, list(value) if isinstance(value, tuple) else value)
        document.add(section.name, table)
    return tomlkit.dumps(document)


def to_dict(config: Any) -> dict[str, Any]:
    """Nested plain values: tables, lists, strings, numbers, booleans."""
    return asdict(
        config,
        dict_factory=lambda items: {k: list(v) if isinstance(v, tuple) else v for k, v in items},
    )


def from_dict(values: dict[str, Any]) -> Config:
    """Builds a config from nested plain values; absent fields take their defaults.

    Raises:
        SaganError: A key is unknown (names the nearest), a value has the wrong type or range.
    """
    return _build(Config, values, "")


def _build(cls: type, values: object, prefix: str) -> Any:
    if not isinstance(values, dict):
        raise SaganError(f"{prefix.rstrip('.')} must be a table of settings, not {values!r}")
    types = get_type_hints(cls)
    for key in values:
        if key not in types:
            raise SaganError(
                f"unknown setting {prefix}{key}{nearest(key, types)}; "
                f"{prefix.rstrip('.') or 'the config'} has {', '.join(types)}"
            )
    return cls(**{key: _coerce(types[key], value, prefix + key) for key, value in values.items()})


def _coerce(kind: Any, value: Any, name: str) -> Any:
    if is_dataclass(kind):
        return _build(kind, value, name + ".")  # type: ignore[arg-type]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind in (bool, int, float, str):
        if type(value) is not kind:
            raise SaganError(f"{name} must be {_KINDS[kind]}, not {value!r}")
        return value
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        _require(value in choices, name, value, " or ".join(choices))
        return value
    assert get_origin(kind) is tuple, kind
    item_kind = get_args(kind)[0]
    plain_kind = str if get_origin(item_kind) is Literal else item_kind
    if not isinstance(value, (list, tuple)) or any(type(item) is not plain_kind for item in value):
        items = {int: "whole numbers", str: "texts"}[plain_kind]
        raise SaganError(f"{name} must be a list of {items}, not {value!r}")
    return tuple(_coerce(item_kind, item, name) for item in value)


_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def nearest(word: str, known: Any) -> str:
    """Returns ' (did you mean X?)' for the most similar known word, or nothing."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean {matches[0]}?)" if matches else ""


def differences(first: Any, second: Any, prefix: str = "") -> list[str]:
    """Names every field in which two configs (or sections) differ, with both values."""
    found = []
    for item in fields(first):
        one, other = getattr(first, item.name), getattr(second, item.name)
        if is_dataclass(one):
            found += differences(one, other, f"{prefix}{item.name}.")
        elif one != other:
            found.append(f"{prefix}{item.name} ({one!r} and {other!r})")
    return found
