"""One picture of any kind to uint8 arrays of the wanted shape, by stated rules."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sagan.data.catalog import Content
from sagan.data.colour import (
    as_srgb,
    background_of,
    is_grey,
    over,
    plain,
)
from sagan.data.cropping import TURNS, Fit, is_swapped, resized, stored_fit
from sagan.data.decoding import (
    MODES,
    Decoded,
    decoded_array,
    decoded_file,
    mode_of,
)
from sagan.data.facts import Facts, difference_hashes
from sagan.data.picture_files import (
    UnreadableError,
    chosen_frames,
    frame_count,
    identified,
    reason_of,
    stream_of,
)
from sagan.data.rules import Rules
from sagan.errors import SaganError

if TYPE_CHECKING:
    from PIL.Image import Image


def pixels(content: Content, rules: Rules, *, name: str) -> tuple[list[np.ndarray], Facts]:
    """Turns a picture into arrays.

    It is turned upright as its EXIF says; cropped; reduced with Lanczos and antialiasing, or
    enlarged bicubic; converted to sRGB by its colour profile (relative colorimetric, black to
    black); laid over the background unless transparency is kept; and made grey by ITU-R 601 luma if
    one channel is wanted. Colours and profiles are applied to the reduced picture.

    Args:
        content: A picture file, the bytes of one, or an array (H, W) or (H, W, 1, 3 or 4) of any
            number type.
        rules: What is done.
        name: Of the picture; decides where a random crop lies.

    Returns:
        Its chosen frames, mostly one, each uint8 (C, H, W); and its facts.

    Raises:
        UnreadableError: It cannot be used; says why.
        SaganError: There is no such background.
    """
    with quiet():
        pictures, facts = unhashed_pixels(content, rules, name=name)
    return pictures, facts._replace(hash=int(difference_hashes(pictures[0][None])[0]))


def unhashed_pixels(content: Content, rules: Rules, *, name: str) -> tuple[list[np.ndarray], Facts]:
    """Does what :func:`pixels` does for many pictures, of which the caller does the rest at once.

    That is to find the hashes, which are 0 here, and not to hear warnings; see :func:`quiet`.
    """
    background_of(rules.background)
    try:
        return _frames(content, rules, name)
    except SaganError:
        raise
    except Exception as error:  # each of Pillow's decoders raises other kinds
        raise UnreadableError(reason_of(error)) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Hears none of the warnings of decoders."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_pixels(path: Path, rules: Rules) -> np.ndarray:
    """Reads one picture file as uint8 (C, H, W); of an animated one, the first chosen frame.

    Raises:
        SaganError: It cannot be used; names the file and the reason.
    """
    try:
        [picture, *_], _ = pixels(path, rules, name=path.name)
    except UnreadableError as error:
        raise SaganError(f"cannot read the picture {path}: {error}; repair or remove it") from error
    return picture


def _frames(content: Content, rules: Rules, name: str) -> tuple[list[np.ndarray], Facts]:
    if isinstance(content, np.ndarray):
        if _is_as_wanted(content, rules):
            results = [(_planes(content, rules), _facts_of_array(content))]
        else:
            results = [_shaped(decoded_array(content, rules), rules, name)]
        mark = hashlib.blake2b(content.tobytes(), digest_size=8)
    else:
        with stream_of(content) as stream:
            mark = hashlib.blake2b(digest_size=8)
            while block := stream.read(2**20):
                mark.update(block)
            stream.seek(0)
            image = identified(stream)
            count = frame_count(image)
            results = [
                _shaped(decoded_file(stream, image, number, count, rules, name), rules, name)
                for number in chosen_frames(image, count, rules.frame)
            ]
    pictures, facts = zip(*results, strict=True)
    fact = facts[0] if len(facts) == 1 else _summed_up(facts)
    return list(pictures), fact._replace(content=int.from_bytes(mark.digest(), "little"))


def _is_as_wanted(values: np.ndarray, rules: Rules) -> bool:
    """Whether an array has the pixels already, at most once for each channel."""
    if values.dtype != np.uint8 or values.ndim not in (2, 3) or not values.size:
        return False
    channels = values.shape[2] if values.ndim == 3 else 1
    has_size = rules.size in (None, values.shape[:2]) and rules.crop != "box"
    return has_size and channels in (1, 3) and channels <= rules.channels < 4


def _planes(values: np.ndarray, rules: Rules) -> np.ndarray:
    planes = values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
    return np.ascontiguousarray(np.broadcast_to(planes, (rules.channels, *planes.shape[1:])))


def _facts_of_array(values: np.ndarray) -> Facts:
    height, width = values.shape[:2]
    return Facts(
        height=height,
        width=width,
        mode=mode_of(values),
        profile=False,
        broken_profile=False,
        rotated=False,
        transparent=False,
        frames=1,
        lowest=math.nan,
        highest=math.nan,
        grey=values.size == height * width or is_grey(values.tobytes(), 3),
        hash=0,
        content=0,
    )


def _summed_up(facts: Sequence[Facts]) -> Facts:
    """Of the frames of one picture."""
    return facts[0]._replace(
        transparent=any(one.transparent for one in facts),
        lowest=min(one.lowest for one in facts),
        highest=max(one.highest for one in facts),
        grey=all(one.grey for one in facts),
    )


def _shaped(decoded: Decoded, rules: Rules, name: str) -> tuple[np.ndarray, Facts]:
    """Crops, reduces, turns and colours."""
    fitted, box, wanted = stored_fit(decoded.size, decoded.turn, rules, name)
    profile, scale = decoded.profile, decoded.scale
    if scale != 1:
        box = (box[0] / scale, box[1] / scale, box[2] / scale, box[3] / scale)
    image = resized(decoded.image, box, wanted, partial(plain, profile=profile))
    if decoded.turn != 1:
        from PIL.Image import Transpose

        image = image.transpose(Transpose(TURNS[decoded.turn]))
    image = as_srgb(image, profile)
    transparent = image.mode in ("LA", "RGBA") and image.getextrema()[-1] != (255, 255)
    image = _channelled(image, fitted, rules, transparent)
    data = image.tobytes()
    grey = image.mode in ("L", "LA") or is_grey(data, len(image.mode))
    if image.mode != MODES[rules.channels]:
        image = image.convert(MODES[rules.channels])
        data = image.tobytes()
    picture = np.frombuffer(data, np.uint8).reshape(*image.size[::-1], rules.channels)
    upright = decoded.size[::-1] if is_swapped(decoded.turn) else decoded.size
    facts = Facts(
        upright[1],
        upright[0],
        decoded.mode,
        profile.kind == "other",
        profile.kind == "broken",
        decoded.rotated,
        transparent,
        decoded.frames,
        decoded.lowest,
        decoded.highest,
        grey,
        0,
        0,
    )
    return np.ascontiguousarray(picture.transpose(2, 0, 1)), facts


def _channelled(image: Image, fitted: Fit, rules: Rules, transparent: bool) -> Image:
    """Lays a picture over the background, unless transparency is kept, and adds its margin."""
    background = background_of(rules.background)
    if rules.channels < 4 and image.mode in ("LA", "RGBA"):
        image = over(image, background) if transparent else image.convert(image.mode[:-1])
    if fitted.canvas == image.size:
        return image
    from PIL import Image as Images

    keeps = rules.channels == 4
    if image.mode == "L" and (keeps or len(set(background)) > 1):
        image = image.convert("RGB")
    colour = (*background, 0) if keeps else background[0] if image.mode == "L" else background
    canvas = Images.new("RGBA" if keeps else image.mode, fitted.canvas, colour)
    left, top = (canvas.width - image.width) // 2, (canvas.height - image.height) // 2
    canvas.paste(image.convert(canvas.mode), (left, top))
    return canvas
