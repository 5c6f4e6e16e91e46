"""What the service is asked, and what it answers, as the schema describes both."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt

from sagan.sampling.notation import parse_point, parse_seeds

MOST_ASKED_POINTS = 32
"""Query points of a picture."""
MEDIA_TYPES = {"png": "image/png", "npz": "application/zip", "json": "application/json"}
"""Of the formats of an answer."""
_MOST_MIXED = 1024
_LONGEST_NAME = 500
_LONGEST_SEEDS = 4000


def _several(value: Any) -> Any:
    """One class stands for a list of one."""
    return [value] if isinstance(value, str) or type(value) is int else value


def _written_seeds(value: Any) -> Any:
    """A whole number or a list of them, as it would be written: 3,7."""
    numbers = [value] if type(value) is int else value
    if isinstance(numbers, list) and numbers and all(type(number) is int for number in numbers):
        return ",".join(map(str, numbers))
    return value


def _written_points(value: Any) -> Any:
    """Pairs [x, y] as they would be written: x,y."""
    if not isinstance(value, list):
        return value
    pairs = (list, tuple)
    return [
        ",".join(map(str, point)) if isinstance(point, pairs) and len(point) == 2 else point
        for point in value
    ]


ClassName = Annotated[str, Field(max_length=_LONGEST_NAME)] | StrictInt
Point = Annotated[str, Field(max_length=24)]
Truncation = Annotated[
    float | None,
    Field(
        gt=0,
        le=100,
        allow_inf_nan=False,
        description="Cut the noise off at this many standard deviations: fewer surprises, less "
        "variety. By default it is not cut.",
    ),
]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SampleRequest(_Asked):
    """Which pictures to draw, and how."""

    seeds: Annotated[str, BeforeValidator(_written_seeds)] = Field(
        "0-7",
        max_length=_LONGEST_SEEDS,
        description="Numbers from which the noise is drawn, such as 0-63 or 3,7,20-29; in JSON "
        "also a list of numbers. Every class is drawn with each of them.",
    )
    class_names: Annotated[tuple[ClassName, ...], BeforeValidator(_several)] = Field(
        (),
        alias="class",
        max_length=_MOST_MIXED,
        description="Names or numbers of classes; repeat it for several. By default all, of more "
        "than 16 classes 16 evenly spaced ones.",
    )
    share: tuple[float, ...] = Field(
        (),
        max_length=_MOST_MIXED,
        description="Mix the classes instead: one share from 0 to 1 for each class, in their "
        "order; together 1.",
    )
    truncation: Truncation = None
    format: Literal["png", "npz"] = Field(
        "png",
        description="png: one picture, or a grid in which every class begins a new row. npz: "
        "images, uint8 (N, C, H, W), labels (or shares) and class_names, as sagan sample writes.",
    )
    columns: int = Field(8, ge=1, le=256, description="Pictures in a row of a grid.")
    scale: int = Field(1, ge=1, le=32, description="Enlarge every pixel this many times.")

    def listed_seeds(self) -> list[int]:
        """The seeds as numbers.

        Raises:
            SaganError: They are no list of seeds, or too many.
        """
        return parse_seeds(self.seeds)


class AttentionRequest(_Asked):
    """Which picture, and which of its points are asked where they look."""

    seed: int = Field(0, ge=0, lt=2**63, description="Which picture.")
    class_name: ClassName | None = Field(
        None, alias="class", description="Name or number of its class; the first by default."
    )
    truncation: Truncation = None
    at: Annotated[tuple[Point, ...], BeforeValidator(_written_points)] = Field(
        (),
        max_length=MOST_ASKED_POINTS,
        description="Query points in pixels, as x,y from the upper left; repeat it for several. In "
        "JSON also as pairs [x, y]. By default five are chosen that look at different places.",
    )
    layer: str | None = Field(
        None,
        max_length=20,
        description="Which attention layer, by its name, such as 32; all by default.",
    )
    format: Literal["png", "npz", "json"] = Field(
        "png",
        description="png: a figure as sagan attention draws it. npz: picture, points and an array "
        "rows.NAME (points, keys) for each layer. json: the same points and rows.",
    )

    def pixels(self) -> list[tuple[int, int]]:
        """The points, none where they are to be chosen.

        Raises:
            SaganError: One is no pair of whole numbers.
        """
        return [parse_point(point) for point in self.at]


_TOKEN = Field("", description="The token, where one is needed and no header shows it.")


class SampleQuery(SampleRequest):
    """The same in an address."""

    token: str = _TOKEN


class AttentionQuery(AttentionRequest):
    """The same in an address."""

    token: str = _TOKEN


class Fault(BaseModel):
    """Why a request was not answered."""

    error: str = Field(description="One line: what was found, the cause and the remedy.")


class LayerRows(BaseModel):
    """What points look at in one layer."""

    name: str = Field(description="Of the layer.")
    height: int = Field(description="Of its map.")
    width: int = Field(description="Of its map.")
    keys: tuple[int, int] = Field(description="Height and width of the grid of keys.")
    rows: list[list[float]] = Field(
        description="Of each point the weight of every key, row by row; together 1."
    )


class AttentionAnswer(BaseModel):
    """The attention of a picture's points, with ``format`` json."""

    seed: int
    class_name: str | None = Field(serialization_alias="class")
    points: list[tuple[int, int]] = Field(description="Pixels (x, y).")
    layers: list[LayerRows] = Field(description="Coarse to fine.")


class ServedModel(BaseModel):
    """What is served."""

    name: str
    step: int = Field(description="Updates of the generator that it was trained for.")
    sha256: str = Field(description="Of its file.")
    size: tuple[int, int] = Field(description="Height and width of its pictures.")
    channels: int
    classes: list[str]
    attention: list[str] = Field(description="Names of its attention layers.")


class Health(BaseModel):
    """Whether the service works."""

    ready: bool = Field(description="Whether another request would be taken now.")
    waiting: int = Field(description="Requests that wait or are computed.")
    since: str = Field(description="When it began, ISO 8601.")
    version: str = Field(description="Of sagan.")
    model: ServedModel
