"""Files as other repositories write them, opened without running anything they bring along.

PyTorch files are read with ``weights_only=True``. Beyond what that allows, only NumPy's scalar
numbers are let in, which PyTorch-StudioGAN writes among its scores.
"""

import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sagan.errors import SaganError
from sagan.interop.tensor_bundle import bundle_prefix, read_bundle
from sagan.interop.variables import read_variables
from sagan.runs.checkpoint import FORMAT
from sagan.system.memory import require_free

_SCALAR = np.float64(0).__reduce__()[0]
_ALLOWED = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
    np.dtypes.Int64DType,
]
_NETWORKS = ("generator", "discriminator", "generator_ema")  # prefixes in mmgeneration's files
_UNUSED = re.compile(
    r".*(\.num_batches_tracked|\.sv\d+|/Adam(_\d)?|/ExponentialMovingAverage)"
    r"|(.*/)?(beta\d_power|global_step|[dg]_step).*"
)


@dataclass(frozen=True, kw_only=True)
class ForeignNetwork:
    """The named tensors of one network."""

    source: str
    """The file, and the part of it, for messages."""
    tensors: Mapping[str, Tensor]
    """float32, without counters and what optimisers keep."""
    averaged: bool = False
    """A second generator, whose weights are averages of the first one's."""


def read(path: str | Path) -> list[ForeignNetwork]:
    """Reads the networks of a file: .pth or .pt, .safetensors, or TensorFlow's variables.

    Those are an .npz of arrays, or a checkpoint as :func:`bundle_prefix` finds it.

    Raises:
        SaganError: The file is missing, cut off, garbled, without networks, or would run code.
    """
    path = Path(path)
    if prefix := bundle_prefix(path):
        path, opened = prefix, _read_bundle
    elif path.is_file():
        known = {".safetensors": _read_safetensors, ".npz": _read_npz}
        opened = known.get(path.suffix, _read_pickle)
    elif path.is_dir():
        raise SaganError(f"{path} is a folder without a TensorFlow checkpoint; give a file of it")
    else:
        raise SaganError(f"there is no file {path}; check the path")
    networks = [
        ForeignNetwork(
            source=f"{path} ({part})" if part else str(path),
            tensors=tensors,
            averaged=part == "generator_ema",
        )
        for part, tensors in _split(path, opened(path)).items()
    ]
    if not networks:
        raise SaganError(f"{path} holds no named tensors; give a file with a network's weights")
    return networks


def _read_pickle(path: Path) -> Mapping[str, Tensor]:
    _require_uncompressed(path)
    try:
        with torch.serialization.safe_globals(_ALLOWED), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of storages in files from before PyTorch 1.6
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a garbled pickle may raise anything
        if found := re.search(r"GLOBAL (\S+)", str(error)):
            raise SaganError(
                f"{path} is refused: it asks for {found[1]}, which could run code; "
                "give a file of plain weights"
            ) from error
        raise SaganError(
            f"{path} is cut off or no PyTorch file; give it as its repository wrote it"
        ) from error
    return _state_dict(content, path)


def _require_uncompressed(path: Path) -> None:
    """PyTorch does not compress; a compressed record may hold more than any memory."""
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                packed = [i.filename for i in archive.infolist() if i.compress_type]
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            return  # PyTorch says so too
        if packed:
            raise SaganError(f"{path} is compressed ({packed[0]}); give it as PyTorch wrote it")


def _state_dict(content: Any, path: Path) -> Mapping[str, Tensor]:
    for name in ("state_dict", "model_state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if isinstance(content, Mapping) and {"state", "param_groups"} <= content.keys():
        raise SaganError(f"{path} holds an optimiser, no network; leave it out")
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise SaganError(f"{path} holds no table of named tensors; give a network's weights")
    return content


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            if FORMAT in (file.metadata() or {}):
                raise SaganError(f"{path} is a checkpoint of this program already; use it as it is")
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise SaganError(f"{path} is cut off or no .safetensors file ({error})") from error


def _read_npz(path: Path) -> Mapping[str, Tensor]:
    return read_variables(path, _is_used)


def _read_bundle(prefix: Path) -> Mapping[str, Tensor]:
    return read_bundle(prefix, _is_used)


def _is_used(name: str) -> bool:
    return not _UNUSED.fullmatch(name)


def _split(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Separates networks that share a file, as float32, and drops what no network needs."""
    used = {name: tensor for name, tensor in tensors.items() if _is_used(name)}
    for name, tensor in used.items():
        _require_stored_floats(f"{path}: {name}", tensor)
    require_free(4 * sum(t.numel() for t in used.values()), str(path), "give a smaller file")
    found: dict[str, dict[str, Tensor]] = {}
    for key, tensor in used.items():
        part, name = _network_named(key)
        network = found.setdefault(part, {})
        if name in network:
            raise SaganError(f"{path} holds {name} twice, once as {key}; leave one of them out")
        network[name] = tensor.detach().to(torch.float32, copy=True)
    return found


def _network_named(key: str) -> tuple[str, str]:
    """The network that a key names, if it does, and the rest of it."""
    name = key.removeprefix("module.")
    part, _, rest = name.partition(".")
    if part in _NETWORKS:
        return part, rest
    if match := re.fullmatch(r"(?:.*/)?([gd]_[^/]+/.+)", name):
        return {"g": "generator", "d": "discriminator"}[match[1][0]], match[1]
    return "", name


def _require_stored_floats(what: str, tensor: Tensor) -> None:
    """Refuses numbers that no weights are, and views that repeat a few bytes without end."""
    kind = str(tensor.dtype if tensor.layout is torch.strided else tensor.layout)
    if tensor.layout is not torch.strided or not tensor.is_floating_point():
        raise SaganError(
            f"{what} is {kind.removeprefix('torch.')}, and weights are floats; give a file of a "
            "network's weights"
        )
    stored = tensor.untyped_storage().nbytes() if tensor.device.type == "cpu" else 0
    if tensor.numel() * tensor.itemsize > stored:
        raise SaganError(
            f"{what} of shape {tuple(tensor.shape)} is larger than what is stored of it; give the "
            "file as its repository wrote it"
        )
