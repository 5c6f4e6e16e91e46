"""What may be asked, in JSON: kinds, numbers and lengths, before anything is computed."""

from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

MOST_STEPS = 2**53
MOST_FILM_FRAMES = 600
_MOST_CLASSES = 2**16
_MOST_LATENT = 2**12

Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e4, le=1e4)]
Step = Annotated[int, Field(ge=0, le=MOST_STEPS)]
Latent = Annotated[list[Number], Field(max_length=_MOST_LATENT)]
Shares = Annotated[list[Number], Field(max_length=_MOST_CLASSES)]
PlaceName = Annotated[str, Field(max_length=16)]
Factors = Annotated[dict[PlaceName, Number], Field(max_length=64)]


def floats_of(values: list[float]) -> np.ndarray:
    """What came as JSON, for a model: float32."""
    return np.asarray(values, np.float32)


class Asked(BaseModel):
    """A request; what is not named here is refused."""

    model_config = ConfigDict(strict=True, extra="forbid")

    step: Step | None = None
    """Which checkpoint of a run; without it the newest."""
    scales: Factors = {}
    """Name of a layer -> what its gamma is multiplied by."""


class DrawAsked(Asked):
    """A picture with its attention."""

    latent: Latent
    shares: Shares = []
    """Of the classes; [] without classes."""


class JudgeAsked(Asked):
    """A verdict on a picture."""

    picture: str
    """Base64 of its levels, uint8 (C, H, W)."""


class ExplainAsked(Asked):
    """How one position is computed."""

    network: Literal["generator", "discriminator"]
    layer: PlaceName
    position: Annotated[int, Field(ge=0, le=2**32)]
    """Row-major, on the layer's own map."""
    latent: Latent = []
    """For the generator."""
    shares: Shares = []
    """For the generator."""
    picture: str = ""
    """For the discriminator."""


class FilmAsked(Asked):
    """A film of pictures."""

    latents: Annotated[list[Latent], Field(min_length=1, max_length=MOST_FILM_FRAMES)]
    shares: Annotated[list[Shares], Field(max_length=MOST_FILM_FRAMES)] = []
    """Of the classes, frame by frame; [] without classes."""
    format: Literal["mp4", "gif", "webp"] = "mp4"
    framesPerSecond: Annotated[Number, Field(gt=0)] = 24.0  # noqa: N815
    scale: Annotated[int, Field(ge=1, le=16)] = 1
    """Enlarges every pixel this many times."""
