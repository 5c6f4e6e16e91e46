"""Attention of query points: generator (drawn pictures) and discriminator (given pictures)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from operator import index
from pathlib import Path
from threading import get_ident

import numpy as np
import torch
from torch import Tensor

from sagan.config import Place
from sagan.errors import SaganError
from sagan.images import png_bytes, save_png, to_uint8
from sagan.images.batch import Pictures
from sagan.images.figure import attention_figure
from sagan.images.maps import key_grid, median_overlap
from sagan.images.queries import CANDIDATES, choose_query_points, most_different, query_index
from sagan.nn.focus import Focus, focus_of, mean_focus
from sagan.nn.layers import SelfAttention2d
from sagan.sampling.network import TrainedNetwork
from sagan.system.files import require_output

Points = Iterable[tuple[int, int]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Attention:
    """Where points of pictures look, layer by layer; a notebook shows it as a figure.

    Rows are queries, the points asked about; columns are keys, the places looked at, row by row on
    a grid over the picture that has its proportions (:func:`sagan.images.maps.key_grid`).
    """

    network: str
    """generator or discriminator."""
    pictures: Pictures
    """uint8 (N, C, H, W)."""
    names: tuple[str, ...]
    """Of each picture, for its title; "" for nothing."""
    points: tuple[tuple[tuple[int, int], ...], ...]
    """Of each picture, pixels (x, y)."""
    places: tuple[Place, ...]
    """Of the layers, coarse to fine."""
    rows: Mapping[str, np.ndarray]
    """Name of the place, such as "16" -> float32 (N, points, keys); each row sums to 1."""
    focus: Mapping[str, tuple[Focus, ...]]
    """Name of the place -> what all positions of each picture do there."""

    @cached_property
    def overlaps(self) -> dict[str, float]:
        """Name of the place -> how far points of a picture look at the same places, 0..1.

        The median over pairs of points, and of that over pictures; 1 where all look alike, NaN for
        a single point.
        """
        return {
            name: float(np.median([median_overlap(rows) for rows in pictures]))
            for name, pictures in self.rows.items()
        }

    @cached_property
    def figure(self) -> np.ndarray:
        """The paper's Figure 1, a block of panels per layer, picture below picture.

        Returns:
            uint8 (3, H, W).
        """
        return self.drawn()

    def drawn(self, panel: int = 256) -> np.ndarray:
        """The same with panels whose longer side has so many pixels."""
        figures = [self._figure(number, panel) for number in range(len(self.pictures))]
        return np.concatenate(figures, 1)

    def _figure(self, number: int, panel: int) -> np.ndarray:
        layers = {
            "\n".join(self.heading(place, number)): self.rows[place.name][number]
            for place in self.places
        }
        words = f"What the {self.network} looks at", self.names[number]
        picture, points = self.pictures[number], self.points[number]
        return attention_figure(
            picture, points, layers, panel=panel, caption=": ".join(filter(None, words))
        )

    def heading(self, place: Place, number: int = 0) -> tuple[str, str]:
        """Of a layer in a picture: what looks at what, and its numbers."""
        rows, focus = self.rows[place.name][number], self.focus[place.name][number]
        size = self.pictures.shape[2:]
        keys = key_grid(rows[0], size).shape
        alike = median_overlap(rows)
        facts = [
            f"gamma {focus.gamma:+.2f}, adds {100 * focus.contribution:.1f} % to its input",
            "" if np.isnan(alike) else f"median overlap of the maps {alike:.2f}",
            focus.remark.partition(":")[0],
        ]
        heading = (
            f"Attention at {place}: each of {place.height * place.width:,} places looks at "
            f"{rows.shape[-1]:,} blocks of {size[0] // keys[0]} x {size[1] // keys[1]} pixels"
        )
        return heading, ", ".join(filter(None, facts))

    def lines(self) -> list[str]:
        """What each layer does, for people: its numbers, the overlap of the points' maps, remarks.

        Of several pictures these are means.
        """
        lines = []
        for place in self.places:
            focus, alike = mean_focus(self.focus[place.name]), self.overlaps[place.name]
            told = "" if np.isnan(alike) else f", median overlap of the points' maps {alike:.2f}"
            lines.append(f"{self.network} at {place}: {focus}{told}")
            if focus.remark:
                lines.append(f"  {focus.remark}")
        return lines

    def save(self, path: str | Path) -> Path:
        """Writes the figure as PNG and returns the path.

        Raises:
            SaganError: Nothing can, or should, be written there.
        """
        require_output(Path(path), ".png")
        return save_png(self.figure, path)

    def _repr_png_(self) -> bytes:
        return png_bytes(self.figure)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}: {rows.shape}" for name, rows in self.rows.items())
        return f"Attention({self.network}, rows of (pictures, points, keys): {shapes})"


@contextmanager
def captured_inputs(layers: Mapping[Place, SelfAttention2d]) -> Iterator[dict[Place, Tensor]]:
    """Keeps what attention layers are given in this thread's passes: place -> (N, C, H, W)."""
    seen: dict[Place, Tensor] = {}
    own = get_ident()

    def keep(place: Place, _: object, given: tuple[Tensor]) -> None:
        if get_ident() == own:
            seen[place] = given[0]

    hooks = [
        layer.register_forward_pre_hook(partial(keep, place)) for place, layer in layers.items()
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@torch.inference_mode()
def explicit_rows(layer: SelfAttention2d, x: Tensor, queries: np.ndarray) -> np.ndarray:
    """The attention weights of queries (Q,) for a layer's input (N, C, H, W): (N, Q, keys).

    Raises:
        SaganError: A weight is not finite.
    """
    rows = layer.attention_rows(x, torch.from_numpy(queries).to(x.device))
    if not rows.isfinite().all():
        raise SaganError("attention weights are not finite; choose an earlier checkpoint")
    return rows.cpu().numpy()


@torch.inference_mode()
def observe(
    model: TrainedNetwork,
    inputs: Tensor,
    labels: Tensor,
    *,
    names: Sequence[str],
    at: Points = (),
    layer: int | str | None = None,
) -> Attention:
    """Runs a network on one picture after the other and asks its attention about points.

    Args:
        model: A generator or a discriminator.
        inputs: Latents (N, latent_dim) or images (N, C, H, W) in [-1, 1], N >= 1.
        labels: int64 (N,).
        names: What each picture is called in its title, "" for nothing.
        at: Pixels (x, y); none chooses five salient ones of each picture whose attention differs.
        layer: As for :meth:`TrainedNetwork.attention_layers`.

    Raises:
        SaganError: As for the networks' ``attention``.
    """
    layers = model.attention_layers(layer)
    if not len(inputs):
        raise SaganError("there is no picture to look at; give one seed or picture at least")
    given = _pixels(at)
    pictures, points = list[np.ndarray](), list[tuple[tuple[int, int], ...]]()
    found: dict[str, list[np.ndarray]] = {place.name: [] for place in layers}
    focus: dict[str, list[Focus]] = {place.name: [] for place in layers}
    for one, label in zip(inputs.split(1), labels.split(1), strict=True):
        with captured_inputs(layers) as seen:
            output = model(one, label)
        picture = to_uint8(output if output.ndim == 4 else one).cpu().numpy()[0]
        asked = given or tuple(choose_query_points(picture, min(CANDIDATES, picture[0].size)))
        rows = _asked_rows(layers, seen, asked, model.size)
        kept = range(len(asked)) if given else most_different(asked, rows, model.size)
        pictures.append(picture)
        points.append(tuple(asked[number] for number in kept))
        for place, of_layer in zip(layers, rows, strict=True):
            found[place.name].append(of_layer[kept])
            focus[place.name].append(focus_of(layers[place], seen[place]))
    return Attention(
        network=model.kind,
        pictures=Pictures(np.stack(pictures)),
        names=tuple(names),
        points=tuple(points),
        places=tuple(layers),
        rows={name: np.stack(rows) for name, rows in found.items()},
        focus={name: tuple(several) for name, several in focus.items()},
    )


def _asked_rows(
    layers: Mapping[Place, SelfAttention2d],
    seen: Mapping[Place, Tensor],
    points: Points,
    size: tuple[int, int],
) -> list[np.ndarray]:
    """Of each layer the attention weights of points of one picture: (points, keys)."""
    rows = []
    for place, layer in layers.items():
        cells = place.height, place.width
        queries = np.array([query_index(point, size, cells) for point in points])
        rows.append(explicit_rows(layer, seen[place], queries)[0])
    return rows


def _pixels(at: Points) -> tuple[tuple[int, int], ...]:
    try:
        return tuple((index(x), index(y)) for x, y in at)
    except (TypeError, ValueError):
        raise SaganError(f"at={at!r} is no list of pixels like [(12, 20)] (x, then y)") from None
