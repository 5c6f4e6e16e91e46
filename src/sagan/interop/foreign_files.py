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
from sagan.runs.checkpoint import FORMAT

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
    else:
        raise SaganError(f"there is no file {path}; check the path")
    networks = [
        ForeignNetwork(
            source=f"{path} ({part})" if part else str(path),
            tensors=tensors,
            averaged=part == "generator_ema",
        )
        for part, tensors in _split(opened(path)).items()
    ]
    if not networks:
        raise SaganError(f"{path} holds no named tensors; give a file with a network's weights")
    return networks


def _read_pickle(path: Path) -> Mapping[str, Tensor]:
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
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {
                name.removesuffix(":0"): torch.from_numpy(np.array(arrays[name], np.float32))
                for name in arrays.files
            }
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise SaganError(f"{path} is cut off or no .npz of plain arrays ({error})") from error


def _read_bundle(prefix: Path) -> Mapping[str, Tensor]:
    return read_bundle(prefix, lambda name: not _UNUSED.fullmatch(name))


def _split(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Separates networks that share a file, as float32, and drops what no network needs."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        name = name.removeprefix("module.")
        if _UNUSED.fullmatch(name):
            continue
        part, _, rest = name.partition(".")
        if part in _NETWORKS:
            name = rest
        elif match := re.fullmatch(r"(?:.*/)?([gd]_[^/]+/.+)", name):
            name = match[1]
            part = {"g": "generator", "d": "discriminator"}[name[0]]
        else:
            part = ""
        found.setdefault(part, {})[name] = tensor.detach().to(torch.float32, copy=True)
    return found
