"""Random changes of pictures through which gradients flow.

Everything maps float (N, C, H, W) in [-1, 1] to the same shape, each picture by its own numbers,
drawn on the CPU. Colour changes may leave the range; what comes in from outside a picture is 0.
"""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from sagan.config import Augmentation
from sagan.errors import SaganError
from sagan.system.randomness import uniform, whole
from sagan.system.transfer import send


def augment(images: Tensor, chosen: tuple[Augmentation, ...], random: torch.Generator) -> Tensor:
    """Applies the chosen changes one after the other (DiffAugment).

    Shown such pictures only, real and generated alike, the discriminator cannot learn a small
    data set by heart, and the generator does not learn to draw the changes.

    Args:
        images: (N, C, H, W) in [-1, 1].
        chosen: Of colour, translation, cutout; with none the pictures are returned as they are.
        random: On the CPU.

    Returns:
        The same shape; float32 of pictures in 16 bits, where colours change.

    Raises:
        SaganError: A change is unknown.

    Source: Zhao et al. 2020 ("Differentiable augmentation"), section 3.

    Example:
        >>> images, random = torch.rand(2, 3, 8, 8) * 2 - 1, torch.Generator().manual_seed(0)
        >>> sagan.losses.augment(images, ("translation", "cutout"), random).shape
        torch.Size([2, 3, 8, 8])
    """
    for name in chosen:
        if name not in _CHANGES:
            raise SaganError(f"there is no change {name!r}; known are {', '.join(_CHANGES)}")
        images = _CHANGES[name](images, random)
    return images


def colour(images: Tensor, random: torch.Generator) -> Tensor:
    """Brightness by up to 0.5, saturation by a factor of 0 to 2, contrast by 0.5 to 1.5.

    Of four channels the last, transparency, stays as it is.

    Source: Zhao et al. 2020, their code's brightness, saturation and contrast.
    """
    images, transparency = images[:, :3], images[:, 3:]
    images = images + _uniform(images, -0.5, 0.5, random)
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * _uniform(images, 0, 2, random)
    level = images.mean(dim=(1, 2, 3), keepdim=True)
    images = level + (images - level) * _uniform(images, 0.5, 1.5, random)
    return torch.cat([images, transparency], dim=1) if transparency.shape[1] else images


def translation(images: Tensor, random: torch.Generator) -> Tensor:
    """Moves by up to an eighth of height and width, in whole pixels; 0 comes in.

    Source: Zhao et al. 2020.
    """
    rows, columns = _shifts(images, random)
    return rows @ images @ columns.mT


def cutout(images: Tensor, random: torch.Generator) -> Tensor:
    """Sets a square of half the height and width to 0; its centre lies anywhere in the picture.

    Source: Zhao et al. 2020; DeVries and Taylor 2017.
    """
    count, _, *sizes = images.shape
    inside = []
    for size in sizes:
        centres = send(whole(0, size, count, 1, random=random), images.device)
        distance = torch.arange(size, device=images.device) - centres
        inside.append((distance >= -size // 4) & (distance < size // 4))
    rows, columns = inside  # (N, H) and (N, W)
    hole = rows[:, None, :, None] & columns[:, None, None, :]  # (N, 1, H, W)
    return images * hole.logical_not().to(images.dtype)


def flip_and_translate(images: Tensor, random: torch.Generator) -> Tensor:
    """Mirrors a random half and moves all by up to an eighth: what logits should not depend on.

    Source: Zhang et al. 2020 (CR), section 3.2: flips and shifts by up to 4 pixels of 32.
    """
    rows, columns = _shifts(images, random)
    flipped = send(uniform(len(images), 1, 1, 1, random=random) < 0.5, images.device)
    return rows @ images @ torch.where(flipped, columns.flip(3), columns).mT


_CHANGES: Final[dict[Augmentation, Callable[[Tensor, torch.Generator], Tensor]]] = {
    "colour": colour,
    "translation": translation,
    "cutout": cutout,
}


def _uniform(images: Tensor, low: float, high: float, random: torch.Generator) -> Tensor:
    """A number per picture, (N, 1, 1, 1)."""
    draws = uniform(len(images), 1, 1, 1, random=random)
    return send(low + (high - low) * draws, images.device)


def _shifts(images: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Matrices that move rows and columns, (N, 1, H, H) and (N, 1, W, W): shifted identities."""
    count, _, *sizes = images.shape
    matrices = []
    for size in sizes:
        reach = size // 8
        shifts = whole(-reach, reach + 1, count, 1, 1, 1, random=random)
        places = torch.arange(size, device=images.device)
        moved = places[:, None] + send(shifts, images.device)
        matrices.append((places == moved).to(images.dtype))
    rows, columns = matrices
    return rows, columns
