"""Models on a hub, pushed and loaded, against a hub on this machine."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from local_hub import OWNER, TOKEN, Hub
from safetensors import safe_open
from safetensors.numpy import save
from test_cli import mistake, run

import sagan
from sagan.errors import SaganError
from sagan.runs import hub as runs_hub
from sagan.runs.hub import MODEL_FILE, downloaded, require_repository, upload
from sagan.sampling.generator import load_generator
from sagan.system.extras import install

pytest.importorskip("huggingface_hub")
NAME = f"{OWNER}/flowers"

# The library's own way of sending a file.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub, and a library that knows it, with a token and a cache of its own."""
    from huggingface_hub import constants

    with Hub().serving() as served:
        template = served.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", served.endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", str(tmp_path / "harnesses"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("NO_PROXY", "*")
        yield served
    assert not served.surprises


@pytest.fixture(scope="session")
def model_bytes(trained_run, tmp_path_factory):
    """An exported model."""
    path = tmp_path_factory.mktemp("exported") / "model.safetensors"
    assert run("export", trained_run, "-o", path) == 0
    return path.read_bytes()


def refusal(name):
    with pytest.raises(SaganError) as caught:
        downloaded(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- loading


def test_what_is_there_is_loaded(hub, model_bytes, trained_run, tmp_path):
    repository = hub.holding(NAME, {MODEL_FILE: model_bytes, "sub/other.safetensors": model_bytes})
    first = repository.branches["main"]
    path = downloaded(f"hf:{NAME}")
    assert path.read_bytes() == model_bytes
    assert path.is_relative_to(tmp_path / "cache")
    for ending in ("@main", f"@{first}", "/sub/other.safetensors", "@main/sub/other.safetensors"):
        assert downloaded(f"hf:{NAME}{ending}").read_bytes() == model_bytes
    expected = load_generator(trained_run).sample(range(4), "dark")
    np.testing.assert_array_equal(load_generator(f"hf:{NAME}").sample(range(4), "dark"), expected)


def test_a_file_is_downloaded_once_and_the_newest_is_taken(hub, model_bytes):
    repository = hub.holding(NAME, {MODEL_FILE: model_bytes})
    first = downloaded(f"hf:{NAME}")
    assert downloaded(f"hf:{NAME}") == first
    assert sum(path.startswith("/cdn/") for _, path in hub.asked) == 1
    repository.commit("main", {MODEL_FILE: ours(weight=np.ones(3))})
    assert downloaded(f"hf:{NAME}") != first


def test_without_network_the_cache_is_taken(hub, model_bytes, monkeypatch):
    from huggingface_hub import constants

    hub.holding(NAME, {MODEL_FILE: model_bytes})
    path = downloaded(f"hf:{NAME}")
    asked = len(hub.asked)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert downloaded(f"hf:{NAME}") == path
    line = refusal(f"hf:{OWNER}/another")
    assert "cannot be reached" in line
    assert "HF_HUB_OFFLINE" in line
    assert len(hub.asked) == asked


def test_a_hub_that_is_gone(hub, model_bytes, monkeypatch):
    from huggingface_hub import constants

    hub.holding(NAME, {MODEL_FILE: model_bytes})
    path = downloaded(f"hf:{NAME}")
    closed = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", closed)
    waited = []
    monkeypatch.setattr("time.sleep", waited.append)  # before it tries again
    assert "the hub cannot be reached" in refusal(f"hf:{OWNER}/other")
    assert waited == []
    assert downloaded(f"hf:{NAME}") == path


def test_private_ones_want_a_token(hub, model_bytes, monkeypatch):
    hub.holding(NAME, {MODEL_FILE: model_bytes}, private=True)
    assert downloaded(f"hf:{NAME}").exists()
    monkeypatch.delenv("HF_TOKEN")
    other = hub.holding(f"{OWNER}/other", {MODEL_FILE: model_bytes}, private=True)
    assert other.private
    line = refusal(f"hf:{OWNER}/other")
    assert "no such repository, or it is private" in line
    assert "hf auth login" in line


def test_what_is_not_there_is_named(hub, model_bytes):
    assert "no such repository" in refusal("hf:ann/nothing")
    hub.holding(NAME, {"README.md": b"", "pictures.npz": b""})
    assert f"no file {MODEL_FILE}; name one that it has" in refusal(f"hf:{NAME}")
    assert "no revision v9" in refusal(f"hf:{NAME}@v9")


def test_owners_who_want_to_be_asked(hub):
    hub.faults[f"/{NAME}/resolve/main/{MODEL_FILE}"] = (403, {"X-Error-Code": "GatedRepo"}, b"")
    assert "wants to be asked" in refusal(f"hf:{NAME}")


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert install("hub") in refusal(f"hf:{NAME}")


# --- what is hostile


@pytest.mark.parametrize(
    "name",
    [
        "flowers",
        "",
        "/",
        "../../etc",
        "ann/../bob",
        "ann/fl owers",
        "ann/flowers.git",
        "ann.git/flowers",
        "ann/flo--wers",
        "-ann/flowers",
        "ann/flowers-",
        "ann/flöwers",
        "ann/flowers?x=1",
        "ann/flowers#x",
        "ann/flowers\n",
        "ann/" + "x" * 96,
        "ann/flowers@",
        "ann/flowers@../main",
        "ann/flowers@a..b",
        "ann/flowers@-x",
        "ann/flowers@%2e%2e",
        "ann/flowers@" + "x" * 101,
        "ann/flowers/weights.pth",
        "ann/flowers/../x.safetensors",
        "ann/flowers/a/../../x.safetensors",
        "ann/flowers//x.safetensors",
        "ann/flowers/.safetensors",
        "ann/flowers/a\\b.safetensors",
        "ann/flowers/x.safetensors/y",
    ],
)
def test_names_are_judged_before_anything_is_sent(hub, name):
    assert "write" in refusal(f"hf:{name}")
    assert not hub.asked


def ours(**tensors):
    return save(
        {name: np.asarray(value) for name, value in tensors.items()},
        metadata={"sagan": json.dumps({"version": 1})},
    )


def test_files_of_another_kind(hub):
    hub.holding(NAME, {MODEL_FILE: b"<html>no model</html>"})
    assert "is no .safetensors file" in refusal(f"hf:{NAME}")
    hub.holding(f"{OWNER}/far", {MODEL_FILE: (2**40).to_bytes(8, "little") + b"{}"})
    assert "is no .safetensors file" in refusal(f"hf:{OWNER}/far")
    hub.holding(f"{OWNER}/foreign", {MODEL_FILE: save({"conv.weight": np.zeros(3)})})
    line = refusal(f"hf:{OWNER}/foreign")
    assert "sagan convert" in line
    assert MODEL_FILE in line


def test_a_model_of_ours_that_is_cut_short(hub):
    hub.holding(NAME, {MODEL_FILE: ours(weight=np.zeros(3))})
    with pytest.raises(SaganError, match="damaged"):
        load_generator(f"hf:{NAME}")


def linked(size, location):
    headers = {"Location": location, "X-Repo-Commit": "0" * 40, "X-Linked-Etag": '"abc"'}
    return 302, headers | ({} if size is None else {"X-Linked-Size": str(size)}), b""


@pytest.mark.parametrize(
    ("size", "words"),
    [(2**35, "no model of this program"), (2**34, "HF_HOME"), (None, "how large")],
)
def test_sizes_are_judged_before_the_download(hub, size, words, monkeypatch):
    path = f"/{NAME}/resolve/main/{MODEL_FILE}"
    hub.faults[path] = linked(size, f"{hub.elsewhere}/cdn/{'0' * 64}")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 2**30})())
    assert words in refusal(f"hf:{NAME}")
    assert {method for method, _ in hub.asked} == {"HEAD"}


