"""What each repository calls the parts of a network: one table per repository."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from sagan.config import Architecture, ShortcutInput, Upsampling

Role = Literal["generator", "discriminator"]
Kind = Literal["linear", "convolution", "projection", "embedding", "table", "bare"]
"""Of weights; bare ones are never normalised."""


@dataclass(frozen=True)
class WeightForm:
    """The names under which a weight and its singular vectors are kept.

    Without ``v`` the repository finds both vectors by one power iteration from ``u`` at every use;
    with ``v`` it uses both as stored.
    """

    weight: str
    u: str = ""
    v: str = ""
    u_axes: int = 1
    """u is stored as (out,), or with 2 as (1, out)."""
    unused: str = ""
    axes: tuple[int, ...] = ()
    """Our axes in terms of theirs, where they differ."""


HOOK = WeightForm("weight_orig", "weight_u", "weight_v")
AJBROCK = WeightForm("weight", "u0", u_axes=2)
BAR = WeightForm("weight_bar", "weight_u", unused="weight_v")
PLAIN = WeightForm("weight")
TENSORFLOW_FORMS: Mapping[Kind, WeightForm] = {
    "linear": WeightForm("Matrix", "u", u_axes=2, axes=(1, 0)),
    "convolution": WeightForm("w", "u", u_axes=2, axes=(3, 2, 0, 1)),
    "projection": WeightForm("w", "u", u_axes=2, axes=(3, 2, 0, 1)),
    "embedding": WeightForm("embedding_map", "u", u_axes=2),
    "table": WeightForm(""),
}
USED = ("u_used", "v_used")
"""What we add to a layer's TensorFlow variables: both singular vectors, with which it computes."""


@dataclass(frozen=True)
class NormNames:
    """The parts of a batch norm."""

    gain: str = "weight"
    bias: str = "bias"
    mean: str = "running_mean"
    variance: str = "running_var"


@dataclass(frozen=True, kw_only=True)
class NetworkNames:
    """The parts of one residual network.

    ``{n}`` stands for the number of a block or attention layer, ``{k}`` for 1 or 2 within a block
    (``{j}`` for 0 or 1), ``{last}`` for the number after the last block.
    """

    block: str
    convolutions: tuple[str, str, str]
    """The two on the main path, and the shortcut."""
    attention: str
    """The block's name where both are counted together."""
    projections: tuple[str, str, str, str] = ("theta", "phi", "g", "o")
    """Query, key, value, out."""
    gamma: str = "gamma"
    linear: str = ""
    offset: int = 0
    """Number of the first block."""
    first_block: str = ""
    """Where the first block has a name of its own."""
    embedding: str = ""
    norm: str = ""
    norm_parts: NormNames = NormNames()
    plain_norm: str = ""
    """Where an unconditional network has its norms of the usual parts."""
    last_norm: str = ""
    last_norm_parts: NormNames = NormNames()
    out: str = ""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a repository writes the two networks down, and what its keys do not show."""

    name: str
    title: str
    architecture: Architecture = "residual"
    generator: NetworkNames
    discriminator: NetworkNames
    forms: tuple[WeightForm, ...] = (HOOK, AJBROCK, PLAIN)
    """Of weights; the first is the usual one."""
    separator: str = "."
    gain_offset: float = 1.0
    """Added to the stored gains."""
    tables_transposed: bool = False
    """Class tables are (channels, classes)."""
    batch_norm_eps: float = 1e-5
    batch_norm_eps_with_plain_tables: float | None = None
    """Where all weights but the class tables are spectrally normalised; None for the same."""
    last_batch_norm_eps: float | None = None
    """Of the last batch norm, whatever the others have."""
    batch_norm_momentum: float = 0.1
    last_batch_norm_momentum: float | None = None
    """Of the last batch norm; None for the same."""
    spectral_norm_eps: float = 1e-12
    shortcut_input: ShortcutInput = "raw"
    upsampling: Upsampling = "nearest"
    generator_attention: str | None = None
    """Name of the only attention layer, where keys do not show its place; None: as released."""
    discriminator_attention: str | None = None
    """The same."""
    final_resolution: int | None = None
    """Down to how many pixels a discriminator goes; None: as released."""
    bgr: bool = False
    """Pictures have their colours in the order blue, green, red."""
    keys_tell_all: bool = True
    """No setting that keys do not show is left to its users."""

    @property
    def repository(self) -> str:
        """The title without the version, which a discriminator's names do not show."""
        return self.title.partition(" from v")[0].partition(" up to ")[0]

    def batch_norm_eps_of(self, *, normalised: bool, plain_tables: bool) -> float:
        """Of a generator, by whether its weights are spectrally normalised.

        ``plain_tables``: it has class tables, and they are not.
        """
        special = self.batch_norm_eps_with_plain_tables
        return special if special and normalised and plain_tables else self.batch_norm_eps

    @property
    def shows_places(self) -> bool:
        """Whether keys show after which block an attention layer stands."""
        return "{n}" in self.generator.attention

    def attention_of(self, role: Role) -> str | None:
        """Name of the only attention layer of one of the two networks; None: as released."""
        return self.generator_attention if role == "generator" else self.discriminator_attention

    def names(self, role: Role) -> NetworkNames:
        """Those of one of the two networks."""
        return self.generator if role == "generator" else self.discriminator

    def join(self, *parts: str) -> str:
        """A full name from its pieces."""
        return self.separator.join(part for part in parts if part)

    def forms_of(self, kind: Kind) -> tuple[WeightForm, ...]:
        """The forms in which this kind of weight may be stored, the usual one first."""
        if self.name == "tensorflow":
            return (TENSORFLOW_FORMS[kind],)
        if kind == "bare":
            return (PLAIN,)
        if kind == "table" and self.forms[0] is AJBROCK:  # which leaves its class tables alone
            return (PLAIN,)
        return self.forms


