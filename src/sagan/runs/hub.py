"""Models on Hugging Face's hub: downloaded into the hub's own cache, uploaded as one commit.

A model is called ``hf:owner/name``; a branch, a tag or a commit may follow after ``@``, and the
name of its file after a slash: ``hf:owner/name@v2/other.safetensors``.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open

from sagan.config import HUB
from sagan.errors import SaganError, printable
from sagan.runs.checkpoint import FORMAT
from sagan.system.extras import install
from sagan.system.memory import readable, require_space

MODEL_FILE = "model.safetensors"
"""The file of a repository that holds the model, unless another is named."""

_REPOSITORY = re.compile(r"\w(?:[\w.-]*\w)?/\w(?:[\w.-]*\w)?", re.ASCII)
_REVISION = re.compile(r"\w(?:[\w.-]{0,98}\w)?", re.ASCII)
_FILE_PATH = re.compile(r"(?:\w[\w.-]*/)*\w[\w.-]*\.safetensors", re.ASCII)
_FORBIDDEN = re.compile(r"--|\.\.|\.git(?:/|$)")
_LONGEST_REPOSITORY = 96
_LARGEST_DOWNLOAD = 2**34
_LOGIN = "log in with: hf auth login, or set HF_TOKEN"


class _Place(NamedTuple):
    """One file on the hub."""

    repository: str
    revision: str | None
    file: str


def downloaded(name: str) -> Path:
    """Downloads a model, unless the newest is in the cache already.

    Where the hub cannot be reached, what is in the cache is taken.

    Args:
        name: hf:owner/name, hf:owner/name@revision, or either with /FILE.safetensors.

    Returns:
        The file in the hub's cache. It holds a model of this program, whose settings and tensors
        are still to be judged.

    Raises:
        SaganError: The name or the file is none, the library is missing, or the hub has or gives
            no such file.
    """
    place = _place(name)
    hub = _library(name)
    chosen: dict[str, Any] = {
        "repo_id": place.repository,
        "filename": place.file,
        "revision": place.revision,
        **_ourselves(),
    }
    with _telling(f"cannot download {name}", place):
        _require_reachable(hub, place)
        found = hub.hf_hub_download(**chosen, dry_run=True)
        file = Path(found.local_path)
        if not file.exists():
            _require_room(found.file_size, file, name)
            file = Path(hub.hf_hub_download(**chosen))
    _require_model(file, name)
    return file


def require_repository(repository: str) -> None:
    """Judges the name of a repository before anything is sent.

    Raises:
        SaganError: It is no owner/name as the hub allows it.
    """
    is_short = len(repository) <= _LONGEST_REPOSITORY
    if not is_short or not _REPOSITORY.fullmatch(repository) or _FORBIDDEN.search(repository):
        raise SaganError(
            f"{repository!r} is no repository of the hub; write owner/name, of letters, digits, "
            f"-, _ and ., at most {_LONGEST_REPOSITORY} in all"
        )


def require_revision(revision: str) -> None:
    """Judges the name of a branch, a tag or a commit before anything is sent.

    Raises:
        SaganError: It has other characters than letters, digits, -, _ and .
    """
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise SaganError(
            f"{revision!r} is no revision that can be named here; write a branch, a tag or a "
            "commit, of letters, digits, -, _ and ."
        )


def require_login() -> None:
    """Makes sure that the library is there and has a token, without asking the hub.

    Raises:
        SaganError: One is missing.
    """
    if not _library("uploading").get_token():
        raise SaganError(f"uploading needs an account of the hub; {_LOGIN}")


def upload(
    folder: Path, repository: str, message: str, *, private: bool, revision: str | None
) -> str:
    """Uploads the files of a folder as one commit, into a repository that is made if need be.

    Args:
        folder: Its files, none of them in folders of their own.
        repository: owner/name.
        message: Of the commit.
        private: Nobody else may see the repository.
        revision: The branch, made if need be; None for the main one.

    Returns:
        The commit's address.

    Raises:
        SaganError: A name is none, the library or a token is missing, the hub refuses, or a
            repository that is to be private is public.
    """
    require_repository(repository)
    if revision is not None:
        require_revision(revision)
    require_login()
    hub = _library("uploading")
    place = _Place(repository, revision, "")
    with _telling(
        f"cannot upload to {repository}", place, "; the model here is as it was, push it again"
    ):
        api = hub.HfApi(**_ourselves())
        api.create_repo(repository, private=private or None, exist_ok=True)
        if private and not api.model_info(repository).private:
            raise SaganError(f"{repository} is public; make it private there, or choose another")
        if revision is not None:
            api.create_branch(repository, branch=revision, exist_ok=True)
        files = [
            hub.CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=file)
            for file in sorted(folder.iterdir())
        ]
        with _bars(hub):
            made = api.create_commit(repository, files, commit_message=message, revision=revision)
    return printable(str(made.commit_url))


def _place(name: str) -> _Place:
    repository, _, file = name.removeprefix(HUB).partition("/")
    own_name, slash, file = file.partition("/")
    own_name, mark, revision = own_name.partition("@")
    repository = f"{repository}/{own_name}"
    require_repository(repository)
    if mark:
        require_revision(revision)
    if slash and not _FILE_PATH.fullmatch(file):
        raise SaganError(f"{name} names no .safetensors file; write {HUB}{repository}/FILE")
    return _Place(repository, revision or None, file or MODEL_FILE)


def _library(what: str) -> ModuleType:
    try:
        import huggingface_hub
    except ImportError as error:
        raise SaganError(f"{what} needs huggingface_hub; run: {install('hub')}") from error
    return huggingface_hub


def _require_reachable(hub: ModuleType, place: _Place) -> None:
    """Asks once for a file that the cache lacks: the library asks six times, for half a minute."""
    repository, revision, file = place
    if not hub.try_to_load_from_cache(repository, file, revision=revision):
        address = hub.hf_hub_url(repository, file, revision=revision)
        try:
            hub.get_hf_file_metadata(address, **_ourselves())
        except Exception as error:
            if getattr(error, "response", None) is None:
                raise hub.errors.LocalEntryNotFoundError(str(error)) from error
            raise


def _ourselves() -> dict[str, str]:
    """What the hub is told of who asks."""
    return {"library_name": "sagan", "library_version": version("sagan")}


def _require_room(size: int | None, file: Path, name: str) -> None:
    if size is None:
        raise SaganError(f"the hub does not say how large {name} is; look at HF_ENDPOINT")
    if size > _LARGEST_DOWNLOAD:
        raise SaganError(f"{name} has {readable(size)}, no model of this program; name another")
    require_space(file.parent, size, name, "free space, or set HF_HOME to a folder elsewhere")


def _require_model(file: Path, name: str) -> None:
    try:
        with safe_open(file, framework="pt") as opened:
            is_ours = FORMAT in (opened.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise SaganError(f"{name} is no .safetensors file ({error}); name another") from error
    if not is_ours:
        raise SaganError(
            f"{name} is no model of this program; if it is one of another SAGAN repository, turn "
            f"it into one: sagan convert {file} -o model.safetensors"
        )


def _bars(hub: ModuleType) -> AbstractContextManager[Any]:
    """The library's bars, where there is a terminal or its own variable decides."""
    if sys.stderr.isatty() or "HF_HUB_DISABLE_PROGRESS_BARS" in os.environ:
        return nullcontext()
    return hub.utils.disable_progress_bars()


