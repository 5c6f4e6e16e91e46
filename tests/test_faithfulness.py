"""docs/faithfulness.md says what the presets do; run as a program, this writes their column."""

import ast
import functools
import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from sagan.config import Config, unread
from sagan.config.presets import PRESETS, preset

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "faithfulness.md"
CONFIGS = {name: preset(name) for name in PRESETS}
OURS = (
    "avatars32",
    "avatars32-sagan",
)  # tuned here; whatever is no choice between implementations may be its own


def rows():
    """The cells: choice, authors, others, settings, presets, tests, how it was compared."""
    table = PAGE.read_text().split("| choice |")[1].split("\n\n")[0].splitlines()
    return [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in table[2:]]


def named_fields(cell):
    return re.findall(r"`(\w+\.\w+)`", cell)


def values(config, names):
    return [functools.reduce(getattr, name.split("."), config) for name in names]


def written(found):
    """One value where all are alike, otherwise one per setting."""
    texts = [json.dumps(value) for value in found]
    return f"`{' / '.join(texts if len(set(texts)) > 1 else texts[:1])}`"


def value_cell(config, names):
    """The values of one preset, or that its networks have no choice there."""
    parts = [name.split(".") for name in names]
    networks = {"generator", "discriminator"}
    if all(s in networks and end in unread(getattr(config, s)) for s, end in parts):
        is_dcgan = config.generator.architecture == "dcgan"
        return "fixed by `dcgan`" if is_dcgan else "does not arise"
    return written(values(config, names))


def presets_cell(settings):
    """Each preset's value of some settings: those with the default's need no name."""
    names = named_fields(settings)
    if not names:
        return "all alike"
    usual = written(values(Config(), names))
    groups: dict[str, list[str]] = {}
    for name, config in CONFIGS.items():
        groups.setdefault(value_cell(config, names), []).append(f"`{name}`")
    others = [f"{value}: {', '.join(who)}" for value, who in groups.items() if value != usual]
    if len(others) == len(groups):
        return "; ".join(others)
    return "; ".join([f"{usual}" + (": the others" if others else ": all"), *others])


def test_every_row_has_all_cells():
    assert len(rows()) > 35
    assert {len(row) for row in rows()} == {7}
    names = [row[0] for row in rows()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_the_presets_are_as_the_page_says(row):
    assert row[4] == presets_cell(row[3]), "python tests/test_faithfulness.py writes it anew"


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_every_choice_is_pinned_by_a_test_that_exists(row):
    named = r"`(test_\w+\.py)::(test_\w+)`"
    names = re.findall(named, row[5])
    assert names
    names += re.findall(named, row[6])
    for file, function in names:
        tree = ast.parse((HERE / file).read_text())
        assert function in {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_every_choice_says_how_it_was_compared_with_the_original(row):
    measured = row[6]
    assert re.match("forward|training|reading|does not arise|differs|by TensorFlow's", measured)
    for difference in re.split(r"\bdiffers?\b", measured)[1:]:
        assert re.search(r"\d", difference), "how large is the difference?"


def test_whatever_a_preset_sets_is_on_the_page():
    listed = {name for row in rows() for name in named_fields(row[3])}
    for name, entry in PRESETS.items():
        if name not in OURS:
            named = {f"{section}.{item}" for section, v in entry.settings.items() for item in v}
            assert named <= listed
    known = {
        f"{s.name}.{f.name}" for s in fields(Config) for f in fields(getattr(Config(), s.name))
    }
    assert listed <= known


def main():
    text = PAGE.read_text()
    for row in rows():
        row_now = [*row[:4], presets_cell(row[3]), *row[5:]]
        text = text.replace(f"| {' | '.join(row)} |", f"| {' | '.join(row_now)} |")
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
