"""A real server against clients that mean harm, byte by byte."""

import random
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from studio_server import PICTURE, serving

from sagan.studio import protocol

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

DRAW = "/api/models/0/draw"
MOST_GROWTH = 100 * 2**20


def request(path=DRAW, body=b"", *, method="POST", headers=(), length=None):
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body) if length is None else length}",
        "Connection: close",
        *headers,
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def bodies(rng):
    """JSON that is not what is wanted, and what is no JSON."""
    number = rng.choice(
        [
            "NaN",
            "1e400",
            "-Infinity",
            "9" * 400,
            "9" * 5000,
            "1e308",
            "true",
            '"1"',
            "[]",
            "{}",
            "null",
            "-0",
            "1.5e-400",
            '"\\ud800"',
        ]
    )
    field = rng.choice(["latent", "shares", "scales", "step", "layer", "__class__", "<script>"])
    return rng.choice(
        [
            f'{{"{field}": {number}}}',
            f'{{"latent": [{", ".join([number] * rng.choice([1, 128, 5000]))}]}}',
            f'{{"latent": [{", ".join(["0"] * 128)}], "shares": [], "{field}": {number}}}',
            f'{{"scales": {{"{field}": {number}}}}}',
            "[" * rng.choice([1, 100, 100_000]),
            '{"a":' * rng.choice([10, 50_000]),
            number,
            "",
            "\x00" * 100,
            PICTURE.decode()[: rng.randrange(len(PICTURE))],
        ]
    ).encode()


def paths(rng):
    outside = rng.choice(
        [
            "../../etc/passwd",
            "%2e%2e%2f%2e%2e%2fetc/passwd",
            "..%5c..%5cetc",
            "%00",
            "%ff%fe",
            "<script>alert(1)</script>",
            "x" * 8000,
            "%1b[2J",
            "....//....//etc/passwd",
            "%252e",
        ]
    )
    before = rng.choice(
        ["/front/", "/api/models/", "/api/models/0/", "/", "//", "/api/models/0?step="]
    )
    return before + outside


def hostile(rng):
    """A request that nobody should send."""
    method = rng.choice(
        ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "HEAD", "BREW", "get"]
    )
    action = rng.choice(["draw", "judge", "explain", "film", "fit", "timeline", "none"])
    path = f"/api/models/{rng.choice(['0', '1', '-1', '9' * 30])}/{action}"
    body = bodies(rng)
    header = rng.choice(
        [
            "X: " + "x" * 2**15,
            "Origin: http://evil.example",
            "Host: evil.example",
            "X: \x00",
            "Transfer-Encoding: chunked",
            "Content-Length: 7",
            "Upgrade: websocket",
            ": x",
            "Sec-Fetch-Site: cross-site",
            "Expect: 100-continue",
            "Cookie: " + "=;" * 500,
        ]
    )
    return rng.choice(
        [
            request(path, body),
            request(DRAW, body),
            request(paths(rng).replace(" ", ""), b"", method="GET"),
            request(path, body, method=method),
            request(path, body, headers=[header]),
            request(path, body, length=rng.choice([10**18, 2**63, -1, "x", len(body) + 100])),
            request(DRAW, PICTURE, length=len(PICTURE) // 2),
            body or b"\r\n",
            rng.randbytes(rng.choice([1, 100, 20_000])),
            b"GET / HTTP/9.9\r\n\r\n",
            b"POST /api/models/0/fit HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked"
            b"\r\n\r\nffffffff\r\n" + rng.randbytes(1000),
        ]
    )


def ask_and_leave(server, content):
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(content)


def attack(server, count, seed=0):
    """Sends hostile requests, many at once, and pictures whose askers do not wait."""
    rng = random.Random(seed)
    contents = [hostile(rng) for _ in range(count)]
    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(lambda content: server.raw(content, seconds=1), contents))
        list(
            threads.map(lambda _: ask_and_leave(server, request(DRAW, PICTURE)), range(count // 10))
        )
    return answers


@pytest.fixture(scope="module")
def server():
    with serving() as found:
        yield found
        code, errors = found.end()
        assert (code, errors) == (0, "")


def test_a_thousand_hostile_requests(server):
    pictures = {server.draw() for _ in range(3)}
    attack(server, 100, seed=1)
    before = server.memory()
    answers = attack(server, 1000)
    assert {server.draw_when_free()} == pictures
    assert server.memory() - before < MOST_GROWTH
    statuses = {answer.split(b" ", 2)[1] for answer in answers if answer}
    assert statuses >= {b"400", b"403", b"404", b"405", b"413", b"421", b"422"}
    assert not any(b"Traceback" in answer or b"root:" in answer for answer in answers)
    assert not {b"500"} & statuses


def test_fifty_at_once_are_answered_or_refused(server):
    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(server.raw, [request(DRAW, PICTURE)] * 200))
    statuses = {answer.split(b" ", 2)[1] for answer in answers if answer}
    assert b"200" in statuses
    assert statuses <= {b"200", b"503"}
    assert server.draw_when_free()


def test_large_bodies_in_pieces_are_not_kept(server):
    before = server.memory()
    head = request("/api/models/0/fit", headers=["Transfer-Encoding: chunked"])
    head = head.replace(b"Content-Length: 0\r\n", b"")
    piece = b"100000\r\n" + b"x" * 2**20 + b"\r\n"
    answer = server.raw(head + piece * 40)
    assert answer == b"" or b" 413 " in answer
    assert server.memory() - before < MOST_GROWTH
    assert server.draw()


def test_idle_connections_leave_room(server):
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
    try:
        for connection in idle:
            connection.sendall(b"POST /api/models/0/draw HTTP/1.1\r\nHost: ")
        assert server.draw()
    finally:
        for connection in idle:
            connection.close()


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(protocol, "READING_SECONDS", 0.2)


def served_here(asgi):
    """The protocol alone, in a thread of this process."""
    import threading

    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0))
    settings = {"log_config": None, "log_level": "critical", "lifespan": "off", "ws": "none"}
    running = uvicorn.Server(uvicorn.Config(asgi, http=protocol.PatientProtocol, **settings))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    return running, thread, listener.getsockname()


def test_slow_clients_are_left(hasty):
    async def large(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * 2**26})

    running, thread, place = served_here(large)
    try:
        for sent in (b"", b"GET / HTTP/1.1\r\nHo", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
            with socket.create_connection(place) as connection:
                connection.sendall(sent)
                time.sleep(0.6)  # without reading
                connection.settimeout(5)
                received = 0
                try:
                    while block := connection.recv(2**20):
                        received += len(block)
                except ConnectionResetError:
                    pass
                assert received < 2**26
        assert not running.server_state.connections
    finally:
        running.should_exit = True
        thread.join()
