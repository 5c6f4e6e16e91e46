"""The studio's views of a run, of one's own picture and of the formula, and what can be saved."""

import base64
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import a_browser, a_page, a_server, screenshot, until, when_drawn
from conftest import tiny
from PIL import Image, ImageSequence

from sagan.config import to_toml
from sagan.runs.checkpoint import Checkpoint, load, save
from sagan.runs.locked import locked_run
from sagan.sampling.interpolation import slerp
from sagan.sampling.latents import draw_latents
from sagan.sampling.live import LiveModel
from sagan.training.state import new_state

STEPS = (1, 2, 3, 4)
MINUS = "\N{MINUS SIGN}"


@pytest.fixture(scope="module")
def browser():
    with a_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """A run with four checkpoints, in which the attention grows."""
    folder = tmp_path_factory.mktemp("views") / "whole"
    (folder / "checkpoints").mkdir(parents=True)
    config = tiny(steps=4)
    (folder / "config.toml").write_text(to_toml(config))
    made = new_state(config, 2, torch.device("cpu")).parts()
    log = []
    for step in STEPS:
        gamma = torch.tensor(0.3 * step)
        parts = {
            name: {key: gamma.clone() if key.endswith("gamma") else one for key, one in of.items()}
            for name, of in made.items()
        }
        checkpoint = Checkpoint(
            config=config, class_names=("dark", "light"), step=step, parts=parts
        )
        save(checkpoint, file(folder, step))
        losses = {"discriminator_real": 1 / step, "discriminator_fake": 0.5, "generator": step}
        log.append({"step": step, **losses, "generator_gamma_16": 0.3 * step})
    write_log(folder, log)
    return folder


@pytest.fixture(scope="module")
def plain_file(tmp_path_factory):
    """A generator without attention, classes and discriminator."""
    config = tiny()
    config = replace(config, generator=replace(config.generator, attention=()))
    made = new_state(config, 0, torch.device("cpu")).parts()
    path = tmp_path_factory.mktemp("views") / "plain.safetensors"
    parts = {"generator_ema": made["generator_ema"]}
    save(Checkpoint(config=config, class_names=(), step=7, parts=parts), path)
    return path


