import asyncio
import json

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from sagan.errors import SaganError
from sagan.studio import guard
from sagan.studio.guard import Admission, RefusedError, guarded, is_loopback

HERE = "http://localhost:8000"
TOKEN = "a-token"
COOKIE = Admission(token=TOKEN).cookie


def client_of(*, token="", base_url=HERE, **rules):
    app = FastAPI()

    @app.post("/size")
    async def size(request: Request) -> int:
        return len(await request.body())

    @app.post("/film")
    async def film(request: Request) -> int:
        return len(await request.body())

    @app.post("/number")
    async def number(asked: dict[str, float]) -> dict[str, float]:
        return asked

    @app.get("/open")
    async def is_open() -> str:
        return "open"

    @app.get("/fault/{kind}")
    async def fault(kind: str) -> None:
        raise {
            "user": SaganError("seed\x1b[2J is\nout of range"),
            "refused": RefusedError(410, "it is gone"),
            "system": OSError(5, "input/output error", "log.jsonl"),
            "memory": MemoryError(),
            "bug": KeyError("secret"),
        }[kind]

    return TestClient(guarded(app, Admission(token=token, **rules)), base_url=base_url)


def told(answer, status):
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    line = answer.json()["error"]
    assert line.isprintable()
    return line


def test_a_body_within_bounds_arrives():
    client = client_of(bodies={"film": 3 * guard.MOST_BODY})
    assert client.post("/size", content=b"x" * guard.MOST_BODY).json() == guard.MOST_BODY
    assert client.post("/film", content=b"x" * 2 * guard.MOST_BODY).json() == 2 * guard.MOST_BODY


@pytest.mark.parametrize("is_stated", [True, False])
def test_a_larger_body_is_refused(is_stated):
    content = b"x" * (guard.MOST_BODY + 1)
    given = content if is_stated else iter([content[:10], content[10:]])
    line = told(client_of().post("/size", content=given), 413)
    assert line == "the request is larger than 1,048,576 bytes, the most that is read"


def test_a_body_whose_size_is_stated_too_large_is_not_read():
    def never():
        raise AssertionError("it was read")
        yield b""

    given = {"content": never(), "headers": {"content-length": "999999999999"}}
    told(client_of().post("/size", **given), 413)


@pytest.mark.parametrize("size", ["-1", "many", "1" * 30, "٣"])
def test_sizes_that_are_none_are_refused(size):
    headers = {"content-length": size.encode()}
    told(client_of().post("/size", content=b"", headers=headers), 413)


def test_a_get_has_no_body():
    told(client_of().request("GET", "/open", content=b"x"), 413)


def asked_by(receive):
    """What is sent to an asker whose request arrives as ``receive`` says: messages."""
    sent = []

    async def send(message):
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"content-length", b"9")]
    scope = {"type": "http", "method": "POST", "path": "/size", "query_string": b""}
    asgi = guarded(FastAPI(), Admission())
    asyncio.run(asgi(scope | {"headers": headers, "http_version": "1.1"}, receive, send))
    return sent


def test_a_body_that_does_not_arrive_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(guard, "MOST_SECONDS", 0.01)
    head, body = asked_by(asyncio.Event().wait)
    assert head["status"] == 408
    assert (b"connection", b"close") in head["headers"]
    assert json.loads(body["body"]) == {"error": "the request took over 0.01 s to arrive"}


def test_nobody_is_answered_who_left_amid_a_request():
    parts = iter([{"type": "http.request", "body": b"x", "more_body": True}])

    async def receive():
        return next(parts, {"type": "http.disconnect"})

    assert asked_by(receive) == []


def test_all_bodies_together_are_bounded(monkeypatch):
    monkeypatch.setattr(guard, "MOST_HELD", 100)
    assert client_of().post("/size", content=b"x" * 100).json() == 100
    told(client_of().post("/size", content=b"x" * 101), 503)


def test_requests_at_once_are_bounded(monkeypatch):
    monkeypatch.setattr(guard, "MOST_REQUESTS", 0)
    assert "try again" in told(client_of().get("/open"), 503)


