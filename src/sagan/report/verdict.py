"""What a run amounts to so far, in one word, with the thresholds that decide it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sagan.evaluation.measures import numbers_of
from sagan.evaluation.record import Record
from sagan.report.history import History

EARLY_PICTURES = 20_000
"""Real pictures the discriminator must have seen before anything is said."""
COLLAPSED_VARIETY = 0.2
"""Below this share of the real pictures' variety a class has collapsed to a few pictures."""
DEFEATED_LOSS = 0.05
"""Below this discriminator loss (real + fake; 2 for a blind guess) the generator has lost."""
WORSENED_DISTANCE = 2.0
"""Above this multiple of its best Fréchet distance a run has lost what it had."""
MEMORISED_RATIO = 0.5
"""Below this share of the distance between real pictures generated ones are copies."""
RECENT_SHARE = 0.1
"""Share of the log, at its end, over which the noisy loss is averaged."""

Word = Literal["too early to say", "learning", "collapsed", "memorising"]

SENTENCES: dict[Word, str] = {
    "too early to say": "There is not enough training behind these figures to judge it by them.",
    "learning": "The pictures vary, the two networks are in balance, and nothing that was measured "
    "looks copied.",
    "collapsed": "The two networks have lost their balance. More steps alone rarely help; try "
    "an earlier checkpoint, lower learning rates or larger batches.",
    "memorising": "The generator repeats training pictures. More pictures or a smaller network "
    "help.",
}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question put to the run."""

    question: str
    measured: str
    threshold: str
    passed: bool | None
    """None where nothing was measured."""
    meaning: str
    """What the figure is, in plain words."""

    @property
    def answer(self) -> str:
        """To the question."""
        return {True: "yes", False: "no", None: "unknown"}[self.passed]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The word and what led to it."""

    word: Word
    sentence: str
    checks: tuple[Check, ...]


def judge(
    history: History,
    *,
    pictures_seen: int,
    variety: float | None = None,
    nearest_ratio: float | None = None,
    records: Sequence[Record] = (),
) -> Verdict:
    """Says how a run is doing.

    The first of these that holds: too early to say, collapsed (little variety, a discriminator
    that nothing deceives, or pictures much worse than they were), memorising, learning.

    Args:
        history: The log.
        pictures_seen: Real pictures shown to the discriminator so far, repetitions included.
        variety: As :func:`sagan.sampling.generator.variety`, for a log that has none.
        nearest_ratio: Median distance from a generated picture to the nearest real one, over that
            from a real one to the nearest other one; in pixels.
        records: Evaluations of the run; the newest with such a ratio, in features, counts too.
    """
    logged = history.newest("variety")
    variety = variety if logged is None else logged
    checks = (
        _enough(pictures_seen),
        _varied(variety),
        _balanced(history),
        _kept(history),
        _original(nearest_ratio, _ratio_in_features(records)),
    )
    enough, varied, balanced, kept, original = (check.passed for check in checks)
    word: Word = "learning"
    if not enough or varied is None:
        word = "too early to say"
    elif False in (varied, balanced, kept):
        word = "collapsed"
    elif original is False:
        word = "memorising"
    return Verdict(word=word, sentence=SENTENCES[word], checks=checks)


def _enough(pictures_seen: int) -> Check:
    return Check(
        question="Has it seen enough?",
        measured=f"{pictures_seen:,} pictures",
        threshold=f"at least {EARLY_PICTURES:,}",
        passed=pictures_seen >= EARLY_PICTURES,
        meaning="Real pictures shown to the discriminator, each as often as it was shown. Before "
        "that the figures below say little.",
    )


def _varied(variety: float | None) -> Check:
    return Check(
        question="Do the pictures of a class differ?",
        measured="not measured" if variety is None else f"{variety:.0%} of the real variety",
        threshold=f"at least {COLLAPSED_VARIETY:.0%}",
        passed=None if variety is None else variety >= COLLAPSED_VARIETY,
        meaning="How much a pixel varies among generated pictures of a class, against real ones. A "
        "collapsed generator draws nearly the same picture for every seed.",
    )


def _balanced(history: History) -> Check:
    real = history.newest("discriminator_real", RECENT_SHARE)
    fake = history.newest("discriminator_fake", RECENT_SHARE)
    loss = None if real is None or fake is None else real + fake
    return Check(
        question="Is the game still open?",
        measured="not measured" if loss is None else f"discriminator loss {loss:.2f}",
        threshold=f"at least {DEFEATED_LOSS}",
        passed=None if loss is None else loss >= DEFEATED_LOSS,
        meaning="The discriminator's loss on real and fake pictures together, mean over the last "
        f"{RECENT_SHARE:.0%} of the log. Near 0 it is never deceived; 2 is a blind guess.",
    )


def _kept(history: History) -> Check:
    distances = numbers_of("fd", history.metrics)
    multiple = None
    if distances and (best := distances[0].values.min()) > 0:
        multiple = float(distances[0].values[-1] / best)
    return Check(
        question="Has it kept its best?",
        measured="not measured" if multiple is None else f"{multiple:.2f} times its best distance",
        threshold=f"at most {WORSENED_DISTANCE:g}",
        passed=None if multiple is None else multiple <= WORSENED_DISTANCE,
        meaning="The newest Fréchet distance to real pictures that was measured during training, "
        "over the lowest one. 1 is the best so far.",
    )


def _original(in_pixels: float | None, in_features: float | None) -> Check:
    named = (("pixels", in_pixels), ("features", in_features))
    found = {space: ratio for space, ratio in named if ratio is not None}
    words = ", ".join(f"{ratio:.2f} in {space}" for space, ratio in found.items())
    return Check(
        question="Are the pictures its own?",
        measured=f"distance {words}" if found else "not measured",
        threshold=f"at least {MEMORISED_RATIO}",
        passed=min(found.values()) >= MEMORISED_RATIO if found else None,
        meaning="Distance from a generated picture to the nearest training picture, divided by the "
        "distance usual between a training picture and its nearest neighbour. Copies are near 0.",
    )


def _ratio_in_features(records: Sequence[Record]) -> float | None:
    measured = [
        (record.subject.get("step") or 0, found[0].mean)
        for record in records
        if (found := numbers_of("neighbours", record.values))
    ]
    return max(measured, key=lambda pair: pair[0])[1] if measured else None  # type: ignore[arg-type,return-value]
