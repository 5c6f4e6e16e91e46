"""Tables of text, for a terminal."""

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Lays cells below each other, two spaces between columns.

    Args:
        rows: All of one length.
        sides: Per column "<" or ">": to which side its cells are moved.

    Returns:
        A line per row, without spaces at its end.

    Example:
        >>> aligned([["", "FD"], ["cats", "12"]], "<>")
        ['      FD', 'cats  12']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    columns = list(zip(sides, widths, strict=True))
    return [
        "  ".join(
            f"{cell:{side}{wide}}" for cell, (side, wide) in zip(row, columns, strict=True)
        ).rstrip()
        for row in rows
    ]
