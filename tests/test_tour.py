"""The tour of docs/tour.ipynb runs, cell by cell, as it stands there."""

import ast
import json
from pathlib import Path

TOUR = Path(__file__).parent.parent / "docs" / "tour.ipynb"
QUICK = {"STEPS = 400": "STEPS = 2", "PICTURES = 1000": "PICTURES = 48"}


def cells():
    """The code cells: (source, outputs)."""
    for cell in json.loads(TOUR.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            yield "".join(cell["source"]), cell["outputs"]


def shown(source, names):
    """Runs a cell as a notebook does; returns the value of its last line."""
    *statements, last = ast.parse(source).body
    if not isinstance(last, ast.Expr):
        exec(source, names)
        return None
    exec(compile(ast.Module(statements, []), str(TOUR), "exec"), names)
    return eval(compile(ast.Expression(last.value), str(TOUR), "eval"), names)


def test_every_cell_runs_and_shows_what_it_did(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for source, outputs in cells():
        for slow, quick in QUICK.items():
            source = source.replace(slow, quick)
        value = shown(source, names)
        drawn = getattr(value, "_repr_png_", lambda: None)() is not None
        assert drawn == any("image/png" in output.get("data", {}) for output in outputs), source
    assert (names["STEPS"], names["PICTURES"]) == (2, 48)


def test_the_tour_is_small_and_has_no_error_in_it():
    assert TOUR.stat().st_size < 400_000
    outputs = [output for _, found in cells() for output in found]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 5
    assert not any(output["output_type"] == "error" for output in outputs)
