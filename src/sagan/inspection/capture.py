"""The inputs of attention layers, seen in passing; the same for both networks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sagan.errors import SaganError
from sagan.nn.layers import SelfAttention2d
from sagan.sampling.generator import TrainedDiscriminator, TrainedGenerator

Trained = TrainedGenerator | TrainedDiscriminator


def network_name(model: Trained) -> str:
    """Generator or discriminator."""
    return "generator" if isinstance(model, TrainedGenerator) else "discriminator"


def attention_layers(model: Trained, resolution: int | None = None) -> dict[int, SelfAttention2d]:
    """The attention layers of a network by the side of their maps, coarse to fine.

    Args:
        model: A generator or a discriminator.
        resolution: Only the layer at this one; None takes all.

    Raises:
        SaganError: The network has no attention (there).
    """
    name = network_name(model)
    layers = {
        int(size): layer
        for size, layer in model.network.attention.items()
        if isinstance(layer, SelfAttention2d) and size.isdigit()  # the first of its size
    }
    if not layers:
        raise SaganError(f"this {name} has no attention layer; train with --{name}.attention")
    if resolution is None:
        return dict(sorted(layers.items()))
    if resolution not in layers:
        raise SaganError(
            f"there is no attention at {resolution}; this {name} has it at "
            f"{', '.join(map(str, sorted(layers)))}"
        )
    return {resolution: layers[resolution]}


def has_attention(model: Trained, resolution: int | None = None) -> bool:
    """Whether :func:`attention_layers` finds any."""
    sizes = [int(size) for size in model.network.attention]
    return bool(sizes) if resolution is None else resolution in sizes


@torch.inference_mode()
def captured_inputs(model: Trained, inputs: Tensor, labels: Tensor) -> dict[int, Tensor]:
    """Runs a network and keeps what its attention layers are given.

    Args:
        model: A generator or a discriminator.
        inputs: Latents (N, latent_dim) or images (N, 3, R, R) in [-1, 1].
        labels: int64 (N,).

    Returns:
        Side S of the map -> (N, C, S, S).
    """
    seen: dict[int, Tensor] = {}

    def keep(_: object, given: tuple[Tensor]) -> None:
        seen[given[0].shape[-1]] = given[0]

    hooks = [layer.register_forward_pre_hook(keep) for layer in attention_layers(model).values()]
    try:
        model(inputs, labels)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


@torch.inference_mode()
def explicit_rows(layer: SelfAttention2d, x: Tensor, queries: np.ndarray) -> np.ndarray:
    """The attention weights of queries (Q,) for a layer's input (N, C, S, S): (N, Q, S*S/4).

    Raises:
        SaganError: A weight is not finite.
    """
    rows = layer.attention_rows(x, torch.from_numpy(queries).to(x.device))
    if not rows.isfinite().all():
        raise SaganError("attention weights are not finite; choose an earlier checkpoint")
    return rows.cpu().numpy()
