"""What a measurement ran on: hardware, versions, commit, and how fast it multiplies at best."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import torch

import sagan

ROOT = Path(__file__).parent.parent
INSTRUCTION_SETS = (
    *("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_bf16", "amx_int8", "asimd", "bf16", "sve", "sve2", "i8mm"),
)
CEILING_REPEATS = 5


def ceilings(device: torch.device, side: int | None = None) -> dict[str, float]:
    """Thousand million operations per second of square matrix products, the best of several.

    Args:
        device: Where.
        side: Rows and columns; None takes 8192 on a GPU and 4096 elsewhere.

    Returns:
        By precision: float32, bfloat16 and, on a GPU whose cuDNN may use it, tf32.
    """
    side = side or (8192 if device.type == "cuda" else 4096)
    found = {
        "float32": _products_per_second(device, side, torch.float32),
        "bfloat16": _products_per_second(device, side, torch.bfloat16),
    }
    if device.type == "cuda" and torch.backends.cudnn.allow_tf32:
        allowed = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = True
        found["tf32"] = _products_per_second(device, side, torch.float32)
        torch.backends.cuda.matmul.allow_tf32 = allowed
    return found


def synchronize(device: torch.device) -> None:
    """Waits until the device has done what it was told."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _products_per_second(device: torch.device, side: int, dtype: torch.dtype) -> float:
    left, right = torch.randn(2, side, side, device=device).to(dtype)
    product = left @ right
    best = float("inf")
    for _ in range(CEILING_REPEATS):
        synchronize(device)
        begin = time.perf_counter()
        torch.mm(left, right, out=product)
        synchronize(device)
        best = min(best, time.perf_counter() - begin)
    return 2 * side**3 / best / 1e9


def hardware(device: torch.device) -> dict[str, Any]:
    """Processor, memory and GPU; nothing that tells one machine of a kind from another."""
    processor = _proc_values("/proc/cpuinfo")
    flags = processor.get("flags", processor.get("Features", "")).split()
    found: dict[str, Any] = {
        "cpu": processor.get("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "instruction_sets": [name for name in INSTRUCTION_SETS if name in flags],
        "system": f"{platform.system()} {platform.machine()}",
        "device": device.type,
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "gpu": properties.name,
            "gpu_bytes": properties.total_memory,
            "compute_capability": f"{properties.major}.{properties.minor}",
        }
    return found


def versions() -> dict[str, Any]:
    """Of Python, PyTorch, this package and, where they compute, CUDA and cuDNN."""
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "sagan": sagan.__version__,
    }
    if torch.cuda.is_available():
        found |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    return found


def commit() -> str | None:
    """The commit measured, with "-dirty" where code differs from it; None outside git."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "*.py")
        return git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def slug(device: torch.device) -> str:
    """The hardware as part of a file name."""
    found = hardware(device)
    name = found.get("gpu") or f"{found['cpu']} {found['cores']} cores"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def without_folders(text: str) -> str:
    """Leaves of every absolute path in a text its last name alone."""
    return re.sub(r"(?<![\w.])/(?=[^/\s])(?:[^/\s:=]+/)*", "", text)


def _proc_values(path: str) -> dict[str, str]:
    """The first value of every key of a file such as /proc/cpuinfo; empty where there is none."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return {}
    pairs = [line.split(":", 1) for line in lines if ":" in line]
    return {key.strip(): value.strip() for key, value in reversed(pairs)}
