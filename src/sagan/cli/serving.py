"""The command serve."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sagan.cli.parsing import MODEL, require_range
from sagan.cli.program import app


@app.command
def serve(
    model: Annotated[Path, MODEL, Parameter(env_var="SAGAN_MODEL")],
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token_file: Path | None = None,
) -> None:
    """Serve a model over HTTP: its pictures at /sample, where they look at /attention.

    The address itself shows a page that describes every request. It ends at Ctrl-C or SIGTERM,
    once what is being drawn is finished.

    Parameters
    ----------
    host
        Where to listen. By default only this machine can ask; with another host every request
        needs the token, which is printed unless you give one.
    port
        Where to listen; 0 takes a free one.
    token_file
        A file that holds the token and nothing else; the variable SAGAN_TOKEN does the same.
    """
    from sagan.studio.server import EVERY_ADDRESS, address_of, listening, require_server

    require_range("--port", port, 0, 65_535)
    require_server()
    from sagan.studio.service import answer_requests
    from sagan.studio.service_drawing import open_served
    from sagan.studio.tokens import chosen_token

    token = chosen_token(host, token_file)
    with listening(host, port) as listener:
        served = open_served(model)
        here = "127.0.0.1" if host in EVERY_ADDRESS else host
        url = address_of(listener, here, token.text if token.is_drawn else "")
        name = served.facts.name
        answer_requests(
            served, listener, token.text, lambda: print(f"{name} is served at {url}", flush=True)
        )
