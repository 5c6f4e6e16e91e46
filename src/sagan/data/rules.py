"""By which rules pictures of any kind become arrays of one shape."""

from dataclasses import asdict, dataclass

from sagan.config import Crop, DataConfig


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is done to every picture; equal rules give equal pixels."""

    size: tuple[int, int] | None
    """Height and width in pixels; None: as stored, which must be the same for all."""
    channels: int
    """1, 3 or 4."""
    crop: Crop = "centre"
    box: tuple[int, ...] = ()
    background: str = "white"
    range: tuple[float, ...] = ()
    frame: str = "first"

    def text(self) -> str:
        """One line that is equal for equal rules."""
        return repr(sorted(asdict(self).items()))


def rules_of(config: DataConfig, channels: int, found: tuple[float, ...] = ()) -> Rules:
    """The rules that a config states.

    Args:
        config: What is stated.
        channels: 1, 3 or 4.
        found: The range of values that the source tells, where none is stated.
    """
    return Rules(
        size=config.size,
        channels=channels,
        crop=config.crop,
        box=config.box,
        background=config.background,
        range=config.range or found,
        frame=config.frame,
    )
