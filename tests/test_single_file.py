"""The page in a single file, opened from the disk as a user does."""

import base64
import gzip
import io
import re
import shutil
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

from sagan import SaganError, load_generator
from sagan.cli import main
from sagan.runs.run import load_checkpoint
from sagan.sampling.latents import draw_latents
from sagan.sampling.live import LiveModel
from sagan.studio import runtime, single_file
from sagan.studio.page import front_files, server_page
from sagan.studio.runtime import Runtime, find_runtime
from sagan.studio.single_file import Fidelity, page_of, write_page

CHROMIUM = shutil.which("chromium")
CAT = 12
NAMES = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
SIGHT = "[data-layer='generator.32'] canvas"


# Sets a state and waits for what is drawn; arrays become base64, which is faster than numbers.
DRAW = """(state) => new Promise((resolve) => {
    const text = (array) => {
        const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
        let found = "";
        for (let i = 0; i < bytes.length; i += 8192) {
            found += String.fromCharCode(...bytes.subarray(i, i + 8192));
        }
        return btoa(found);
    };
    const texts = (maps) => Object.fromEntries(Object.entries(maps).map(([n, m]) => [n, text(m)]));
    studio.addEventListener("drawn", ({ detail: { drawn, maps, logits } }) => resolve([
        text(drawn.data),
        { generator: texts(maps.generator), discriminator: texts(maps.discriminator) },
        text(logits),
    ]), { once: true });
    studio.set(state);
})"""


def numbers(text, kind):
    return np.frombuffer(base64.b64decode(text), kind).copy()


def has_runtime():
    try:
        find_runtime()
    except SaganError:
        return False
    return True