_STUDIOGAN_NAMES = {
    "block": "blocks.{n}.0",
    "convolutions": ("conv2d1", "conv2d2", "conv2d0"),
    "attention": "blocks.{n}.0",
    "projections": ("conv1x1_theta", "conv1x1_phi", "conv1x1_g", "conv1x1_attn"),
    "gamma": "sigma",
}
_MMGEN_NAMES = {
    "block": "conv_blocks.{n}",
    "convolutions": ("conv_1.conv", "conv_2.conv", "shortcut.conv"),
    "attention": "conv_blocks.{n}",
    "projections": ("theta.conv", "phi.conv", "g.conv", "o.conv"),
}
_MIMICRY_NAMES = {
    "block": "block{n}",
    "convolutions": ("c1", "c2", "c_sc"),
    "attention": "attn_block",
}
_HEYKEETAE_NAMES = {
    "block": "l{n}",
    "convolutions": ("0.module", "", ""),
    "attention": "attn{n}",
    "projections": ("query_conv", "key_conv", "value_conv", ""),
    "offset": 1,
    "out": "last.0",
}
_BIGGAN_NAMES = {
    "linear": "linear",
    "block": "blocks.{n}.0",
    "convolutions": ("conv1", "conv2", "conv_sc"),
    "attention": "blocks.{n}.1",
}
_BIGGAN_NORM = NormNames("gain", "bias", "stored_mean", "stored_var")
_TENSORFLOW_NAMES = {
    "projections": ("sn_conv_theta", "sn_conv_phi", "sn_conv_g", "sn_conv_attn"),
    "gamma": "sigma_ratio",
    "offset": 1,
}


def _studiogan_generator(gain: str, bias: str) -> NetworkNames:
    return NetworkNames(
        linear="linear0",
        norm="bn{k}",
        norm_parts=NormNames(gain, bias, "bn.running_mean", "bn.running_var"),
        plain_norm="bn{k}",
        last_norm="bn4",
        out="conv2d5",
        **_STUDIOGAN_NAMES,
    )


# POSTECH-CVLab/PyTorch-StudioGAN, src/models/resnet.py.
_STUDIOGAN_LAYOUT = Layout(
    name="studiogan",
    title="PyTorch-StudioGAN from v0.4.0",
    generator=_studiogan_generator("gain", "bias"),
    discriminator=NetworkNames(linear="linear1", embedding="embedding", **_STUDIOGAN_NAMES),
    tables_transposed=True,
    batch_norm_eps=1e-4,
    spectral_norm_eps=1e-6,
    shortcut_input="relu",
)

