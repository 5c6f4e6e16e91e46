"""The size of the house: rooms, functions, files, lines, and one home for every name."""

import ast
from collections import defaultdict
from pathlib import Path

from benchmarks.house import by_the_pieces, crossed

SOURCE = Path(__file__).parent.parent / "src" / "sagan"
FILES = sorted(SOURCE.rglob("*.py"))
TREES = {path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text()) for path in FILES}

MOST_ROOMS = 19
LONGEST_FUNCTION = 50
LONGEST_FILE = 350
MOST_LINES = 34_000

# Each is the mirror image of the other: a command and the function that it calls.
MIRRORS = {
    "train": {"cli/training.py", "training/run.py"},
}


def lines_of(path):
    return len(path.read_text(encoding="utf-8").splitlines())


def top_level_names(tree):
    """Functions, classes and assigned names of a module; not imports, not __all__ and the like."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name) and not name.id.startswith("__"):
                        yield name.id


def require_none(offenders):
    assert not offenders, "\n".join(f"{name} = {what}" for name, what in offenders.items())


def test_there_are_few_rooms():
    rooms = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in FILES}
    assert len(rooms - {"__init__", "__main__"}) <= MOST_ROOMS


def test_functions_fit_a_screen():
    lengths = {
        f"{place}: {node.name}": node.end_lineno - node.lineno + 1
        for place, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    require_none({name: n for name, n in lengths.items() if n > LONGEST_FUNCTION})


def test_files_are_read_in_one_sitting():
    written = [
        path for path in SOURCE.rglob("*.*") if path.suffix in (".py", ".html", ".css", ".js")
    ]
    lengths = {path.relative_to(SOURCE).as_posix(): lines_of(path) for path in written}
    require_none({name: n for name, n in lengths.items() if n > LONGEST_FILE})


def test_the_house_does_not_grow():
    assert sum(map(lines_of, FILES)) <= MOST_LINES


def test_a_name_has_one_home():
    homes = defaultdict(set)
    for place, tree in TREES.items():
        for name in top_level_names(tree):
            homes[name].add(place)
    several = {name: places for name, places in homes.items() if len(places) > 1}
    require_none({name: sorted(p) for name, p in several.items() if MIRRORS.get(name) != p})
    assert several.keys() >= MIRRORS.keys()  # what is listed is so still


def test_a_picture_crosses_no_room_above_training():
    """From a folder of pictures to a PNG, by the pieces: in no room that only looks at models."""
    rooms = {
        path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in crossed(by_the_pieces)
    }
    below = {"config", "system", "nn", "losses", "data", "images", "runs", "sampling", "training"}
    assert rooms <= below | {"errors", "__init__"}
    assert rooms >= {"data", "nn", "losses", "training", "runs", "sampling", "images"}
