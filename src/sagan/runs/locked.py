"""Who may write into a run folder: one training at a time."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sagan.errors import SaganError
from sagan.runs.folder import LOCK, ORIGIN, SETTINGS, checkpoint_files, is_run
from sagan.system.files import writing
from sagan.system.locks import holding
from sagan.system.ranks import ALONE, Ranks

ELSEWHERE = "choose another --run or free space"
"""What to do where a run folder cannot be written."""
_BEFORE_SETTINGS = (LOCK, f"{SETTINGS}.", ORIGIN)
"""How the names begin of what a folder may hold before its settings are in place."""


@contextmanager
def locked_run(folder: str | Path, ranks: Ranks = ALONE) -> Iterator[None]:
    """Keeps other processes from training in a run folder, which is made if it is not there.

    Of several ranks the first keeps it for all. A folder that cannot be one is left alone;
    :class:`sagan.runs.run.Run` will refuse it.

    Raises:
        FaultError: A process trains in it already; names it.
        SaganError: It cannot be written.
    """
    folder = Path(folder)
    with ExitStack() as held:

        def take() -> None:
            if ranks.is_first and may_become_a_run(folder):
                with writing(f"to the run folder {folder}", ELSEWHERE):
                    held.enter_context(holding(folder / LOCK))

        ranks.together(take)
        yield


def may_become_a_run(folder: Path) -> bool:
    """Whether a folder is one of a run, or may become one.

    That is one that is not there, is empty, or was left by a run that died while it began.
    """
    if not folder.is_dir():
        return not folder.exists()
    files = {path.name for path in folder.iterdir()}
    return SETTINGS in files or all(name.startswith(_BEFORE_SETTINGS) for name in files)


def require_kept_settings(folder: Path) -> None:
    """Refuses a run that has lost its settings, which checkpoints alone show.

    Raises:
        SaganError: It has; says how to go on.
    """
    files = checkpoint_files(folder)
    if files and not is_run(folder):
        raise SaganError(
            f"{folder} has checkpoints and has lost its {SETTINGS}; copy that back, or begin "
            f"another run with these weights: --run NEW --from {files[-1]}"
        )


def require_place_for_a_run(folder: Path) -> None:
    """Refuses a folder of something else.

    Raises:
        SaganError: It is no run folder and not empty.
    """
    require_kept_settings(folder)
    if not may_become_a_run(folder):
        raise SaganError(f"{folder} is no run folder and not empty; choose another --run")
