"""Moving pictures: frames -> MP4, WebP, GIF or APNG."""

from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from itertools import pairwise, repeat
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from sagan.errors import SaganError
from sagan.images import as_rgb, image_of
from sagan.system.extras import install
from sagan.system.files import replacing, writing

FASTEST = {".mp4": 100, ".webp": 50, ".gif": 50, ".apng": 100}
"""Suffixes, and the most frames per second; browsers slow a GIF or WebP that is faster down."""
_LONGEST_SIDE = {".mp4": 16_384, ".webp": 16_383, ".gif": 65_535, ".apng": 2**31 - 1}
"""The longest side of a frame in pixels."""
_LONGEST_HOLD = 60
_WEBP_QUALITY = 55


def save_animation(
    frames: Iterable[np.ndarray],
    path: str | Path,
    *,
    frames_per_second: float = 24.0,
    hold: float = 0.0,
) -> Path:
    """Writes frames as a file that plays in every browser, and returns its path.

    Args:
        frames: uint8 (T, C, H, W), or anything that gives T >= 1 frames (C, H, W) one by one. An
            MP4 needs even sides; where one is odd, its last line is doubled. An APNG keeps grey and
            transparency; the others show grey as colours, and pictures over white.
        path: Its suffix decides: ``.mp4`` (H.264; small, slightly lossy), ``.webp`` (slightly
            lossy; shown where pictures are), ``.gif`` (256 colours in all) or ``.apng`` (exact).
            All but an MP4 repeat for ever.
        frames_per_second: From 0.1 to 100, for a GIF or a WebP to 50.
        hold: Seconds, from 0 to 60, for which the last frame is shown in addition.

    Raises:
        SaganError: As for :func:`require_format`, a frame is too large for the format, or the file
            cannot be written.
    """
    path = Path(path)
    require_format(path, frames_per_second, hold)
    write = {
        ".mp4": _write_mp4,
        ".webp": _write_webp,
        ".gif": _write_gif,
        ".apng": _write_apng,
    }[path.suffix.lower()]
    with writing(path), replacing(path) as draft:
        write((_fitting(frame, path) for frame in frames), draft, frames_per_second, hold)
    return path


def animation_bytes(
    frames: Iterable[np.ndarray], suffix: str, *, frames_per_second: float = 24.0
) -> bytes:
    """The contents of the file that :func:`save_animation` writes; raises as that does.

    Args:
        frames: As there.
        suffix: Such as ``.mp4``.
        frames_per_second: As there.
    """
    with TemporaryDirectory(prefix="sagan-") as folder:
        path = Path(folder, f"film{suffix}")
        return save_animation(frames, path, frames_per_second=frames_per_second).read_bytes()


def require_format(path: Path, frames_per_second: float, hold: float = 0.0) -> None:
    """Checks what can be known before there are frames.

    Raises:
        SaganError: The suffix is unknown, the rate or the time to hold is out of range, or the
            extra ``video`` is needed and not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in FASTEST:
        raise SaganError(f"cannot write {path}; its name must end in {', '.join(FASTEST)}")
    if not 0.1 <= frames_per_second <= FASTEST[suffix]:
        raise SaganError(
            f"{frames_per_second} frames per second are out of range; a {suffix} has 0.1 to "
            f"{FASTEST[suffix]}"
        )
    if not 0 <= hold <= _LONGEST_HOLD:
        raise SaganError(
            f"the last frame cannot be held for {hold} seconds; choose 0 to {_LONGEST_HOLD}"
        )
    if suffix == ".mp4" and find_spec("av") is None:
        raise SaganError(f"MP4 needs a video library; run: {install('video')}")


def _fitting(frame: np.ndarray, path: Path) -> np.ndarray:
    longest = _LONGEST_SIDE[path.suffix.lower()]
    if max(frame.shape) > longest:
        raise SaganError(
            f"cannot write {path}: a frame has {frame.shape[2]:,} x {frame.shape[1]:,} pixels and "
            f"the format at most {longest:,} a side; make it smaller"
        )
    return frame


def _write_mp4(frames: Iterable[np.ndarray], path: Path, rate: float, hold: float) -> None:
    from fractions import Fraction

    import av

    # Without the colours' names a browser guesses them, by the size of the picture.
    options = {
        "crf": "16",
        "colorspace": "smpte170m",
        "color_range": "tv",
        "color_primaries": "bt709",
        "color_trc": "iec61966-2-1",
    }
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream(
            "libx264", rate=Fraction(rate).limit_denominator(1000), options=options
        )
        shown = _repeating_last(frames, round(hold * rate))
        for pixels in (as_rgb(frame).transpose(1, 2, 0) for frame in shown):
            odd = [(0, side % 2) for side in pixels.shape[:2]]
            frame = av.VideoFrame.from_ndarray(
                np.pad(pixels, [*odd, (0, 0)], mode="edge"), format="rgb24"
            )
            # The layout that every browser plays.
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU601")
            if not stream.codec_context.is_open:
                stream.width, stream.height = frame.width, frame.height
                stream.pix_fmt = "yuv420p"
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _repeating_last(frames: Iterable[np.ndarray], times: int) -> Iterator[np.ndarray]:
    frame = None
    for frame in frames:
        yield frame
    if frame is not None:
        yield from repeat(frame, times)


def _write_gif(frames: Iterable[np.ndarray], path: Path, rate: float, hold: float) -> None:
    """One palette for all frames, without dither: neither colours nor grain flicker."""
    pictures = [image_of(as_rgb(frame)) for frame in frames]
    some = pictures[:: -(-len(pictures) // 24)]
    pixels = np.concatenate([np.asarray(picture).reshape(-1, 3) for picture in some])
    pixels = pixels[:: 1 + len(pixels) // 100_000][None]
    palette = Image.fromarray(pixels).quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1)
    pictures = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    # A GIF counts in hundredths of a second.
    _save(
        pictures, path, "GIF", [10 * n for n in _durations(len(pictures), 100 / rate, 100 * hold)]
    )


def _write_webp(frames: Iterable[np.ndarray], path: Path, rate: float, hold: float) -> None:
    pictures = [image_of(as_rgb(frame)) for frame in frames]
    durations = _durations(len(pictures), 1000 / rate, 1000 * hold)
    _save(pictures, path, "WEBP", durations, quality=_WEBP_QUALITY, method=4)


def _write_apng(frames: Iterable[np.ndarray], path: Path, rate: float, hold: float) -> None:
    pictures = [image_of(frame) for frame in frames]
    durations = [1000 / rate] * len(pictures)
    durations[-1] += 1000 * hold
    _save(pictures, path, "PNG", durations)


def _durations(count: int, each: float, hold: float) -> list[int]:
    """Whole numbers of a unit; rounding the ends keeps the whole in time."""
    ends = [round(number * each) for number in range(count + 1)]
    ends[-1] += round(hold)
    return [end - begin for begin, end in pairwise(ends)]


def _save(
    pictures: list[Image.Image], path: Path, kind: str, durations: Sequence[float], **options: int
) -> None:
    first, *rest = pictures
    first.save(
        path,
        format=kind,
        save_all=True,
        append_images=rest,
        duration=list(durations),
        loop=0,
        **options,
    )
