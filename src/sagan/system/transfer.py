"""Copying tensors to the device that computes."""

import torch
from torch import Tensor


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copies a small tensor, or one in pinned memory, from the CPU to a device.

    Returns before the copy is done on CUDA only. Apple's GPUs read the memory when they copy, not
    when they are asked to, and by then it may hold something else (pytorch issue 189690).
    """
    return tensor.to(device, non_blocking=device.type == "cuda")
