"""The page about the library: its examples run, one after the other."""

import re
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "library.md"


def test_every_example_runs_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = PAGE.read_text()
    names = {}
    for block in re.finditer(r"```python\n(.*?)```", page, re.DOTALL):
        line = page[: block.start(1)].count("\n")
        exec(compile("\n" * line + block[1], PAGE.name, "exec"), names)
    assert names["rows"].sum(dim=2).allclose(names["torch"].ones(1, 2))
    assert names["kernel"].mean > 0
    assert names["pictures"].shape == (16, 3, 64, 64)
