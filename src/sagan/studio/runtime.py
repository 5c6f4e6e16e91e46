"""The runtime of the page in a single file: ONNX Runtime for browsers, from npm.

A wheel brings its files along, a checkout gets them by ``python -m sagan.studio.runtime``. Without
them everything but that page works.
"""

import gzip
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from pathlib import Path
from typing import NamedTuple

from sagan.errors import SaganError
from sagan.system.files import replacing, writing

VERSION = "1.30.0"
"""Of the npm package onnxruntime-web."""
FOLDER = Path(__file__).parent / "vendor"
"""Where the files lie, gzipped."""
LICENCE = Path(__file__).parent / "onnxruntime-web.LICENSE"
"""Of the runtime; it goes along with it."""

_OF_NPM = ("--ignore-scripts", "--silent", "--prefer-offline", "--fetch-retries=1")
_GET_IT = "get it once with: python -m sagan.studio.runtime (npm downloads 33 MB, 4 are kept)"


class _File(NamedTuple):
    name: str
    size: int
    sha256: str


_SCRIPT = _File(
    "ort.wasm.bundle.min.mjs",
    73_054,
    "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
)
_MACHINE = _File(
    "ort-wasm-simd-threaded.wasm",
    14_239_897,
    "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
)


class Runtime(NamedTuple):
    """The runtime's files, gzipped."""

    script: bytes
    """Its JavaScript, a module."""
    machine: bytes
    """Its WebAssembly."""


def find_runtime(folder: Path = FOLDER) -> Runtime:
    """Reads the runtime.

    Raises:
        SaganError: It is not there, or is not the one that is known.
    """
    return Runtime(*(_read(folder / f"{file.name}.gz", file) for file in (_SCRIPT, _MACHINE)))


def get_runtime(folder: Path = FOLDER) -> None:
    """Gets the runtime by npm, which must be installed; found files are kept.

    Raises:
        SaganError: It cannot be had, is not the one that is known, or cannot be written.
    """
    try:
        find_runtime(folder)
        return
    except SaganError:
        pass  # missing or damaged
    with tempfile.TemporaryDirectory() as place:
        package = Path(place) / "package.tgz"
        _download(package)
        found = [_file_in(package, file) for file in (_SCRIPT, _MACHINE)]
    with writing(folder):
        for file, content in zip((_SCRIPT, _MACHINE), found, strict=True):
            with replacing(folder / f"{file.name}.gz") as draft:
                draft.write_bytes(gzip.compress(content, mtime=0))


def _read(path: Path, file: _File) -> bytes:
    if not path.is_file():
        raise SaganError(f"the runtime of pages in a single file is not installed; {_GET_IT}")
    if path.stat().st_size > file.size + 1024:
        raise SaganError(f"{path} is not the known runtime; {_GET_IT}")
    packed = path.read_bytes()
    try:
        content = zlib.decompressobj(wbits=31).decompress(packed, file.size + 1)
    except zlib.error:
        content = b""
    _require_known(content, file, str(path))
    return packed


def _require_known(content: bytes, file: _File, place: str) -> None:
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise SaganError(f"{place} is not the known runtime; {_GET_IT}")


def _file_in(package: Path, file: _File) -> bytes:
    name = f"package/dist/{file.name}"
    try:
        with tarfile.open(package) as archive:
            member = archive.extractfile(name)
            content = member.read(file.size + 1) if member else b""
    except (tarfile.TarError, KeyError, OSError, EOFError, zlib.error) as error:
        raise SaganError(f"the package from npm holds no {name}: {error}; try again") from error
    _require_known(content, file, f"{name} from npm")
    return content


def _download(package: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise SaganError(
            "npm is not installed, and pages in a single file need a runtime from it; install "
            "Node.js, which brings npm"
        )
    try:
        subprocess.run(
            [npm, "pack", f"onnxruntime-web@{VERSION}", *_OF_NPM],
            cwd=package.parent,
            check=True,
            capture_output=True,
            timeout=600,
        )
        next(package.parent.glob("*.tgz")).rename(package)
    except (OSError, subprocess.SubprocessError, StopIteration) as error:
        raise SaganError(f"npm gives no onnxruntime-web {VERSION}: {error}; try again") from error


if __name__ == "__main__":
    try:
        get_runtime()
    except SaganError as error:
        sys.exit(f"sagan: {error}")
