"""How long a new run may take, and whether its settings follow from that."""

import sys
from pathlib import Path
from typing import Final

from sagan.errors import SaganError
from sagan.runs.folder import is_run
from sagan.runs.locked import require_place_for_a_run
from sagan.system.ranks import ALONE, Ranks

_MOST_MINUTES: Final = 366 * 24 * 60


def require_minutes(minutes: float) -> None:
    """Judges a time.

    Raises:
        SaganError: It is nothing, no number, or more than a year.
    """
    if not 0 < minutes <= _MOST_MINUTES:
        raise SaganError(
            f"{minutes:g} minutes are out of range; a run takes more than nothing and at most "
            "a year (--minutes, --hours)"
        )


def follow_from_time(
    folder: str | Path,
    minutes: float | None,
    *,
    has_settings: bool,
    names_pictures: bool,
    ranks: Ranks = ALONE,
) -> bool:
    """Whether the settings of a run follow from its pictures and a time.

    They do for a new run that is given a time, or pictures and nothing else. Of a run that is
    begun it says that it takes no time of its own.

    Args:
        folder: The run folder.
        minutes: How long a new run may take; None where nothing says so.
        has_settings: A preset, a file, a model or a number of steps decides how long it takes.
        names_pictures: The pictures are named.
        ranks: Are all given the same.

    Raises:
        SaganError: They are not, or the folder is one of something else.
    """
    is_new = not is_run(folder)
    follow = is_new and (minutes is not None or (names_pictures and not has_settings))
    if len(set(ranks.from_all(follow))) > 1:
        raise ranks.of_all(
            SaganError(
                f"some processes choose their settings for {folder} and others have them; give all "
                "the same command, and a run folder that all see"
            )
        )
    if follow:  # measuring the machine takes a while
        ranks.together(lambda: require_place_for_a_run(Path(folder)))
    if not is_new and minutes is not None:
        sys.stderr.write(
            f"note: {folder} keeps the settings and the steps that it was begun with; a time is "
            "for new runs, and --train.steps makes this one longer\n"
        )
    return follow
