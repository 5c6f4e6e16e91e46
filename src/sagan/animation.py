"""Moving pictures: frames -> MP4, GIF or APNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sagan.errors import SaganError
from sagan.files import replacing

SUFFIXES = (".mp4", ".gif", ".apng")


def save_animation(
    frames: np.ndarray, path: str | Path, *, frames_per_second: float = 24.0
) -> Path:
    """Writes frames as a file that plays in every browser, and returns its path.

    Args:
        frames: uint8 (T, 3, H, W), T >= 1. An MP4 needs even sides and gets a white line where one
            is odd.
        path: Its suffix decides: ``.mp4`` (H.264; small, slightly lossy), ``.gif`` (256 colours a
            frame) or ``.apng`` (exact). GIF and APNG repeat for ever.
        frames_per_second: Above 0, at most 100; GIF counts in hundredths of a second.

    Raises:
        SaganError: The suffix is another, the rate is out of range, the extra ``video`` is needed
            and not installed, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise SaganError(f"cannot write {path}; its name must end in {', '.join(SUFFIXES)}")
    if not 0 < frames_per_second <= 100:
        raise SaganError(
            f"{frames_per_second} frames per second are out of range; it must be above 0 and at "
            "most 100"
        )
    pixels = np.ascontiguousarray(frames.transpose(0, 2, 3, 1))  # (T, H, W, 3)
    try:
        with replacing(path) as draft:
            if path.suffix == ".mp4":
                _write_mp4(pixels, draft, frames_per_second)
            else:
                _write_with_pillow(pixels, draft, path.suffix, frames_per_second)
    except OSError as error:
        raise SaganError(
            f"cannot write {path}: {error.strerror or error}; choose another place or free space"
        ) from error
    return path


def _write_with_pillow(pixels: np.ndarray, path: Path, suffix: str, rate: float) -> None:
    from PIL import Image

    first, *others = (Image.fromarray(frame) for frame in pixels)
    first.save(
        path,
        format={".gif": "GIF", ".apng": "PNG"}[suffix],
        save_all=True,
        append_images=others,
        duration=1000 / rate,
        loop=0,
    )


def _write_mp4(pixels: np.ndarray, path: Path, rate: float) -> None:
    try:
        import av
    except ModuleNotFoundError as error:
        raise SaganError("MP4 needs a video library; run: pip install 'sagan[video]'") from error
    from fractions import Fraction

    _, height, width, _ = pixels.shape
    odd = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
    pixels = np.pad(pixels, odd, constant_values=255)
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream(
            "libx264", rate=Fraction(rate).limit_denominator(1000), options={"crf": "16"}
        )
        stream.height, stream.width = pixels.shape[1:3]
        stream.pix_fmt = "yuv420p"  # the one that every browser plays
        for frame in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
