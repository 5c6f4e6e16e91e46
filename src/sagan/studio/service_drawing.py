"""From a request to the bytes of its answer: pictures as PNG or NPZ, and what they look at."""

import hashlib
import io
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from sagan.errors import SaganError
from sagan.images import PADDING, enlarge, grid, png_bytes
from sagan.images.maps import key_grid
from sagan.images.queries import query_index
from sagan.runs.run import load_checkpoint
from sagan.sampling.attention import Attention
from sagan.sampling.generator import TrainedGenerator, generator_of, shown_classes
from sagan.sampling.latents import draw_latents
from sagan.sampling.network import label_number
from sagan.sampling.sets import SampleSet, grid_of
from sagan.studio.service_requests import (
    AttentionAnswer,
    AttentionRequest,
    LayerRows,
    SampleRequest,
    ServedModel,
)

MOST_DRAWN = 256
"""Pictures of one request."""
MOST_DRAWN_PIXELS = 2**25
"""Of an answer."""


class Job(NamedTuple):
    """What is left to do for a request that was checked."""

    compute: Callable[[], bytes]
    """Gives the answer; the same request always the same bytes."""
    pictures: int
    """That it draws."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Served:
    """The model that is served, ready to draw.

    Attributes:
        generator: The averaged one.
        facts: What is told of it.
    """

    generator: TrainedGenerator
    facts: ServedModel

    def sample(self, asked: SampleRequest) -> Job:
        """Checks what is asked and says how it is drawn.

        Raises:
            SaganError: A seed, a class, the shares or the number of pictures is wrong.
        """
        seeds, labels = asked.listed_seeds(), self._labels(asked)
        shares = _shares(asked, labels, len(self.facts.classes)) if asked.share else None
        rows = 1 if shares is not None else len(labels)
        columns = min(asked.columns, len(seeds))
        _require_few(rows * len(seeds))
        cells = rows * columns * -(-len(seeds) // columns)
        height, width = self.generator.size
        pixels = cells * (height + PADDING) * (width + PADDING) * asked.scale**2
        if pixels > MOST_DRAWN_PIXELS:
            raise SaganError(
                f"the answer would have {pixels:,} pixels and {MOST_DRAWN_PIXELS:,} are drawn at "
                "most; ask for a smaller scale or fewer seeds"
            )
        drawing = _Drawing(self.generator, seeds, labels, shares, asked)
        return Job(drawing.npz if asked.format == "npz" else drawing.png, rows * len(seeds))

    def attention(self, asked: AttentionRequest) -> Job:
        """Checks what is asked and says how it is computed.

        Raises:
            SaganError: A class, a point or a layer is wrong, or the model has no attention.
        """
        known = self.facts.classes
        label = 0 if asked.class_name is None else label_number(asked.class_name, known)
        self.generator.attention_layers(asked.layer)
        points, size = asked.pixels(), self.generator.size
        for point in points:
            query_index(point, size, size)

        def compute() -> bytes:
            found = self.generator.attention(
                asked.seed,
                np.array([label]),
                at=points,
                layer=asked.layer,
                truncation=asked.truncation,
            )
            if asked.format == "png":
                return png_bytes(found.figure)
            if asked.format == "npz":
                return _arrays(found)
            return _listed(found, asked, known[label] if known else None)

        return Job(compute, 1)

    def tag(self, path: str, asked: SampleRequest | AttentionRequest) -> str:
        """What changes with the bytes of an answer, and with nothing else: an ETag."""
        asking = asked.model_dump_json(exclude={"token"})
        facts = [path, asking, self.facts.sha256, self._setting]
        return f'"{hashlib.sha256(repr(facts).encode()).hexdigest()[:32]}"'

    @cached_property
    def _setting(self) -> tuple[str | int, ...]:
        """On what the last bits of a sum depend."""
        return torch.__version__, torch.get_num_threads(), torch.backends.cpu.get_cpu_capability()

    def _labels(self, asked: SampleRequest) -> list[int]:
        known = self.facts.classes
        if asked.class_names:
            return [label_number(name, known) for name in asked.class_names]
        if asked.share:
            raise SaganError("shares mix classes; give a class for each share")
        return shown_classes(self.generator) or [0]


def open_served(model: str | Path) -> Served:
    """Opens a model and draws one picture, so that the first request finds it warm.

    Args:
        model: A run folder, a checkpoint, an exported file, or a name: :func:`sagan.models`.

    Raises:
        SaganError: It cannot be read.
    """
    checkpoint, file = load_checkpoint(model)
    generator = generator_of(checkpoint)
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    facts = ServedModel(
        name=Path(os.path.abspath(model)).name.removesuffix(".safetensors"),
        step=checkpoint.step,
        sha256=digest,
        size=generator.size,
        channels=generator.channels,
        classes=list(generator.class_names),
        attention=[place.name for place in generator.attention_layers()]
        if generator.has_attention()
        else [],
    )
    served = Served(generator=generator, facts=facts)
    served.sample(SampleRequest.model_validate({"seeds": "0"})).compute()
    return served


class _Drawing(NamedTuple):
    generator: TrainedGenerator
    seeds: Sequence[int]
    labels: Sequence[int]
    shares: torch.Tensor | None
    asked: SampleRequest

    def png(self) -> bytes:
        """One picture as it is, several as sagan sample lays them out."""
        columns, scale = self.asked.columns, self.asked.scale
        if len(self.seeds) == 1 and (len(self.labels) == 1 or self.shares is not None):
            return png_bytes(self._scaled()[0])
        if self.shares is not None:
            return png_bytes(enlarge(grid(self._mixed(), min(columns, len(self.seeds))), scale))
        pictures = SampleSet(
            self.generator, self.seeds, self.labels, self.asked.truncation, self.asked.scale
        )
        return png_bytes(grid_of(pictures, columns))

    def npz(self) -> bytes:
        """The arrays of sagan sample -o x.npz; where classes are mixed, shares for labels."""
        arrays: dict[str, np.ndarray] = {"images": self._scaled()}
        if names := self.generator.class_names:
            count = len(self.seeds)
            if self.shares is not None:
                arrays["shares"] = np.repeat(self.shares.numpy(), count, axis=0)
            else:
                arrays["labels"] = np.repeat(np.array(self.labels, np.int64), count)
            arrays["class_names"] = np.array(names)
        return _npz_bytes(arrays)

    def _scaled(self) -> np.ndarray:
        """uint8 (N, C, H, W), one class after the other."""
        if self.shares is not None:
            return enlarge(self._mixed(), self.asked.scale)
        drawn = [
            self.generator.sample(self.seeds, label, truncation=self.asked.truncation)
            for label in self.labels
        ]
        return enlarge(np.concatenate(drawn), self.asked.scale)

    def _mixed(self) -> np.ndarray:
        assert self.shares is not None
        latents = draw_latents(
            self.seeds, self.generator.latent_dim, truncation=self.asked.truncation
        )
        return self.generator.pictures(latents, self.shares.expand(len(latents), -1))


def _shares(asked: SampleRequest, labels: Sequence[int], classes: int) -> torch.Tensor:
    """The share of every class of the model: float32 (1, classes).

    Raises:
        SaganError: Their number or sum is wrong, or there are no classes to mix.
    """
    if not classes:
        raise SaganError("this model has no classes; leave the shares out")
    if len(asked.share) != len(labels):
        raise SaganError(
            f"{len(asked.share)} shares for {len(labels)} classes; give one for each class"
        )
    is_within = all(0 <= share <= 1 for share in asked.share)
    if not is_within or abs(math.fsum(asked.share) - 1) > 1e-3:
        raise SaganError(
            f"shares are numbers from 0 to 1 that sum to 1; these sum to {sum(asked.share):g}"
        )
    shares = torch.zeros(1, classes)
    for label, share in zip(labels, asked.share, strict=True):
        shares[0, label] += share
    return shares


def _require_few(pictures: int) -> None:
    if pictures > MOST_DRAWN:
        raise SaganError(
            f"these are {pictures:,} pictures and a request draws {MOST_DRAWN} at most; ask for "
            "fewer seeds or classes"
        )


def _arrays(found: Attention) -> bytes:
    rows = {f"rows.{layer}": of_pictures[0] for layer, of_pictures in found.rows.items()}
    points = np.array(found.points[0], np.int64).reshape(-1, 2)
    return _npz_bytes({"picture": found.pictures[0], "points": points, **rows})


def _listed(found: Attention, asked: AttentionRequest, name: str | None) -> bytes:
    size = found.pictures.shape[2], found.pictures.shape[3]
    layers = [
        LayerRows(
            name=place.name,
            height=place.height,
            width=place.width,
            keys=key_grid(found.rows[place.name][0][0], size).shape,
            rows=found.rows[place.name][0].tolist(),
        )
        for place in found.places
    ]
    answer = AttentionAnswer(
        seed=asked.seed, class_name=name, points=list(found.points[0]), layers=layers
    )
    return answer.model_dump_json(by_alias=True).encode()


def _npz_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()
