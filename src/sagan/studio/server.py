"""Serving an app until somebody ends it: the port, the address, the browser, the signals."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING

from sagan.errors import SaganError
from sagan.system.extras import install

if TYPE_CHECKING:
    import uvicorn

EVERY_ADDRESS = ("0.0.0.0", "::", "")
"""Hosts that stand for all addresses of this machine."""
_TRIED = 100
"""Ports after the one that is in use."""
_NEEDED = ("fastapi", "uvicorn")


def require_server() -> None:
    """Says what is to be installed.

    Raises:
        SaganError: The extra ``studio`` is not installed.
    """
    if any(find_spec(name) is None for name in _NEEDED):
        raise SaganError(f"this needs a web server; run: {install('studio')}")


def listening(host: str, port: int) -> socket.socket:
    """Takes a port, before anything else is done.

    Args:
        host: A name or an address of this machine.
        port: 0 takes a free one.

    Raises:
        SaganError: It is in use, which names the next free one, or may not be taken.
    """
    try:
        return _socket_at(host, port)
    except UnicodeError:
        raise SaganError(f"{host} is no name of a machine; give --host an address") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            free = next((p for p in range(port + 1, port + _TRIED) if _is_free(host, p)), None)
            remedy = f"{free} is free: --port {free}" if free else "choose another --port"
            raise SaganError(f"port {port} is in use; {remedy}") from None
        if error.errno == errno.EACCES:
            raise SaganError(f"you may not listen at port {port}; choose one from 1024") from None
        reason = error.strerror or error
        raise SaganError(
            f"cannot listen at {host}: {reason}; give --host an address of this machine"
        ) from None


def address_of(listener: socket.socket, host: str, token: str) -> str:
    """The URL to open."""
    if host in EVERY_ADDRESS:
        host = socket.gethostname()
    name = f"[{host}]" if ":" in host else host
    question = f"?token={token}" if token else ""
    return f"http://{name}:{listener.getsockname()[1]}/{question}"


def open_browser(url: str) -> None:
    """Opens a page in a browser with a window of its own, if there is one; does not wait."""
    import webbrowser

    is_unix = sys.platform not in ("win32", "darwin")
    if is_unix and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return  # what would be found there draws into this terminal

    def show() -> None:
        with suppress(webbrowser.Error, OSError):
            webbrowser.open(url)

    threading.Thread(target=show, daemon=True).start()


def serve_until_ended(
    asgi: Callable[..., object],
    listener: socket.socket,
    loading: Future[None],
    ready: Callable[[], None],
    *,
    seconds_to_finish: int = 1,
) -> None:
    """Answers until Ctrl-C or TERM, which end the program quietly.

    Args:
        asgi: The app.
        listener: Where it listens.
        loading: Of what it shows, in another thread; its failure ends the server.
        ready: Called when that is done.
        seconds_to_finish: For requests that are being answered when the end is asked for.

    Raises:
        SaganError: As the loading.
        SystemExit: With code 0, after a signal.
    """
    server = _server_of(asgi, seconds_to_finish)
    asked = threading.Event()

    def end(*_: object) -> None:
        # No exception: it could rise anywhere inside asyncio, before uvicorn takes the signals.
        asked.set()
        server.should_exit = True

    def loaded(done: Future[None]) -> None:
        if done.cancelled() or done.exception():
            server.should_exit = True
        else:
            ready()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    loading.add_done_callback(loaded)
    server.run(sockets=[listener])
    if asked.is_set():
        sys.exit(0)
    loading.result()


def _server_of(asgi: Callable[..., object], seconds_to_finish: int) -> uvicorn.Server:
    import uvicorn

    from sagan.studio.protocol import PatientProtocol

    config = uvicorn.Config(
        asgi,
        http=PatientProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=256,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=seconds_to_finish,
        h11_max_incomplete_event_size=2**14,
    )
    return uvicorn.Server(config)


def _socket_at(host: str, port: int) -> socket.socket:
    [(family, *_, address), *_] = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    listener = socket.create_server(address[:2], family=family, backlog=128)
    # asyncio does so for sockets that it opens itself. Without it an answer's body waits 40 ms for
    # the client to acknowledge its head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _is_free(host: str, port: int) -> bool:
    if port > 65_535:
        return False
    try:
        _socket_at(host, port).close()
    except OSError:
        return False
    return True
