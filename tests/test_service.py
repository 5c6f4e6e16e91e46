"""sagan serve: its routes, what they refuse, and one real process."""

import http.client
import io
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from html.parser import HTMLParser

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from test_cli import mistake, run

import sagan
from sagan.config import GeneratorConfig
from sagan.errors import SaganError
from sagan.nn.residual import make_generator
from sagan.runs.folder import checkpoint_files
from sagan.sampling.generator import TrainedGenerator
from sagan.sampling.latents import draw_latents
from sagan.studio import work
from sagan.studio.server import listening
from sagan.studio.service import service_app
from sagan.studio.service_drawing import Served, open_served
from sagan.studio.service_metrics import resident_memory
from sagan.studio.tokens import chosen_token

TOKEN = "0123456789abcdef0123"


@pytest.fixture(scope="module")
def served():
    return open_served("avatars64")


@pytest.fixture(scope="module")
def client(served):
    with TestClient(service_app(served), base_url="http://localhost") as client:
        yield client


@pytest.fixture(scope="module")
def generator():
    return sagan.load_generator("avatars64")


def pixels(answer):
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(answer.content)) as image:
        return np.asarray(image)


def arrays(answer):
    assert answer.status_code == 200, answer.text
    with np.load(io.BytesIO(answer.content), allow_pickle=False) as found:
        return dict(found)


def fault(answer, status=422):
    assert answer.status_code == status, answer.text
    assert answer.json().keys() == {"error"}
    line = answer.json()["error"]
    assert len(line.splitlines()) == 1
    assert "Traceback" not in line
    return line


def test_one_picture_is_what_sample_draws(client, generator):
    expected = generator.sample([3], "cat")[0].transpose(1, 2, 0)
    assert np.array_equal(pixels(client.get("/sample?seeds=3&class=cat")), expected)
    asked = {"seeds": [3], "class": "cat", "scale": 3}
    large = pixels(client.post("/sample", json=asked))
    assert np.array_equal(large, expected.repeat(3, 0).repeat(3, 1))


@pytest.mark.parametrize(
    ("query", "flags"),
    [
        ("seeds=0-4&class=cat&columns=3&scale=2", "--seeds=0-4 --class=cat --columns=3 --scale=2"),
        ("seeds=0-1,9&class=cat&class=1&truncation=.7", "--seeds=0-1,9 --class=cat --class=1"),
        ("seeds=0-1", "--seeds=0-1"),
    ],
)
def test_files_are_those_of_the_command(client, tmp_path, query, flags):
    flags = [*flags.split(), *["--truncation=0.7"] * ("truncation" in query)]
    png, npz = tmp_path / "x.png", tmp_path / "x.npz"
    assert run("sample", "avatars64", *flags, "-o", png) == 0
    assert client.get(f"/sample?{query}").content == png.read_bytes()
    flags = [flag for flag in flags if "columns" not in flag]
    assert run("sample", "avatars64", *flags, "-o", npz) == 0
    found = arrays(client.get(f"/sample?{query}&format=npz"))
    with np.load(npz) as expected:
        assert found.keys() == set(expected.keys())
        for name, array in found.items():
            assert array.dtype == expected[name].dtype
            assert np.array_equal(array, expected[name])


def test_shares_mix_classes(client, generator):
    found = arrays(
        client.get("/sample?seeds=5&class=cat&class=person&share=.25&share=.75&format=npz")
    )
    shares = np.zeros((1, 14), np.float32)
    shares[0, [12, 13]] = 0.25, 0.75
    latents = draw_latents([5], generator.latent_dim)
    expected = generator.pictures(latents, latents.new_tensor(shares))
    assert np.array_equal(found["shares"], shares)
    assert np.array_equal(found["images"], expected)
    assert found["images"].shape == (1, 3, 64, 64)
    whole = client.get("/sample?seeds=0-2&class=cat&share=1")
    assert whole.content == client.get("/sample?seeds=0-2&class=cat").content


