"""The Dockerfile, read as Docker reads it; its commands are run here, without Docker."""

import fnmatch
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from sagan import cli

ROOT = Path(__file__).parent.parent
KNOWN = {
    *("FROM", "ARG", "ENV", "WORKDIR", "COPY", "ADD", "RUN", "USER", "EXPOSE", "STOPSIGNAL"),
    *("HEALTHCHECK", "ENTRYPOINT", "CMD", "LABEL", "VOLUME", "SHELL", "ONBUILD"),
}
SYSTEM_PATHS = ("/tmp", "/usr/sbin/nologin")  # of every Debian


def instructions(text):
    """Pairs of an instruction and its arguments; continued lines joined, comments left out."""
    kept = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(kept))
    found = [line.strip().partition(" ") for line in joined.splitlines() if line.strip()]
    return [(name.upper(), rest.strip()) for name, _, rest in found]


def faults(text):
    """What is wrong with a Dockerfile, in words; nothing where it may be used."""
    found = instructions(text)
    names = [name for name, _ in found]
    of = {name: [rest for other, rest in found if other == name] for name in KNOWN}
    told = [f"unknown instruction {name}" for name in names if name not in KNOWN]
    told += ["the first instruction is not FROM"] * (names[:1] != ["FROM"])
    for image in of["FROM"]:
        tag = image.split()[0].rpartition("/")[2].partition(":")[2]
        told += [f"{image} is pinned to no version"] * (tag in ("", "latest"))
    user = of["USER"][-1] if of["USER"] else "root"
    told += [f"it runs as {user}"] * (user.partition(":")[0] in ("root", "0"))
    told += [f"ADD {rest}: use COPY" for rest in of["ADD"]]
    for name in ("ENTRYPOINT", "CMD"):
        told += [f"{name} {rest} has no exec form" for rest in of[name] if not is_exec_form(rest)]
    for rest in [*of["ENV"], *of["ARG"]]:
        if re.search(r"(token|password|secret|key)\w*=", rest, re.IGNORECASE):
            told.append(f"a secret is part of the image: {rest}")
    for rest in of["RUN"]:
        for command in re.split(r"&&|;|\|", rest):
            is_install = "pip install" in command
            told += ["pip keeps a cache"] * (is_install and "--no-cache-dir" not in command)
            told += ["pip is not constrained"] * (is_install and "--constraint" not in command)
            told += ["sudo is used"] * ("sudo" in command.split())
        told += ["a program is fetched by hand"] * bool(re.search(r"\b(curl|wget)\b", rest))
    told += [f"{name} is missing" for name in ("HEALTHCHECK", "STOPSIGNAL") if name not in names]
    return told


def is_exec_form(rest):
    try:
        words = json.loads(rest)
    except ValueError:
        return False
    return isinstance(words, list) and all(isinstance(word, str) for word in words)


def is_ignored(path, rules):
    """As .dockerignore says of a path: the last rule that fits it, or a folder above it, counts."""
    ignored = False
    above = [path, *(str(folder) for folder in Path(path).parents if str(folder) != ".")]
    for rule in rules:
        pattern = rule.removeprefix("!")
        patterns = (pattern, pattern.removeprefix("**/"))
        if any(fnmatch.fnmatchcase(place, one) for place in above for one in patterns):
            ignored = not rule.startswith("!")
    return ignored


TEXT = (ROOT / "Dockerfile").read_text()
FOUND = instructions(TEXT)
RULES = [
    line
    for line in (ROOT / ".dockerignore").read_text().splitlines()
    if line and not line.startswith("#")
]
ENTRYPOINT = json.loads(dict(FOUND)["ENTRYPOINT"])
HEALTHCHECK = json.loads(dict(FOUND)["HEALTHCHECK"].partition("CMD ")[2])
VARIABLES = dict(word.split("=", 1) for word in shlex.split(dict(FOUND)["ENV"]))
COPIES = [rest.split() for name, rest in FOUND if name == "COPY"]


def test_the_dockerfile_has_no_fault():
    assert faults(TEXT) == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("USER root", "runs as root"),
        ("USER 0:0", "runs as 0"),
        ("ADD https://example.org/x /x", "use COPY"),
        ('CMD sagan serve "avatars64"', "no exec form"),
        ("ENV SAGAN_TOKEN=abc", "secret"),
        ("RUN python -m pip install torch", "cache"),
        ("RUN pip install --no-cache-dir torch", "not constrained"),
        ("FROM python", "no version"),
        ("FROM docker.io/python:latest", "no version"),
        ("RUN curl -O https://example.org/x", "by hand"),
        ("INSTALL torch", "unknown instruction"),
    ],
)
def test_faults_are_found(line, words):
    [fault] = [told for told in faults(f"{TEXT}\n{line}\n") if words in told]
    assert fault


