"""Settings of the pictures."""

from dataclasses import dataclass
from typing import Literal

from sagan.config.checks import checking

RESOLUTIONS = (32, 64, 128, 256)
PACKED = (".npy", ".npz")
"""Suffixes of packed sets: pictures in one NumPy file."""

Split = Literal["train", "held-out"]
Augmentation = Literal["colour", "translation", "cutout"]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What the model learns from."""

    source: str = "avatars"
    """A folder of pictures with one sub-folder per class, a folder of IDX files (MNIST,
    Fashion-MNIST), a packed .npz or .npy file, or "avatars" (built in)."""
    resolution: int = 128
    """Side of the square pictures in pixels: 32, 64, 128 or 256."""
    conditional: bool = True
    """Learn the classes; without, one model of all pictures together."""
    horizontal_flip: bool = False
    """Mirror each training picture with probability 1/2 (the released code does not)."""
    augment: tuple[Augmentation, ...] = ()
    """Random changes to real and generated pictures before the discriminator sees them
    (DiffAugment), for small data sets: colour, translation, cutout. Repeat the flag."""
    generated_images: int = 50_000
    """Training pictures of a built-in source. All are in memory: 50,000 take 0.15 GB at 32 pixels,
    2.5 GB at 128 and 9.8 GB at 256."""

    def __post_init__(self) -> None:
        check = checking("data", self)
        check("source", self.source != "", "a path or a name")
        known = f"one of {', '.join(map(str, RESOLUTIONS))}"
        check("resolution", self.resolution in RESOLUTIONS, known)
        check("generated_images", self.generated_images >= 1, "at least 1")
        check("augment", len(set(self.augment)) == len(self.augment), "a list without repetition")
