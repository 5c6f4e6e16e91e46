"""Settings of the pictures."""

from dataclasses import dataclass
from typing import Literal

from sagan.config.checks import checking, settle

Part = Literal["train", "held-out"]
HUB = "hf:"
"""Before what lies on the Hugging Face hub: a data set or a model."""
UNKNOWN_SOURCE = "unknown"
"""Stands for the pictures that a converted model has learned from."""
Augmentation = Literal["colour", "translation", "cutout"]
Crop = Literal["centre", "random", "pad", "stretch", "box"]
Order = Literal["shuffled", "balanced"]

_OF_READING = ("split", "labels", "label", "crop", "box", "background", "range", "frame")
_OF_READING += ("held_out", "held_out_seed")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What the model learns from."""

    source: str = "avatars"
    """The pictures: a folder, an archive, a data set as it is distributed, hf:NAME of Hugging Face,
    or "avatars" (built in). docs/data.md lists what can be read; sagan data SOURCE tells what
    is found."""
    split: str = ""
    """Which part of a source that comes divided, such as train, val, test or all; empty: train
    where there is one."""
    labels: Literal["found", "none"] = "found"
    """found: learn the classes that the source has, if any; none: one model of all pictures."""
    label: str = ""
    """Which column or attribute names the class, where a source has several."""
    resolution: int = 128
    """Height of the pictures in pixels, and width unless data.width says otherwise. The shorter
    side is 4 to 7 times 4, 8, 16, 32 or 64 (as 32, 48, 64, 96), the other a multiple of that."""
    width: int = 0
    """Width of the pictures in pixels; 0: as the height."""
    channels: int = 0
    """1 (grey), 3 (colour) or 4 (colour with transparency); 0: grey where all pictures are,
    otherwise colour."""
    crop: Crop = "centre"
    """How a picture of another shape is fitted. centre: cut out its middle; random: cut out a part
    drawn once per picture; pad: add a margin of the background; stretch: distort; box: cut out
    data.box."""
    box: tuple[int, ...] = ()
    """Left, top, right and bottom in pixels, for data.crop box. Repeat the flag."""
    background: str = "white"
    """Colour behind transparent pictures and of margins: a name or #rrggbb."""
    range: tuple[float, ...] = ()
    """Lowest and highest value of pictures with 16 bits or fractions, shown black and white; empty:
    what their type can hold. Repeat the flag."""
    frame: str = "first"
    """Of animated pictures: first, all, or a number from 0."""
    broken: float = 0.01
    """Share of unreadable pictures that is passed over; more are refused."""
    order: Order = "shuffled"
    """shuffled: every picture once per epoch; balanced: every class as often as the others."""
    held_out: float = 0.0
    """About this share of the pictures (0 to 1) is kept out of training, to measure against. Copies
    of a file fall on one side, and none changes sides at another size or when others are added."""
    held_out_seed: int = 0
    """Chooses the pictures that are held out."""
    horizontal_flip: bool = False
    """Mirror each training picture with probability 1/2 (the released code does not)."""
    augment: tuple[Augmentation, ...] = ()
    """Random changes to real and generated pictures before the discriminator sees them
    (DiffAugment), for small data sets: colour, translation, cutout. Repeat the flag."""
    generated_images: int = 50_000
    """Training pictures of a built-in source. All are in memory: 50,000 take 0.15 GB at 32 pixels,
    2.5 GB at 128 and 9.8 GB at 256."""

    @property
    def conditional(self) -> bool:
        """Whether classes are learned, where there are some."""
        return self.labels == "found"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the pictures in pixels."""
        return self.resolution, self.width or self.resolution

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the pictures.

        Where the channels are as found, which a run decides when it begins and earlier versions
        never did, 3.
        """
        return self.channels or 3, *self.size

    def reading_unlike(self, other: "DataConfig") -> str:
        """How pictures are chosen and read, where other settings say otherwise: crop pad."""
        pairs = [(name, getattr(self, name), getattr(other, name)) for name in _OF_READING]
        return ", ".join(f"{name} {value}" for name, value, theirs in pairs if value != theirs)

    def __post_init__(self) -> None:
        settle("data", self)
        if self.width == self.resolution:  # one setting, however it is written
            object.__setattr__(self, "width", 0)
        check = checking("data", self)
        check("source", self.source != "", "a path or a name")
        check("resolution", self.resolution >= 1, "at least 1")
        check("width", self.width >= 0, "at least 1, or 0 for the height")
        check("channels", self.channels in (0, 1, 3, 4), "1, 3 or 4, or 0 for as found")
        is_box = len(self.box) == 4 and self.box[0] < self.box[2] and self.box[1] < self.box[3]
        check(
            "box",
            (is_box and min(self.box) >= 0) if self.crop == "box" else not self.box,
            "left, top, right, bottom with data.crop box, and left out otherwise",
        )
        is_range = len(self.range) == 2 and self.range[0] < self.range[1]
        check("range", is_range or not self.range, "two numbers, the lowest value first")
        is_frame = self.frame in ("first", "all") or self.frame.isdecimal()
        check("frame", is_frame, "first, all, or a number from 0")
        check("broken", 0 <= self.broken <= 1, "between 0 and 1")
        balances = self.order == "balanced"
        check("order", self.conditional or not balances, "shuffled where data.labels is none")
        check("held_out", 0 <= self.held_out < 1, "at least 0 and below 1")
        check("held_out_seed", self.held_out_seed >= 0, "at least 0")
        check("generated_images", self.generated_images >= 1, "at least 1")
        check("augment", len(set(self.augment)) == len(self.augment), "a list without repetition")
