"""Which device computes, and in which precision."""

import ctypes
import importlib.util
import os
import platform
import shutil
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from sagan.config import Precision
from sagan.errors import SaganError


def pick_device(name: str) -> torch.device:
    """Turns auto, cpu, cuda or mps into a device of this machine.

    Raises:
        SaganError: The device is unknown or absent.
    """
    present = ["cpu"]
    if torch.backends.mps.is_available():
        present.insert(0, "mps")
    if torch.cuda.is_available():
        present.insert(0, "cuda")
    if name == "auto":
        return torch.device(present[0])
    if name.partition(":")[0] not in present:
        raise SaganError(
            f"there is no device {name!r} here; this machine has {', '.join(present)} (or auto)"
        )
    try:
        return torch.empty(0, device=name).device
    except RuntimeError as error:
        raise SaganError(
            f"there is no device {name!r} here: {str(error).partition(chr(10))[0]}"
        ) from error


def described(device: torch.device) -> str:
    """Names a device for people: the GPU's model, or the CPU with its number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    cpu = f"cpu, {threads} thread{'s' if threads > 1 else ''}"
    return cpu if device.type == "cpu" else str(device)


@contextmanager
def usual_modes() -> Iterator[None]:
    """Within the block gradients are on, autocast is off and float32 is torch's default.

    A block of autocast forgets its copies of weights when the outermost one ends. So the caller's
    blocks are left for a while, and none is entered here.
    """
    before = torch.get_default_dtype()
    on = {kind: torch.is_autocast_enabled(kind) for kind in ("cpu", "cuda")}
    torch.autocast_increment_nesting()
    depth = torch.autocast_decrement_nesting()
    torch.set_default_dtype(torch.float32)
    _set_autocast(dict.fromkeys(on, False), -depth)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        _set_autocast(on, depth)
        torch.set_default_dtype(before)


def _set_autocast(on: dict[str, bool], steps: int) -> None:
    for kind, is_on in on.items():
        torch.set_autocast_enabled(kind, is_on)
    for _ in range(abs(steps)):
        (torch.autocast_increment_nesting if steps > 0 else torch.autocast_decrement_nesting)()
    torch.clear_autocast_cache()


def computes_in_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Tells whether forward passes compute in bfloat16.

    With ``auto`` they do where the hardware multiplies it fast: a CPU with AVX512-BF16 or AMX, a
    GPU of compute capability 8.0 or higher.

    Raises:
        SaganError: bfloat16 is asked for where it is slow. That is known for x86 processors and
            Nvidia's GPUs; elsewhere it is allowed.
    """
    is_fast = _multiplies_bfloat16_fast(device)
    is_known = device.type == "cuda" or platform.machine().lower() in ("x86_64", "amd64")
    if precision == "bfloat16" and is_known and not is_fast:
        raise SaganError(
            f"{described(device)} has no fast bfloat16 and would be slower than in float32; "
            "choose --train.precision auto or float32, or another --train.device"
        )
    return precision == "bfloat16" or (precision == "auto" and is_fast)


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """The precision of forward passes: bfloat16 for convolutions and products, or plain float32.

    Spectral norm, batch statistics, softmax sums and losses stay in float32.

    Raises:
        SaganError: As for :func:`computes_in_bfloat16`.
    """
    enabled = computes_in_bfloat16(precision, device)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def _multiplies_bfloat16_fast(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False


def require_compiler(device: torch.device) -> None:
    """Checks that ``torch.compile`` finds what it needs for a device.

    Raises:
        SaganError: There is no C++ compiler for the CPU, no Triton or C compiler for the GPU, or
            no headers of Python.
    """
    if device.type == "cuda":
        compilers = (os.environ.get("CC", "cc"), "gcc", "clang")
        needs = {
            "the package triton": _has_triton(),
            "a C compiler such as gcc": any(map(shutil.which, compilers)),
        }
    else:
        needs = {"a C++ compiler such as g++": _has_cpp_compiler()}
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    needs["Python.h (package python3-dev)"] = headers.exists()
    for needed, found in needs.items():
        if not found:
            raise SaganError(
                f"compiling needs {needed} on {device.type}; install it, or leave compile out"
            )


def _has_triton() -> bool:
    try:
        return importlib.util.find_spec("triton") is not None
    except ValueError:
        return False


def _has_cpp_compiler() -> bool:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        return bool(get_cpp_compiler())
    except InvalidCxxCompiler:
        return False


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Keeps freed memory in the process, for the next allocation. Only glibc can; else a no-op.

    By default glibc returns large blocks to the system, which hands them out again page by page:
    a fifth of a training step at ImageNet size on a CPU (docs/lab/performance.md). The price: the
    process never shrinks.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        if not libc.mallopt(_M_MMAP_THRESHOLD, 2**30):
            libc.mallopt(_M_MMAP_THRESHOLD, 2**25)  # the most that glibc before 2.35 takes
        libc.mallopt(_M_TRIM_THRESHOLD, -1)
