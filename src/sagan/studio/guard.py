"""What stands between the network and the routes: who may ask, how much, and how a fault is told.

Shared by the studio and by the service. ``guarded(app, Admission(...))`` makes of a FastAPI app the
ASGI app to be served; routes raise :class:`RefusedError`, or :class:`~sagan.errors.SaganError` for
a fault of the input, and the asker gets ``{"error": "one line"}``.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import sys
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from sagan.errors import SaganError, printable

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_BODY = 2**20
"""Bytes of a request, where a route's own bound is not stated."""
MOST_HELD = 2**26
"""Bytes of all requests that are being answered."""
MOST_REQUESTS = 64
"""That are being answered."""
MOST_SECONDS = 20.0
"""For a request to arrive."""
LONGEST_LINE = 500
"""Characters of a message."""
_BUG = "this failed here; the terminal says why"

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Of every answer that does not set them itself."""


class RefusedError(SaganError):
    """A request that is not answered, with the HTTP status that says why."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Admission:
    """Who may ask, and how much."""

    token: str = ""
    """What every request must show: as ``?token=``, as a cookie, or as ``Authorization: Bearer``.
    Empty: everybody who reaches this machine's own address may ask."""
    public: Sequence[str] = ()
    """Paths that need no token, such as ``/health``."""
    bodies: Mapping[str, int] = field(default_factory=dict)
    """Last part of a path, such as "film" -> the most bytes of its requests."""

    @property
    def cookie(self) -> str:
        """Name of the cookie that holds the token; servers at other ports have others."""
        return f"sagan-{hashlib.sha256(self.token.encode()).hexdigest()[:8]}"


def guarded(app: FastAPI, rules: Admission) -> AsgiApp:
    """Makes an app safe to be served.

    Faults become one line of JSON; bodies are read here, within bounds of size and time, before the
    app sees them; askers from other pages are refused, and everybody without the token if there is
    one; without a token only names of this machine are answered, so that no other site's name can
    be pointed at it (DNS rebinding).
    """
    app.add_exception_handler(RequestValidationError, _told_invalid)
    app.add_exception_handler(HTTPException, _told_http)
    app.add_exception_handler(SaganError, _told_fault)
    app.add_exception_handler(OSError, _told_by_system)
    app.add_exception_handler(MemoryError, _told_full)
    app.add_exception_handler(Exception, _told_bug)
    return _Guard(app, rules)


def error_answer(status: int, line: str) -> JSONResponse:
    """A fault as it is told: ``{"error": "one line"}``."""
    line = printable(" ".join(line.split()))
    line = line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 1] + "…"
    return JSONResponse({"error": line}, status)


def is_loopback(host: str) -> bool:
    """Whether a host, without its port, can only be this machine."""
    name = host.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


async def _told_fault(_: Request, error: Exception) -> JSONResponse:
    return error_answer(getattr(error, "status", 422), str(error))


async def _told_by_system(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OSError)
    where, reason = error.filename or "the system", error.strerror or error
    return error_answer(500, f"{where}: {reason}; mend that first")


async def _told_full(_: Request, __: Exception) -> JSONResponse:
    return error_answer(503, "memory ran out; ask for less, or free memory")


async def _told_bug(_: Request, __: Exception) -> JSONResponse:
    return error_answer(500, _BUG)


async def _told_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    lines = {
        404: f"there is nothing at {request.url.path}; look at /",
        405: f"{request.method} is not answered at {request.url.path}; use another method",
        400: "the request is no JSON that can be read; send one JSON object",
    }
    answer = error_answer(error.status_code, lines.get(error.status_code, str(error.detail)))
    answer.headers.update(error.headers or {})
    return answer


async def _told_invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body") or "the request"
    if first["type"] == "json_invalid":
        return error_answer(400, "the request is no JSON that can be read; send one JSON object")
    return error_answer(422, f"{where}: {_lower(first['msg'])}")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


