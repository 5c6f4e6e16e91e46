"""The API of the studio: requests in JSON, answers as safetensors files."""

import base64
import binascii
import io
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from sagan.errors import SaganError
from sagan.studio.asked import (
    MOST_STEPS,
    DrawAsked,
    ExplainAsked,
    FilmAsked,
    JudgeAsked,
    floats_of,
)
from sagan.studio.films import FilmMaker
from sagan.studio.guard import RefusedError
from sagan.studio.models import Gallery, Opened, Shown
from sagan.studio.tags import headers_with, is_held
from sagan.studio.work import Worker

MOST_PICTURE_FILE = 2**24
MOST_PICTURE_PIXELS = 50_000_000
"""Of a picture file: more would keep everybody waiting while it is decoded."""
BODIES = {"fit": MOST_PICTURE_FILE, "film": 2**22}
"""Last part of a path -> the most bytes of its requests; see ``guard.Admission``."""

AskedStep = Annotated[int | None, Query(ge=0, le=MOST_STEPS)]


def studio_routes(gallery: Gallery, drawing: Worker, reading: Worker, writing: Worker) -> APIRouter:
    """Everything behind ``/api``.

    Args:
        gallery: What is shown.
        drawing: Whose thread opens models and computes.
        reading: Whose thread reads logs and pictures.
        writing: Whose thread writes films.
    """
    routes = APIRouter(prefix="/api")
    _add_reading_routes(routes, gallery, drawing, reading)
    _add_drawing_routes(routes, gallery, drawing, FilmMaker(gallery, drawing, writing))
    return routes


def _add_reading_routes(
    routes: APIRouter, gallery: Gallery, drawing: Worker, reading: Worker
) -> None:
    @routes.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @routes.get("/models")
    async def models(request: Request) -> dict[str, Any]:
        found, gone = await drawing.done(request, gallery.all_facts)
        return {"version": version("sagan"), "models": found, "gone": gone}

    @routes.get("/models/{number}")
    async def model(request: Request, number: str, step: AskedStep = None) -> dict[str, Any]:
        shown = gallery.find(number)
        return await drawing.done(request, lambda: gallery.facts(shown, step))

    @routes.get("/models/{number}/timeline")
    async def timeline(request: Request, number: str) -> Response:
        from sagan.studio.timeline import timeline_mark, timeline_of

        shown = gallery.find(number)
        if shown.kind != "run":
            raise RefusedError(404, f"{shown.name} is a file without a log; show a run folder")
        mark = await reading.done(request, lambda: timeline_mark(shown))
        headers = headers_with(mark)
        if is_held(request, mark):
            return Response(status_code=304, headers=headers)
        found = await reading.done(request, lambda: timeline_of(shown))
        return JSONResponse(found, headers=headers)

    @routes.post("/models/{number}/fit")
    async def fit(request: Request, number: str) -> Response:
        shown, content = gallery.find(number), await request.body()
        opened = await drawing.done(request, lambda: gallery.open(shown))
        picture = await reading.done(request, lambda: _fitted(content, opened))
        return tensors_answer({"picture": picture})


def _add_drawing_routes(
    routes: APIRouter, gallery: Gallery, drawing: Worker, films: FilmMaker
) -> None:
    async def computed(
        request: Request, number: str, answer: Callable[[Gallery, Shown], Response]
    ) -> Response:
        shown = gallery.find(number)
        return await drawing.done(request, lambda: answer(gallery, shown))

    @routes.post("/models/{number}/draw")
    async def draw(request: Request, number: str, asked: DrawAsked) -> Response:
        return await computed(request, number, partial(_draw_answer, asked=asked))

    @routes.post("/models/{number}/judge")
    async def judge(request: Request, number: str, asked: JudgeAsked) -> Response:
        return await computed(request, number, partial(_judge_answer, asked=asked))

    @routes.post("/models/{number}/explain")
    async def explain(request: Request, number: str, asked: ExplainAsked) -> Response:
        return await computed(request, number, partial(_explain_answer, asked=asked))

    @routes.post("/models/{number}/film")
    async def film(request: Request, number: str, asked: FilmAsked) -> Response:
        return await films.film(request, gallery.find(number), asked)


def _draw_answer(gallery: Gallery, shown: Shown, asked: DrawAsked) -> Response:
    live = gallery.open(shown, asked.step).live
    drawn = live.draw(floats_of(asked.latent), floats_of(asked.shares), asked.scales)
    tensors = {"picture": drawn.picture} | _named_maps(drawn.maps)
    return tensors_answer(tensors, step=live.step)


def _judge_answer(gallery: Gallery, shown: Shown, asked: JudgeAsked) -> Response:
    opened = gallery.open(shown, asked.step)
    judged = opened.live.judge(_picture_of(asked.picture, opened), asked.scales)
    tensors = {"logits": judged.logits} | _named_maps(judged.maps)
    return tensors_answer(tensors, step=opened.live.step)


def _explain_answer(gallery: Gallery, shown: Shown, asked: ExplainAsked) -> Response:
    opened = gallery.open(shown, asked.step)
    live, where = opened.live, (asked.layer, asked.position, asked.scales)
    if asked.network == "generator":
        latent, shares = floats_of(asked.latent), floats_of(asked.shares)
        found = live.explain_drawing(latent, shares, *where)
    else:
        found = live.explain_judging(_picture_of(asked.picture, opened), *where)
    tensors = {name: value for name, value in vars(found).items() if isinstance(value, np.ndarray)}
    return tensors_answer(tensors, step=live.step, gamma=found.gamma)


def _fitted(content: bytes, opened: Opened) -> np.ndarray:
    """A picture file as training would cut it."""
    from dataclasses import replace

    from sagan.data.picture_files import UnreadableError
    from sagan.data.pixels import pixels
    from sagan.data.rules import rules_of

    _require_decodable(content)
    live = opened.live
    rules = replace(rules_of(live.config.data, live.channels), size=live.size)
    try:
        [picture, *_], _ = pixels(content, rules, name="dropped")
    except UnreadableError as error:
        raise SaganError(f"this is no picture that can be used: {error}; give another") from error
    return picture


def _require_decodable(content: bytes) -> None:
    """Refuses a picture file whose head tells of too many pixels."""
    from PIL import Image

    try:
        width, height = Image.open(io.BytesIO(content)).size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return  # what it is instead is told by whoever decodes it
    if width * height > MOST_PICTURE_PIXELS:
        raise SaganError(
            f"the picture has {width:,} x {height:,} pixels and {MOST_PICTURE_PIXELS:,} at most "
            "are decoded here; give a smaller one"
        )


def _picture_of(text: str, opened: Opened) -> np.ndarray:
    live = opened.live
    shape = (live.channels, *live.size)
    try:
        levels = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        levels = b""
    if len(levels) != np.prod(shape):
        raise SaganError(f"the picture must be base64 of {' x '.join(map(str, shape))} bytes")
    return np.frombuffer(bytearray(levels), np.uint8).reshape(shape)


def _named_maps(maps: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    from sagan.nn.exposed import MAP

    return {MAP + name: rows for name, rows in maps.items()}


def tensors_answer(tensors: Mapping[str, np.ndarray], **facts: float) -> Response:
    """Arrays as a safetensors file, with facts as its metadata."""
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    content = save(arrays, {name: str(value) for name, value in facts.items()})
    return Response(content, media_type="application/octet-stream")