def write_log(folder, records):
    (folder / "log.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))


@pytest.fixture(scope="module")
def going_run(tmp_path_factory, whole_run):
    """The same as if it had just begun: what is not there yet lies beside it."""
    folder = tmp_path_factory.mktemp("views") / "going"
    shutil.copytree(whole_run, folder)
    lines = (folder / "log.jsonl").read_text().splitlines()
    write_log(folder, [json.loads(line) for line in lines[:2]])
    for step in (3, 4):
        file(folder, step).rename(folder / f"later-{step}")
    with locked_run(folder):
        yield folder


@pytest.fixture(scope="module")
def url(whole_run, going_run, plain_file):
    with a_server("avatars64", whole_run, going_run, plain_file) as address:
        yield address


@pytest.fixture
def page(browser, url):
    with a_page(browser, url, permissions=["clipboard-read", "clipboard-write"]) as opened:
        yield opened


def test_the_link_to_copy_does_not_wait_for_the_address_bar(page):
    page.evaluate("studio.set({ seed: 6 }); studio.set({ seed: 7 })")
    page.keyboard.press("s")
    assert page.get_by_label("Link", exact=True).input_value().endswith("#seed=7")


@pytest.fixture(scope="module")
def shipped():
    from sagan.runs.run import load_checkpoint

    return LiveModel(load_checkpoint("avatars64")[0])


def file(folder, step) -> Path:
    return folder / "checkpoints" / f"step-{step:08d}.safetensors"


def go(page, link):
    """Follows a permalink."""
    page.evaluate(f"location.hash = {json.dumps(link)}")
    until(page, f"studio.columns[0].state && location.hash.slice(1) === {json.dumps(link)}")
    page.wait_for_timeout(50)
    when_drawn(page)


def tab_to(page, locator):
    """Comes to a control with the Tab key alone."""
    for _ in range(120):
        page.keyboard.press("Tab")
        if locator.evaluate("one => one === document.activeElement"):
            return
    raise AssertionError(f"the Tab key does not lead to {locator}")


def state(page):
    return page.evaluate("studio.state")


def picture(page):
    return np.array(page.evaluate("[...studio.columns[0].picture.data]"), np.uint8)


def scrubber(page):
    return page.get_by_role("slider", name="Checkpoint")


def open_save(page):
    page.get_by_role("button", name="Save and share").click()
    return page.get_by_role("dialog", name="Save and share")


def saved(page, dialog, name):
    with page.expect_download() as found:
        dialog.get_by_role("button", name=name, exact=True).click()
    return found.value.suggested_filename, Path(found.value.path()).read_bytes()


# The training of a run


def test_the_scrubber_drives_picture_maps_gamma_and_curves(page, whole_run, tmp_path):
    go(page, "models=1")
    until(page, "document.querySelector('.chart')")
    newest = picture(page)
    tab_to(page, scrubber(page))
    page.keyboard.press("Home")
    until(page, "studio.columns[0].model.step === 1")
    when_drawn(page)
    assert state(page)["step"] == 1
    assert not np.array_equal(picture(page), newest)
    first = LiveModel(load(file(whole_run, 1)))
    shares = np.eye(2, dtype=np.float32)[0]
    expected = first.draw(draw_latents([0], 16)[0].numpy(), shares)
    assert np.abs(expected.picture.ravel().astype(int) - picture(page)).max() <= 1
    rows = page.evaluate("[...studio.columns[0].maps.generator['16']]")
    np.testing.assert_allclose(rows, expected.maps["16"].ravel(), atol=1e-5)
    gamma = page.evaluate("studio.columns[0].model.generator.layers[0].gamma")
    assert gamma == pytest.approx(float(first.generator.layers[0].layer.gamma), abs=1e-7)
    told = page.locator(".chart svg").first.get_attribute("aria-label")
    assert told.startswith("Losses")
    assert "at step 1:" in told
    assert page.get_by_text("step 1 (1 of 4)").is_visible()
    screenshot(page, "timeline", tmp_path)
    page.keyboard.press("ArrowRight")
    until(page, "studio.columns[0].model.step === 2")
    page.keyboard.press("End")
    until(page, "studio.columns[0].model.step === 4")
    when_drawn(page)
    assert state(page)["step"] is None
    np.testing.assert_array_equal(picture(page), newest)


def test_the_training_can_be_played_and_stopped_with_the_keyboard(page):
    go(page, "models=1")
    play = page.get_by_role("button", name="Play")
    until(page, "!document.querySelector('.scrubber button').disabled")
    tab_to(page, play)
    page.keyboard.press("Enter")
    until(page, "studio.columns[0].model.step === 1")
    until(page, "studio.columns[0].model.step === 2")
    page.keyboard.press("Enter")
    assert play.is_visible()
    stopped = state(page)["step"]
    page.wait_for_timeout(900)
    assert state(page)["step"] == stopped
    page.keyboard.press("Enter")
    until(page, "studio.columns[0].model.step === 4")
    until(page, "document.querySelector('.scrubber button').textContent === 'Play'")


def test_a_curve_leads_to_the_checkpoint_that_is_clicked(page):
    go(page, "models=1")
    until(page, "document.querySelector('.chart')")
    chart = page.locator(".chart svg").first
    box = chart.bounding_box()
    chart.click(position={"x": 0.5 * box["width"], "y": 50})
    until(page, "studio.columns[0].model.step === 2")


def test_a_run_that_goes_on_shows_its_newest_checkpoint(page, going_run):
    go(page, "models=2")
    until(page, "document.querySelector('.chart')")
    assert page.evaluate("studio.columns[0].model.step") == 2
    assert page.get_by_text("step 2 (the newest, goes on)").is_visible()
    (going_run / "later-3").rename(file(going_run, 3))
    with (going_run / "log.jsonl").open("a") as log:
        log.write('{"step": 3, "generator": 0.5, "generator_gamma_16": 7.5}\n')
    until(page, "studio.columns[0].model.step === 3")
    when_drawn(page)
    assert scrubber(page).get_attribute("aria-valuetext") == "step 3 (the newest, goes on)"
    told = page.locator(".chart svg").nth(1).get_attribute("aria-label")
    assert "generator, layer 16 7.5" in told
    # Who looks at an earlier one is left there.
    page.evaluate("studio.set({step: 1})")
    (going_run / "later-4").rename(file(going_run, 4))
    until(page, "document.querySelector('.scrubber input').max === '3'")
    assert state(page)["step"] == 1


def test_a_checkpoint_that_disappears_is_told_and_the_next_one_taken(page, going_run):
    go(page, "models=2")
    page.evaluate("studio.set({step: 1})")
    until(page, "studio.columns[0].model.step === 1")
    when_drawn(page)
    file(going_run, 1).rename(going_run / "gone")
    until(page, "studio.columns[0].model.step === 2")
    assert page.get_by_text("The checkpoint of step 1 is gone; step 2 is shown").is_visible()
    (going_run / "gone").rename(file(going_run, 1))


def test_a_finished_run_that_loses_a_checkpoint_is_told_too(browser, url, whole_run):
    with a_page(browser, f"{url}#models=1&step=1", refused=True) as page:
        until(page, "document.querySelector('.chart')")
        file(whole_run, 1).rename(whole_run / "gone")
        page.evaluate("studio.set({seed: 3})")
        until(page, "studio.columns[0].model.step === 2")
        when_drawn(page)
        (whole_run / "gone").rename(file(whole_run, 1))
        assert page.get_by_text("The checkpoint of step 1 is gone; step 2 is shown").is_visible()
        assert not page.locator("#line").inner_text()


def test_a_link_to_a_checkpoint_that_never_was_shows_the_newest(browser, url):
    with a_page(browser, f"{url}#models=1&step=77", refused=True) as page:
        assert page.evaluate("studio.columns[0].model.step") == 4
        assert page.get_by_text("The checkpoint of step 77 is gone; step 4 is shown").is_visible()


def test_a_model_without_a_log_has_no_timeline(page):
    assert not scrubber(page).is_visible()


# One's own picture


@pytest.fixture
def own_picture(tmp_path):
    """A picture of the model's size, as levels and as a file."""
    levels = np.random.default_rng(5).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / "own.png"
    Image.fromarray(levels).save(path)
    return levels.transpose(2, 0, 1), path


def give_file(page, path):
    page.locator("input[type=file]").set_input_files(path)


def drop(page, path):
    hand_over(page, path, "new DragEvent('drop', {dataTransfer: given, bubbles: true})")


def paste(page, path):
    hand_over(page, path, "new ClipboardEvent('paste', {clipboardData: given, bubbles: true})")


def hand_over(page, path, event):
    page.evaluate(
        f"""(content) => {{
          const given = new DataTransfer();
          const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
          given.items.add(new File([bytes], "own.png"));
          document.querySelector("main").dispatchEvent({event});
        }}""",
        base64.b64encode(path.read_bytes()).decode(),
    )


def test_what_is_no_file_or_too_large_is_told_where_it_is_seen(page, tmp_path):
    given = {"items": [], "files": [str(tmp_path)], "dragOperationsMask": 1}
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": given})
    told = "document.querySelector('#own p.bad')"
    until(page, f"{told}.textContent.includes('not a folder')")
    until(page, f"{told}.getBoundingClientRect().bottom <= innerHeight")
    page.evaluate("""() => {
      const given = new DataTransfer();
      given.items.add(new File([new Uint8Array(2 ** 24 + 1)], "own.png"));
      document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: given, bubbles: true}));
    }""")
    until(page, f"{told}.textContent.includes('larger than 16 MB')")
    assert not page.evaluate("studio.own")


def test_the_picture_that_was_given_last_is_shown(page):
    shown = page.evaluate("""async () => {
      const { fit } = studio.backend;
      const { picture } = studio.columns[0];
      const ends = [];
      studio.backend.fit = () => new Promise((resolve) => ends.push(() => resolve(picture)));
      const [slow, quick] = [new Blob(["slow"]), new Blob(["quick"])];
      const both = [studio.showOwn(slow), studio.showOwn(quick)];
      ends[1]();
      await both[1];
      ends[0]();
      await both[0];
      studio.backend.fit = fit;
      const text = await studio.own.text();
      await studio.showOwn(null);
      return text;
    }""")
    assert shown == "quick"
    when_drawn(page)


def test_the_numbers_beside_a_chart_stay_in_it(page):
    left = page.evaluate("""async () => {
      const { Chart } = await import("studio/chart.js");
      const chart = new Chart("Gamma", "", () => {});
      document.querySelector("#stage").append(chart.element);
      chart.show([{ name: "generator", steps: [1, 2], values: [-0.000453, 0.00101] }], 2);
      const edge = chart.svg.getBoundingClientRect().left;
      const texts = [...chart.svg.querySelectorAll("text")];
      const lefts = texts.map((text) => text.getBoundingClientRect().left - edge);
      chart.element.remove();
      return Math.min(...lefts);
    }""")
    assert left >= 0


def logits_shown(page):
    rows = page.locator(".logits li").all()
    return {
        row.locator("span").inner_text(): float(row.locator("b").inner_text().replace(MINUS, "-"))
        for row in rows
    }


@pytest.mark.parametrize("give", [give_file, drop, paste])
def test_the_discriminator_looks_at_a_picture_of_ones_own(page, shipped, own_picture, give):
    levels, path = own_picture
    drawn = picture(page)
    give(page, path)
    until(page, "studio.own")
    when_drawn(page)
    np.testing.assert_array_equal(picture(page), levels.ravel())
    judged = shipped.judge(levels)
    rows = page.evaluate("[...studio.columns[0].maps.discriminator['32'].subarray(0, 2560)]")
    np.testing.assert_allclose(rows, judged.maps["32"][:10].ravel(), atol=1e-5)
    page.get_by_role("button", name="All 14").click()
    expected = dict(zip(shipped.class_names, judged.logits, strict=True))
    shown = logits_shown(page)
    assert list(shown.values()) == sorted(shown.values(), reverse=True)
    assert shown == pytest.approx(expected, abs=0.0051)
    page.get_by_role("button", name="Back to the drawn picture").click()
    until(page, "!studio.own")
    when_drawn(page)
    np.testing.assert_array_equal(picture(page), drawn)


def test_the_drawn_picture_is_judged_too_the_ten_highest_first(page, shipped):
    judged = shipped.judge(picture(page).reshape(3, 64, 64))
    best = sorted(judged.logits, reverse=True)[:10]
    assert list(logits_shown(page).values()) == pytest.approx(best, abs=0.0051)
    assert "no probability" in page.locator("#own").inner_text()
    asked = page.locator(".logits .asked span").all_inner_texts()
    assert asked in ([], ["blue robot"])


def test_an_own_picture_with_the_keyboard_alone(page, own_picture):
    page.on("filechooser", lambda _: None)  # else a slow browser opens one of its own
    tab_to(page, page.get_by_role("button", name="A picture of your own"))
    with page.expect_file_chooser() as chosen:
        page.keyboard.press("Enter")
    chosen.value.set_files(own_picture[1])
    until(page, "studio.own")
    when_drawn(page)
    tab_to(page, page.get_by_role("button", name="Back to the drawn picture"))
    page.keyboard.press("Space")
    until(page, "!studio.own")
    assert page.evaluate("document.activeElement.textContent") == "A picture of your own…"


def test_two_models_of_different_size_get_the_same_own_picture(page, own_picture):
    go(page, "models=0,1")
    give_file(page, own_picture[1])
    until(page, "studio.own")
    when_drawn(page)
    sizes = page.evaluate("studio.columns.map(({picture}) => picture.width)")
    assert sizes == [64, 32]
    assert page.locator(".logits").count() == 2


def test_a_file_that_is_no_picture_is_told(browser, url, tmp_path):
    text = tmp_path / "letter.txt"
    text.write_text("no picture")
    with a_page(browser, url, refused=True) as page:
        drawn = picture(page)
        give_file(page, text)
        told = page.locator("#own .bad")
        until(page, "document.querySelector('#own .bad').textContent")
        assert "no picture" in told.inner_text()
        assert not page.evaluate("Boolean(studio.own)")
        np.testing.assert_array_equal(picture(page), drawn)


# Step by step


def explained(page):
    until(page, "document.querySelector('.steps svg path')")
    page.wait_for_timeout(150)
    when_drawn(page)
    return page.locator(".steps > li").all()


def numbers_of(panel):
    text = panel.locator(".numbers").inner_text().split("…")[0].split(": ")[-1]
    return [float(number.replace(MINUS, "-")) for number in text.split()]


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_the_steps_show_the_models_own_numbers(page, shipped, network, tmp_path):
    go(page, f"seed=3&classes=12:1&points=20x30&view=explain&layer={network}.32")
    panels = explained(page)
    assert len(panels) == 9
    latent, shares = draw_latents([3], 128)[0].numpy(), np.eye(14, dtype=np.float32)[12]
    position = 15 * 32 + 10
    if network == "generator":
        found = shipped.explain_drawing(latent, shares, "32", position)
    else:
        found = shipped.explain_judging(picture(page).reshape(3, 64, 64), "32", position)
    block = int(found.weights.argmax())
    shown = [found.given[:8], found.query, found.keys[block], None, None, found.values[block][:8]]
    shown += [found.gathered[:8], found.added[:8], (found.given + found.added)[:8]]
    for panel, expected in zip(panels, shown, strict=True):
        if expected is not None:
            assert numbers_of(panel) == pytest.approx(expected, rel=0.006, abs=1e-4)
    product, weight = panels[3].inner_text(), panels[4].inner_text()
    assert float(product.split(" = ")[-1].replace(MINUS, "-")) == pytest.approx(
        found.products[block], rel=0.006
    )
    assert float(weight.split(" = ")[-1].split(" %")[0]) == pytest.approx(
        100 * found.weights[block], rel=0.006
    )
    assert "row 16, column 11 of 32 x 32" in panels[0].inner_text()
    screenshot(page, f"explain-{network}", tmp_path)


def test_a_block_that_is_pointed_at_is_the_same_in_every_step(page):
    go(page, "points=20x30&view=explain")
    panels = explained(page)
    canvas = panels[2].locator("canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 1.5 / 16 * box["width"], box["y"] + 2.5 / 16 * box["height"])
    for number in (2, 3, 4, 5):
        assert "block in row 3, column 2" in panels[number].inner_text()
    assert "block in row 3, column 2" in panels[6].inner_text()


def test_the_explanation_follows_the_pointer(page):
    go(page, "view=explain")
    panels = explained(page)
    box = page.locator(".picture canvas").bounding_box()
    page.mouse.move(box["x"] + 0.26 * box["width"], box["y"] + 0.76 * box["height"])
    until(page, "document.querySelector('.steps li').textContent.includes('row 25, column 9')")
    page.mouse.move(5, 5)  # and keeps the place when the pointer leaves
    page.wait_for_timeout(200)
    assert "row 25, column 9" in panels[0].inner_text()


def test_step_by_step_with_the_keyboard_alone(page):
    tab_to(page, page.get_by_role("button", name="Step by step"))
    page.keyboard.press("Enter")
    panels = explained(page)
    assert page.locator("#explain").is_visible()
    tab_to(page, page.locator(".picture canvas"))
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('.steps li').textContent.includes('row 21, column 17')")
    assert state(page)["points"] == [[33, 40]]
    tab_to(page, page.get_by_role("button", name="discriminator, 32 x 32"))
    page.keyboard.press("Enter")
    until(page, "studio.state.layer === 'discriminator.32'")
    assert page.evaluate("document.activeElement.textContent") == "discriminator, 32 x 32"
    page.wait_for_timeout(200)
    tab_to(page, panels[4].locator("canvas"))
    before = panels[4].locator(".numbers").inner_text()
    for _ in range(16):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowDown")
    after = panels[4].locator(".numbers").inner_text()
    assert after != before
    assert "column 1:" in after


def test_a_model_without_attention_and_discriminator_says_so(page, own_picture):
    go(page, "models=3&view=explain")
    assert page.get_by_text("no attention layer; there is nothing to compute").is_visible()
    assert not page.locator(".steps").is_visible()
    assert not page.locator("#own").is_visible()
    drop(page, own_picture[1])
    assert "no discriminator" in page.locator("#line").inner_text()
    assert not page.evaluate("Boolean(studio.own)")
    page.evaluate("studio.set({models: ['1']})")
    until(page, "!document.getElementById('line').textContent")
    go(page, "models=3&view=explain")
    name, content = saved(page, open_save(page), "All that is seen")
    assert name == "plain.safetensors-step7-seed0.png"
    assert Image.open(io.BytesIO(content)).width >= 1024


# Saving


def test_the_picture_and_the_map_are_saved_large(page, shipped):
    go(page, "seed=3&classes=12:1&points=20x30")
    dialog = open_save(page)
    name, content = saved(page, dialog, "Picture")
    assert name == f"avatars64-step{shipped.step}-seed3-cat-picture.png"
    image = Image.open(io.BytesIO(content))
    assert image.size == (1024, 1024)
    levels = np.asarray(image.convert("RGB"))[8::16, 8::16].transpose(2, 0, 1)
    np.testing.assert_array_equal(levels.ravel(), picture(page))
    name, content = saved(page, dialog, "Map of generator, 32 x 32")
    assert name == f"avatars64-step{shipped.step}-seed3-cat-generator-32.png"
    assert Image.open(io.BytesIO(content)).size == (1024, 1024)


def test_all_that_is_seen_is_saved_with_captions(page, shipped):
    go(page, "models=0,1&seed=3&points=20x30,8x8")
    name, content = saved(page, open_save(page), "All that is seen")
    assert name == f"avatars64-whole-step{shipped.step}-seed3-bluerobot.png"
    image = Image.open(io.BytesIO(content))
    assert image.width >= 3 * 512
    assert image.height >= 4 * 512


def test_the_rows_are_saved_as_numbers(page, shipped):
    go(page, "seed=3&classes=12:1&points=20x30,1x2")
    name, content = saved(page, open_save(page), "Attention of the points")
    assert name.endswith("rows.json")
    found = json.loads(content)
    [model] = found["models"]
    assert (found["seed"], model["model"], model["step"]) == (3, "avatars64", shipped.step)
    assert model["classes"] == {"cat": 1}
    assert [layer["network"] for layer in model["layers"]] == ["generator", "discriminator"]
    drawn = shipped.draw(draw_latents([3], 128)[0].numpy(), np.eye(14, dtype=np.float32)[12])
    layer = model["layers"][0]
    assert layer["keys"] == [16, 16]
    assert [(row["x"], row["y"]) for row in layer["rows"]] == [(20, 30), (1, 2)]
    for row in [row for layer in model["layers"] for row in layer["rows"]]:
        assert sum(row["weights"]) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(
        layer["rows"][0]["weights"], drawn.maps["32"][15 * 32 + 10], atol=1e-5
    )


@pytest.mark.parametrize(
    ("kind", "format", "loops", "frames"),
    [("seeds", "gif", False, 10), ("direction", "webp", True, 10), ("classes", "mp4", False, 11)],
)
def test_a_walk_is_saved_as_a_film(page, shipped, kind, format, loops, frames):
    go(page, "seed=3")
    dialog = open_save(page)
    dialog.get_by_label("Walk").select_option(kind)
    dialog.get_by_label("Seconds").fill("0.4")
    dialog.get_by_label("Format").select_option(format)
    if loops:
        dialog.get_by_label("and back").check()
    name, content = saved(page, dialog, "Make the film")
    assert name == f"avatars64-step{shipped.step}-seed3-bluerobot-{kind}.{format}"
    assert frame_count(content, format) == frames
    until(page, "document.querySelector('.walk').textContent.includes('saved')")


def frame_count(content, format):
    if format != "mp4":
        return sum(1 for _ in ImageSequence.Iterator(Image.open(io.BytesIO(content))))
    av = pytest.importorskip("av")
    with av.open(io.BytesIO(content)) as film:
        return sum(1 for _ in film.decode(video=0))


def test_a_walk_goes_as_sampling_goes(page):
    found = page.evaluate(
        """async () => {
          const { walkOf } = await import("studio/paths.js");
          const walk = {kind: "seeds", stops: 3, frames: 8, isLoop: false};
          const { latents } = walkOf(studio, studio.columns[0].model, walk);
          return latents.map((latent) => [...latent]);
        }"""
    )
    latents = draw_latents([0, 1, 2], 128)
    steps = torch.arange(5, dtype=torch.float64) / 4
    legs = [slerp(latents[0], latents[1], steps[:-1]), slerp(latents[1], latents[2], steps)]
    np.testing.assert_allclose(found, torch.cat(legs), atol=1e-5)


def test_a_film_can_be_stopped(page):
    dialog = open_save(page)
    dialog.get_by_label("Seconds").fill("20")
    dialog.get_by_role("button", name="Make the film").click()
    dialog.get_by_role("button", name="Stop").click()
    until(page, "document.querySelector('.walk').textContent.includes('Stopped.')")
    assert dialog.get_by_role("button", name="Make the film").is_enabled()
    page.keyboard.press("Escape")  # though the button that had the focus is gone
    assert not dialog.is_visible()


def test_saving_with_the_keyboard_alone(page):
    go(page, "seed=5")
    tab_to(page, page.get_by_role("button", name="Save and share"))
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Save and share")
    tab_to(page, dialog.get_by_role("button", name="Copy link"))
    page.keyboard.press("Enter")
    until(page, "document.querySelector('.save').textContent.includes('The link is copied.')")
    assert page.evaluate("navigator.clipboard.readText()").endswith("/#seed=5")
    tab_to(page, dialog.get_by_role("button", name="Attention of the points"))
    with page.expect_download():
        page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.evaluate("document.activeElement.ariaLabel") == "Save and share"


# Links, and pages that offer less


@pytest.fixture(scope="module")
def kept_page(browser, url):
    with a_page(browser, url) as opened:
        yield opened


@pytest.mark.parametrize(
    ("link", "fields"),
    [
        ("models=1", {"models": ["1"]}),
        ("models=1&step=2", {"step": 2}),
        (
            "seed=7&truncation=0.5&weights=1.5,-2",
            {"seed": 7, "truncation": 0.5, "weights": [1.5, -2]},
        ),
        (
            "classes=3:1,5:0.5&scales=generator.32:0",
            {"classes": [[3, 1], [5, 0.5]], "scales": {"generator.32": 0}},
        ),
        (
            "points=20x30,1x2&query=to&colour=common",
            {"points": [[20, 30], [1, 2]], "query": "to", "colour": "common"},
        ),
        ("scales=generator.32:2&shown=before", {"shown": "before"}),
        ("scales=generator.32:2&shown=difference", {"shown": "difference"}),
        ("view=explain", {"view": "explain"}),
        ("view=explain&layer=discriminator.32", {"layer": "discriminator.32"}),
    ],
)
def test_a_link_gives_the_same_again(browser, url, kept_page, link, fields):
    go(kept_page, link)
    assert {name: state(kept_page)[name] for name in fields} == fields
    with a_page(browser, f"{url}#{link}") as other:
        assert state(other) == state(kept_page)
        for one in ("[...studio.columns[0].picture.data]", seen()):
            assert other.evaluate(one) == kept_page.evaluate(one)


@pytest.mark.parametrize(
    ("link", "missing"),
    [
        ("seed=3&classes=99:1,5:1", "class 99"),
        ("seed=3&classes=99:1", "class 99"),
        ("seed=3&classes=5:1&step=77", "step 77"),
        ("seed=3&classes=5:1&scales=generator.77:2", "layer generator.77"),
        ("seed=3&classes=5:1&view=explain&layer=generator.77", "layer generator.77"),
        ("seed=3&classes=5:1&points=64x1,1x2", "point 64x1"),
        ("models=0,9&seed=3&classes=5:1", "model 9"),
        ("seed=3&classes=5:1&weights=1e300&zzz=1", "weights=1e300, zzz=1"),
        ("classes=5:1&seed=-1", "seed=-1"),
    ],
)
def test_what_a_link_names_in_vain_is_told_and_the_rest_is_shown(browser, url, link, missing):
    with a_page(browser, f"{url}#{link}") as page:
        told = f"The link names what is not here: {missing}; the rest is shown."
        assert page.inner_text("#line") == told
        number = 0 if link.endswith("classes=99:1") else 5
        assert state(page)["classes"] == [[number, 1]]
        assert state(page)["seed"] == (0 if "seed=-1" in link else 3)
        assert page.locator(".map canvas").first.is_visible() or "explain" in link
        name = page.evaluate(f"studio.columns[0].model.classes[{number}]")
        assert page.inner_text(".picture figcaption").endswith(f", {name}")
        go(page, "seed=4")
        assert page.inner_text("#line") == ""


def test_a_model_that_is_gone_leaves_the_others(browser, plain_file, tmp_path):
    lost = shutil.copy(plain_file, tmp_path / "lost.safetensors")
    with a_server(lost, "avatars64") as address:
        Path(lost).unlink()
        with a_page(browser, address) as page:
            assert page.inner_text("#line").startswith("lost.safetensors is gone from ")
            assert page.inner_text(".board h2") == "avatars64"


def seen():
    return "[...document.querySelectorAll('.board canvas')].map((one) => one.toDataURL())"


def test_the_token_leaves_the_address_and_the_links(browser):
    with a_server("avatars64", "--host", "0.0.0.0") as printed:
        port, token = re.search(r":(\d+)/\?token=(\S+)", printed).groups()
        here = f"http://127.0.0.1:{port}/"
        with a_page(browser, f"{here}?token={token}#seed=3") as page:
            assert page.evaluate("location.href") == f"{here}#seed=3"
            page.reload()
            until(page, "window.studio?.columns[0].picture")
            assert state(page)["seed"] == 3
            assert open_save(page).get_by_label("Link").input_value() == f"{here}#seed=3"


def test_a_page_whose_back_end_offers_less_leaves_the_parts_out(browser, url):
    with a_page(browser, url) as page:
        pass
    context = browser.new_context()
    page = context.new_page()
    less = "features: new Set([])"
    page.route(
        "**/front/server.js",
        lambda route: route.fulfill(
            body=(Path(__file__).parent / "../src/sagan/studio/front/server.js")
            .read_text()
            .replace('features: new Set(["fit", "explain", "timeline", "film"])', less),
            content_type="text/javascript",
        ),
    )
    page.goto(f"{url}#models=1&view=explain")
    until(page, "window.studio?.columns[0].picture")
    assert page.get_by_role("button", name="Step by step").count() == 0
    assert page.get_by_role("button", name="A picture of your own").count() == 0
    assert scrubber(page).count() == 0
    assert not page.locator("#explain").is_visible()
    assert page.locator(".maps").is_visible()
    dialog = open_save(page)
    assert dialog.get_by_role("button", name="Make the film").count() == 0
    context.close()


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_every_view_fits_the_width(browser, url, tmp_path, scheme, width):
    views = {"timeline": "models=1&step=2", "explain": "seed=3&points=20x30&view=explain"}
    size = {"width": width, "height": 900}
    with a_page(browser, url, viewport=size, color_scheme=scheme) as page:
        for view, link in views.items():
            go(page, link)
            page.wait_for_timeout(400)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            screenshot(page, f"{view}-{scheme}-{width}", tmp_path, whole=True)