class _Guard:
    """The outermost ASGI app."""

    def __init__(self, app: AsgiApp, rules: Admission) -> None:
        self._app = app
        self._rules = rules
        self._asked = 0
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = _Answer(send)
        held = 0
        self._asked += 1
        try:
            if self._asked > MOST_REQUESTS:
                raise RefusedError(503, "too many requests at once; try again")
            answer.cookie = self._require_allowed(scope)
            body = await self._body(scope, receive)
            held = len(body)
            self._held += held
            await self._app(scope, _replayed(body, receive), answer)
        except RefusedError as error:
            await answer.refuse(scope, receive, error.status, str(error))
        except _GoneError:
            return
        except Exception as error:
            kind, line = type(error).__name__, printable(str(error))[:LONGEST_LINE]
            sys.stderr.write(f"sagan: {scope['path']!r} failed: {kind}: {line}\n")
            await answer.refuse(scope, receive, 500, _BUG)
        finally:
            self._asked -= 1
            self._held -= held

    def _require_allowed(self, scope: Scope) -> str:
        """Judges who asks; gives the cookie to set, if any.

        Raises:
            RefusedError: The name, the page that asks or the token is wrong.
        """
        headers = _headers(scope)
        host = headers.get("host", "")
        if not self._rules.token and not is_loopback(_host_name(f"//{host}")):
            raise RefusedError(
                421, f"{host or 'no host'} is no name of this machine; use localhost"
            )
        self._require_same_page(scope, headers, host)
        if not self._rules.token or scope["path"] in self._rules.public:
            return ""
        shown = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if self._is_token(shown):
            return f"{self._rules.cookie}={self._rules.token}; HttpOnly; SameSite=Strict; Path=/"
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        kept = _cookie(headers, self._rules.cookie)
        if not self._is_token(kept) and not self._is_token(bearer):
            raise RefusedError(
                401, "the token is missing or wrong; use the address that was printed"
            )
        return ""

    def _is_token(self, shown: str) -> bool:
        return hmac.compare_digest(shown.encode(), self._rules.token.encode())

    def _require_same_page(self, scope: Scope, headers: Mapping[str, str], host: str) -> None:
        """A page of another origin may lead here, and nothing else."""
        asker = headers.get("sec-fetch-site", "none")
        leads_here = scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"
        origin = headers.get("origin")
        is_other = origin is not None and origin.partition("://")[2].lower() != host.lower()
        if is_other or (asker not in ("none", "same-origin") and not leads_here):
            raise RefusedError(
                403, "pages of other sites may not ask here; open the address itself"
            )

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """Reads a request, within bounds.

        Raises:
            RefusedError: It is too large, or does not arrive in time.
        """
        last = scope["path"].rpartition("/")[2]
        most = self._rules.bodies.get(last, MOST_BODY) if scope["method"] == "POST" else 0
        stated = _headers(scope).get("content-length", "0")
        if not stated.isdecimal() or len(stated) > 18 or int(stated) > most:
            raise _too_large(most)
        body = bytearray()
        try:
            async with asyncio.timeout(MOST_SECONDS):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _GoneError
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > most:
                        raise _too_large(most)
                    if self._held + len(body) > MOST_HELD:
                        raise RefusedError(503, "too much is being read at once; try again")
        except TimeoutError:
            raise RefusedError(408, f"the request took over {MOST_SECONDS:g} s to arrive") from None
        return bytes(body)


class _GoneError(Exception):
    """Nobody waits for the answer."""


class _Answer:
    """Sends an answer with the headers of all answers."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._begun = False
        self.cookie = ""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begun = True
            headers = list(message.get("headers", ()))
            set_already = {name.lower() for name, _ in headers}
            for name, value in HEADERS.items():
                if name.encode() not in set_already:
                    headers.append((name.encode(), value.encode()))
            if self.cookie:
                headers.append((b"set-cookie", self.cookie.encode()))
            message = {**message, "headers": headers}
        await self._send(message)

    async def refuse(self, scope: Scope, receive: Receive, status: int, line: str) -> None:
        """Tells a fault, unless an answer has begun, and reads no more."""
        if not self._begun:
            answer = error_answer(status, line)
            answer.headers["connection"] = "close"
            await answer(scope, receive, self)


def _too_large(most: int) -> RefusedError:
    return RefusedError(413, f"the request is larger than {most:,} bytes, the most that is read")


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read, then what comes after it, which is that the asker leaves."""
    given = False

    async def next_message() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return next_message


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _host_name(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _cookie(headers: Mapping[str, str], name: str) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found else ""
