"""Where a server listens, which token it asks for, and how it ends.

Shared by the studio and by the service.
"""

import os
import secrets
import signal
import socket
from pathlib import Path
from typing import NamedTuple

from sagan.errors import SaganError
from sagan.studio.guard import AsgiApp, is_loopback

TOKEN_VARIABLE = "SAGAN_TOKEN"
SECONDS_TO_FINISH = 30
"""For running requests when the end is asked for."""
_LEAST_TOKEN = 16
_MOST_TOKEN = 512
_TRIED_PORTS = 100


class Token(NamedTuple):
    """What requests must show."""

    text: str
    """Empty where none is needed."""
    is_own: bool
    """Whether it was drawn here, and so must be printed."""


def chosen_token(host: str, file: Path | None = None) -> Token:
    """The token of the file, or of the variable SAGAN_TOKEN, or else a new one where one is needed.

    Args:
        host: Where the server listens; on this machine's own address nobody else can ask.
        file: Holds it and nothing else.

    Raises:
        SaganError: The file cannot be read, or the token is too short or has blanks in it.
    """
    given, source = os.environ.get(TOKEN_VARIABLE, ""), TOKEN_VARIABLE
    if file is not None:
        source = str(file)
        try:
            with file.open("rb") as opened:
                given = opened.read(_MOST_TOKEN + 2).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise SaganError(f"cannot read the token of {file}: {reason}; mend it") from error
    if given or file is not None:
        is_plain = given.isascii() and given.isprintable() and not set(' ";,\\') & set(given)
        if not is_plain or not _LEAST_TOKEN <= len(given) <= _MOST_TOKEN:
            raise SaganError(
                f"the token of {source} must be {_LEAST_TOKEN} to {_MOST_TOKEN} letters, digits or "
                "signs other than quotes, commas, semicolons and blanks; make one with: "
                "openssl rand -hex 24"
            )
        return Token(given, is_own=False)
    if is_loopback(host):
        return Token("", is_own=False)
    return Token(secrets.token_urlsafe(24), is_own=True)


def listener_at(host: str, port: int) -> socket.socket:
    """Opens the socket of a server; connections wait until :func:`answer_requests`.

    Raises:
        SaganError: The host is none of this machine, or the port is in use; names the next one that
            is free.
    """
    try:
        [(family, kind, _, _, address), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise SaganError(f"no address is known of --host {host}; give 127.0.0.1") from error
    try:
        return _bound(family, kind, address)
    except PermissionError as error:
        raise SaganError(f"--port {port} is not for users; give one from 1024") from error
    except OSError as error:
        free = _next_free(family, kind, address)
        if free is None:
            reason = error.strerror or error
            raise SaganError(f"cannot listen at {host}: {reason}; give 127.0.0.1") from error
        raise SaganError(f"--port {port} is in use; give --port {free}") from error


def address_of(listener: socket.socket) -> str:
    """What a browser on this machine opens."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}/"


def answer_requests(app: AsgiApp, listener: socket.socket) -> None:
    """Answers requests until the end is asked for; running ones are finished.

    After SIGTERM it returns.

    Raises:
        KeyboardInterrupt: After Ctrl-C.
    """
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        server_header=False,
        ws="none",
        timeout_keep_alive=5,
        timeout_graceful_shutdown=SECONDS_TO_FINISH,
    )
    # uvicorn ends at the signal, and then sends it once more to whoever listened before.
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        signal.signal(signal.SIGTERM, before)
        listener.close()


def _bound(family: int, kind: int, address: tuple[object, ...]) -> socket.socket:
    opened = socket.socket(family, kind)
    try:
        if os.name == "posix":  # elsewhere it lets two servers share a port
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(128)
    except OSError:
        opened.close()
        raise
    return opened


def _next_free(family: int, kind: int, address: tuple[object, ...]) -> int | None:
    host, port, *rest = address
    assert isinstance(port, int)
    for other in range(port + 1, min(port + _TRIED_PORTS, 2**16)):
        try:
            _bound(family, kind, (host, other, *rest)).close()
        except OSError:
            continue
        return other
    return None
