"""How seeds and points are written, on the command line and in requests."""

import re

from sagan.errors import SaganError

MOST_PICTURES = 100_000
"""What a command draws of one class."""


def parse_seeds(text: str) -> list[int]:
    """Reads a list of seeds such as 0-63 or 3,7,20-29.

    Raises:
        SaganError: It is no such list, or holds more than 100,000.
    """
    ranges: list[range] = []
    for piece in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,18})(?:-(\d{1,18}))?\s*", piece)
        if match is None:
            raise SaganError(f"seeds {text!r} are no list like 0-63 or 3,7,20-29")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise SaganError(f"seeds {piece.strip()} run backwards; write {last}-{first}")
        ranges.append(range(first, last + 1))
    if sum(map(len, ranges)) > MOST_PICTURES:
        raise SaganError(f"seeds {text} are more than {MOST_PICTURES:,}; ask for fewer")
    return [seed for piece in ranges for seed in piece]


def parse_point(text: str) -> tuple[int, int]:
    """Reads a pixel such as 12,20: x, then y.

    Raises:
        SaganError: It is no pair of whole numbers.
    """
    match = re.fullmatch(r"(-?\d{1,9}),(-?\d{1,9})", text.replace(" ", ""))
    if match is None:
        raise SaganError(f"point {text!r} is no pair of pixels like 12,20 (x, then y)")
    return int(match[1]), int(match[2])
