import base64
import io
import json
import os
import shutil

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load

from sagan.data.pixels import read_pixels
from sagan.data.rules import Rules
from sagan.images import png_bytes
from sagan.report.charts import draw_charts
from sagan.report.history import read_history
from sagan.runs.locked import locked_run
from sagan.runs.run import load_checkpoint
from sagan.sampling.latents import draw_latents
from sagan.sampling.live import LiveModel
from sagan.studio import films, timeline
from sagan.studio.app import Studio
from sagan.studio.models import Gallery

LATENT = draw_latents([3], 128)[0].tolist()
CAT = [float(number == 12) for number in range(14)]
DRAW = {"latent": LATENT, "shares": CAT}
MODEL = "/api/models/0"


@pytest.fixture(scope="module")
def live():
    return LiveModel(load_checkpoint("avatars64")[0])


@pytest.fixture(scope="module")
def client():
    with TestClient(Studio(Gallery(["avatars64"])).asgi, base_url="http://localhost") as found:
        yield found


@pytest.fixture
def run(trained_run, tmp_path):
    shutil.copytree(trained_run, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def run_client(run):
    with TestClient(Studio(Gallery([run])).asgi, base_url="http://localhost") as found:
        yield found


def tensors(answer):
    assert answer.status_code == 200, answer.text
    return load(answer.content)


def metadata(answer, tmp_path):
    (tmp_path / "answer").write_bytes(answer.content)
    with safe_open(tmp_path / "answer", framework="numpy") as file:
        return file.metadata()


def told(answer, status=422):
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    return answer.json()["error"]


def pixels_of(picture):
    return base64.b64encode(picture.tobytes()).decode()


def test_the_page_and_its_files(client):
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self' 'sha256-" in page.headers["content-security-policy"]
    module = client.get("/front/main.js")
    assert module.headers["content-type"] == "text/javascript; charset=utf-8"
    for name in ("none.js", "..%2fapp.py", "%2e%2e%2fapp.py", "main.js%00", "__init__.py"):
        assert client.get(f"/front/{name}").status_code == 404


def test_models(client):
    found = client.get("/api/models").json()
    [model] = found["models"]
    assert found["version"]
    assert model == client.get(MODEL).json()
    assert (model["id"], model["name"]) == ("0", "avatars64")
    assert client.get("/api/health").json() == {"status": "ok"}


def test_what_is_drawn(client, live, tmp_path):
    answer = client.post(f"{MODEL}/draw", json=DRAW | {"scales": {"32": 1.5}})
    found = tensors(answer)
    expected = live.draw(np.array(LATENT), np.array(CAT), {"32": 1.5})
    np.testing.assert_array_equal(found["picture"], expected.picture)
    np.testing.assert_array_equal(found["map.32"], expected.maps["32"])
    assert found["map.32"].dtype == np.float32
    assert metadata(answer, tmp_path) == {"step": str(live.step)}


def test_what_is_judged(client, live):
    picture = live.draw(np.array(LATENT), np.array(CAT)).picture
    found = tensors(client.post(f"{MODEL}/judge", json={"picture": pixels_of(picture)}))
    expected = live.judge(picture)
    np.testing.assert_array_equal(found["logits"], expected.logits)
    np.testing.assert_array_equal(found["map.32"], expected.maps["32"])


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_what_is_explained(client, live, network, tmp_path):
    picture = live.draw(np.array(LATENT), np.array(CAT)).picture
    given = DRAW if network == "generator" else {"picture": pixels_of(picture)}
    asked = {"network": network, "layer": "32", "position": 77, **given}
    answer = client.post(f"{MODEL}/explain", json=asked)
    if network == "generator":
        expected = live.explain_drawing(np.array(LATENT), np.array(CAT), "32", 77)
    else:
        expected = live.explain_judging(picture, "32", 77)
    found = tensors(answer)
    assert found.keys() == vars(expected).keys() - {"gamma"}
    for name, value in found.items():
        np.testing.assert_array_equal(value, vars(expected)[name])
    assert float(metadata(answer, tmp_path)["gamma"]) == expected.gamma


def test_a_dropped_picture_is_cut_as_in_training(client, tmp_path):
    rng = np.random.default_rng(0)
    content = png_bytes(rng.integers(0, 256, (3, 90, 130), dtype=np.uint8))
    (tmp_path / "picture.png").write_bytes(content)
    expected = read_pixels(tmp_path / "picture.png", Rules(size=(64, 64), channels=3))
    found = tensors(client.post(f"{MODEL}/fit", content=content))
    np.testing.assert_array_equal(found["picture"], expected)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 100])