LAYOUTS = (
    # ajbrock/BigGAN-PyTorch, scripts/launch_SAGAN_bs128x2_ema.sh.
    Layout(
        name="biggan",
        title="BigGAN-PyTorch",
        generator=NetworkNames(
            norm="bn{k}",
            norm_parts=_BIGGAN_NORM,
            last_norm="output_layer.0",
            last_norm_parts=_BIGGAN_NORM,
            out="output_layer.2",
            **_BIGGAN_NAMES,
        ),
        discriminator=NetworkNames(embedding="embed", **_BIGGAN_NAMES),
        forms=(AJBROCK, PLAIN),
        last_batch_norm_eps=1e-5,
        spectral_norm_eps=1e-8,
    ),
    _STUDIOGAN_LAYOUT,
    replace(
        _STUDIOGAN_LAYOUT,
        name="studiogan-old",
        title="PyTorch-StudioGAN up to v0.3.0",
        generator=_studiogan_generator("embed0", "embed1"),
        tables_transposed=False,
    ),
    # open-mmlab/mmgeneration, configs/sagan; mmagic took the networks over.
    Layout(
        name="mmgen",
        title="mmgeneration / mmagic",
        generator=NetworkNames(
            linear="noise2feat",
            norm="norm_{k}",
            norm_parts=NormNames(
                "weight_embedding", "bias_embedding", "norm.running_mean", "norm.running_var"
            ),
            plain_norm="norm_{k}.norm",
            last_norm="to_rgb.bn",
            out="to_rgb.conv",
            **_MMGEN_NAMES,
        ),
        discriminator=NetworkNames(
            linear="decision", embedding="proj_y", first_block="from_rgb", offset=-1, **_MMGEN_NAMES
        ),
        batch_norm_eps=1e-4,
        batch_norm_eps_with_plain_tables=1e-5,
        bgr=True,
        keys_tell_all=False,
    ),
    # kwotsin/mimicry, torch_mimicry/nets/sagan.
    Layout(
        name="mimicry",
        title="mimicry",
        generator=NetworkNames(
            linear="l1",
            offset=2,
            norm="b{k}",
            norm_parts=NormNames("embed", "embed", "bn.running_mean", "bn.running_var"),
            last_norm="b{last}",
            out="c{last}",
            **_MIMICRY_NAMES,
        ),
        discriminator=NetworkNames(linear="l{last}", embedding="l_y", offset=1, **_MIMICRY_NAMES),
        gain_offset=0.0,
        shortcut_input="relu",
        upsampling="bilinear",
    ),
    # heykeetae/Self-Attention-GAN, sagan_models.py.
    Layout(
        name="heykeetae",
        title="heykeetae/Self-Attention-GAN",
        architecture="dcgan",
        generator=NetworkNames(norm="1", **_HEYKEETAE_NAMES),
        discriminator=NetworkNames(**_HEYKEETAE_NAMES),
        forms=(BAR,),
    ),
    # brain-research/self-attention-gan, generator.py and discriminator.py.
    Layout(
        name="tensorflow",
        title="the authors' TensorFlow code",
        generator=NetworkNames(
            linear="g_snh0",
            block="g_block{n}",
            convolutions=("snconv1", "snconv2", "snconv3"),
            attention="g_non_local",
            norm="cbn_{j}",
            norm_parts=NormNames("gamma", "beta", "mean", "var"),
            last_norm="g_bn",
            last_norm_parts=NormNames("gamma", "beta", "moving_mean", "moving_variance"),
            out="g_snconv_last",
            **_TENSORFLOW_NAMES,
        ),
        discriminator=NetworkNames(
            linear="d_sn_linear",
            embedding="d_embedding",
            block="d_block{n}",
            first_block="d_optimized_block1",
            convolutions=("sn_conv1", "sn_conv2", "sn_conv3"),
            attention="d_non_local",
            **_TENSORFLOW_NAMES,
        ),
        separator="/",
        gain_offset=0.0,
        batch_norm_momentum=0.001,
        last_batch_norm_momentum=1e-4,
    ),
)
