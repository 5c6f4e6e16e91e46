"""Alarms: rules over what was watched while a run trained, with the thresholds that decide.

Everything is a function of the log, so that training, ``sagan status`` and the report say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sagan.runs.events import ALARM, CLEARED, event
from sagan.runs.log import finite_number, finite_numbers

WATCHED = "watched_"
"""What the numbers of a check are called in the log begins so."""
VARIETY = WATCHED + "variety"
"""That of the classes as :func:`variety_of` sums it up."""
VARIETY_BY_CLASS = WATCHED + "variety_by_class"
"""How far apart drawn pictures are, over real ones, by class; its name is empty where there are
none."""
GAP = WATCHED + "gap"
"""Mean logit of training pictures minus that of drawn ones."""
SATURATION = WATCHED + "saturation"
"""Share of the discriminator's logits, real and fake, at which its loss has no slope left."""
MEMORY = WATCHED + "memory"
"""Mean logit of training pictures minus that of held-out ones, over the gap: 0 for a discriminator
that knows kinds of pictures, 1 for one that knows its training pictures by heart."""
LOSS = WATCHED + "loss"
"""The largest term of the loss, without its sign."""
SIGMA = WATCHED + "sigma"
"""The largest singular value of a spectrally normalised weight, where it is the greatest."""
SIGMA_BY_LAYER = WATCHED + "sigma_by_layer"
"""The same of each layer."""
SINGULAR_VALUE_BY_LAYER = WATCHED + "singular_value_by_layer"
"""The largest singular value of each layer's weight before it is normalised."""

EARLY_PICTURES = 20_000
"""Real pictures the discriminator must have seen before a report says anything."""
COLLAPSED_VARIETY = 0.2
"""Below this share of the real pictures' variety a class has collapsed to a few pictures."""
LITTLE_VARIETY = 0.6
"""Below this share a model repeats a few pictures, in other colours perhaps. docs/runs.md has the
runs between which it lies."""
SATURATED_SHARE = 0.95
"""Above this share of logits without slope the discriminator has won."""
MEMORISED_SHARE = 0.5
"""Above this share of the gap the discriminator knows its training pictures by heart."""
HUGE_LOSS = 1e5
"""Above this size no term of a loss means anything."""
SIGMA_OFF = 1.5
"""Above this largest singular value a layer is not normalised."""
CHECKS = 3
"""So many checks in a row raise an alarm, and as many clear it."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When a check looks wrong.

    Attributes:
        name: Of the alarm.
        finds: What is wrong with the numbers of a check, in words; empty where nothing is, None
            where it was not measured.
        remedy: In words.
    """

    name: str
    finds: Callable[[Mapping[str, Any]], str | None]
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """One that stands."""

    name: str
    step: int
    """At which it was raised."""
    detail: str
    """What is wrong, and what to do about it, in a line."""

    def __str__(self) -> str:
        return f"{self.name}, raised at step {self.step:,}: {self.detail}"


class Alarms:
    """Follows the checks of a run.

    Attributes:
        standing: The alarms that were raised and not cleared, by name.
    """

    def __init__(self, records: Iterable[Mapping[str, Any]] = ()) -> None:
        self.standing: dict[str, Alarm] = {}
        self._contrary: dict[str, int] = {}  # checks in a row that say other than what stands
        for record in records:
            self.check(record)

    def check(self, record: Mapping[str, Any]) -> list[dict[str, object]]:
        """Takes in a record of the log; others than those of checks change nothing.

        Returns:
            An event for each alarm that it raises or clears.
        """
        changes = []
        for rule in RULES:
            found = rule.finds(record)
            if found is None:
                continue
            is_contrary = bool(found) != (rule.name in self.standing)
            self._contrary[rule.name] = self._contrary.get(rule.name, 0) + 1 if is_contrary else 0
            if self._contrary[rule.name] == CHECKS:
                self._contrary[rule.name] = 0
                changes.append(self._changed(rule, record["step"], found))
        return changes

    def _changed(self, rule: Rule, step: int, found: str) -> dict[str, object]:
        if not found:
            del self.standing[rule.name]
            return event(CLEARED, step, alarm=rule.name)
        detail = f"{found}; {rule.remedy}"
        self.standing[rule.name] = Alarm(name=rule.name, step=step, detail=detail)
        return event(ALARM, step, alarm=rule.name, detail=detail)


def variety_of(by_class: Mapping[str, float]) -> float:
    """Sums up classes: their lower quartile, since a few good classes make up for no bad ones."""
    return float(np.quantile(list(by_class.values()), 0.25))


def collapsed_classes(varieties: Mapping[str, float]) -> list[str]:
    """Those classes whose pictures are nearly all alike."""
    return [name for name, value in varieties.items() if value < COLLAPSED_VARIETY]


def _collapsed(record: Mapping[str, Any]) -> str | None:
    if not (varieties := finite_numbers(record.get(VARIETY_BY_CLASS))):
        return None
    if not (names := collapsed_classes(varieties)):
        return ""
    least = min(varieties.values())
    if names == [""]:
        return f"nearly one picture is drawn (variety {least:.2f} of the real)"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    which = "classes" if len(names) > 1 else "class"
    shown = ", ".join(names[:3])
    return f"nearly one picture is drawn of the {which} {shown}{more} (variety {least:.2f})"


def _beyond(signal: str, limit: float, words: str, *, below: bool = False) -> Callable[..., Any]:
    """The ``finds`` of a rule about one number, which ``words`` take as their argument."""

    def finds(record: Mapping[str, Any]) -> str | None:
        value = finite_number(record.get(signal))
        if value is None:
            return None
        return words.format(value) if (value < limit if below else value > limit) else ""

    return finds


RULES = (
    Rule(
        name="collapsed-class",
        finds=_collapsed,
        remedy="go back to an earlier checkpoint and train on with lower learning rates",
    ),
    Rule(
        name="little-variety",
        finds=_beyond(
            VARIETY, LITTLE_VARIETY, "drawn pictures vary {:.2f} times as much as real", below=True
        ),
        remedy="begin a run with a relativistic loss and its penalties (--loss.relativistic, "
        "--loss.r1, --loss.r2, as the preset avatars32 has them) or larger batches",
    ),
    Rule(
        name="saturated-discriminator",
        finds=_beyond(
            SATURATION, SATURATED_SHARE, "{:.0%} of the discriminator's logits have no slope left"
        ),
        remedy="lower the discriminator's learning rate, or give its loss a penalty (--loss.r1)",
    ),
    Rule(
        name="exploding-loss",
        finds=_beyond(LOSS, HUGE_LOSS, "a term of the loss is {:.1e}"),
        remedy="go back to an earlier checkpoint and train on with lower learning rates",
    ),
    Rule(
        name="memorising",
        finds=_beyond(
            MEMORY,
            MEMORISED_SHARE,
            "the discriminator tells training from held-out pictures by {:.0%} of its gap",
        ),
        remedy="more pictures, random changes (--data.augment) or a smaller discriminator help",
    ),
    Rule(
        name="sigma-off",
        finds=_beyond(
            SIGMA, SIGMA_OFF, "a normalised weight has the largest singular value {:.2f}, not 1"
        ),
        remedy="lower the learning rates, so that the singular vectors can follow",
    ),
)
