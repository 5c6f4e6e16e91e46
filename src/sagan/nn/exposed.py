"""Networks whose attention is an output, and whose gammas are an input.

What the studio shows and what an exported graph gives: the same network by the plain formula, which
keeps the map that fused kernels avoid.
"""

from torch import Tensor, nn

from sagan.nn.attention import attention_weights
from sagan.nn.layers import SelfAttention2d
from sagan.nn.residual import AnyDiscriminator, AnyGenerator

MAP = "map."
"""The map of a layer is called so and by the name of its place, among arrays that have names."""


class ExposedAttention2d(nn.Module):
    """Self-attention that keeps what it computed last.

    Args:
        layer: Shared, not copied.

    Attributes:
        scale: Gamma is multiplied by it; a number tensor, or None for 1.
        seen: What the layer was given last, (N, C, H, W).
        rows: Its attention weights, (N, HW, keys); each row sums to 1.
    """

    def __init__(self, layer: SelfAttention2d) -> None:
        super().__init__()
        self.layer = layer
        self.scale: Tensor | None = None
        self.seen: Tensor | None = None
        self.rows: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        query, key, value = self.layer.projected(x)
        rows = attention_weights(query, key)
        self.seen, self.rows = x, rows
        return self.layer.added(x, rows.to(value.dtype) @ value, self.gamma)

    @property
    def gamma(self) -> Tensor:
        """As it acts, scaled."""
        return self.layer.gamma if self.scale is None else self.layer.gamma * self.scale


class ExposedNetwork(nn.Module):
    """A network with the attention maps beside its output.

    Args:
        network: Folded. It is taken over: its attention layers are replaced, weights are shared.

    Attributes:
        network: The same.
        places: Of its attention layers, coarse to fine; the order of the maps and of the scales.
        layers: The attention layers.
    """

    def __init__(self, network: AnyGenerator | AnyDiscriminator) -> None:
        super().__init__()
        by_place = network.attention.by_place()
        self.network = network
        self.places = tuple(by_place)
        self.layers = tuple(ExposedAttention2d(layer) for layer in by_place.values())
        for place, layer in zip(self.places, self.layers, strict=True):
            network.attention[place.name] = layer

    def _scaled(self, scales: Tensor) -> None:
        for number, layer in enumerate(self.layers):
            layer.scale = scales[number]

    def _maps(self) -> tuple[Tensor, ...]:
        return tuple(layer.rows for layer in self.layers if layer.rows is not None)


class ExposedGenerator(ExposedNetwork):
    """A generator that gives its attention maps beside the picture."""

    network: AnyGenerator

    def forward(self, latents: Tensor, labels: Tensor | None, scales: Tensor) -> tuple[Tensor, ...]:
        """Draws pictures.

        Args:
            latents: (N, latent_dim).
            labels: Integer (N,), or shares (N, classes); None without classes.
            scales: Floating (layers,): what each gamma is multiplied by; 1 changes nothing.

        Returns:
            Images (N, C, H, W) in [-1, 1], then of every layer (N, positions, keys).
        """
        self._scaled(scales)
        return self.network(latents, labels), *self._maps()


class ExposedDiscriminator(ExposedNetwork):
    """A discriminator that judges for every class at once, and gives its attention maps."""

    network: AnyDiscriminator

    def forward(self, images: Tensor, scales: Tensor) -> tuple[Tensor, ...]:
        """Judges pictures.

        Args:
            images: (N, C, H, W) in [-1, 1].
            scales: As for :class:`ExposedGenerator`.

        Returns:
            Logits (N, classes) or (N, 1), then of every layer (N, positions, keys).
        """
        self._scaled(scales)
        return self.network.logits_by_class(images), *self._maps()
