"""The command studio."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sagan.cli.parsing import require_range
from sagan.cli.program import app

if TYPE_CHECKING:
    from sagan.studio.models import Gallery


@app.command
def studio(
    *models: Annotated[Path, Parameter(name="MODEL")],
    host: str = "127.0.0.1",
    port: int = 8000,
    open: bool = True,
) -> None:
    """Show models live in the browser: move over a picture and see what each place looks at.

    Gammas, latents and classes are sliders; a run has a timeline of its checkpoints, and one that
    is going on updates itself. Nothing is fetched from outside. Ctrl-C ends it.

    Parameters
    ----------
    models
        Up to four run folders, checkpoints, exported files or names of models (sagan models), to be
        compared; without any, avatars64.
    host
        Where to listen. Any other than this machine's own address (127.0.0.1) lets others in, who
        then need the token in the address that is printed.
    port
        Where to listen; 0 takes a free one.
    open
        Open the page in a browser.
    """
    from sagan.studio.server import require_server

    require_range("--port", port, 0, 65_535)
    require_server()
    from sagan.studio.models import DEFAULT_MODEL, DEFAULT_VIEW, Gallery

    view = "" if models else DEFAULT_VIEW
    _show(Gallery(models or (DEFAULT_MODEL,)), host, port, opened_at=view if open else None)


def _show(gallery: Gallery, host: str, port: int, opened_at: str | None) -> None:
    """Serves, and opens the page in a browser at a view, unless that is None."""
    from sagan.studio.server import address_of, listening, open_browser, serve_until_ended

    with listening(host, port) as listener:
        from sagan.studio.app import Studio
        from sagan.studio.tokens import token_for

        token = token_for(host)
        live = Studio(gallery, token)
        url = address_of(listener, host, token)
        names = ", ".join(one.name for one in gallery.shown)
        if opened_at is not None:
            open_browser(url + opened_at)
        serve_until_ended(
            live.asgi,
            listener,
            live.drawing.now(gallery.load),
            lambda: print(f"{names}: {url}  (Ctrl-C ends it)", flush=True),
        )
