"""What flags mean that are more than one number or word."""

from __future__ import annotations

import re

from sagan.errors import SaganError


def parse_seeds(text: str) -> list[int]:
    """Reads a list of seeds such as 0-63 or 3,7,20-29.

    Raises:
        SaganError: It is no such list, or holds more than 100,000.
    """
    seeds: list[int] = []
    for piece in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", piece)
        if match is None:
            raise SaganError(f"seeds {text!r} are no list like 0-63 or 3,7,20-29")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise SaganError(f"seeds {piece.strip()} run backwards; write {last}-{first}")
        if last - first >= 100_000:
            raise SaganError(f"seeds {piece.strip()} are more than 100,000; ask for fewer")
        seeds += range(first, last + 1)
    return seeds


def parse_point(text: str) -> tuple[int, int]:
    """Reads a pixel such as 12,20: x, then y.

    Raises:
        SaganError: It is no pair of whole numbers.
    """
    match = re.fullmatch(r"(-?\d+),(-?\d+)", text.replace(" ", ""))
    if match is None:
        raise SaganError(f"point {text!r} is no pair of pixels like 12,20 (x, then y)")
    return int(match[1]), int(match[2])
