"""What the attention of a trained generator looks at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sagan.errors import SaganError
from sagan.layers import SelfAttention2d
from sagan.sampling import TrainedGenerator, draw_latents
from sagan.visualization import attention_figure, choose_query_points, query_index


def attention_layers(generator: TrainedGenerator) -> dict[int, SelfAttention2d]:
    """The attention layers of a generator by resolution, in the order of the forward pass."""
    layers = {
        int(name): layer
        for name, layer in generator.network.attention.items()
        if isinstance(layer, SelfAttention2d)
    }
    return dict(sorted(layers.items()))


@torch.inference_mode()
def attention_rows(
    generator: TrainedGenerator,
    seed: int,
    label: str | int | None,
    points: Sequence[tuple[int, int]],
    *,
    resolution: int | None = None,
    truncation: float | None = None,
) -> np.ndarray:
    """Where chosen points of a generated picture look.

    Rows are queries, the places being drawn; columns are keys, the places looked at. Keys are
    max-pooled 2x2, so that a key stands for a block twice as wide as a query's.

    Args:
        generator: From :func:`sagan.load_generator`.
        seed: Seed of the picture.
        label: Class name or number; None for an unconditional generator.
        points: Pixels (x, y) of the picture.
        resolution: Which attention layer; None takes the finest.
        truncation: As for sampling.

    Returns:
        float32 (points, keys), keys row-major on a square grid; each row sums to 1.

    Raises:
        SaganError: The generator has no attention (there), or a point lies outside the picture.
    """
    layers = attention_layers(generator)
    if not layers:
        raise SaganError("this generator has no attention layer; train with --generator.attention")
    if resolution is None:
        resolution = max(layers)
    if resolution not in layers:
        raise SaganError(
            f"there is no attention at {resolution}; this generator has it at "
            f"{', '.join(map(str, layers))}"
        )
    queries = [query_index(p, generator.resolution, resolution) for p in points]
    inputs: list[Tensor] = []
    hook = layers[resolution].register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    try:
        latents = draw_latents([seed], generator.latent_dim, truncation=truncation)
        generator(latents, generator.label_numbers(label, 1))
    finally:
        hook.remove()
    return layers[resolution].attention_rows(inputs[0], torch.tensor(queries))[0].cpu().numpy()


def attention_figure_of(
    generator: TrainedGenerator,
    seed: int,
    label: str | int | None = None,
    *,
    points: Sequence[tuple[int, int]] | None = None,
    resolution: int | None = None,
    truncation: float | None = None,
) -> np.ndarray:
    """The paper's Figure 1 for one generated picture: uint8 (3, H, W).

    Args:
        generator: From :func:`sagan.load_generator`.
        seed: Seed of the picture.
        label: Class name or number; None takes the first class.
        points: Query pixels (x, y); None chooses five salient ones.
        resolution: Which attention layer; None takes the finest.
        truncation: As for sampling.

    Raises:
        SaganError: As for :func:`attention_rows`.
    """
    if label is None and generator.class_names:
        label = generator.class_names[0]
    picture = generator.sample([seed], label, truncation=truncation)[0]
    points = points or choose_query_points(picture)
    rows = attention_rows(
        generator, seed, label, points, resolution=resolution, truncation=truncation
    )
    size = resolution or max(attention_layers(generator))
    name = generator.class_names[label] if isinstance(label, int) else label
    caption = f"{name or 'picture'}, seed {seed}: where the attention at {size} x {size} looks"
    return attention_figure(picture, points, rows, caption=caption)
