"""Where points of one picture look: of a generated one in G, of a given one in D."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sagan.errors import SaganError
from sagan.images import to_float, to_uint8
from sagan.inspection.capture import (
    Trained,
    attention_layers,
    captured_inputs,
    explicit_rows,
)
from sagan.inspection.figure import attention_figure
from sagan.inspection.queries import choose_query_points, query_index
from sagan.sampling.generator import (
    TrainedDiscriminator,
    TrainedGenerator,
    draw_latents,
    label_number,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """A network, a picture, and what the network is given for it."""

    model: Trained
    picture: np.ndarray
    """uint8 (3, R, R)."""
    inputs: Tensor
    """(1, latent_dim), or (1, 3, R, R) in [-1, 1]."""
    labels: Tensor
    """int64 (1,)."""
    title: str


@torch.inference_mode()
def view_of_seed(
    generator: TrainedGenerator,
    seed: int,
    label: str | int | None = None,
    *,
    truncation: float | None = None,
) -> View:
    """What a generator looks at while it draws a picture.

    Args:
        generator: From :func:`sagan.load_generator`.
        seed: Seed of the picture.
        label: Class name or number; None takes the first class.
        truncation: As for sampling.

    Raises:
        SaganError: The class is unknown, or a number is out of range.
    """
    if label is None and generator.class_names:
        label = 0
    labels = generator.label_numbers(label, 1)
    latents = draw_latents([seed], generator.latent_dim, truncation=truncation)
    picture = to_uint8(generator(latents, labels)).cpu().numpy()[0]
    words = [*_class_words(generator, labels), f"seed {seed}"]
    if truncation is not None:
        words.append(f"truncation {truncation:g}")
    return View(
        model=generator,
        picture=picture,
        inputs=latents,
        labels=labels,
        title=f"What the generator looks at: {', '.join(words)}",
    )


def view_of_picture(
    discriminator: TrainedDiscriminator,
    picture: np.ndarray,
    label: str | int | None = None,
    *,
    name: str = "",
) -> View:
    """What a discriminator looks at while it judges a picture.

    Its attention depends on the picture alone; the label only enters the verdict, after it.

    Args:
        discriminator: From :func:`sagan.load_discriminator`.
        picture: uint8 (3, R, R) at the resolution of the network.
        label: Class name or number.
        name: What the picture is called in the title.

    Raises:
        SaganError: The class is unknown or the picture of another size.
    """
    side = discriminator.network.resolution
    if picture.shape != (3, side, side):
        raise SaganError(
            f"the picture has the shape {picture.shape}; this discriminator judges pictures of "
            f"(3, {side}, {side})"
        )
    number = 0 if label is None else label_number(label, discriminator.class_names)
    labels = torch.tensor([number])
    words = [name] if name else []
    words += [] if label is None else _class_words(discriminator, labels)
    return View(
        model=discriminator,
        picture=picture,
        inputs=to_float(torch.from_numpy(picture[None].copy())),
        labels=labels,
        title=": ".join(["What the discriminator looks at", *filter(None, [", ".join(words)])]),
    )


def _class_words(model: Trained, labels: Tensor) -> list[str]:
    return [model.class_names[int(labels)]] if model.class_names else []


def attention_rows(
    view: View, points: Sequence[tuple[int, int]], *, resolution: int | None = None
) -> dict[int, np.ndarray]:
    """Where chosen points of a picture look, layer by layer.

    Rows are queries, the places asked about; columns are keys, the places looked at. Keys are
    max-pooled 2x2, so that a key stands for a block twice as wide as a query's.

    Args:
        view: From :func:`view_of_seed` or :func:`view_of_picture`.
        points: Pixels (x, y) of the picture.
        resolution: Which attention layer; None takes all.

    Returns:
        Side of the layer's map -> float32 (points, keys), keys row-major on a square grid; each
        row sums to 1.

    Raises:
        SaganError: The network has no attention (there), it is not finite, or a point lies outside
            the picture.
    """
    layers = attention_layers(view.model, resolution)
    side = view.picture.shape[-1]
    queries = {
        size: np.array([query_index(point, side, size) for point in points]) for size in layers
    }
    seen = captured_inputs(view.model, view.inputs, view.labels)
    return {
        size: explicit_rows(layer, seen[size], queries[size])[0] for size, layer in layers.items()
    }


def draw_view(
    view: View, points: Sequence[tuple[int, int]], rows: dict[int, np.ndarray]
) -> np.ndarray:
    """The paper's Figure 1 for one picture, a block of panels per layer: uint8 (3, H, W)."""
    headings = {
        f"Attention at {size} x {size}: each of {size * size} places looks at "
        f"{found.shape[1]} blocks of {2 * view.picture.shape[-1] // size} x "
        f"{2 * view.picture.shape[-1] // size} pixels": found
        for size, found in rows.items()
    }
    return attention_figure(view.picture, points, headings, caption=view.title)


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
        resolution: Which attention layer; None draws all.
        truncation: As for sampling.

    Raises:
        SaganError: As for :func:`view_of_seed` and :func:`attention_rows`.
    """
    attention_layers(generator, resolution)
    view = view_of_seed(generator, seed, label, truncation=truncation)
    points = points or choose_query_points(view.picture)
    return draw_view(view, points, attention_rows(view, points, resolution=resolution))


def attention_figure_of_picture(
    discriminator: TrainedDiscriminator,
    picture: np.ndarray,
    label: str | int | None = None,
    *,
    points: Sequence[tuple[int, int]] | None = None,
    resolution: int | None = None,
) -> np.ndarray:
    """The paper's Figure 1 for a given picture, as the discriminator sees it: uint8 (3, H, W).

    Args:
        discriminator: From :func:`sagan.load_discriminator`.
        picture: uint8 (3, R, R) at the resolution of the network.
        label: Class name or number, for the title; the attention does not depend on it.
        points: Query pixels (x, y); None chooses five salient ones.
        resolution: Which attention layer; None draws all.

    Raises:
        SaganError: As for :func:`view_of_picture` and :func:`attention_rows`.
    """
    view = view_of_picture(discriminator, picture, label)
    points = points or choose_query_points(view.picture)
    return draw_view(view, points, attention_rows(view, points, resolution=resolution))
