"""The rows of docs/design.md: imports point down, never up or sideways."""

import ast
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "sagan"
DESIGN = Path(__file__).parent.parent / "docs" / "design.md"


def rooms():
    """Module (first name below sagan) -> row, as the table in the design page has it."""
    found = {}
    for row, names in re.findall(r"^\| (\d+) \| ([^|]+) \|", DESIGN.read_text(), re.MULTILINE):
        for name in re.findall(r"`(\w+)/?`", names):
            found[name] = int(row)
    return found


def imports(path):
    """Names of the package's own modules that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            if parts == ["sagan"]:
                yield from (alias.name for alias in node.names)
            elif parts[0] == "sagan":
                yield parts[1]
            assert not node.level, f"relative import in {path}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("sagan."):
                    yield alias.name.split(".")[1]


def room_of(path):
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


TOP = (SOURCE / "__init__.py", SOURCE / "__main__.py")  # above all rows
FILES = [path for path in SOURCE.rglob("*.py") if path not in TOP]


def test_every_module_has_a_row():
    assert {room_of(path) for path in FILES} == rooms().keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path):
    row = rooms()
    for name in imports(path):
        if name != room_of(path):
            assert row[name] < row[room_of(path)], f"{room_of(path)} imports {name}"