def test_what_is_no_picture_is_told(client, content):
    assert "this is no picture" in told(client.post(f"{MODEL}/fit", content=content))


@pytest.mark.parametrize("kind", ["mp4", "gif", "webp"])
def test_a_film(client, kind):
    if kind == "mp4":
        pytest.importorskip("av")
    asked = {"latents": [LATENT] * 3, "shares": [CAT] * 3, "format": kind, "scale": 2}
    answer = client.post(f"{MODEL}/film", json=asked)
    assert answer.status_code == 200
    if kind == "mp4":
        assert answer.headers["content-type"] == "video/mp4"
        assert answer.content[4:8] == b"ftyp"
    else:
        assert Image.open(io.BytesIO(answer.content)).size == (128, 128)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"latents": []}, "latents: "),
        ({"latents": [LATENT] * 601}, "600"),
        ({"shares": [CAT]}, "2 latents and 1 shares"),
        ({"scale": 17}, "scale: "),
        ({"framesPerSecond": 1000}, "out of range"),
        ({"format": "exe"}, "format: "),
        ({"latents": [LATENT] * 600, "shares": [], "scale": 16}, "million pixels"),
        ({"latents": [[0.0]] * 2}, "128 finite numbers"),
    ],
)
def test_a_film_that_cannot_be(client, change, words):
    asked = {"latents": [LATENT] * 2, "shares": [CAT] * 2, "format": "gif"} | change
    assert words in told(client.post(f"{MODEL}/film", json=asked))


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(client):
    content = io.BytesIO()
    Image.new("1", (10_000, 6_000)).save(content, "PNG")
    answer = client.post(f"{MODEL}/fit", content=content.getvalue())
    assert "10,000 x 6,000 pixels" in told(answer)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"latent": [0.0]}, "the latent must be 128 finite numbers"),
        ({"latent": "0"}, "latent: "),
        ({"latent": [True] * 128}, "latent.0: "),
        ({"latent": ["1"] * 128}, "latent.0: "),
        ({"latent": [1e5] * 128}, "latent.0: "),
        ({"latent": [0.0] * 5000}, "latent: "),
        ({"shares": [1.0]}, "14 classes"),
        ({"shares": []}, "14 classes"),
        ({"scales": {"7": 1}}, "no attention at 7"),
        ({"scales": {"x" * 17: 1}}, "scales."),
        ({"scales": {"32": "much"}}, "scales.32: "),
        ({"step": -1}, "step: "),
        ({"step": 1.5}, "step: "),
        ({"more": 1}, "more: "),
    ],
)
def test_what_does_not_fit_is_told(client, change, words):
    assert words in told(client.post(f"{MODEL}/draw", json=DRAW | change))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "1" + "0" * 400])
def test_numbers_without_bound_are_refused(client, number):
    text = json.dumps({"latent": ["?"], "shares": CAT}).replace('"?"', number)
    headers = {"content-type": "application/json"}
    assert "latent.0: " in told(client.post(f"{MODEL}/draw", content=text, headers=headers))


def test_pictures_and_points_that_do_not_fit(client):
    for picture in ("", "AAAA", "@", "é", "A" * 10_000):
        line = told(client.post(f"{MODEL}/judge", json={"picture": picture}))
        assert line == "the picture must be base64 of 3 x 64 x 64 bytes"
    asked = DRAW | {"network": "generator", "layer": "32", "position": 1024}
    assert "outside the map" in told(client.post(f"{MODEL}/explain", json=asked))
    asked |= {"layer": "9", "position": 0}
    assert "it stands at 32" in told(client.post(f"{MODEL}/explain", json=asked))


def test_models_and_steps_that_are_none(client):
    assert "there is no model '1'" in told(client.get("/api/models/1"), 404)
    told(client.get("/api/models/-1"), 404)
    told(client.post("/api/models/%D9%A0/draw", json=DRAW), 404)
    assert f"one checkpoint, of step {load_checkpoint('avatars64')[0].step}" in told(
        client.get(f"{MODEL}?step=3"), 404
    )
    told(client.get(f"{MODEL}?step=-1"))
    told(client.get(f"{MODEL}?step={10**30}"))
    assert "show a run folder" in told(client.get(f"{MODEL}/timeline"), 404)


