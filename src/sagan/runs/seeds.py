"""Runs that differ in their seed alone: where they lie in a folder of many."""

from pathlib import Path

from sagan.runs.folder import is_run

_MARK = "-seed"


def seed_folder(folder: Path, name: str, seed: int) -> Path:
    """The run folder of what is called ``name``, with a seed."""
    return folder / f"{name}{_MARK}{seed}"


def runs_of_seeds(folder: Path) -> dict[str, dict[int, Path]]:
    """The run folders in a folder, by name and by seed; names in alphabetical order."""
    found: dict[str, dict[int, Path]] = {}
    for path in sorted(folder.glob(f"*{_MARK}*")):
        name, _, seed = path.name.rpartition(_MARK)
        if seed.isdecimal() and is_run(path):
            found.setdefault(name, {})[int(seed)] = path
    return {name: dict(sorted(seeds.items())) for name, seeds in found.items()}
