"""Weights that are drawn anew from their names, the same everywhere, in place of stored ones."""

import json
import math
import zlib

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file


def drawn(name, shape):
    """Uniform numbers of variance 1 / (inputs of an output), times a factor of this tensor's.

    The sequence of RandomState is frozen, and its uniform numbers need no logarithm or root, so
    that they are the same to the bit on every machine.
    """
    random = np.random.RandomState(zlib.crc32(name.encode()))
    factor = 0.5 + 1.5 * random.random_sample()
    numbers = random.random_sample(shape) * 2 - 1
    return torch.from_numpy(numbers * factor * math.sqrt(3 * shape[0] / numbers.size)).float()


def whole(path, folder):
    """Writes both networks of a set with the weights that it leaves out, and gives what it holds.

    Args:
        path: Of the set. Its metadata name the tensors that it leaves out, with their shapes.
        folder: Gets ``G.safetensors`` and ``D.safetensors``.

    Returns:
        The paths of both, and the recorded inputs and outputs.
    """
    stored = load_file(path)
    with safe_open(path, framework="pt") as file:
        shapes = json.loads(file.metadata()["drawn"])
    paths = []
    for letter in "GD":
        tensors = {
            key.removeprefix(f"{letter}."): tensor
            for key, tensor in (
                *stored.items(),
                *((key, drawn(f"{path.stem} {key}", shape)) for key, shape in shapes.items()),
            )
            if key.startswith(f"{letter}.")
        }
        paths.append(folder / f"{letter}.safetensors")
        save_file(tensors, paths[-1])
    return paths, {k.removeprefix("io."): v for k, v in stored.items() if k.startswith("io.")}


def pictures(name, count, resolution):
    """Pictures with 16 x 16 fields of one colour, from -1 to 1."""
    random = np.random.RandomState(zlib.crc32(name.encode()))
    small = torch.from_numpy(random.random_sample((count, 3, 16, 16)) * 2 - 1).float()
    side = resolution // 16
    return small.repeat_interleave(side, 2).repeat_interleave(side, 3)


def latents(name, count, length):
    """Latents of variance 1."""
    random = np.random.RandomState(zlib.crc32(f"latents of {name}".encode()))
    return torch.from_numpy((random.random_sample((count, length)) * 2 - 1) * math.sqrt(3)).float()
