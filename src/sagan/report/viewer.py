"""Attention that answers the pointer: pictures with all rows of their attention, small.

A row is stored as shares of its largest weight in 255 steps, beside that weight and its entropy,
and all rows of a layer together are deflated; the browser inflates them.
"""

import base64
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sagan.config import Place
from sagan.data import Dataset
from sagan.errors import SaganError
from sagan.images.drawing import heat_ramp
from sagan.images.maps import key_grid
from sagan.nn.exposed import ExposedNetwork
from sagan.report.sheets import Picture, embedded, spread
from sagan.runs.checkpoint import Checkpoint
from sagan.sampling.latents import draw_latents
from sagan.sampling.live import LiveModel

DRAWN_PICTURES = 8
MOST_REAL = 4
ROWS_BYTES = 900_000
"""Of the page, for the rows of all pictures of a network."""


class AskedPicture(NamedTuple):
    """A picture whose places can be asked."""

    name: str
    picture: Picture


class Viewer(NamedTuple):
    """What a script makes answer the pointer."""

    network: str
    pictures: tuple[AskedPicture, ...]
    layers: tuple[str, ...]
    """Words for each."""
    data: Mapping[str, Any]
    """For the script: the heat ramp and, picture by picture, the layers' rows."""


class _Shown(NamedTuple):
    name: str
    words: str
    picture: np.ndarray
    maps: Mapping[str, np.ndarray]


def viewer_of_drawn(checkpoint: Checkpoint) -> Viewer:
    """Pictures of a few classes, or of a few seeds where there are none, as they are drawn.

    Raises:
        SaganError: The generator has no attention.
    """
    model = LiveModel(checkpoint)
    _require_attention("generator", model.generator)
    latents = draw_latents(range(DRAWN_PICTURES), model.latent_dim).numpy()
    shares = np.eye(len(model.class_names), dtype=np.float32)

    def shown(number: int) -> _Shown:
        if model.class_names:
            drawn, name = model.draw(latents[0], shares[number]), model.class_names[number]
            return _Shown(name, f"{name}, seed 0", drawn.picture, drawn.maps)
        drawn = model.draw(latents[number], shares)
        name = f"seed {number}"
        return _Shown(name, name, drawn.picture, drawn.maps)

    numbers = spread(range(len(model.class_names) or DRAWN_PICTURES), DRAWN_PICTURES)
    return _viewer("generator", model.generator.places, [shown(number) for number in numbers])


def viewer_of_real(checkpoint: Checkpoint, dataset: Dataset) -> Viewer:
    """A few training pictures as the discriminator looks at them.

    Raises:
        SaganError: There is no discriminator, it has no attention, or the pictures do not fit.
    """
    model = LiveModel(checkpoint)
    if model.discriminator is None:
        raise SaganError("the checkpoint holds no discriminator")
    _require_attention("discriminator", model.discriminator)
    several = []
    for row in spread(range(len(dataset)), MOST_REAL):
        names = dataset.class_names[dataset.labels[row] :][:1]
        words = ", ".join([*names, f"training picture {row}"])
        picture = np.array(dataset.images[row])
        name = names[0] if names else words
        several.append(_Shown(name, words, picture, model.judge(picture).maps))
    return _viewer("discriminator", model.discriminator.places, several)


def _require_attention(name: str, network: ExposedNetwork) -> None:
    if not network.places:
        raise SaganError(f"this {name} has no attention layer")


def _viewer(network: str, places: Sequence[Place], several: Sequence[_Shown]) -> Viewer:
    """As many of the pictures, and of each as many places, as the page has room for."""
    every = 1
    while (first := _askable(several[0], places, every)) and _room_of(first) > ROWS_BYTES:
        every *= 2
    chosen = spread(several, max(1, ROWS_BYTES // _room_of(first)))
    layers = [_askable(shown, places, every) for shown in chosen]
    while len(chosen) > 1 and sum(map(_room_of, layers)) > ROWS_BYTES:
        chosen.pop()
        layers.pop()
    size = several[0].picture.shape[1:]
    ramp = heat_ramp(np.linspace(0, 1, 256)) * [1, 1, 1, 255]
    pictures = tuple(
        AskedPicture(x.name, embedded(x.picture, x.words, f"{network} {x.words}")) for x in chosen
    )
    return Viewer(
        network=network,
        pictures=pictures,
        layers=tuple(_words(place, several[0].maps[place.name], size, every) for place in places),
        data={"ramp": _deflated(ramp.round().astype(np.uint8)), "pictures": layers},
    )


def _words(place: Place, rows: np.ndarray, size: Sequence[int], every: int) -> str:
    keys = key_grid(rows[0], (size[0], size[1])).shape
    thinned_out = f"; one of {every} x {every} places answers" if every > 1 else ""
    return (
        f"Layer {place}: {rows.shape[1]:,} blocks of {size[0] // keys[0]} x {size[1] // keys[1]} "
        f"pixels to look at{thinned_out}"
    )


def _askable(shown: _Shown, places: Sequence[Place], every: int) -> list[dict[str, Any]]:
    """All layers of a picture; of every ``every`` rows and columns of its places the first."""
    found = []
    for place in places:
        rows = shown.maps[place.name]
        keys = key_grid(rows[0], (place.height, place.width)).shape
        step = min(every, place.height, place.width)
        grid = rows.reshape(place.height, place.width, -1)[::step, ::step]
        rows = grid.reshape(-1, rows.shape[1]).astype(np.float64)
        largest = rows.max(axis=1)
        entropy = -(rows * np.log(np.maximum(rows, 1e-30))).sum(axis=1) / math.log(rows.shape[1])
        levels = np.rint(255 * rows / largest[:, None]).astype(np.uint8)
        found.append(
            {
                "name": place.name,
                "queries": list(grid.shape[:2]),
                "keys": list(keys),
                "levels": _deflated(levels),
                "numbers": _deflated(np.stack([largest, entropy], axis=1).astype("<f4")),
            }
        )
    return found


def _room_of(layers: Sequence[Mapping[str, Any]]) -> int:
    return sum(len(layer["levels"]) + len(layer["numbers"]) for layer in layers)


def _deflated(numbers: np.ndarray) -> str:
    """Deflated, in base64."""
    return base64.b64encode(zlib.compress(numbers.tobytes(), 9)).decode()


def heat_gradient() -> str:
    """The colours of the heat from 0 to the largest weight, as CSS has them."""
    stops = [
        f"rgb({red:.0f} {green:.0f} {blue:.0f} / {opacity:.2f})"
        for red, green, blue, opacity in heat_ramp(np.linspace(0, 1, 9))
    ]
    return f"linear-gradient(to right, {', '.join(stops)})"
