"""What flags mean that are more than one number or word."""

from cyclopts import Parameter

from sagan.errors import SaganError
from sagan.sampling.notation import MOST_PICTURES as MOST_PICTURES
from sagan.sampling.notation import parse_point as parse_point
from sagan.sampling.notation import parse_seeds as parse_seeds

MODEL = Parameter(
    help="A run folder, a .safetensors file, the name of a model (sagan models), or hf:OWNER/NAME."
)
OUTPUT = Parameter(name=["--output", "-o"])
SWITCH = Parameter(negative=(), show_default=False)
FLAGS = Parameter(name="*")
"""A dataclass, each of whose fields is a flag."""


def require_range(flag: str, value: int | None, least: int, most: int | None = None) -> None:
    """Refuses a number that was given and is out of range.

    Raises:
        SaganError: Names the flag, its value and what is allowed.
    """
    if value is not None and (value < least or (most is not None and value > most)):
        bound = "" if most is None else f" and at most {most:,}"
        raise SaganError(f"{flag} {value} is out of range; it must be at least {least}{bound}")