def test_a_size_that_is_not_kept(hub):
    oid = "0" * 64
    hub.stored[oid] = b"short"
    hub.faults[f"/{NAME}/resolve/main/{MODEL_FILE}"] = linked(1000, f"{hub.elsewhere}/cdn/{oid}")
    assert "should be of size 1000" in refusal(f"hf:{NAME}")


def test_files_of_this_machine_are_not_read(hub, tmp_path):
    secret = tmp_path / MODEL_FILE
    secret.write_bytes(ours(weight=np.zeros(3)))
    hub.faults[f"/{NAME}/resolve/main/{MODEL_FILE}"] = linked(
        secret.stat().st_size, f"file://{secret}"
    )
    assert "cannot download" in refusal(f"hf:{NAME}")


# --- pushing


def test_pushed_and_loaded_by_the_command_alone(hub, trained_run, tmp_path):
    variables = {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_TOKEN": TOKEN,
    }
    said = subprocess.run(
        [sys.executable, "-m", "sagan", "push", trained_run, NAME, "--license", "mit"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    commit = hub.repositories[NAME].branches["main"]
    assert said.stdout.split()[-1] == f"{hub.endpoint}/{NAME}/commit/{commit}"
    assert TOKEN not in said.stdout + said.stderr
    files = hub.repositories[NAME].commits[commit]
    assert files.keys() == {MODEL_FILE, "config.toml", "samples.png", "README.md"}
    expected = load_generator(trained_run).sample(range(8), "light")
    found = sagan.load_generator(f"hf:{NAME}").sample(range(8), "light")
    np.testing.assert_array_equal(found, expected)
    assert not any("discriminator" in name for name in tensors(files[MODEL_FILE], tmp_path))


def tensors(content, tmp_path):
    path = tmp_path / "content.safetensors"
    path.write_bytes(content)
    with safe_open(path, framework="np") as file:
        return list(file.keys())


def test_private_branches_with_the_discriminator(hub, trained_run, tmp_path, capsys):
    push = ["push", trained_run, NAME, "--license", "cc-by-4.0", "--private", "--discriminator"]
    for _ in range(2):
        assert run(*push, "--revision", "v2") == 0
    repository = hub.repositories[NAME]
    assert repository.private
    assert repository.commits[repository.branches["main"]] == {}
    files = repository.commits[repository.branches["v2"]]
    assert any(name.startswith("discriminator.") for name in tensors(files[MODEL_FILE], tmp_path))
    assert load_generator(f"hf:{NAME}@v2").class_names == ("dark", "light")


def test_nothing_private_goes_into_a_public_repository(hub, trained_run, capsys):
    hub.holding(NAME, {"README.md": b"mine"})
    line = mistake(capsys, "push", trained_run, NAME, "--license", "mit", "--private")
    assert "is public" in line
    repository = hub.repositories[NAME]
    assert repository.commits[repository.branches["main"]] == {"README.md": b"mine"}
    assert not hub.stored


def test_what_the_hub_refuses(hub, trained_run, capsys, monkeypatch):
    push = ["push", trained_run, NAME, "--license", "mit"]
    line = mistake(capsys, "push", trained_run, "bob/flowers", "--license", "mit")
    assert "the token is not valid or may not do this" in line
    hub.faults[f"/api/models/{NAME}/commit/main"] = (500, {}, b"")
    assert "the model here is as it was, push it again" in mistake(capsys, *push)
    hub.faults.clear()
    assert run(*push) == 0
    capsys.readouterr()
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    assert "the token is not valid" in mistake(capsys, *push)
    monkeypatch.delenv("HF_TOKEN")
    hub.asked.clear()
    assert "hf auth login" in mistake(capsys, *push)
    assert not hub.asked


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["flowers", "--license", "mit"], "write owner/name"),
        (["ann/../x", "--license", "mit"], "write owner/name"),
        ([NAME], "--license"),
        ([NAME, "--license", "MIT: yes\n---"], "no licence"),
        ([NAME, "--license", "mit", "--revision", "a/../b"], "no revision"),
    ],
)
def test_mistakes_are_told_before_anything_is_sent(hub, trained_run, capsys, arguments, words):
    assert words in mistake(capsys, "push", trained_run, *arguments)
    assert not hub.asked


def test_upload_judges_names_too(hub, tmp_path):
    for name, revision in (("flowers", None), (NAME, "a b")):
        with pytest.raises(SaganError, match="write"):
            upload(tmp_path, name, "m", private=False, revision=revision)
    assert not hub.asked
    require_repository(NAME)


def test_the_names_that_the_library_allows_are_ours():
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    for name in ("a/b", "A_1/b.c-d", "ann/x--y", "ann/x..y", "ann/.x", "x/y.git", "a/b/c"):
        try:
            validate_repo_id(name)
            is_allowed = True
        except HFValidationError:
            is_allowed = False
        if not is_allowed:
            with pytest.raises(SaganError):
                runs_hub.require_repository(name)
        else:
            runs_hub.require_repository(name)
