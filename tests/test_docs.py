"""What the documents name exists, and their commands are ones that the program understands."""

import re
import shlex
from pathlib import Path

import pytest

from sagan import cli
from sagan.config.presets import preset

ROOT = Path(__file__).parent.parent
PAGES = {
    str(page.relative_to(ROOT)): page
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md")))
}
COMMANDS = [
    (name, line)
    for name, page in PAGES.items()
    for line in re.findall(r"^(?:\$ )?(?:\.venv/bin/)?sagan (.+)$", page.read_text(), re.MULTILINE)
]
BLOCKS = [
    (name, block)
    for name, page in PAGES.items()
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
]
OF_OTHERS = ("docs/figures/",)  # PyTorch-StudioGAN's


def named_paths(text):
    """Paths of this repository in code marks; ``src/a/{b,c}.py`` names two."""
    for path in re.findall(r"`((?:src|tests|docs|benchmarks|\.ci)/[^`\s:]*)", text):
        if not path.startswith(OF_OTHERS):
            before, _, rest = path.partition("{")
            choices, _, after = rest.rpartition("}")
            yield from (before + choice + after for choice in choices.split(","))


def test_there_are_commands_and_paths():
    assert sum(name == "README.md" for name, _ in COMMANDS) >= 6
    assert {"docs/presets.md", "docs/lab/results.md", "CONTRIBUTING.md"} <= set(PAGES)
    assert list(named_paths("`tests/test_x.py::test_y` `src/{a,b}.py` `x.py`")) == [
        "tests/test_x.py",
        "src/a.py",
        "src/b.py",
    ]


def test_ci_runs_the_commands_of_the_readme_on_the_demonstration():
    patterns = re.findall(r"grep -E '(.+)' README\.md", (ROOT / ".ci/run").read_text())
    lines = PAGES["README.md"].read_text().splitlines()
    found, served = ([line for line in lines if re.match(one, line)] for one in patterns)
    assert {line.split()[1] for line in served} == {"studio", "serve"}
    verbs = {
        "sample",
        "attention",
        "models",
        "evaluate",
        "report",
        "timelapse",
        "interpolate",
        "export",
    }
    assert {line.split()[1] for line in found} == verbs
    for _, verb, *rest in map(str.split, found):
        assert verb == "models" or rest[0] in ("runs/demo", "avatars64")


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_commands_parse(page, line, monkeypatch):
    # Models that the pages begin from are not there.
    monkeypatch.setattr("sagan.training.origin.model_settings", lambda model: preset("avatars32"))
    cli.app.parse_args(shlex.split(line), exit_on_error=False, print_error=False)


@pytest.mark.parametrize("name", PAGES)
def test_links_and_pictures_exist(name):
    for target in re.findall(r"\]\(([^)#]+)\)", PAGES[name].read_text()):
        if "://" not in target:
            assert (PAGES[name].parent / target).exists(), target


@pytest.mark.parametrize("name", PAGES)
def test_paths_exist(name):
    for path in named_paths(PAGES[name].read_text()):
        assert (ROOT / path).exists(), path


def test_the_readme_has_python():
    assert "README.md" in dict(BLOCKS)


@pytest.mark.parametrize(("name", "block"), BLOCKS)
def test_python_compiles(name, block):
    compile(block, name, "exec")


@pytest.mark.parametrize("name", ["performance", "results"])
def test_a_page_of_figures_opens_with_six_lines_and_one_table(name):
    opening, table, *_ = PAGES[f"docs/{name}.md"].read_text().split("\n\n")[1:]
    assert len(re.findall("^- ", opening, re.MULTILINE)) == len(opening.splitlines()) == 6
    assert table.startswith("| what |")
    assert f"lab/{name}.md" in PAGES[f"docs/{name}.md"].read_text()
