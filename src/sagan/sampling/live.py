"""One model, ready to be asked by a page: pictures with their attention, at any gamma."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from sagan.config import Config, Place
from sagan.errors import SaganError
from sagan.images import to_float, to_uint8
from sagan.nn.exposed import (
    ExposedAttention2d,
    ExposedDiscriminator,
    ExposedGenerator,
    ExposedNetwork,
)
from sagan.nn.residual import Generator
from sagan.runs.checkpoint import Checkpoint
from sagan.sampling.generator import TrainedGenerator, discriminator_of, generator_of

DIRECTIONS = 10
"""Leading directions of the latents that are offered."""

Scales = Mapping[str, float]
"""Name of a layer's place -> what its gamma is multiplied by; 1 where none is given."""
UNCHANGED: Scales = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """A picture and what its positions looked at while it was drawn."""

    picture: np.ndarray
    """uint8 (C, H, W)."""
    maps: Mapping[str, np.ndarray]
    """Name of a layer's place -> float32 (positions, keys); each row sums to 1."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """A verdict on a picture and what its positions looked at."""

    logits: np.ndarray
    """float32 (classes,), or (1,) without classes; high for real."""
    maps: Mapping[str, np.ndarray]
    """As in :class:`Drawn`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Explained:
    """How an attention layer computes one position, in its own numbers; all float32."""

    query: np.ndarray
    """(d,)."""
    keys: np.ndarray
    """(K, d)."""
    products: np.ndarray
    """query . key, (K,)."""
    weights: np.ndarray
    """softmax(products), (K,)."""
    values: np.ndarray
    """(K, v)."""
    gathered: np.ndarray
    """weights . values, (v,)."""
    given: np.ndarray
    """x at that position, (C,)."""
    added: np.ndarray
    """gamma * out at that position, (C,); the layer gives x + that."""
    gamma: float
    """As used, its scale included."""