def in_a_browser(test):
    missing = CHROMIUM is None or not has_runtime()
    reason = "chromium or the runtime is not installed"
    return pytest.mark.slow(pytest.mark.skipif(missing, reason=reason)(test))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A page of the model that comes along, and what was told while it was written."""
    told = []
    output = tmp_path_factory.mktemp("page") / "page.html"
    fidelity = write_page("avatars64", output, told.append)
    return output, fidelity, told


@pytest.fixture(scope="module")
def live():
    return LiveModel(load_checkpoint("avatars64")[0])


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        yield driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )


def until(page, condition, seconds=60):
    """Waits for a condition in JavaScript; the page's policy forbids Playwright's own way."""
    for _ in range(seconds * 50):
        if page.evaluate(f"() => Boolean({condition})"):
            return
        time.sleep(0.02)
    pytest.fail(f"{condition} did not come true; the page says {page.inner_text('#line')!r}")


class Opened:
    """A page from the disk, with what it asked for and complained of."""

    def __init__(self, chromium, path):
        self.page = chromium.new_page()
        self.requests, self.complaints = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(path.as_uri())
        until(self.page, "window.studio?.columns[0]?.picture")

    def draw(self, state):
        """Sets a state and gives what was drawn and judged: picture, maps by network, logits."""
        picture, maps, logits = self.page.evaluate(DRAW, state)
        arrays = {
            network: {name: numbers(rows, np.float32) for name, rows in named.items()}
            for network, named in maps.items()
        }
        return numbers(picture, np.uint8), arrays, numbers(logits, np.float32)


@pytest.fixture(scope="module")
def opened(chromium, written):
    return Opened(chromium, written[0])


@in_a_browser
def test_the_page_opens_from_the_disk_without_a_network(opened):
    assert not opened.complaints
    assert {url.split(":")[0] for url in opened.requests} <= {"file", "blob", "data"}
    assert sum(url.startswith("file:") for url in opened.requests) == 1


@in_a_browser
def test_a_seed_is_the_picture_of_sagan_sample(opened, live):
    picture, maps, logits = opened.draw({"seed": 3, "classes": [[CAT, 1]], "scales": {}})
    expected = load_generator("avatars64").sample([3], "cat")[0]
    far = np.abs(picture.reshape(expected.shape) - expected.astype(int))
    assert np.mean(far <= 1) > 0.995
    assert far.max() <= 8
    latent = draw_latents([3], live.latent_dim)[0].numpy()
    drawn = live.draw(latent, np.eye(14, dtype=np.float32)[CAT])
    judged = live.judge(picture.reshape(expected.shape))
    rows = maps["generator"]["32"].reshape(1024, 256)
    np.testing.assert_allclose(rows, drawn.maps["32"], atol=2e-3)
    rows = maps["discriminator"]["32"].reshape(1024, 256)
    np.testing.assert_allclose(rows, judged.maps["32"], atol=2e-3)
    np.testing.assert_allclose(logits, judged.logits, atol=0.05)


@in_a_browser
def test_a_mixture_of_classes_and_a_scale_of_gamma(opened, live):
    classes, scales = [[CAT, 1], [0, 3]], {"generator.32": 0.5}
    state = {"seed": 5, "classes": classes, "scales": scales, "truncation": 1.5}
    picture, *_ = opened.draw(state)
    latent = draw_latents([5], live.latent_dim, truncation=1.5)[0].numpy()
    shares = np.zeros(14, np.float32)
    shares[[CAT, 0]] = 0.25, 0.75
    expected = live.draw(latent, shares, {"32": 0.5}).picture
    assert np.mean(np.abs(picture.reshape(expected.shape) - expected.astype(int)) <= 1) > 0.99
    unscaled = live.draw(latent, shares).picture
    assert np.abs(unscaled.astype(int) - expected).max() > 3


@in_a_browser
def test_the_map_follows_the_pointer(opened):
    page = opened.page
    box = page.locator(".picture canvas").bounding_box()
    seen = set()
    for share in (0.2, 0.5, 0.8):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + share * box["height"])
        seen.add(page.locator(SIGHT).first.evaluate("(canvas) => canvas.toDataURL()"))
    assert len(seen) == 3


@in_a_browser
def test_what_nobody_waits_for_is_dropped(opened):
    outcomes = opened.page.evaluate(
        """async () => {
            const { backend, models: [model] } = window.studio;
            const latent = window.studio.latent(model);
            const shares = Float32Array.from(model.classes, (_, i) => Number(i === 0));
            const gone = new AbortController();
            const ask = (signal) => backend.draw("0", { latent, shares, scales: {} }, signal);
            const asked = [ask(), ask(gone.signal), ask()];
            gone.abort();
            const found = await Promise.allSettled(asked);
            return found.map(({ value, reason }) => reason?.name ?? value.picture.width);
        }"""
    )
    assert outcomes == [64, "AbortError", 64]


@in_a_browser
def test_a_walk_becomes_a_film(opened):
    kind, size, width = opened.page.evaluate(
        """async () => {
            const { backend, models: [model] } = window.studio;
            const latents = [0.2, 0.4, 0.6, 0.8].map((share) =>
                window.studio.latent(model).map((number) => share * number));
            const share = Float32Array.from(model.classes, (_, i) => Number(i === 0));
            const shares = latents.map(() => share);
            const asked = { latents, shares, scales: {}, framesPerSecond: 20 };
            const film = await backend.film("0", asked);
            const video = document.createElement("video");
            await new Promise((resolve, reject) => {
                video.onloadeddata = resolve;
                video.onerror = () => reject(video.error);
                video.src = URL.createObjectURL(film);
            });
            return [film.type, film.size, video.videoWidth];
        }"""
    )
    assert kind.startswith(("video/webm", "video/mp4"))
    assert size > 1000
    assert width == 512


@in_a_browser
def test_a_film_is_saved_as_what_it_is(opened):
    page = opened.page
    page.get_by_role("button", name="Save and share").click()
    dialog = page.get_by_role("dialog", name="Save and share")
    [format] = dialog.get_by_label("Format").locator("option").all_inner_texts()
    dialog.get_by_label("Seconds").fill("0.4")
    with page.expect_download() as found:
        dialog.get_by_role("button", name="Make the film").click()
    begins = {"mp4": b"ftyp", "webm": b"\x1a\x45\xdf\xa3"}[format]
    assert found.value.suggested_filename.endswith(f"-seeds.{format}")
    assert begins in Path(found.value.path()).read_bytes()[:12]
    dialog.get_by_label("Seconds").fill("20")
    dialog.get_by_role("button", name="Make the film").click()
    dialog.get_by_role("button", name="Stop").click()
    until(page, "document.querySelector('.walk').textContent.includes('Stopped.')")
    page.keyboard.press("Escape")


@in_a_browser
def test_what_needs_a_server_or_a_second_model_is_not_there(opened):
    page = opened.page
    for name in ("Step by step", "A picture of your own"):
        assert page.get_by_role("button", name=name).count() == 0
    assert page.get_by_label("Beside it").count() == 0
    assert not page.locator("#timeline").is_visible()
    assert not page.locator("#explain").is_visible()
    page.get_by_role("button", name="Help and keys").click()
    keys = page.get_by_role("dialog", name="What you see").inner_text()
    page.keyboard.press("Escape")
    assert "Next seed" in keys
    assert "Step by step" not in keys
    assert "Play the training" not in keys


@in_a_browser
def test_the_page_with_the_keyboard_alone(opened):
    page = opened.page
    page.evaluate("studio.set({seed: 3, points: [], query: 'from', scales: {}})")
    for key in ("n", "q", "a"):
        page.keyboard.press(key)
    page.locator(".picture canvas").focus()
    for key in ("ArrowLeft", "Shift+ArrowUp", "Enter"):
        page.keyboard.press(key)
    until(page, "!studio.isDrawing")
    seed, query, points, scales = page.evaluate(
        "() => ['seed', 'query', 'points', 'scales'].map((name) => studio.state[name])"
    )
    assert (seed, query, points) == (4, "to", [[31, 24]])
    assert scales == {"generator.32": 0, "discriminator.32": 0}


@in_a_browser
def test_nothing_can_leave_the_page(opened):
    asked = "() => fetch('http://127.0.0.1:9/').then(() => 'sent', (error) => error.name)"
    assert opened.page.evaluate(asked) == "TypeError"
    assert any("Content Security Policy" in line for line in opened.complaints)


@in_a_browser
@pytest.mark.parametrize("missing", ["WebAssembly", "DecompressionStream"])
def test_a_browser_without_what_is_needed(chromium, written, missing):
    page = chromium.new_page()
    page.add_init_script(f"delete globalThis.{missing}")
    page.goto(written[0].as_uri())
    until(page, "document.getElementById('line').textContent")
    assert page.inner_text("#line") == (
        f"This browser has no {missing}, which the page needs; take a newer one."
    )


@in_a_browser
def test_a_browser_that_knows_no_import_maps(chromium, written, tmp_path):
    old = tmp_path / "old.html"
    old.write_text(written[0].read_text().replace('import "studio/main.js"', ""))
    page = chromium.new_page()
    page.add_init_script("HTMLScriptElement.supports = () => false")
    page.goto(old.as_uri())
    assert "too old" in page.inner_text("#line")


@in_a_browser
def test_a_damaged_page_says_so(chromium, written, tmp_path):
    damaged = tmp_path / "damaged.html"
    text = written[0].read_text()
    damaged.write_text(re.sub(r'(id="carried-generator">).{50}', r"\1" + "A" * 50, text))
    page = chromium.new_page()
    page.goto(damaged.as_uri())
    until(page, "document.getElementById('line').textContent")
    assert page.inner_text("#line").startswith("The model cannot run here: ")


@in_a_browser
def test_what_is_told_of_the_page(written):
    output, fidelity, told = written
    expected = float(re.fullmatch(r"about (\S+) MB", told[0])[1])
    size = output.stat().st_size / 1e6
    assert abs(expected - size) < 0.1 * size
    assert told[1] == str(fidelity)
    assert told[2] == f"{output}: {size:.1f} MB"
    assert fidelity.even > 0.99
    assert fidelity.maps < 5e-3
    assert not list(output.parent.glob("*.tmp"))


def test_a_page_that_would_draw_something_else_is_not_written(tmp_path, monkeypatch):
    wrong = Fidelity(levels=255, even=0.3, maps=0.5, logits=None)
    monkeypatch.setattr(single_file, "find_runtime", lambda: Runtime(b"", b""))
    monkeypatch.setattr(single_file, "compare", lambda live, graphs: wrong)
    for name in ("generator_graph", "discriminator_graph"):
        monkeypatch.setattr(f"sagan.export.onnx.{name}", lambda *given, **named: b"")
    with pytest.raises(SaganError, match=r"not written.* 30 % of the values"):
        write_page("avatars64", tmp_path / "page.html")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flag", ["--half", "--shares", "--network=generator"])
def test_flags_of_other_files_are_refused(tmp_path, flag, capsys):
    with pytest.raises(SystemExit):
        main(["export", "avatars64", flag, "--output", str(tmp_path / "page.html")])
    assert f"leave {flag.split('=')[0]} out" in capsys.readouterr().err


def test_a_page_too_large_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(single_file, "MOST_PAGE_BYTES", 10**6)
    monkeypatch.setattr(single_file, "find_runtime", lambda: Runtime(b"", b""))
    with pytest.raises(SaganError, match=r"avatars64 would make a page of \d+ MB.* sagan studio"):
        write_page("avatars64", tmp_path / "page.html")
    assert not list(tmp_path.iterdir())


def test_a_name_cannot_become_a_part_of_the_page():
    name = '</script><img src=x onerror="alert(1)"><title>'
    page = page_of({"name": name}, {"generator": b"graph"}, Runtime(b"script", b"machine"))
    assert name not in page
    assert "<img" not in page
    assert page.count("</title>") == 1


def test_the_styles_are_those_of_the_server_in_the_same_order():
    page = page_of({"name": "model"}, {"generator": b"graph"}, Runtime(b"script", b"machine"))
    linked = re.findall(r'href="/front/(.*?)"', server_page())
    texts = [front_files()[name] for name in linked]
    assert re.findall(r"<style>\n(.*?)</style>", page, re.DOTALL) == texts
    assert linked == sorted(linked)
    assert {"style.css", "views.css"} <= set(linked)


def test_a_missing_runtime_says_how_to_get_it(tmp_path):
    with pytest.raises(SaganError, match=r"python -m sagan\.studio\.runtime"):
        find_runtime(tmp_path)


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(b"other code", mtime=0), b""])
def test_a_runtime_that_is_another_is_refused(tmp_path, content):
    for name in NAMES:
        (tmp_path / f"{name}.gz").write_bytes(content)
    with pytest.raises(SaganError, match="not the known runtime"):
        find_runtime(tmp_path)


def package_of(*contents):
    """A package as npm gives it, instead of the download."""

    def download(path):
        with tarfile.open(path, "w:gz") as archive:
            for name, content in zip(NAMES, contents, strict=True):
                entry = tarfile.TarInfo(f"package/dist/{name}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))

    return download


def test_a_package_with_other_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "_download", package_of(b"other", b"code"))
    with pytest.raises(SaganError, match="from npm is not the known runtime"):
        runtime.get_runtime(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not has_runtime(), reason="the runtime is not installed")
def test_a_damaged_runtime_is_mended_from_npm(tmp_path, monkeypatch):
    package = package_of(*map(gzip.decompress, find_runtime()))
    monkeypatch.setattr(runtime, "_download", package)
    (tmp_path / f"{NAMES[0]}.gz").write_bytes(b"damaged")
    runtime.get_runtime(tmp_path)
    found = find_runtime(tmp_path)
    assert list(map(gzip.decompress, found)) == list(map(gzip.decompress, find_runtime()))
