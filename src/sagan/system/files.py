"""Files that appear complete or not at all, and the names under which they may."""

import errno
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from sagan.errors import FaultError, SaganError, printable

_OF_A_RUN = ("checkpoints", "samples")
_NOBODYS_MISTAKES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE}
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # on Windows


def require_output(path: Path, *suffixes: str, inputs: Sequence[Path] = ()) -> bool:
    """Judges where a command is to write, before it does any work.

    A file is replaced as a whole, so that devices and pipes such as /dev/stdout are refused; so
    are the checkpoints and samples of a run.

    Args:
        path: A file, or a folder that need not be there yet.
        suffixes: How the name may end, in lower case; an empty one allows a folder: a name without
            suffix, or an empty folder that is there.
        inputs: Files that the command reads, which must not be lost.

    Returns:
        Whether a folder is meant.

    Raises:
        SaganError: Nothing can, or should, be written there.
    """
    target = Path(os.path.realpath(path))
    is_folder = "" in suffixes and (path.is_dir() or not path.suffix)
    place = target if target.is_dir() else next(p for p in target.parents if p.exists())
    known = " or ".join(filter(None, suffixes))
    if "" in suffixes:
        known = f"{known}, or have no suffix, for a folder".removeprefix(", or ")
    if path.name in ("", ".."):
        reason = "that is no name; give one"
    elif printable(path.name) != path.name:
        reason = "its name has characters that cannot be shown; choose another"
    elif not is_folder and path.suffix.lower() not in suffixes:
        reason = f"its name must {'end in ' if known[0] == '.' else ''}{known}"
    elif not is_folder and path.is_dir():
        reason = "it is a folder; name a file in it"
    elif path.exists() and not (path.is_dir() if is_folder else path.is_file()):
        reason = f"it is {'a file' if path.is_file() else 'a device'}; choose another name"
    elif target in {Path(os.path.realpath(file)) for file in inputs}:
        reason = "it is read by this command; choose another name"
    elif is_folder and target.is_dir() and any(p.name[0] != "." for p in target.iterdir()):
        reason = "it is a folder that is not empty; choose another, which need not be there yet"
    elif _belongs_to_a_run(target):
        reason = "that is a run's own place; choose another"
    elif not place.is_dir():
        reason = f"{place} is no folder; choose another place"
    elif not os.access(place, os.W_OK | os.X_OK):
        reason = f"you may not write to {place}; choose another place"
    elif target.is_file() and not os.access(target, os.W_OK):
        reason = "it is protected from writing; choose another name"
    else:
        return is_folder
    raise SaganError(f"cannot write {str(path)!r}: {reason}")


def _belongs_to_a_run(target: Path) -> bool:
    within = [folder.parent for folder in (target, *target.parents) if folder.name in _OF_A_RUN]
    return any((run / "config.toml").exists() for run in within)


@contextmanager
def replacing(path: Path, *, flush: bool = True) -> Iterator[Path]:
    """Gives a path beside ``path`` to write to; what is there in the end takes its place.

    The content is flushed to the disk first. If anything fails, ``path`` is left as it was. Where
    ``path`` is a link, what it points to is replaced and the link stays. Who may read it is what
    it was, or what the system lets by default.

    Args:
        path: The file.
        flush: Wait for the disk; without it files of many come faster.

    Raises:
        OSError: The folder cannot be made, the file cannot be written, or ``path`` is a folder, a
            device or a pipe.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EEXIST, "a folder, a device or a pipe has that name", str(path))
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        draft.touch()
        mode = (path if path.exists() else draft).stat().st_mode
        yield draft
        if flush:
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
        with suppress(OSError):  # some libraries let nobody else read what they write
            draft.chmod(mode)
        os.replace(draft, path)
    finally:
        with suppress(OSError):
            draft.unlink()


def require_readable(path: Path) -> None:
    """Says so where the system lets others read a file, but not whoever runs this.

    Raises:
        SaganError: It may not be read.
    """
    try:
        path.open("rb").close()
    except PermissionError as error:
        raise SaganError(
            f"you may not read {path}; let its owner allow it: chmod a+r {path}"
        ) from error


@contextmanager
def writing(what: object, remedy: str = "choose another place or free space") -> Iterator[None]:
    """Says what could not be written where the system refuses.

    Raises:
        SaganError: As an OSError within; names what was written and the remedy.
        FaultError: The same where the disk failed.
    """
    try:
        yield
    except OSError as error:
        kind = FaultError if is_fault(error) else SaganError
        raise kind(f"cannot write {what}: {error.strerror or error}; {remedy}") from error


def is_fault(error: OSError) -> bool:
    """Whether the disk failed, as one that is full does, and nobody named a wrong place."""
    return error.errno in _NOBODYS_MISTAKES


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text; what UTF-8 cannot write becomes an escape.

    Raises:
        OSError: As for :func:`replacing`.
    """
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8", errors="backslashreplace")


def file_names(names: Sequence[str]) -> list[str]:
    """Makes of any texts names of files that every file system takes and tells apart."""
    found: list[str] = []
    taken = set()
    for name in names:
        name = re.sub(r'[\\/:*?"<>|]', "_", printable(name)).strip()
        name = re.sub(r"^\.|\.$", "_", name.encode()[:200].decode(errors="ignore").strip()) or "_"
        plain = f"_{name}" if _RESERVED.fullmatch(name) else name
        name, number = plain, 1
        while name.casefold() in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.casefold())
        found.append(name)
    return found
