"""Settings of the two networks."""

from dataclasses import dataclass, fields
from typing import Literal

from sagan.config.checks import checking, settle

Initialization = Literal["xavier", "orthogonal", "pytorch"]
FirstBiases = Literal["zero", "drawn"]
Architecture = Literal["residual", "dcgan"]
Upsampling = Literal["nearest", "bilinear"]
HiddenChannels = Literal["out", "in"]
ShortcutInput = Literal["raw", "relu"]
AttentionProduct = Literal["plain", "cosine"]
AttentionForm = Literal["attention", "residual"]
ClassTables = Literal["plain", "drawn", "spectral"]
NormalizedLayers = Literal["all", "attention", "none"]
Conditioning = Literal["projection", "auxiliary"]


@dataclass(frozen=True, kw_only=True)
class _EitherNetwork:
    """What both networks have."""

    architecture: Architecture = "residual"
    """residual: blocks as in the released code; dcgan: strided convolutions, in the generator
    transposed ones, without classes."""
    base_channels: int = 64
    """Channels beside the picture: at the full resolution in the generator, after the first block
    in the discriminator; maps further away have 2, 4, 8, 16 times as many."""
    channels: tuple[int, ...] = ()
    """Channels of each map as multiples of base_channels: in the generator from the smallest on, in
    the discriminator after each block; empty: by resolution."""
    attention: tuple[int, ...] = (32,)
    """Maps at which to insert self-attention, named by their height in cells. For pictures of 48
    pixels 24 and 16 name the same map, so that one setting fits all sizes. Repeat the flag."""
    attention_form: AttentionForm = "attention"
    """What to insert: attention, or for comparison a residual block with as many parameters."""
    attention_value_divisor: int = 2
    """Divide the channels by this for the value (released code: 2, the paper's text: 8)."""
    attention_pooling: bool = True
    """Halve the maps of key and value by 2x2 max-pooling (the paper's text does not)."""
    attention_product: AttentionProduct = "plain"
    """What the softmax sees: the products of query and key as they are, as in the paper (plain), or
    the cosines between them times the logarithm of the number of keys, so that none can be large
    and a query cannot put everything on one key (cosine)."""
    initialization: Initialization = "xavier"
    """Distribution of the first weights: Xavier's uniform one (released code), orthogonal, or
    PyTorch's default, uniform within 1 / sqrt(fan-in)."""
    first_biases: FirstBiases = "zero"
    """First biases of convolutions and linear layers: 0 (released code), or drawn, uniform within
    1 / sqrt(fan-in) (BigGAN-PyTorch and others, by PyTorch's default)."""
    spectral_norm: NormalizedLayers = "all"
    """Which weights to divide by their largest singular value: all (but batch norm's), those of
    attention alone, which has nothing else that bounds query and key, or none."""
    spectral_norm_eps: float = 1e-12
    """Smallest norm that the power iteration divides by (the released code adds it instead)."""


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig(_EitherNetwork):
    """The network that draws."""

    latent_dim: int = 128
    """Length of the noise vector z, drawn from N(0, I)."""
    latent_skips: bool = False
    """Let the latent act on the gains and biases of every block's batch norm too (BigGAN's skip-z,
    with the whole latent), not on the smallest map alone."""
    upsampling: Upsampling = "nearest"
    """How a residual block doubles the map (mimicry: bilinear)."""
    class_tables: ClassTables = "plain"
    """First gains and biases of the conditional batch norm. plain: 1 and 0; drawn: like the
    weights, 1 added to the gains (BigGAN-PyTorch); spectral: the same, and divided by their
    largest singular value where spectral_norm is all (PyTorch-StudioGAN, mmgeneration)."""
    batch_norm_eps: float = 1e-5
    """Added to the variance in batch norm."""
    batch_norm_momentum: float = 0.001
    """Weight of the newest batch in the running statistics. Pictures do not depend on it: theirs
    are measured anew on the averaged weights."""
    last_batch_norm_momentum: float = 0.0001
    """The same for the last batch norm, before the picture."""

    def __post_init__(self) -> None:
        _require_network("generator", self)
        check = checking("generator", self)
        check("latent_dim", self.latent_dim >= 1, "at least 1")
        check("batch_norm_eps", self.batch_norm_eps > 0, "positive")
        for name in ("batch_norm_momentum", "last_batch_norm_momentum"):
            check(name, 0 < getattr(self, name) <= 1, "above 0 and at most 1")


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig(_EitherNetwork):
    """The network that judges."""

    final_resolution: int = 4
    """Size of the smallest map (pixels), 2, 4, 8 or 16; blocks after it keep the size. Where the
    pictures' side is no power of 2, the map after as many halvings: 6, 12 or 24 of 48 pixels."""
    attention_blocks: tuple[int, ...] = ()
    """Instead of map sizes: the blocks, from 1, after which to insert self-attention, for where
    several have one map size (BigGAN-PyTorch at 32 pixels: after each). Repeat the flag."""
    conditioning: Conditioning = "projection"
    """How the discriminator learns of classes: the label's embedding is projected on the features
    (projection), or a second head names the class of a picture, and both networks learn from how
    well it does (auxiliary: AC-GAN)."""
    hidden_channels: HiddenChannels = "out"
    """Channels between a block's two convolutions: as many as come out, or go in (mimicry)."""
    shortcut_input: ShortcutInput = "raw"
    """Input of a block's shortcut: raw, or after the first ReLU (relu), as in code whose ReLU
    overwrites its input (PyTorch-StudioGAN, mimicry)."""

    def __post_init__(self) -> None:
        _require_network("discriminator", self)
        checking("discriminator", self)(
            "attention_blocks",
            not (self.attention and self.attention_blocks),
            "empty where attention is given by resolution; empty discriminator.attention",
        )