def test_the_timeline_of_a_run(run_client, run):
    answer = run_client.get(f"{MODEL}/timeline")
    found = answer.json()
    assert (found["steps"], found["running"]) == ([2], False)
    charts = {chart["title"]: chart["curves"] for chart in found["charts"]}
    assert [chart.title for chart in draw_charts(read_history(run))] == list(charts)
    gamma = charts["Attention gamma"][0]
    assert (gamma["name"], gamma["steps"]) == ("generator, layer 16", [1, 2])
    assert len(gamma["values"]) == 2
    mark = {"if-none-match": answer.headers["etag"]}
    again = run_client.get(f"{MODEL}/timeline", headers=mark)
    assert (again.status_code, again.content) == (304, b"")
    with (run / "log.jsonl").open("a") as log:
        log.write('{"step": 3, "generator_gamma_16": 0.5}\n')
    grown = run_client.get(f"{MODEL}/timeline", headers=mark).json()
    assert [1, 2, 3] in [one["steps"] for chart in grown["charts"] for one in chart["curves"]]


def test_a_run_that_goes_on_says_so(run_client, run):
    settings = (run / "config.toml").read_text()
    (run / "config.toml").write_text(settings.replace("\nsteps = 2\n", "\nsteps = 90\n"))
    os.utime(run / "log.jsonl", (1, 1))  # lines may be hours apart
    with locked_run(run):
        assert run_client.get(f"{MODEL}/timeline").json()["running"]
    (run / "log.jsonl").touch()
    assert not run_client.get(f"{MODEL}/timeline").json()["running"]


def test_long_curves_are_thinned(run_client, run):
    lines = [json.dumps({"step": step, "generator": step / 2}) for step in range(1, 5001)]
    lines += ["garbled", '{"step": 5001, "generator": NaN}']
    (run / "log.jsonl").write_text("\n".join(lines))
    ((curve,),) = [c["curves"] for c in run_client.get(f"{MODEL}/timeline").json()["charts"]]
    assert len(curve["steps"]) == 500
    assert (curve["steps"][0], curve["steps"][-1], curve["values"][-1]) == (1, 5000, 2500)


def test_a_log_that_is_no_file_is_not_waited_for(run_client, run):
    (run / "log.jsonl").unlink()
    os.mkfifo(run / "log.jsonl")
    assert "is no file" in told(run_client.get(f"{MODEL}/timeline"))


def test_a_log_too_large_to_be_shown(run_client, monkeypatch):
    monkeypatch.setattr(timeline, "MOST_LOG", 10)
    assert "the most that is shown live" in told(run_client.get(f"{MODEL}/timeline"))


def test_only_a_few_films_are_made_at_once(client, monkeypatch):
    monkeypatch.setattr(films, "MOST_FILMS", 0)
    asked = {"latents": [LATENT], "shares": [CAT], "format": "gif"}
    assert "try again" in told(client.post(f"{MODEL}/film", json=asked), 503)


def test_a_checkpoint_that_disappears_while_it_is_shown(run_client, run):
    asked = {"latent": [0.0] * 16, "shares": [1.0, 0.0]}
    assert tensors(run_client.post(f"{MODEL}/draw", json=asked | {"step": 2}))
    shutil.rmtree(run / "checkpoints")
    line = told(run_client.post(f"{MODEL}/draw", json=asked | {"step": 2}), 404)
    assert line == "there is no checkpoint of step 2 in run; there are none"
    assert "no checkpoint yet" in told(run_client.post(f"{MODEL}/draw", json=asked))
    shutil.rmtree(run)
    for step in ({}, {"step": 2}):
        assert "is gone" in told(run_client.post(f"{MODEL}/draw", json=asked | step), 410)
    assert "is gone" in told(run_client.get(f"{MODEL}/timeline"), 410)


def test_a_model_that_is_gone_leaves_the_others(run):
    studio = Studio(Gallery([run, "avatars64"]))
    with TestClient(studio.asgi, base_url="http://localhost") as client:
        assert client.get("/api/models").json()["gone"] == []
        shutil.rmtree(run)
        found = client.get("/api/models").json()
        assert [one["id"] for one in found["models"]] == ["1"]
        [line] = found["gone"]
        assert line == f"run is gone from {run}; restore it, or show another"
    with TestClient(Studio(studio.gallery).asgi, base_url="http://localhost") as client:
        studio.gallery.shown = studio.gallery.shown[:1]
        assert "is gone" in told(client.get("/api/models"), 410)


def test_several_models_side_by_side(run):
    studio = Studio(Gallery(["avatars64", run]))
    with TestClient(studio.asgi, base_url="http://localhost") as client:
        found = client.get("/api/models").json()["models"]
        assert [(one["id"], one["kind"]) for one in found] == [("0", "shipped"), ("1", "run")]
        assert client.get("/api/models/1").json()["size"] == [32, 32]