def test_what_is_missing_is_found():
    assert faults("FROM python:3.11-slim") == [
        "it runs as root",
        "HEALTHCHECK is missing",
        "STOPSIGNAL is missing",
    ]


def test_the_image_is_the_one_whose_versions_were_tested():
    [image] = [rest for name, rest in FOUND if name == "FROM"]
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert image == f"python:{wanted.removeprefix('>=')}-slim"
    assert re.search(r"^torch==[\d.]+$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)


def test_what_is_copied_exists_and_is_not_ignored():
    for *sources, _ in COPIES:
        for source in sources:
            assert (ROOT / source).exists()
            assert not is_ignored(source, RULES)
    for file in (ROOT / "src").rglob("*"):
        inside = file.relative_to(ROOT)
        if (
            file.is_file()
            and not {"__pycache__"} & set(inside.parts)
            and ".egg-info" not in str(inside)
        ):
            assert not is_ignored(str(inside), RULES)


def test_all_that_the_build_reads_is_copied():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    hooks = project["tool"]["hatch"]["build"].get("hooks", {})
    hook_files = [hook.get("path", "hatch_build.py") for hook in hooks.values()]
    needed = [project["project"]["readme"], *project["project"]["license-files"], *hook_files]
    copied = {source for *sources, _ in COPIES for source in sources}
    assert copied >= {"pyproject.toml", "constraints.txt", "src", *needed}


@pytest.mark.parametrize(
    "path",
    [
        *(".git/config", ".venv/bin/python", "runs/demo/config.toml", "tests/conftest.py"),
        *("token.txt", ".env", "src/sagan/__pycache__/x.pyc", "src/sagan.egg-info/PKG-INFO"),
    ],
)
def test_what_has_no_place_in_an_image_is_ignored(path):
    assert is_ignored(path, RULES)


def test_every_path_in_it_is_made_by_it_or_there():
    folders = {rest for name, rest in FOUND if name == "WORKDIR"}
    text = " ".join(rest for name, rest in FOUND if name not in ("HEALTHCHECK", "FROM"))
    named = re.findall(r"(?<![\w:/.])/[\w./-]+", re.sub(r"https?://\S+", "", text))
    assert named
    for path in named:
        assert path in folders or path.startswith(SYSTEM_PATHS), path


def test_what_is_written_goes_to_the_place_that_stays_writable():
    assert VARIABLES["HOME"] == "/tmp"
    assert "--tmpfs /tmp" in (ROOT / "docs" / "serve.md").read_text()


def test_the_command_is_one_of_ours(monkeypatch):
    monkeypatch.setenv("SAGAN_MODEL", VARIABLES["SAGAN_MODEL"])
    program, *arguments = ENTRYPOINT
    command, bound, _ = cli.app.parse_args(arguments, exit_on_error=False, print_error=False)
    assert (program, command.__name__) == ("sagan", "serve")
    assert bound.args == (Path("avatars64"),)
    assert bound.kwargs["host"] == "0.0.0.0"
    ports = {str(bound.kwargs["port"]), dict(FOUND)["EXPOSE"]}
    ports |= set(re.findall(r"127\.0\.0\.1:(\d+)", HEALTHCHECK[-1]))
    assert ports == {"8000"}
    _, bound, _ = cli.app.parse_args([*arguments, "/models/mine.safetensors"], exit_on_error=False)
    assert bound.args == (Path("/models/mine.safetensors"),)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_command_runs_and_its_healthcheck_passes(tmp_path):
    """The same words, with another port since that one may be in use, in an empty folder."""
    port = str(free_port())
    there = lambda words: [word.replace("8000", port) for word in words]  # noqa: E731
    program, *arguments = there(ENTRYPOINT)
    assert program == "sagan"
    variables = {**os.environ, **VARIABLES, "HOME": str(tmp_path), "SAGAN_TOKEN": "x" * 32}
    variables |= {"SAGAN_CACHE": str(tmp_path), "PYTHONPATH": str(ROOT / "src")}
    check = [sys.executable, *there(HEALTHCHECK)[1:]]
    before = subprocess.run(check, env=variables, capture_output=True, check=False)
    assert before.returncode != 0
    server = subprocess.Popen(
        [sys.executable, "-m", "sagan", *arguments],
        env=variables,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = server.stdout.readline()
        assert "avatars64 is served at" in line
        assert "x" * 32 not in line
        for _ in range(50):
            ended = subprocess.run(check, env=variables, capture_output=True, check=False)
            if not ended.returncode:
                break
            time.sleep(0.1)
        assert ended.returncode == 0, ended.stderr
        server.send_signal(getattr(signal, dict(FOUND)["STOPSIGNAL"]))
        assert server.wait(20) == 0
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    assert list(tmp_path.iterdir()) == []
