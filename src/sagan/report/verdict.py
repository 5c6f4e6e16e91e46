"""What a run amounts to so far, in one word, with the thresholds that decide it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sagan.evaluation.measures import numbers_of
from sagan.evaluation.record import Record
from sagan.report.breadth import BREADTHS, FEWEST_MEASURED, Measured, newest_measured
from sagan.report.history import History
from sagan.runs.alarms import (
    COLLAPSED_VARIETY,
    EARLY_PICTURES,
    LITTLE_VARIETY,
    collapsed_classes,
    variety_of,
)

DEFEATED_LOSS = 0.05
"""Below this discriminator loss (real + fake) the generator has lost."""
WORSENED_DISTANCE = 2.0
"""Above this multiple of its best Fréchet distance a run has lost what it had."""
MEMORISED_RATIO = 0.5
"""Below this share of the distance between real pictures generated ones are copies."""
RECENT_SHARE = 0.1
"""Share of the log, at its end, over which the noisy loss is averaged."""

AVERAGE_PICTURE = 1.0
"""From this distance within classes on, over the spread of their real pictures, one average picture
of each class would be as near as what is drawn."""

Word = Literal[
    "too early to say", "learning", "learning, still narrow", "narrow", "collapsed", "memorising"
]

_ALARMED: dict[str, Word] = {"memorising": "memorising", "little-variety": "narrow"}
"""What a standing alarm makes of a run; any other: collapsed."""

SENTENCES: dict[Word, str] = {
    "too early to say": "There is not enough training behind these figures to judge it by them.",
    "learning": "The two networks are in balance, the pictures reach a fair share of the real ones,"
    " and nothing that was measured looks copied. As long as the distances fall, train on.",
    "learning, still narrow": "It learns, but draws only few of the kinds of pictures that the data"
    " have. Train on while the distances fall; a longer run with lower learning rates, or a wider "
    "network, reaches more.",
    "narrow": "A few pictures come again and again, in other colours perhaps: hardly any of the "
    "kinds of pictures that the data have are drawn. More steps of the same rarely help; begin a "
    "run with a relativistic loss and its two penalties (--loss.relativistic, --loss.r1, --loss.r2,"
    " as the preset avatars32 has them).",
    "collapsed": "A class has become nearly one picture, or the two networks have lost their "
    "balance. More steps alone rarely help; try an earlier checkpoint, lower learning rates or "
    "larger batches.",
    "memorising": "The generator repeats training pictures. More pictures or a smaller network "
    "help.",
}
UNMEASURED = (
    "The two networks are in balance and pictures of a class differ. Whether it draws many "
    "kinds of pictures was not measured; sagan evaluate RUN measures it."
)
"""Instead of the sentence of "learning", where neither recall nor coverage is known."""


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
    varieties: Mapping[str, float] | None = None,
    nearest_ratio: float | None = None,
    records: Sequence[Record] = (),
    samples: int = 0,
) -> Verdict:
    """Says how a run is doing.

    The first of these that holds: too early to say, collapsed (a class that is nearly one picture,
    a discriminator that nothing deceives, pictures much worse than they were, or an alarm),
    memorising, narrow, still narrow, learning.

    Args:
        history: The log.
        pictures_seen: Real pictures shown to the discriminator so far, repetitions included.
        varieties: As :func:`sagan.sampling.generator.varieties` of the newest checkpoint; the log's
            without.
        nearest_ratio: Median distance from a generated picture to the nearest real one, over that
            from a real one to the nearest other one; in pixels.
        records: Evaluations of the run; the newest with a number counts, or the log.
        samples: Pictures of an evaluation during training, for a log that does not say.
    """
    measured = newest_measured(history, records, samples)
    found = varieties or history.varieties
    checks = (
        _enough(pictures_seen),
        _whole(history, found),
        _varied(history, found),
        _calm(history),
        _balanced(history),
        _kept(history),
        _original(nearest_ratio, _ratio_in_features(records)),
        _broad(measured),
        _near(measured),
    )
    word = _word(checks, history, measured)
    unmeasured = word == "learning" and not measured.shares
    return Verdict(word=word, sentence=UNMEASURED if unmeasured else SENTENCES[word], checks=checks)


def _word(checks: Sequence[Check], history: History, measured: Measured) -> Word:
    enough, whole, varied, _, balanced, kept, original, broad, near = (c.passed for c in checks)
    alarmed = {_ALARMED.get(name, "collapsed") for name in history.alarms}
    if not enough or whole is None:
        return "too early to say"
    if False in (whole, balanced, kept) or "collapsed" in alarmed:
        return "collapsed"
    if original is False or "memorising" in alarmed:
        return "memorising"
    if False in (varied, near) or measured.level == 0 or "narrow" in alarmed:
        return "narrow"
    return "learning, still narrow" if broad is False else "learning"


def _enough(pictures_seen: int) -> Check:
    return Check(
        question="Has it seen enough?",
        measured=f"{pictures_seen:,} pictures",
        threshold=f"at least {EARLY_PICTURES:,}",
        passed=pictures_seen >= EARLY_PICTURES,
        meaning="Real pictures shown to the discriminator, each as often as it was shown. Before "
        "that the figures below say little.",
    )


def _whole(history: History, found: Mapping[str, float]) -> Check:
    least = min(found.values()) if found else history.newest("variety")
    words = "not measured"
    if least is not None:
        which = f" in the class {min(found, key=found.__getitem__)}" if len(found) > 1 else ""
        words = f"{least:.0%} of the real variety{which}"
    return Check(
        question="Do the pictures of every class differ?",
        measured=words,
        threshold=f"at least {COLLAPSED_VARIETY:.0%}",
        passed=None if least is None else not collapsed_classes({"": least}),
        meaning="How far a generated picture is from the one of its class most like it, in coarse "
        "grey structure, against real ones; in the class where that is least. A collapsed generator"
        " draws nearly the same picture for every seed.",
    )


def _varied(history: History, found: Mapping[str, float]) -> Check:
    variety = variety_of(found) if found else history.newest("variety")
    return Check(
        question="Do they vary as real ones do?",
        measured="not measured" if variety is None else f"{variety:.0%} of the real variety",
        threshold=f"at least {LITTLE_VARIETY:.0%}",
        passed=None if variety is None else variety >= LITTLE_VARIETY,
        meaning="The same, lower quartile of the classes. A few shapes in many colours lie close "
        "together.",
    )


def _calm(history: History) -> Check:
    return Check(
        question="Does no alarm stand?",
        measured=", ".join(history.alarms) or ("none" if history.watched else "not watched"),
        threshold="none",
        passed=not history.alarms if history.watched else None,
        meaning="What was watched while it trained; the alarms and what helps are in docs/runs.md.",
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
        f"{RECENT_SHARE:.0%} of the log. Near 0 it is never deceived; "
        "a blind guess has 2 with the hinge loss and 0.7 with the relativistic one.",
    )


def _kept(history: History) -> Check:
    distances = history.comparable("fd")
    multiple = None
    if distances.size and (best := distances.min()) > 0:
        multiple = float(distances[-1] / best)
    return Check(
        question="Has it kept its best?",
        measured="not measured" if multiple is None else f"{multiple:.2f} times its best distance",
        threshold=f"at most {WORSENED_DISTANCE:g}",
        passed=None if multiple is None else multiple <= WORSENED_DISTANCE,
        meaning="The newest Fréchet distance to real pictures that was measured during training, "
        "over the lowest one that was measured alike. 1 is the best so far.",
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


def _broad(measured: Measured) -> Check:
    shares = measured.shares
    bounds = {name: BREADTHS[name].bounds(measured.pictures)[1] for name in BREADTHS}
    words = " and ".join(f"{name} {value:.3f}" for name, value in shares.items())
    wanted = " and ".join(f"{name} {bounds[name]:.3f}" for name in shares or BREADTHS)
    return Check(
        question="Does it draw many kinds of pictures?",
        measured=f"{words}, {measured.pictures:,} pictures a side" if shares else "not measured",
        threshold=f"at least {wanted}",
        passed=measured.level == 2 if shares else None,
        meaning="Recall and coverage: which share of the real pictures lies within reach of the "
        "drawn ones, and which has a drawn one nearby. Both are lower the more pictures are "
        f"compared. Judged from {FEWEST_MEASURED} pictures a side on.",
    )


def _near(measured: Measured) -> Check:
    mean = measured.distance
    words = "not measured"
    if mean is not None:
        worst = max(measured.by_class.items(), key=lambda pair: pair[1], default=None)
        words = f"{mean:.2f}" + (f", the farthest {worst[0]} {worst[1]:.2f}" if worst else "")
    return Check(
        question="Is a class more than its average?",
        measured=words,
        threshold=f"below {AVERAGE_PICTURE:g}",
        passed=None if mean is None else mean < AVERAGE_PICTURE,
        meaning="Distance between drawn and real pictures within a class, over the spread of its "
        "real ones; mean of the classes that have enough pictures. At 1, drawing one average "
        "picture of each class would be as near; real pictures come to 0.2.",
    )


def _ratio_in_features(records: Sequence[Record]) -> float | None:
    measured = [
        (record.subject.get("step") or 0, next(iter(found.values())).mean)
        for record in records
        if (found := numbers_of("neighbours", record.values))
    ]
    return max(measured, key=lambda pair: pair[0])[1] if measured else None  # type: ignore[arg-type,return-value]