class LiveModel:
    """The averaged generator of a checkpoint and, where it holds one, the discriminator.

    Attributes:
        config: The settings it was trained with.
        step: After how many.
        class_names: () without classes.
        generator: With its attention exposed.
        discriminator: The same; None where the checkpoint has none.
        parameter_counts: Of the networks that it has, by generator and discriminator.

    Raises:
        SaganError: A part does not fit.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.config: Config = checkpoint.config
        self.step = checkpoint.step
        self.class_names: Sequence[str] = checkpoint.class_names
        trained = generator_of(checkpoint)
        self.size, self.channels, self.latent_dim = (
            trained.size,
            trained.channels,
            trained.latent_dim,
        )
        self.directions = leading_directions(trained)
        self.generator = ExposedGenerator(trained.network)
        self.parameter_counts = {trained.kind: trained.parameter_count}
        self.discriminator: ExposedDiscriminator | None = None
        if "discriminator" in checkpoint.parts:
            judge = discriminator_of(checkpoint)
            self.discriminator = ExposedDiscriminator(judge.network)
            self.parameter_counts[judge.kind] = judge.parameter_count

    @torch.inference_mode()
    def draw(self, latent: np.ndarray, shares: np.ndarray, scales: Scales = UNCHANGED) -> Drawn:
        """Draws one picture.

        Args:
            latent: (latent_dim,).
            shares: Of the classes, (classes,), summing to 1; not read without classes.
            scales: Of gammas.

        Raises:
            SaganError: A form does not fit, a place is unknown, or a number is not finite.
        """
        latents, labels = self._latents(latent), self._shares(shares)
        images, *maps = self.generator(latents, labels, scales_of(self.generator, scales))
        return Drawn(picture=to_uint8(images)[0].numpy(), maps=_named(self.generator, maps))

    @torch.inference_mode()
    def judge(self, picture: np.ndarray, scales: Scales = UNCHANGED) -> Judged:
        """Judges one picture as one of each class.

        Args:
            picture: uint8 (C, H, W), of the model's form.
            scales: Of gammas.

        Raises:
            SaganError: There is no discriminator, or the picture has another form.
        """
        judge = self._judge()
        logits, *maps = judge(self._image(picture), scales_of(judge, scales))
        return Judged(logits=logits[0].numpy(), maps=_named(judge, maps))

    @torch.inference_mode()
    def explain_drawing(
        self,
        latent: np.ndarray,
        shares: np.ndarray,
        place: str,
        position: int,
        scales: Scales = UNCHANGED,
    ) -> Explained:
        """How a layer of the generator computes one position (row-major, of its own map)."""
        layer = _layer(self.generator, place, position)
        self.draw(latent, shares, scales)
        return _explained(layer, position)

    @torch.inference_mode()
    def explain_judging(
        self, picture: np.ndarray, place: str, position: int, scales: Scales = UNCHANGED
    ) -> Explained:
        """How a layer of the discriminator computes one position (row-major, of its own map)."""
        layer = _layer(self._judge(), place, position)
        self.judge(picture, scales)
        return _explained(layer, position)

    def _judge(self) -> ExposedDiscriminator:
        if self.discriminator is None:
            raise SaganError("this file holds no discriminator; give a run folder or a checkpoint")
        return self.discriminator

    def _latents(self, latent: np.ndarray) -> Tensor:
        latent = np.asarray(latent, np.float32)
        if latent.shape != (self.latent_dim,) or not np.isfinite(latent).all():
            raise SaganError(f"the latent must be {self.latent_dim} finite numbers")
        return _batch_of(latent)

    def _shares(self, shares: np.ndarray) -> Tensor | None:
        if not self.class_names:
            return None
        shares = np.asarray(shares, np.float32)
        fits = shares.shape == (len(self.class_names),) and np.isfinite(shares).all()
        if not fits or (shares < 0).any() or abs(shares.sum() - 1) > 1e-3:
            raise SaganError(
                f"the shares of the {len(self.class_names)} classes must be one number from 0 for "
                "each and sum to 1"
            )
        return _batch_of(shares)

    def _image(self, picture: np.ndarray) -> Tensor:
        wanted = (self.channels, *self.size)
        if picture.shape != wanted or picture.dtype != np.uint8:
            raise SaganError(
                f"the picture has the form {picture.dtype} {picture.shape}; this model judges "
                f"uint8 {wanted}"
            )
        return to_float(_batch_of(picture))


def leading_directions(generator: TrainedGenerator, count: int = DIRECTIONS) -> np.ndarray:
    """Directions of the latent that change the first layer's output most.

    Latents are normal, so the principal components of what the first linear layer gives are those
    of its weight, which need no sample. Each has length 1 and a positive largest element.

    Source: Haerkoenen et al. 2020 (GANSpace), section 2.

    Returns:
        float32 (count or latent_dim, latent_dim), strongest first.
    """
    network = generator.network
    if isinstance(network, Generator):
        weight = network.linear.kernel
    else:  # a first transposed convolution, of a map of one position
        weight = next(network.parameters()).flatten(1).T
    weight = weight.detach().cpu().double()
    directions = torch.linalg.eigh(weight.T @ weight).eigenvectors.flip(1).T[:count]
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return (directions * largest.sign()).float().numpy()


def scales_of(network: ExposedNetwork, scales: Scales) -> Tensor:
    """The scales by the order of the layers.

    Raises:
        SaganError: A place is unknown, or a scale is not finite.
    """
    names = [place.name for place in network.places]
    if unknown := set(scales) - set(names):
        raise SaganError(
            f"there is no attention at {', '.join(sorted(unknown))}; it stands at "
            f"{', '.join(names) or 'no place'}"
        )
    values = torch.tensor([float(scales.get(name, 1)) for name in names])
    if not values.isfinite().all():
        raise SaganError("scales of gamma must be finite numbers")
    return values


def _batch_of(array: np.ndarray) -> Tensor:
    """As a batch of one; what may not be written, such as a mapped file, is copied."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())[None]


def _named(network: ExposedNetwork, maps: Sequence[Tensor]) -> dict[str, np.ndarray]:
    return {place.name: rows[0].numpy() for place, rows in zip(network.places, maps, strict=True)}


def _layer(network: ExposedNetwork, name: str, position: int) -> ExposedAttention2d:
    layers: dict[str, tuple[Place, ExposedAttention2d]] = {
        place.name: (place, layer)
        for place, layer in zip(network.places, network.layers, strict=True)
    }
    if name not in layers:
        raise SaganError(
            f"there is no attention at {name}; it stands at {', '.join(layers) or 'no place'}"
        )
    place, layer = layers[name]
    if not 0 <= position < place.height * place.width:
        raise SaganError(
            f"position {position} lies outside the map, which has {place.height * place.width}"
        )
    return layer


def _explained(layer: ExposedAttention2d, position: int) -> Explained:
    assert layer.seen is not None
    assert layer.rows is not None
    plain, x = layer.layer, layer.seen
    query, key, value = plain.projected(x)
    weights = layer.rows[0, position]
    gathered = weights.to(value.dtype) @ value[0]
    nothing = torch.zeros_like(x[..., :1, :1])
    added = plain.added(nothing, gathered[None, None], layer.gamma)
    return Explained(
        query=query[0, position].numpy(),
        keys=key[0].numpy(),
        products=(key[0] @ query[0, position]).numpy(),
        weights=weights.numpy(),
        values=value[0].numpy(),
        gathered=gathered.numpy(),
        given=x[0].flatten(1)[:, position].numpy(),
        added=added.flatten().numpy(),
        gamma=float(layer.gamma),
    )
