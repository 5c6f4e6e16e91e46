"""The studio's API alone, for those who ship: pictures and attention of one model over HTTP."""

import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse

import sagan
from sagan.studio.guard import Admission, AsgiApp, guarded
from sagan.studio.server import serve_until_ended
from sagan.studio.service_drawing import Served
from sagan.studio.service_metrics import Measures, measured
from sagan.studio.service_page import PAGE_POLICY, docs_page, with_examples
from sagan.studio.service_requests import (
    MEDIA_TYPES,
    AttentionAnswer,
    AttentionQuery,
    AttentionRequest,
    Fault,
    Health,
    SampleQuery,
    SampleRequest,
)
from sagan.studio.tags import headers_with, is_held
from sagan.studio.work import MOST_WAITING, Worker

MOST_ASKED = 2**16
"""Bytes of a request."""
SECONDS_TO_FINISH = 30
"""For requests that are being answered when the end is asked for."""
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FAULTS: dict[int | str, dict[str, Any]] = {
    400: {"model": Fault, "description": "The body is no JSON."},
    401: {"model": Fault, "description": "The token is missing or wrong."},
    413: {"model": Fault, "description": f"The body has more than {MOST_ASKED:,} bytes."},
    422: {
        "model": Fault,
        "description": "A value is wrong: a class, seed, layer or point that is not there, or more "
        "than one request may ask for. The line says which and what to give instead.",
    },
    503: {"model": Fault, "description": f"{MOST_WAITING} requests wait already; try again."},
    504: {"model": Fault, "description": "It took too long; ask for less."},
}
_UNCHANGED: dict[int | str, dict[str, Any]] = {
    304: {"description": "The same bytes as before: If-None-Match names the ETag of this answer."}
}


def _answers(*formats: str) -> dict[int | str, dict[str, Any]]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    content: dict[str, Any] = {MEDIA_TYPES[name]: binary for name in formats if name != "json"}
    answer: dict[str, Any] = {"content": content, "description": "As the format asks."}
    if "json" in formats:
        answer["model"] = AttentionAnswer
    headers = {"ETag": {"description": "Changes with the bytes.", "schema": {"type": "string"}}}
    return {200: {**answer, "headers": headers}, **_UNCHANGED, **_FAULTS}


class _Service:
    """The model, the thread that draws with it, and what is counted."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.worker = Worker("service")
        self.measures = Measures()

    async def answer(self, request: Request, asked: SampleRequest | AttentionRequest) -> Response:
        """Draws what is asked, unless the asker has the same bytes already."""
        path = request.url.path
        is_sample = isinstance(asked, SampleRequest)
        job = self.served.sample(asked) if is_sample else self.served.attention(asked)
        tag = self.served.tag(path, asked)
        headers = headers_with(tag)
        if request.method == "GET" and is_held(request, tag):
            return Response(status_code=304, headers=headers)
        content = await self.worker.done(request, job.compute)
        self.measures.pictures += job.pictures
        name = f"{path.strip('/')}.{asked.format}"
        headers["content-disposition"] = f'inline; filename="{name}"'
        return Response(content, media_type=MEDIA_TYPES[asked.format], headers=headers)

    def health(self) -> Health:
        waiting = self.worker.waiting
        return Health(
            ready=waiting < MOST_WAITING,
            waiting=waiting,
            since=datetime.fromtimestamp(self.measures.since, UTC).isoformat(timespec="seconds"),
            version=sagan.__version__,
            model=self.served.facts,
        )


def service_app(served: Served, *, token: str = "") -> AsgiApp:
    """Makes the app to be served.

    Args:
        served: The model.
        token: What every request but ``/health`` must show; empty where only this machine can ask.
    """
    service = _Service(served)

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.worker.close()

    app = FastAPI(
        title=f"sagan serve {served.facts.name}",
        version=sagan.__version__,
        description="Pictures of a Self-Attention GAN, and what it looks at while it draws them. "
        "The same request gives the same bytes. A fault is one line of JSON.",
        docs_url=None,
        redoc_url=None,
        lifespan=living,
    )
    _add_drawing(app, service)
    _add_telling(app, service)
    examples = with_examples(app.openapi(), served.facts, has_token=bool(token))
    app.openapi_schema = examples
    paths = [*examples["paths"], "/", "/docs", "/openapi.json"]
    admission = Admission(
        token=token,
        public=("/health",),
        bodies={"sample": MOST_ASKED, "attention": MOST_ASKED},
    )
    return measured(guarded(app, admission), service.measures, frozenset(paths))


def answer_requests(
    served: Served, listener: socket.socket, token: str, ready: Callable[[], None]
) -> None:
    """Answers until the end is asked for, and then finishes what is running.

    Args:
        served: The model.
        listener: Where requests arrive.
        token: As for :func:`service_app`.
        ready: Called when requests are answered.

    Raises:
        SystemExit: With code 0, after a signal.
    """
    loaded: Future[None] = Future()
    loaded.set_result(None)
    app = service_app(served, token=token)
    serve_until_ended(app, listener, loaded, ready, seconds_to_finish=SECONDS_TO_FINISH)


def _add_drawing(app: FastAPI, service: _Service) -> None:
    """The routes that draw, each asked by address or by JSON."""

    @app.get("/sample", response_class=Response, responses=_answers("png", "npz"))
    async def sample(request: Request, asked: Annotated[SampleQuery, Query()]) -> Response:
        """Draw pictures."""
        return await service.answer(request, asked)

    @app.post("/sample", response_class=Response, responses=_answers("png", "npz"))
    async def sample_by_json(request: Request, asked: SampleRequest) -> Response:
        """Draw pictures; the same, asked in JSON."""
        return await service.answer(request, asked)

    @app.get("/attention", response_class=Response, responses=_answers("png", "npz", "json"))
    async def attention(request: Request, asked: Annotated[AttentionQuery, Query()]) -> Response:
        """Show where points of a picture look while it is drawn."""
        return await service.answer(request, asked)

    @app.post("/attention", response_class=Response, responses=_answers("png", "npz", "json"))
    async def attention_by_json(request: Request, asked: AttentionRequest) -> Response:
        """Show where points of a picture look; the same, asked in JSON."""
        return await service.answer(request, asked)


def _add_telling(app: FastAPI, service: _Service) -> None:
    """The routes that only tell; they never wait for what is being drawn."""

    @app.get("/health", response_description="It works.")
    async def health() -> Health:
        """Whether the service works, and what it serves; needs no token."""
        return service.health()

    @app.get(
        "/metrics",
        response_class=PlainTextResponse,
        response_description="A line per number.",
        responses={401: _FAULTS[401]},
    )
    async def metrics() -> Response:
        """Requests, latencies, queue, pictures and memory, in the text format of Prometheus."""
        text = service.measures.text(service.worker.waiting)
        return Response(text, media_type=_METRICS_TYPE)

    @app.get("/", include_in_schema=False)
    async def root() -> Response:
        return RedirectResponse("docs")

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        page = docs_page(app.openapi(), service.served.facts, str(request.base_url))
        return HTMLResponse(page, headers={"content-security-policy": PAGE_POLICY})
