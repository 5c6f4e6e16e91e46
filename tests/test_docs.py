"""Commands in the documents are ones that the program understands."""

import re
import shlex
from pathlib import Path

import pytest

from sagan import cli, demo

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = [
    (page.name, line)
    for page in PAGES
    for line in re.findall(r"^(?:\$ )?(?:\.venv/bin/)?sagan (.+)$", page.read_text(), re.MULTILINE)
]


def test_there_are_commands():
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_commands_parse(page, line):
    cli.app.parse_args(shlex.split(line), exit_on_error=False, print_error=False)


def test_next_steps_of_the_demo_parse(tmp_path):
    lines = demo.next_commands(tmp_path, 100)
    assert len(lines) >= 3
    for line in lines:
        cli.app.parse_args(shlex.split(line)[1:], exit_on_error=False, print_error=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_exist(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_python_of_the_readme_compiles():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        compile(block, "README.md", "exec")
