"""Films of a walk: frames one by one, so that pictures asked for meanwhile come between."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from fastapi import Request, Response

from sagan.errors import SaganError
from sagan.studio.asked import FilmAsked
from sagan.studio.models import Gallery, Shown
from sagan.studio.work import Worker

MOST_PIXELS = 2**26
"""Of all frames of a film."""
LONGEST_FILM = 120.0
"""Seconds in which a film must be written once its frames are drawn."""
_KINDS = {"mp4": "video/mp4", "gif": "image/gif", "webp": "image/webp"}


async def film_of(
    request: Request,
    gallery: Gallery,
    shown: Shown,
    asked: FilmAsked,
    drawing: Worker,
    writing: Worker,
) -> Response:
    """Draws a film.

    Args:
        request: Who asks; when they leave, no more frames are drawn.
        gallery: Of the model.
        shown: The model.
        asked: What is to be seen.
        drawing: Draws each frame.
        writing: Puts them together.

    Raises:
        SaganError: The film would be too large, or a frame cannot be drawn.
        RefusedError: As for :meth:`Worker.done`.
    """
    from sagan.sampling.animation import require_format

    require_format(Path(f"film.{asked.format}"), asked.framesPerSecond)
    count = len(asked.latents)
    if asked.shares and len(asked.shares) != count:
        raise SaganError(f"{count} latents and {len(asked.shares)} shares; give one for each frame")
    live = (await drawing.done(request, lambda: gallery.open(shown, asked.step))).live
    pixels = count * live.size[0] * live.size[1] * asked.scale**2
    if pixels > MOST_PIXELS:
        raise SaganError(
            f"{count} frames of this size have {pixels / 1e6:,.0f} million pixels and a film at "
            f"most {MOST_PIXELS / 1e6:,.0f}; ask for fewer frames or a smaller scale"
        )
    frames = list[np.ndarray]()
    for latent, shares in zip(asked.latents, asked.shares or [[]] * count, strict=True):
        given = np.asarray(latent, np.float32), np.asarray(shares, np.float32), asked.scales

        def frame(given: tuple[np.ndarray, np.ndarray, dict[str, float]] = given) -> np.ndarray:
            return live.draw(*given).picture

        frames.append(await drawing.done(request, frame))
    content = await writing.done(request, lambda: _film(frames, asked), seconds=LONGEST_FILM)
    return Response(content, media_type=_KINDS[asked.format])


def _film(frames: Sequence[np.ndarray], asked: FilmAsked) -> bytes:
    from sagan.images import enlarge
    from sagan.sampling.animation import save_animation

    with TemporaryDirectory(prefix="sagan-") as folder:
        path = save_animation(
            (enlarge(frame, asked.scale) for frame in frames),
            Path(folder) / f"film.{asked.format}",
            frames_per_second=asked.framesPerSecond,
        )
        return path.read_bytes()