@pytest.mark.parametrize(
    ("kind", "status", "line"),
    [
        ("user", 422, r"seed\x1b[2J is\nout of range"),
        ("refused", 410, "it is gone"),
        ("system", 500, "log.jsonl: input/output error; mend that first"),
        ("memory", 503, "memory ran out; ask for less, or free memory"),
        ("bug", 500, "this failed here; the terminal says why"),
    ],
)
def test_faults_are_one_line(kind, status, line, capsys):
    assert told(client_of().get(f"/fault/{kind}"), status) == line
    written = capsys.readouterr().err
    assert written == ("sagan: '/fault/bug' failed: KeyError: 'secret'\n" if kind == "bug" else "")


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 422),
        (b"{", 400),
        (b"[" * 100_000, 400),
        (b'{"a": ' + b"9" * 5000 + b"}", 400),
        (b"\xff\xfe", 400),
        (b'{"a": "b"}', 422),
        (b"[]", 422),
        (b"null", 422),
    ],
)
def test_what_is_no_such_json_is_told(content, status):
    headers = {"content-type": "application/json"}
    told(client_of().post("/number", content=content, headers=headers), status)


def test_forms_and_text_of_other_pages_are_no_json():
    text = json.dumps({"a": 1})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        told(client_of().post("/number", content=text, headers={"content-type": kind}), 422)


def test_paths_and_methods_that_are_none():
    assert told(client_of().get("/nothing"), 404) == "there is nothing at /nothing; look at /"
    told(client_of().delete("/open"), 405)


def test_a_long_line_is_cut():
    line = told(client_of().get("/" + "x" * 5000), 404)
    assert len(line) == guard.LONGEST_LINE


def test_every_answer_has_the_headers():
    for path in ("/open", "/nothing", "/fault/bug"):
        headers = client_of().get(path).headers
        for name, value in guard.HEADERS.items():
            assert headers[name] == value


@pytest.mark.parametrize(
    ("host", "is_here"),
    [
        ("localhost:8000", True),
        ("LOCALHOST", True),
        ("127.0.0.1:1", True),
        ("[::1]:8000", True),
        ("studio.localhost", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("192.168.0.7:8000", False),
        ("[", False),
        ("", False),
        ("evil.example#@localhost", False),
    ],
)
def test_only_names_of_this_machine_are_answered(host, is_here):
    answer = client_of().get("/open", headers={"host": host})
    assert answer.status_code == (200 if is_here else 421)


def test_pages_of_other_sites_may_not_ask():
    client = client_of()
    assert client.post("/size", headers={"origin": HERE}).status_code == 200
    for origin in ("http://evil.example", "null", "http://localhost:9000", "http://["):
        told(client.post("/size", headers={"origin": origin}), 403)
    assert client.post("/size", headers={"sec-fetch-site": "same-origin"}).status_code == 200
    for site in ("cross-site", "same-site"):
        told(client.post("/size", headers={"sec-fetch-site": site}), 403)
        told(client.get("/open", headers={"sec-fetch-site": site}), 403)


def test_a_link_of_another_site_leads_here():
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client_of().get("/open", headers=headers).status_code == 200
    told(client_of().post("/size", headers=headers), 403)


def test_the_token_is_asked_for_and_kept_as_a_cookie():
    client = client_of(token=TOKEN, base_url="http://studio.example:8000")
    told(client.get("/open"), 401)
    told(client.get("/open?token=another"), 401)
    told(client.get("/open?token=%C3%A9"), 401)
    answer = client.get(f"/open?token={TOKEN}")
    assert answer.status_code == 200
    assert answer.headers["set-cookie"] == f"{COOKIE}={TOKEN}; HttpOnly; SameSite=Strict; Path=/"
    assert client.get("/open").status_code == 200
    client.cookies.clear()
    told(client.get("/open"), 401)


def test_programs_show_the_token_in_a_header():
    client = client_of(token=TOKEN)
    assert client.get("/open", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    for wrong in ("Bearer", "Bearer another", "Basic YTpi", f"Bearer {TOKEN}x"):
        told(client.get("/open", headers={"authorization": wrong}), 401)
    told(client.get("/open", headers={"cookie": f'{COOKIE}="'}), 401)


def test_servers_of_other_tokens_have_other_cookies():
    assert Admission(token="one").cookie != Admission(token="two").cookie


def test_public_paths_need_no_token():
    client = client_of(token=TOKEN, public=("/open",))
    assert client.get("/open").status_code == 200
    told(client.post("/size"), 401)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"])
def test_loopback(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "example.com", "10.0.0.1"])
def test_no_loopback(host):
    assert not is_loopback(host)
