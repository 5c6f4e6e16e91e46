"""Which files are pictures, judged before anything is decoded."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sagan.data.catalog import Reader
from sagan.errors import SaganError

PICTURE_SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".bmp", ".dib"),
        *(".tif", ".tiff", ".webp", ".avif", ".avifs", ".heic", ".heif", ".jp2", ".j2k", ".j2c"),
        *(".jpc", ".jpf", ".jpx", ".jxl", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tga", ".icb"),
        *(".vda", ".vst", ".qoi", ".dds", ".ico", ".pcx", ".sgi", ".rgb", ".rgba", ".bw", ".psd"),
    )
)
"""A file called so is taken for a picture until it is decoded."""

_HEAD = 32  # bytes of a file that tell its format
_MOST_FAILURES = 1000

_MAGIC = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|II[*+]\0|MM\0[*+]|RIFF....WEBP|qoif|DDS |8BPS"
    rb"|\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n|\xff\x0a|\0\0\0\x0cJXL "
    rb"|BM....\0\0\0\0....[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0"
    rb"|....ftyp(avi[fs]|hei[cxms]|hev[cxms]|mif1|msf1)|P[1-7Ff]\s+(#|\d)|P7\nWIDTH",
    re.DOTALL,
)

_IGNORED = frozenset(
    (
        *("__macosx", "@eadir", "lost+found", "$recycle.bin", "system volume information"),
        *("thumbs.db", "ehthumbs.db", "desktop.ini"),
    )
)


@dataclass(kw_only=True)
class Files:
    """All that lies in a folder or in archives, pictures or not."""

    what: str
    """Such as "a folder"."""
    root: Path
    names: Sequence[str]
    """Of the N files: unique paths within the root, with "/"."""
    stamps: np.ndarray
    """uint64 (N,); see :func:`sagan.data.catalog.stamp_of`."""
    read: Reader
    begin: Callable[[int, int], bytes]
    """Given a file's number and a size: at most so many of its first bytes."""
    passed_over: list[tuple[str, str]]


def ignored(name: str) -> str:
    """Why a file or folder of this name is never looked at; empty if it is.

    Such are hidden ones, and what operating systems leave behind.
    """
    if name.startswith("."):
        return "hidden"
    return "left by an operating system" if name.lower() in _IGNORED else ""


def suffix_of(name: str) -> str:
    """The suffix of a path with "/" in lower case, with its dot; empty if it has none."""
    base = name.rpartition("/")[2]
    dot = base.rfind(".")
    return base[dot:].lower() if dot > 0 else ""


def is_picture(head: bytes) -> bool:
    """Tells by its first 32 bytes whether a file is a picture of a format known by them."""
    return _MAGIC.match(head) is not None


def judged(files: Files) -> tuple[list[int], list[int]]:
    """Parts pictures from other files.

    Known suffixes are believed; what is called otherwise is judged by its first bytes. Where a
    thousand files of one suffix were no pictures, further ones of it are not opened.

    Returns:
        The numbers of the pictures and those of the others.
    """
    pictures: list[int] = []
    others: list[int] = []
    failed: Counter[str] = Counter()
    for number, name in enumerate(files.names):
        suffix = suffix_of(name)
        if suffix in PICTURE_SUFFIXES:
            pictures.append(number)
        elif failed[suffix] < _MOST_FAILURES and _begins_as_picture(files, number):
            failed[suffix] = 0
            pictures.append(number)
        else:
            failed[suffix] += 1
            others.append(number)
    return pictures, others


def _begins_as_picture(files: Files, number: int) -> bool:
    try:
        return is_picture(files.begin(number, _HEAD))
    except OSError:
        return False


def no_picture(name: str) -> str:
    """The reason for which a file that is no picture is passed over."""
    return f"no picture ({suffix_of(name) or 'no suffix'})"


def no_pictures_in(files: Files, others: Iterable[int]) -> SaganError:
    """The error for a source in which nothing is a picture; names what was found."""
    names = [files.names[number] for number in others]
    kinds = Counter(suffix_of(name) or "no suffix" for name in names).most_common(5)
    listed = ", ".join(f"{count:,} of {suffix}" for suffix, count in kinds)
    if not names:
        found = (
            "nothing else was found either"
            if not files.passed_over
            else (f"passed over: {files.passed_over[0][0]} ({files.passed_over[0][1]})")
        )
    else:
        found = f"found were {len(names):,} other files ({listed}), such as {names[0]}"
    archive = next((n for n in names if n.lower().endswith((".zip", ".tar", ".tgz", ".gz"))), None)
    way = (
        f"name the archive itself: {files.root / archive}"
        if archive and files.root.is_dir()
        else ("give a place that holds pictures, directly or in one folder per class")
    )
    return SaganError(f"there are no pictures in {files.root}; {found}; {way}")
