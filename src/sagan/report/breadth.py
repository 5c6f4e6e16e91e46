"""How many of the kinds of pictures in the data a run draws: what was measured, and bounds."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from sagan.evaluation.arrays import MANIFOLD_PICTURES
from sagan.evaluation.measures import SPREAD_TITLE
from sagan.evaluation.record import Record
from sagan.report.history import History

FEWEST_MEASURED = 500
"""Pictures of either side from which on recall and coverage are judged."""


class Breadth(NamedTuple):
    """Up to where a share of the real pictures is narrow, and still narrow.

    Of 2,000 pictures a side; of n pictures these times (2000 / n) to the power ``fall``, since the
    share that a model reaches falls as the pictures lie closer. docs/evaluation.md has the runs
    between which the bounds lie.
    """

    narrow: float
    narrow_fall: float
    still_narrow: float
    still_narrow_fall: float

    def bounds(self, pictures: int) -> tuple[float, float]:
        """Those of so many pictures a side."""
        ratio = 2000 / min(pictures, MANIFOLD_PICTURES)
        return (
            self.narrow * ratio**self.narrow_fall,
            self.still_narrow * ratio**self.still_narrow_fall,
        )


BREADTHS = {
    "recall": Breadth(0.005, 1.5, 0.055, 0.8),
    "coverage": Breadth(0.13, 0.65, 0.27, 0.45),
}
"""By the name of the number."""


class Measured(NamedTuple):
    """What the newest evaluation says of breadth."""

    pictures: int = FEWEST_MEASURED
    """On the side that has fewer."""
    shares: Mapping[str, float] = MappingProxyType({})
    """Those of recall and coverage that are known."""
    distance: float | None = None
    """Within classes, over their spread; the mean."""
    by_class: Mapping[str, float] = MappingProxyType({})
    """The same by class."""

    @property
    def level(self) -> int:
        """0: narrow, 1: still narrow, 2: neither, or not measured."""
        levels = [2]
        for name, share in self.shares.items():
            levels.append(sum(share >= bound for bound in BREADTHS[name].bounds(self.pictures)))
        return min(levels)


def newest_measured(history: History, records: Sequence[Record], samples: int) -> Measured:
    """Recall, coverage and distance within classes of the newest evaluation that has some.

    Records of truncated pictures or of weights without average do not count, nor do evaluations
    with very few pictures.
    """
    found: list[tuple[int, Measured]] = []
    for record in records:
        protocol = record.protocol
        if protocol.get("truncation") is None and protocol.get("weights") in (None, "averaged"):
            numbers = {name: value.mean for name, value in record.values.items()}
            sides = [protocol.get("real_pictures"), protocol.get("fake_pictures")]
            pictures = min(side if isinstance(side, int) else 0 for side in sides)
            measured = _told_by(numbers, record.details, pictures)
            found.append((int(record.subject.get("step") or 0), measured))
    for step in {int(curve.steps[-1]) for curve in history.metrics.values()}:
        numbers = {
            k: float(v.values[-1]) for k, v in history.metrics.items() if v.steps[-1] == step
        }
        pictures = history.newest("evaluation_pictures")
        pictures = samples if pictures is None else int(pictures)
        found.append((step, _told_by(numbers, history.by_class, pictures)))
    found = [(step, of) for step, of in found if of.shares or of.distance is not None]
    return max(found, key=lambda pair: (pair[0], pair[1].pictures))[1] if found else Measured()


def _told_by(
    numbers: Mapping[str, float], by_class: Mapping[str, Mapping[str, float]], pictures: int
) -> Measured:
    within = {name for name in numbers if name.startswith(SPREAD_TITLE)}
    enough = pictures >= FEWEST_MEASURED
    return Measured(
        pictures=max(pictures, FEWEST_MEASURED),
        shares={name: numbers[name] for name in BREADTHS if name in numbers and enough},
        distance=next((numbers[name] for name in within), None),
        by_class=next((by_class[name] for name in within if name in by_class), {}),
    )
