"""The one file format: named tensors and the settings they belong to, in one .safetensors file.

A file holds parts ("generator", "discriminator", "generator_ema" and, to go on training, both
optimisers) and, as metadata, the full config, the class names and the versions that wrote it.
There is no pickle. A file appears complete or not at all, and what is damaged later is noticed when
it is read: the metadata hold checksums too (:mod:`sagan.runs.digests`). The same content gives the
same bytes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sagan import config as settings
from sagan.config import Config
from sagan.errors import FaultError, SaganError
from sagan.runs.digests import digests_in, first_not_finite, read_tensors, with_digests
from sagan.system.files import replacing, require_readable

FORMAT = "sagan"
FORMAT_VERSION = 1

Parts = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a checkpoint file holds."""

    config: Config
    class_names: tuple[str, ...]
    step: int
    parts: Parts
    dataset_fingerprint: str = ""
    versions: dict[str, str] = field(
        default_factory=lambda: {"sagan": version("sagan"), "torch": str(torch.__version__)}
    )


def save(
    checkpoint: Checkpoint, path: str | Path, notes: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Writes a checkpoint aside, flushes it to the disk and puts it in place.

    Args:
        checkpoint: What it holds.
        path: The file.
        notes: More metadata, for other readers; :func:`load` passes over them.

    Raises:
        FaultError: It cannot be written; whatever stood at ``path`` is untouched.
    """
    path = Path(path)
    header = {
        "version": FORMAT_VERSION,
        "step": checkpoint.step,
        "class_names": checkpoint.class_names,
        "dataset_fingerprint": checkpoint.dataset_fingerprint,
        "versions": checkpoint.versions,
        "config": settings.to_dict(checkpoint.config),
    }
    tensors = {
        f"{part}.{name}": tensor.detach().contiguous()
        for part, named in checkpoint.parts.items()
        for name, tensor in named.items()
    }
    try:
        with replacing(path) as draft:
            metadata = with_digests(tensors, {**notes, FORMAT: json.dumps(header)})
            save_file(tensors, draft, metadata=metadata)
            _order_metadata(draft)
    except (OSError, SafetensorError) as error:
        raise FaultError(
            f"cannot write the checkpoint {path}: {error}; free space or choose another folder"
            " (earlier checkpoints are untouched)"
        ) from error


def _order_metadata(path: Path) -> None:
    """Sorts the metadata of a file in place: safetensors writes them in any order."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        ordered = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        file.seek(8)
        file.write(ordered.ljust(length))


_MODELS = (
    "give a run folder, a .safetensors file or the name of a model; what was exported as .onnx, "
    ".pt2 or .html is for other programs"
)


class DamagedError(SaganError):
    """A checkpoint file is not what was written, makes no sense, or holds what is not finite.

    Attributes:
        reason: Without what to do.
    """

    def __init__(self, reason: str, remedy: str = "take an earlier one") -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason = reason


def load(path: str | Path) -> Checkpoint:
    """Reads a checkpoint file; one that does not state the channels of the pictures has 3.

    Numbers of 16 bits become float32.

    Raises:
        DamagedError: The file is cut off, or not what was written, or a number in it is not finite.
        SaganError: The file is missing, may not be read, is not ours, or of a newer version.
    """
    return _read_file(Path(path), keeps=True)


def require_good(path: str | Path) -> Checkpoint:
    """Reads a checkpoint file as :func:`load` does, and keeps one tensor at a time in memory.

    Returns:
        All of it, with the shapes of the tensors only: they are on the device "meta".

    Raises:
        SaganError: As there.
    """
    return _read_file(Path(path), keeps=False)


def _read_file(path: Path, *, keeps: bool) -> Checkpoint:
    if not path.is_file():
        raise SaganError(f"there is no checkpoint {path}; check the path")
    if str(path) != str(path).encode(errors="ignore").decode():
        raise SaganError(f"{path} has bytes in its name that are no UTF-8; rename it")
    require_readable(path)
    try:
        with safe_open(path, framework="pt") as file:
            digests = digests_in(file)
            header = _header(file.metadata() or {})
            parts: dict[str, dict[str, Tensor]] = {}
            for key, tensor in read_tensors(file, digests):
                _require_finite(path, key, tensor)
                part, _, name = key.partition(".")
                is_short = tensor.dtype in (torch.float16, torch.bfloat16)
                tensor = tensor.float() if is_short else tensor
                parts.setdefault(part, {})[name] = tensor if keeps else tensor.to("meta")
        config = settings.from_dict(header["config"])
        return Checkpoint(
            config=config.with_channels(config.data.shape[0]),
            class_names=settings.require_class_names(header["class_names"]),
            step=header["step"],
            parts=parts,
            dataset_fingerprint=header["dataset_fingerprint"],
            versions=header["versions"],
        )
    except DamagedError:
        raise
    except SaganError as error:
        raise SaganError(f"{path}: {error}") from error
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        if ".safetensors" not in path.suffixes:
            raise DamagedError(f"{path} is no checkpoint of this program", _MODELS) from error
        raise DamagedError(f"{path} is damaged or no checkpoint ({error})") from error


def _require_finite(path: Path, key: str, tensor: Tensor) -> None:
    if first_not_finite({key: tensor}):
        raise DamagedError(f"{path} holds numbers that are not finite, in {key}")


def halved(checkpoint: Checkpoint) -> Checkpoint:
    """The same with kernels and tables in float16, in half the bytes.

    Vectors and single numbers (biases, batch statistics, singular vectors) stay as they are.

    Raises:
        SaganError: A weight is larger than float16 can hold.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    for part, named in checkpoint.parts.items():
        for name, tensor in named.items():
            is_rounded = tensor.ndim > 1 and tensor.dtype == torch.float32
            kept = tensor.half() if is_rounded else tensor
            if is_rounded and not torch.equal(kept.isfinite(), tensor.isfinite()):
                most = torch.finfo(torch.float16).max
                raise SaganError(
                    f"{part}.{name} has values beyond {most:,.0f}, the most that 16 bits hold; "
                    "leave --half out"
                )
            parts.setdefault(part, {})[name] = kept
    return replace(checkpoint, parts=parts)


def _header(metadata: Mapping[str, str]) -> dict[str, Any]:
    if FORMAT not in metadata:
        raise SaganError("this is no checkpoint of this program; give one that sagan train wrote")
    header = json.loads(metadata[FORMAT])
    if header["version"] > FORMAT_VERSION:
        raise SaganError(
            f"written by a newer version ({header['versions']['sagan']}); "
            "take that one: git pull in the clone of sagan, then pip install . there"
        )
    step, mark, versions = header["step"], header["dataset_fingerprint"], header["versions"]
    if type(step) is not int or not 0 <= step < 2**63:
        raise ValueError(f"its step is {step!r}")
    if not isinstance(mark, str) or not isinstance(versions, dict):
        raise TypeError("its metadata are of other kinds")
    return header


def require_same_tensors(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], part: str
) -> None:
    """Compares names, shapes, and whether numbers are whole.

    Raises:
        SaganError: They differ; names the first difference.
    """
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors or name not in expected:
            where = "checkpoint" if name not in tensors else "network"
            raise SaganError(f"{part}.{name} is missing in the {where}; the architectures differ")
        found, wanted = tensors[name], expected[name]
        if found.shape != wanted.shape:
            raise SaganError(
                f"{part}.{name} has shape {tuple(found.shape)} in the checkpoint and "
                f"{tuple(wanted.shape)} in the network; the architectures differ"
            )
        if found.dtype.is_floating_point != wanted.dtype.is_floating_point:
            raise SaganError(
                f"{part}.{name} is of {found.dtype} in the checkpoint and {wanted.dtype} in the "
                "network; give another file"
            )


def part_of(parts: Parts, part: str) -> Mapping[str, Tensor]:
    """The tensors of one part.

    Raises:
        SaganError: It is absent; names those present.
    """
    if part not in parts:
        raise SaganError(
            f"the checkpoint has no {part}, only {', '.join(parts)}; give another file"
        )
    return parts[part]


def restore_network(network: nn.Module, parts: Parts, part: str) -> None:
    """Gives a network the tensors of one part.

    Raises:
        SaganError: The part is absent or does not fit the network; names the first difference.
    """
    tensors = part_of(parts, part)
    require_same_tensors(tensors, network.state_dict(), part)
    network.load_state_dict(dict(tensors))