def test_attention_is_that_of_the_command(client, generator, tmp_path):
    path = tmp_path / "x.png"
    flags = ["--class=cat", "--seed=7", "--at=3,4", "--at=20,20"]
    assert run("attention", "avatars64", *flags, "-o", path) == 0
    answer = client.get("/attention?seed=7&class=cat&at=3,4&at=20,20")
    assert answer.content == path.read_bytes()

    expected = generator.attention(7, "cat", at=[(3, 4), (20, 20)])
    asked = {"seed": 7, "class": 12, "at": [[3, 4], "20,20"], "format": "npz"}
    found = arrays(client.post("/attention", json=asked))
    assert np.array_equal(found["picture"], expected.pictures[0])
    assert found["points"].tolist() == [[3, 4], [20, 20]]
    assert np.array_equal(found["rows.32"], expected.rows["32"][0])

    told = client.post("/attention", json={**asked, "format": "json"}).json()
    assert (told["seed"], told["class"], told["points"]) == (7, "cat", [[3, 4], [20, 20]])
    [layer] = told["layers"]
    assert (layer["name"], layer["height"], layer["keys"]) == ("32", 32, [16, 16])
    np.testing.assert_allclose(layer["rows"], found["rows.32"])


def test_points_are_chosen_where_none_are_given(client):
    found = client.get("/attention?format=json&layer=32").json()
    assert len(found["points"]) == 5


def test_the_same_request_gives_the_same_bytes_and_is_not_sent_twice(client):
    for path in (
        "/sample?seeds=0-9&class=cat",
        "/sample?format=npz&seeds=1&class=1",
        "/attention?seed=3",
    ):
        first, second = client.get(path), client.get(path)
        assert first.content == second.content
        tag = first.headers["etag"]
        assert second.headers["etag"] == tag
        assert first.headers["cache-control"] == "private, no-cache"
        drawn = pictures_drawn(client)
        for held in (tag, f'"x", W/{tag}'):
            again = client.get(path, headers={"if-none-match": held})
            assert (again.status_code, again.content) == (304, b"")
        assert pictures_drawn(client) == drawn
        other = client.get(f"{path}&truncation=0.5", headers={"if-none-match": tag})
        assert other.status_code == 200
        assert other.headers["etag"] != tag


def test_another_model_has_other_tags(client, served):
    facts = served.facts.model_copy(update={"sha256": "0" * 64})
    other = Served(generator=served.generator, facts=facts)
    with TestClient(service_app(other), base_url="http://localhost") as asked:
        tag = asked.get("/sample?seeds=1&class=cat").headers["etag"]
    assert tag != client.get("/sample?seeds=1&class=cat").headers["etag"]


def pictures_drawn(client):
    return int(re.search(r"^sagan_pictures_total (\d+)$", client.get("/metrics").text, re.M)[1])


def test_health_says_what_is_served(client):
    told = client.get("/health").json()
    assert told["ready"] is True
    assert told["waiting"] == 0
    assert told["version"] == sagan.__version__
    assert told["model"]["name"] == "avatars64"
    assert told["model"]["sha256"] == next(
        model.sha256 for model in sagan.models() if model.name == "avatars64"
    )
    assert told["model"]["attention"] == ["32"]
    assert told["since"].endswith("+00:00")


def test_metrics_count(served):
    with TestClient(service_app(served), base_url="http://localhost") as client:
        client.get("/sample?seeds=0-2&class=cat")
        client.get("/attention")
        client.get("/sample?seeds=x")
        for path in ("/a", "/b%0A", "/%22}"):
            client.get(path)
        answer = client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = answer.text.splitlines()
    assert 'sagan_requests_total{route="/sample",status="200"} 1' in lines
    assert 'sagan_requests_total{route="/sample",status="422"} 1' in lines
    assert 'sagan_requests_total{route="other",status="404"} 3' in lines
    assert 'sagan_request_seconds_bucket{route="/sample",le="+Inf"} 2' in lines
    assert 'sagan_request_seconds_count{route="/sample"} 2' in lines
    assert "sagan_pictures_total 4" in lines
    assert "sagan_queue_length 0" in lines
    held = next(line for line in lines if line.startswith("process_resident_memory_bytes "))
    assert 2**26 < int(held.split()[1]) <= 2 * resident_memory()
    number = r"-?\d+(\.\d+)?(e[+-]\d+)?"
    for line in lines:
        assert re.fullmatch(
            rf'# (HELP|TYPE) \w+ .+|\w+(\{{(\w+="[^"\\\n]*",?)+\}})? {number}', line
        ), line
    buckets = [int(line.split()[1]) for line in lines if 'bucket{route="/sample"' in line]
    assert buckets == sorted(buckets)