@contextmanager
def _telling(what: str, place: _Place, ending: str = "") -> Iterator[None]:
    """Turns the library's many errors into one line."""
    try:
        yield
    except SaganError:
        raise
    except Exception as error:
        raise SaganError(f"{what}: {_cause(error, place)}{ending}") from error


def _cause(error: BaseException, place: _Place) -> str:
    from huggingface_hub import errors

    if isinstance(error, RuntimeError) and error.__cause__ is not None:
        error = error.__cause__
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError):
        return f"its owner wants to be asked; do so on its page, and {_LOGIN}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"there is no such repository, or it is private; look at the name, or {_LOGIN}"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"it has no revision {place.revision or 'main'}; look at its branches and tags"
    if isinstance(error, errors.RemoteEntryNotFoundError):
        like = f"{HUB}{place.repository}/FILE.safetensors"
        return f"it has no file {place.file}; name one that it has: {like}"
    if isinstance(error, errors.LocalEntryNotFoundError):
        return (
            "the hub cannot be reached and the cache does not have it; look at the connection, and "
            "at HF_HUB_OFFLINE and HF_ENDPOINT where they are set"
        )
    if status in (401, 403):
        return f"the token is not valid or may not do this; {_LOGIN}"
    reason = (str(error).strip() or type(error).__name__).partition("\n")[0]
    return f"{reason}; look at the connection and try again"
