import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from sagan.system.extras import install

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.mark.parametrize("extra", PROJECT["optional-dependencies"])
def test_the_packages_of_an_extra_are_named(extra):
    names = [re.split("[><=]", line)[0] for line in PROJECT["optional-dependencies"][extra]]
    assert re.sub("[_-]", "-", install(extra)).split() == [
        "pip",
        "install",
        *(re.sub("[_-]", "-", name) for name in names),
    ]


def test_without_metadata_the_clone_is_named(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("sagan.system.extras.requires", absent)
    assert install("onnx") == 'pip install ".[onnx]"'
    monkeypatch.setattr("sagan.system.extras.requires", lambda name: ["numpy"])  # a stranger's
    assert install("onnx") == 'pip install ".[onnx]"'


def test_nobody_is_told_to_take_this_package_from_pypi():
    """There the name belongs to another project."""
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.*"), *(ROOT / "src").rglob("*.*")]
    texts = {path: path.read_text("utf-8", errors="replace") for path in files if path.is_file()}
    wrong = re.compile(r"pip install (-\S+ )*[\\\\\"']*sagan\b")
    assert [str(path) for path, text in texts.items() if wrong.search(text)] == []