NetworkConfig = GeneratorConfig | DiscriminatorConfig

RESIDUAL_ONLY = (
    "attention_blocks",
    "attention_form",
    "attention_value_divisor",
    "attention_pooling",
    "attention_product",
    "upsampling",
    "class_tables",
    "latent_skips",
    "conditioning",
    "hidden_channels",
    "shortcut_input",
    "final_resolution",
)

_OF_THE_MAP = ("attention_pooling", "attention_product")
_ATTENTIONS_OWN = ("attention_form", "attention_value_divisor", *_OF_THE_MAP)


def unread(network: NetworkConfig) -> tuple[str, ...]:
    """The settings of a network that change nothing there: it has no choice, or no such layer."""
    if network.architecture == "dcgan":
        return RESIDUAL_ONLY
    if not (network.attention or getattr(network, "attention_blocks", ())):
        return _ATTENTIONS_OWN
    return _OF_THE_MAP if network.attention_form == "residual" else ()


def idle(network: NetworkConfig) -> dict[str, str]:
    """Settings that were chosen and do not act as they say, with what they do instead."""
    found = {
        item.name: "changes nothing: there is no attention, or a residual block in its place"
        for item in fields(network)
        if item.name in unread(network) and getattr(network, item.name) != item.default
    }
    tables = getattr(network, "class_tables", "plain")
    if tables == "spectral" and network.spectral_norm != "all":
        found["class_tables"] = "acts as drawn: tables are divided only where spectral_norm is all"
    return found


def _require_network(name: str, config: NetworkConfig) -> None:
    settle(name, config)
    check = checking(name, config)
    for item in fields(config):
        if item.name in RESIDUAL_ONLY and config.architecture == "dcgan":
            is_default = getattr(config, item.name) == item.default
            check(item.name, is_default, "left out with dcgan, which has no choice there")
    check("base_channels", config.base_channels >= 1, "at least 1")
    check("channels", all(n >= 1 for n in config.channels), "a list of positive multiples")
    is_set = len(set(config.attention)) == len(config.attention)
    check("attention", is_set, "a list without repetition")
    divisor = config.attention_value_divisor
    check("attention_value_divisor", divisor in (1, 2, 4, 8), "1, 2, 4 or 8")
    check("spectral_norm_eps", config.spectral_norm_eps > 0, "positive")
