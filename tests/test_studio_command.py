import re
import signal
import socket
import sys
import urllib.error
import urllib.request

import pytest
from studio_server import command, serving

from sagan import SaganError
from sagan.cli import main
from sagan.runs.run import load_checkpoint
from sagan.studio import server as serving_module
from sagan.studio.server import (
    address_of,
    listening,
    open_browser,
    require_server,
)
from sagan.studio.tokens import token_for


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main(["studio", "--no-open", *arguments])
    assert caught.value.code == 2
    written = capsys.readouterr()
    assert not written.out
    assert written.err.count("\n") == 1
    return written.err


def test_it_answers_until_it_is_ended_quietly():
    with serving() as server:
        assert server.output == f"avatars64: http://127.0.0.1:{server.port}/  (Ctrl-C ends it)\n"
        assert len(server.draw()) > 1024 * 256 * 4
        assert server.end(signal.SIGINT) == (0, "")
        assert server.output.count("\n") == 1


def test_it_ends_quietly_before_it_has_begun():
    process = command("--port", "0")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode in (0, -signal.SIGTERM)  # Python itself may not be there yet


def test_others_need_the_token():
    with serving("--host", "0.0.0.0") as server:
        token = re.search(r"\?token=(\S+)", server.output)[1]
        here = f"http://127.0.0.1:{server.port}"
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{here}/", timeout=20)
        with caught.value as answer:
            assert answer.code == 401
        with urllib.request.urlopen(f"{here}/?token={token}", timeout=20) as answer:
            assert "HttpOnly; SameSite=Strict" in answer.headers["set-cookie"]
        assert server.end(signal.SIGTERM) == (0, "")


def test_a_port_in_use_names_the_next_free_one(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused(capsys, "--port", str(port))
    found = re.fullmatch(rf"sagan: port {port} is in use; (\d+) is free: --port \1\n", line)
    assert found
    assert int(found[1]) > port


def test_hosts_and_ports_that_cannot_be(capsys):
    assert "give --host an address of this machine" in refused(capsys, "--host", "192.0.2.1")
    assert "give --host an address of this machine" in refused(capsys, "--host", "no.such.invalid")
    assert "--port 70000 is out of range" in refused(capsys, "--port", "70000")


def test_a_port_that_is_not_for_everybody(monkeypatch):
    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "create_server", forbidden)
    with pytest.raises(SaganError, match="choose one from 1024"):
        listening("127.0.0.1", 80)


def test_models_that_cannot_be_shown(capsys, tmp_path, trained_run):
    assert "avatars64" in refused(capsys, "avatar64")
    assert "name 4 at most" in refused(capsys, *["avatars64"] * 5)
    (tmp_path / "run").mkdir()
    assert "no checkpoint yet; train first" in refused(capsys, "--port", "0", f"{tmp_path}/run")
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    assert "is damaged" in refused(capsys, "--port", "0", f"{tmp_path}/model.safetensors")


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    require_server()
    monkeypatch.setattr(serving_module, "_NEEDED", ("no_such_web_server",))
    with pytest.raises(SaganError, match="pip install fastapi uvicorn"):
        require_server()


def test_the_address_is_one_that_can_be_opened():
    with listening("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert address_of(listener, "127.0.0.1", "") == f"http://127.0.0.1:{port}/"
        assert address_of(listener, "::1", "abc") == f"http://[::1]:{port}/?token=abc"
        assert socket.gethostname() in address_of(listener, "0.0.0.0", "abc")


def test_a_telling_picture_is_opened_where_no_model_is_named(monkeypatch):
    opened = []
    monkeypatch.setattr(serving_module, "open_browser", opened.append)
    monkeypatch.setattr(serving_module, "serve_until_ended", lambda *_: None)
    for models in ([], ["avatars64"]):
        with pytest.raises(SystemExit, match="0"):
            main(["studio", "--port", "0", *models])
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/#seed=23&classes=13:1", opened[0])
    assert opened[1].endswith("/")
    assert load_checkpoint("avatars64")[0].class_names[13] == "person"


def test_only_others_need_a_token():
    assert token_for("127.0.0.1") == token_for("localhost") == token_for("::1") == ""
    tokens = {token_for("0.0.0.0"), token_for("0.0.0.0"), token_for("192.168.0.7")}
    assert len(tokens) == 3
    assert min(map(len, tokens)) >= 32


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="has a screen")
def test_without_a_screen_no_browser_draws_into_the_terminal(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("webbrowser.open", lambda _: pytest.fail("it was opened"))
    open_browser("http://127.0.0.1:8000/")
