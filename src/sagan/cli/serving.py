"""The command serve."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sagan.cli.parsing import require_range
from sagan.cli.program import app
from sagan.errors import SaganError

DEFAULT_PORT = 8000


@app.command
def serve(
    model: Annotated[Path, Parameter(env_var="SAGAN_MODEL")],
    /,
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    token_file: Path | None = None,
) -> None:
    """Serve a model over HTTP: its pictures at /sample, where they look at /attention.

    The address itself shows a page that describes every request. It ends at Ctrl-C or SIGTERM,
    once what is being drawn is finished.

    Parameters
    ----------
    model
        A run folder, a checkpoint, an exported file, or the name of a model (sagan models).
    host
        Where to listen. By default only this machine can ask; with another host every request
        needs the token, which is printed unless you give one.
    port
        Where to listen, 1 to 65535.
    token_file
        A file that holds the token and nothing else; the variable SAGAN_TOKEN does the same.
    """
    require_range("--port", port, 1, 2**16 - 1)
    try:
        from sagan.studio.listening import (
            address_of,
            answer_requests,
            chosen_token,
            listener_at,
        )
        from sagan.studio.service import service_app
        from sagan.studio.service_drawing import open_served
    except ImportError as error:
        if error.name not in ("fastapi", "pydantic", "starlette", "uvicorn"):
            raise
        raise SaganError("a server needs FastAPI; run: pip install 'sagan[studio]'") from error
    token = chosen_token(host, token_file)
    with listener_at(host, port) as listener:
        served = open_served(model)
        address = address_of(listener) + (f"docs?token={token.text}" if token.is_own else "")
        print(f"{served.facts.name} is served at {address}", flush=True)
        answer_requests(service_app(served, token=token.text), listener)