def test_health_and_metrics_do_not_wait_for_what_is_drawn(served, monkeypatch):
    begun, may_end = threading.Event(), threading.Event()

    def slow(*_, **__):
        begun.set()
        assert may_end.wait(20)
        return b"png"

    monkeypatch.setattr("sagan.studio.service_drawing._Drawing.png", slow)
    monkeypatch.setattr(work, "MOST_WAITING", 2)
    with TestClient(service_app(served), base_url="http://localhost") as client:
        answers = []
        asking = [
            threading.Thread(target=lambda: answers.append(client.get("/sample").status_code))
            for _ in range(2)
        ]
        for thread in asking:
            thread.start()
        assert begun.wait(20)
        end = time.monotonic() + 20
        while client.get("/health").json()["waiting"] < 2 and time.monotonic() < end:
            time.sleep(0.01)
        assert "sagan_queue_length 2" in client.get("/metrics").text
        assert "wait already" in fault(client.get("/sample"), 503)
        may_end.set()
        for thread in asking:
            thread.join(20)
    assert answers == [200, 200]


class Seen(HTMLParser):
    """Tags of a page, and all that it would fetch."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.fetched, self.text = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        names = ("src", "href", "action", "srcset", "data")
        self.fetched += [value for name, value in attrs if name in names]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_fetches_nothing_from_elsewhere(client):
    assert client.get("/", follow_redirects=False).headers["location"] == "docs"
    answer = client.get("/")
    assert answer.url.path == "/docs"
    seen = Seen(answer.text)
    assert not {"script", "iframe", "object"} & set(seen.tags)
    icon, schema, *rest = seen.fetched
    assert (icon, schema) == ("data:,", "openapi.json")
    for address in (schema, *rest):
        assert client.get("/" + address).status_code == 200
    assert not re.search(r"url\(|@import", answer.text)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script" not in policy
    text = " ".join(seen.text)
    for words in ("/sample", "/attention", "/health", "/metrics", "robot head", "truncation"):
        assert words in text


def test_every_command_on_the_page_works(client):
    page = client.get("/docs").text
    seen = Seen(page)
    commands = [text for text in seen.text if text.startswith("curl")]
    assert len(commands) == 6
    for command in commands:
        words = shlex.split(command)
        answer = (
            client.post(words[-1], content=words[words.index("-d") + 1], headers=json_header())
            if "-d" in words
            else client.get(words[-1])
        )
        assert answer.status_code == 200, command


def json_header():
    return {"content-type": "application/json"}


def test_the_schema_describes_every_value_and_fault(client):
    schema = client.get("/openapi.json").json()
    assert set(schema["paths"]) == {"/sample", "/attention", "/health", "/metrics"}
    for path in ("/sample", "/attention"):
        for method, route in schema["paths"][path].items():
            assert {"200", "401", "413", "422", "503", "504"} <= set(route["responses"])
            reference = route["responses"]["422"]["content"]["application/json"]["schema"]
            assert reference == {"$ref": "#/components/schemas/Fault"}
            for parameter in route.get("parameters", ()):
                assert parameter["description"], (path, method, parameter)
            if method == "post":
                assert route["requestBody"]["content"]["application/json"]["example"]
    for model in ("SampleRequest", "AttentionRequest"):
        for field in schema["components"]["schemas"][model]["properties"].values():
            assert field["description"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"seeds": "x"}, "no list like"),
        ({"seeds": ""}, "no list like"),
        ({"seeds": "9-3"}, "run backwards"),
        ({"seeds": "-1"}, "no list like"),
        ({"seeds": "0-999999999"}, "more than 100,000"),
        ({"seeds": "0-256", "class": "cat"}, "257 pictures"),
        ({"seeds": "9" * 5000}, "seeds"),
        ({"seeds": [1, -2]}, "no list like"),
        ({"seeds": []}, "string"),
        ({"seeds": [1.5]}, "string"),
        ({"seeds": {"a": 1}}, "string"),
        ({"seeds": None}, "string"),
        ({"class": "<script>alert(1)</script>"}, "there is no class"),
        ({"class": "../../etc/passwd"}, "there is no class"),
        ({"class": "a\r\nb"}, "there is no class"),
        ({"class": 14}, "there is no class 14"),
        ({"class": -1}, "there is no class"),
        ({"class": True}, "tuple"),
        ({"class": ["cat"] * 2000}, "class"),
        ({"class": "x" * 10_000}, "at most 500"),
        ({"share": [1]}, "give a class for each share"),
        ({"class": ["cat"], "share": [0.5]}, "sum to 1"),
        ({"class": ["cat", 1], "share": [2, -1]}, "from 0 to 1"),
        ({"class": ["cat", 1], "share": [1]}, "1 shares for 2 classes"),
        ({"truncation": 0}, "greater than 0"),
        ({"truncation": "x"}, "number"),
        ({"columns": 0}, "columns"),
        ({"scale": 33}, "scale"),
        ({"scale": 10**30}, "scale"),
        ({"seeds": "0-255", "class": "cat", "scale": 32}, "pixels"),
        ({"format": "../x"}, "'png' or 'npz'"),
        ({"path": "/etc/passwd"}, "path"),
        ([1], "dictionary"),
    ],
)
def test_wrong_requests_for_pictures_are_one_line(client, asked, words):
    assert words in fault(client.post("/sample", json=asked))


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("seed=-1", "greater than or equal to 0"),
        ("seed=9223372036854775808", "less than"),
        ("seed=x", "integer"),
        ("at=3", "no pair of pixels"),
        ("at=64,0", "outside"),
        (f"at={'9' * 5000},1", "at most 24"),
        (f"at={'9' * 12},1", "no pair"),
        ("&".join(["at=1,1"] * 33), "at most 32"),
        ("layer=7", "no attention at 7; this generator has it at 32"),
        ("layer=../../etc/passwd", "no attention at"),
        ("class=dog", "there is no class 'dog'"),
        ("class=cat&class=1", None),
        ("format=exe", "format"),
        ("nothing=1", "nothing"),
    ],
)
def test_wrong_requests_for_attention_are_one_line(client, query, words):
    answer = client.get(f"/attention?{query}")
    if words is None:  # the last one counts
        assert answer.status_code == 200
    else:
        assert words in fault(answer)


def test_broken_bodies_and_paths_are_one_line(client):
    def posted(content):
        return client.post("/sample", content=content, headers=json_header())

    assert "no JSON" in fault(posted(b'{"seeds": '), 400)
    assert "no JSON" in fault(posted(b"\xff\xfe"), 400)
    fault(posted(b'{"seeds": ' + b"9" * 5000 + b"}"), 400)
    fault(posted(b"[" * 60_000), 400)
    assert "larger than" in fault(posted(b"x" * 70_000), 413)
    fault(client.get("/../../etc/passwd"), 404)
    fault(client.delete("/sample"), 405)
    fault(client.get("/sample?seeds=0", headers={"host": "evil.example"}), 421)
    fault(client.get("/sample?seeds=0", headers={"origin": "http://evil.example"}), 403)


def test_a_model_without_attention_or_classes_says_so_and_draws(served):
    network = make_generator(GeneratorConfig(base_channels=8, attention=()), resolution=32)
    facts = served.facts.model_copy(update={"classes": [], "size": (32, 32), "attention": []})
    plain = Served(generator=TrainedGenerator(network, ()), facts=facts)
    with TestClient(service_app(plain), base_url="http://localhost") as client:
        assert "no attention layer" in fault(client.get("/attention"))
        assert "no classes" in fault(client.get("/sample?class=cat"))
        assert "no classes" in fault(client.get("/sample?class=0&share=1"))
        assert pixels(client.get("/sample?seeds=1")).shape == (32, 32, 3)
        assert arrays(client.get("/sample?format=npz")).keys() == {"images"}
        assert "no attention" in client.get("/docs").text


def test_a_model_is_called_as_its_folder_or_file(trained_run, tmp_path, monkeypatch):
    folder = tmp_path / "demo-1.5"
    shutil.copytree(trained_run, folder)
    assert open_served(folder).facts.name == "demo-1.5"
    assert open_served(checkpoint_files(folder)[0]).facts.name == "step-00000002"
    monkeypatch.chdir(folder)
    assert open_served(".").facts.name == "demo-1.5"


def test_class_names_cannot_write_the_page(served):
    facts = served.facts.model_copy(update={"classes": ["<script>x</script>", "'; rm -rf ~"] * 7})
    named = Served(generator=served.generator, facts=facts)
    with TestClient(service_app(named), base_url="http://localhost") as client:
        page = client.get("/docs").text
        assert "script" not in Seen(page).tags
        assert "<script" not in page
        for text in Seen(page).text:
            if text.startswith("curl"):
                assert "rm" not in shlex.split(text)


def test_with_a_token_only_health_answers_strangers(served):
    with TestClient(service_app(served, token=TOKEN), base_url="http://10.1.2.3:8000") as client:
        assert client.get("/health").json()["ready"] is True
        for path in ("/sample", "/attention", "/metrics", "/docs", "/openapi.json", "/"):
            assert "token" in fault(client.get(path), 401)
            fault(client.get(path, headers={"authorization": f"Bearer {TOKEN}x"}), 401)
        header = {"authorization": f"Bearer {TOKEN}"}
        by_header = client.get("/sample?seeds=1&class=cat", headers=header)
        assert by_header.status_code == 200
        page = client.get("/docs", headers=header).text
        assert page.count("$SAGAN_TOKEN") == 6
        assert TOKEN not in page
        by_query = client.get(f"/sample?seeds=1&class=cat&token={TOKEN}")
        assert by_query.content == by_header.content
        assert by_query.headers["etag"] == by_header.headers["etag"]


def test_a_token_is_given_or_drawn(tmp_path, monkeypatch):
    monkeypatch.delenv("SAGAN_TOKEN", raising=False)
    assert chosen_token("127.0.0.1") == ("", False)
    drawn = chosen_token("0.0.0.0")
    assert drawn.is_drawn
    assert len(drawn.text) >= 32
    assert chosen_token("0.0.0.0") != drawn
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    assert chosen_token("127.0.0.1", file) == (TOKEN, False)
    monkeypatch.setenv("SAGAN_TOKEN", TOKEN[::-1])
    assert chosen_token("0.0.0.0") == (TOKEN[::-1], False)
    assert chosen_token("0.0.0.0", file) == (TOKEN, False)


@pytest.mark.parametrize("text", ["", "short", "x" * 600, "a b" * 10, "ä" * 20, '"' * 20])
def test_a_token_that_cannot_be_used_is_refused(tmp_path, text):
    file = tmp_path / "token"
    file.write_text(text)
    with pytest.raises(SaganError, match="16 to 512"):
        chosen_token("0.0.0.0", file)


def test_mistakes_of_the_command_are_one_line(capsys, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = mistake(capsys, "serve", "avatars64", "--port", port)
        free = int(re.search(rf"port {port} is in use; (\d+) is free", line)[1])
        assert port < free <= port + 100
    assert "out of range" in mistake(capsys, "serve", "avatars64", "--port", 70_000)
    assert "give --host an address" in mistake(
        capsys, "serve", "avatars64", "--host", "no.such.host.invalid"
    )
    assert "token" in mistake(capsys, "serve", "avatars64", "--token-file", tmp_path / "none")
    assert "avatars64" in mistake(capsys, "serve", "avatars46", "--port", free)


def test_answers_do_not_wait_for_acknowledgements():
    with (
        listening("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


class Process:
    """sagan serve in a process of its own."""

    def __init__(self, *arguments):
        self.running = subprocess.Popen(
            [sys.executable, "-m", "sagan", "serve", "avatars64", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.line = self.running.stdout.readline()
        found = re.search(r"http://([\d.]+):(\d+)/", self.line)
        assert found, self.running.stderr.read()
        self.address = found[1], int(found[2])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.running.kill()
        self.running.communicate()

    def get(self, path):
        asking = http.client.HTTPConnection(*self.address, timeout=30)
        asking.request("GET", path)
        answer = asking.getresponse()
        content = answer.read()
        asking.close()
        return answer.status, content


def test_a_real_process_answers_and_ends_when_asked():
    with Process("--port", "0") as server:
        assert server.line.startswith("avatars64 is served at http://127.0.0.1:")
        status, told = server.get("/health")
        assert (status, json.loads(told)["ready"]) == (200, True)
        first, second = (server.get("/sample?seeds=0-3&class=cat") for _ in range(2))
        assert first == second
        assert first[0] == 200
        # A request that is running when the end is asked for is finished.
        answers = []
        slow = threading.Thread(target=lambda: answers.append(server.get("/sample?seeds=0-15")))
        slow.start()
        end = time.monotonic() + 20
        while not json.loads(server.get("/health")[1])["waiting"] and time.monotonic() < end:
            time.sleep(0.01)
        server.running.send_signal(signal.SIGTERM)
        slow.join(30)
        out, err = server.running.communicate(timeout=30)
        assert server.running.returncode == 0
        assert (out, err) == ("", "")
        [(status, content)] = answers
        assert status == 200
        assert content.startswith(b"\x89PNG")


def test_ctrl_c_ends_it_too():
    with Process("--port", "0") as server:
        server.running.send_signal(signal.SIGINT)
        out, err = server.running.communicate(timeout=30)
    assert server.running.returncode == 0
    assert (out, err) == ("", "")
