"""Films of a walk: frames one by one, so that pictures asked for meanwhile come between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from fastapi import Request, Response

from sagan.errors import SaganError
from sagan.studio.asked import FilmAsked, floats_of
from sagan.studio.guard import RefusedError
from sagan.studio.models import Gallery, Shown
from sagan.studio.work import Worker

if TYPE_CHECKING:
    from sagan.sampling.live import LiveModel

MOST_FILMS = 2
"""That are being made."""
MOST_FILM_PIXELS = 2**26
"""Of all frames of a film."""
LONGEST_FILM = 120.0
"""Seconds in which a film must be written once its frames are drawn."""
_MEDIA = {"mp4": "video/mp4", "gif": "image/gif", "webp": "image/webp"}


class FilmMaker:
    """Makes a few films at a time.

    Args:
        gallery: Of the models.
        drawing: Draws each frame.
        writing: Puts them together.
    """

    def __init__(self, gallery: Gallery, drawing: Worker, writing: Worker) -> None:
        self._gallery = gallery
        self._drawing = drawing
        self._writing = writing
        self._begun = 0

    async def film(self, request: Request, shown: Shown, asked: FilmAsked) -> Response:
        """Makes a film; when its asker leaves, no more frames are drawn.

        Raises:
            SaganError: The film would be too large, or a frame cannot be drawn.
            RefusedError: Others are being made, or as for :meth:`Worker.done`.
        """
        if self._begun >= MOST_FILMS:
            raise RefusedError(503, f"{MOST_FILMS} films are being made; try again")
        self._begun += 1
        try:
            frames = await self._frames(request, shown, asked)
            content = await self._writing.done(
                request, lambda: _encoded(frames, asked), seconds=LONGEST_FILM
            )
        finally:
            self._begun -= 1
        return Response(content, media_type=_MEDIA[asked.format])

    async def _frames(
        self, request: Request, shown: Shown, asked: FilmAsked
    ) -> Sequence[np.ndarray]:
        from sagan.sampling.animation import require_format

        count = len(asked.latents)
        if asked.shares and len(asked.shares) != count:
            raise SaganError(
                f"{count} latents and {len(asked.shares)} shares; give one for each frame"
            )
        done = self._drawing.done
        require_format(Path(f"film.{asked.format}"), asked.framesPerSecond)
        live = (await done(request, lambda: self._gallery.open(shown, asked.step))).live
        pixels = count * live.size[0] * live.size[1] * asked.scale**2
        if pixels > MOST_FILM_PIXELS:
            raise SaganError(
                f"{count} frames of this size have {pixels / 1e6:,.0f} million pixels and a film "
                f"at most {MOST_FILM_PIXELS / 1e6:,.0f}; ask for fewer frames or a smaller scale"
            )
        given = [
            (floats_of(latent), floats_of(shares), asked.scales)
            for latent, shares in zip(asked.latents, asked.shares or [[]] * count, strict=True)
        ]
        return [await done(request, partial(_picture, live, *one)) for one in given]


def _picture(
    live: LiveModel, latent: np.ndarray, shares: np.ndarray, scales: Mapping[str, float]
) -> np.ndarray:
    return live.draw(latent, shares, scales).picture


def _encoded(frames: Sequence[np.ndarray], asked: FilmAsked) -> bytes:
    from sagan.images import enlarge
    from sagan.sampling.animation import animation_bytes

    return animation_bytes(
        (enlarge(frame, asked.scale) for frame in frames),
        f".{asked.format}",
        frames_per_second=asked.framesPerSecond,
    )
