"""Tensors on their way to the device that computes."""

from __future__ import annotations

import torch
from torch import Tensor


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copies a small tensor, or a pinned one, from the host to a device.

    The host does not wait for CUDA. It waits for Apple's GPUs, which read memory at the time of
    the copy and not of the call, when it may belong to others (pytorch issue 189690).
    """
    return tensor.to(device, non_blocking=device.type == "cuda")
