"""Which pictures are measured."""

from dataclasses import dataclass

from sagan.config import Part
from sagan.errors import SaganError

SEEDS_PER_REPEAT = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The choice of pictures on both sides."""

    against: str | None = None
    """The real pictures: a folder, a packed file or "avatars"; by default what the model learned
    from. They are read by the rules of its training."""
    samples: int = 50_000
    """Pictures that a model draws, in each repeat."""
    repeats: int = 3
    """Sets of different seeds, for a mean and a standard deviation."""
    real_samples: int | None = None
    """Real pictures to use, chosen at random; all by default."""
    split: Part = "train"
    """train, or held-out: what data.held_out keeps from training, otherwise the source's own val or
    test part; of avatars, part combinations that no training picture has."""
    raw: bool = False
    """Take the weights of the last step instead of their average."""
    truncation: float | None = None
    """As for sample."""
    resolution: int | None = None
    """Crop and resize stored pictures to this side; by default the model's, or as they are."""

    def __post_init__(self) -> None:
        for name, value, least in (
            ("samples", self.samples, 2),
            ("repeats", self.repeats, 1),
            ("real-samples", self.real_samples, 2),
        ):
            if value is not None and not least <= value <= SEEDS_PER_REPEAT:
                raise SaganError(
                    f"--{name} {value} is out of range; it must be {least} to {SEEDS_PER_REPEAT:,}"
                )
