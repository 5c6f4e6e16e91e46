"""The studio's server: the page, its files and the API, behind the guard."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Response

from sagan.studio.guard import Admission, AsgiApp, RefusedError, guarded
from sagan.studio.models import Gallery
from sagan.studio.page import KINDS, front_files, policy_of, server_page
from sagan.studio.routes import BODIES, studio_routes
from sagan.studio.work import Worker


class Studio:
    """A server that shows models.

    Args:
        gallery: What it shows.
        token: What every request must show; empty where only this machine can ask.

    Attributes:
        asgi: To be served.
        drawing: Whose thread opens models and computes.
    """

    def __init__(self, gallery: Gallery, token: str = "") -> None:
        self.gallery = gallery
        self.drawing = Worker("drawing")
        self._reading, self._writing = Worker("reading"), Worker("writing")
        app = FastAPI(lifespan=self._until_closed, docs_url=None, redoc_url=None, openapi_url=None)
        app.include_router(page_routes())
        app.include_router(studio_routes(gallery, self.drawing, self._reading, self._writing))
        self.asgi: AsgiApp = guarded(app, Admission(token=token, bodies=BODIES))

    @asynccontextmanager
    async def _until_closed(self, _: FastAPI) -> AsyncIterator[None]:
        yield
        for worker in (self.drawing, self._reading, self._writing):
            worker.close()


def page_routes() -> APIRouter:
    """The page at / and the files of the front end at /front."""
    routes = APIRouter()

    @routes.get("/")
    async def page() -> Response:
        content = server_page()
        headers = {"content-security-policy": policy_of(content)}
        return Response(content, media_type="text/html", headers=headers)

    @routes.get("/front/{name}")
    async def front_file(name: str) -> Response:
        found = front_files().get(name)
        if found is None:
            raise RefusedError(404, f"the page has no file {name!r}")
        return Response(found, media_type=KINDS[name[name.rindex(".") :]])

    return routes
