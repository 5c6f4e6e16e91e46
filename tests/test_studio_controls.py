"""The controls and the frame of the studio's page, used as people use them."""

from dataclasses import replace

import pytest
from browser import a_browser, a_page, a_server, screenshot, until, when_drawn
from conftest import tiny

from sagan.config.plan import network_shape
from sagan.nn.residual import make_discriminator, make_generator
from sagan.runs import checkpoint as checkpoints
from sagan.runs.run import load_checkpoint

MANY = (*(f"species {number}" for number in range(60)), "cat", "tabby cat", "Ibis")
TWO = "#models=0,1&seed=4"


def save_model(path, class_names, *, channels=3, width=0, attention=(), judge=True):
    """A model that has not learned anything."""
    config = tiny().with_channels(channels)
    config = replace(
        config,
        data=replace(config.data, width=width),
        generator=replace(config.generator, attention=attention),
        discriminator=replace(config.discriminator, attention=attention),
    )
    shape = network_shape(config.data, len(class_names))
    parts = {"generator": make_generator(config.generator, **shape)}
    if judge:
        parts["discriminator"] = make_discriminator(config.discriminator, **shape)
    tensors = {name: network.state_dict() for name, network in parts.items()}
    checkpoints.save(
        checkpoints.Checkpoint(config=config, class_names=class_names, step=1, parts=tensors), path
    )
    return path


@pytest.fixture(scope="module")
def browser():
    with a_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    plain = save_model(folder / "plain.safetensors", (), channels=1, width=64, judge=False)
    many = save_model(folder / "many.safetensors", MANY, attention=(8, 16))
    with a_server("avatars64", "fashion32", plain, many) as address:
        yield address


@pytest.fixture(scope="module")
def opened(browser, url):
    with a_page(browser, url) as page:
        yield page


@pytest.fixture
def page(opened, url):
    """One page for all tests, as it is at first with seed 3."""
    opened.goto(f"{url}#")
    opened.goto(f"{url}#seed=3")
    opened.mouse.move(0, 0)
    opened.evaluate("document.activeElement.blur(), studio.point(null)")
    when_drawn(opened)
    return opened


def show(page, link):
    page.evaluate(f"location.hash = '{link or '#'}'")
    page.wait_for_timeout(30)
    until(page, "studio.columns.every((column) => column.picture)")
    when_drawn(page)


def state(page, name):
    return page.evaluate(f"studio.state.{name}")


def picture(page, column=0):
    when_drawn(page)
    return page.evaluate(f"[...studio.columns[{column}].picture.data]")


def caption(page, column=0):
    when_drawn(page)
    return page.locator(".picture figcaption").nth(column).text_content()


def drag(page, field, *places):
    """Presses in the middle of a field, and moves over places in shares of it."""
    box = field.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    for x, y in places:
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.mouse.up()


def test_seed(page):
    third = picture(page)
    page.get_by_role("button", name="Next seed").click()
    assert state(page, "seed") == 4
    assert picture(page) != third
    assert caption(page) == "Seed 4, blue robot"
    page.get_by_role("button", name="Previous seed").click()
    assert picture(page) == third
    field = page.get_by_label("Seed", exact=True).and_(page.get_by_role("textbox"))
    field.fill("123456789012")
    field.press("Enter")
    assert state(page, "seed") == 123456789012
    field.fill("-1")
    field.press("Enter")
    assert page.locator("#line").text_content() == "A seed is a whole number from 0, not -1."
    assert field.input_value() == "123456789012"
    field.fill("7")
    field.press("Enter")
    assert page.locator("#line").text_content() == ""
    page.get_by_role("button", name="Random").click()
    assert 0 <= state(page, "seed") < 1_000_000


def test_seed_by_keys_and_not_below_zero(page):
    page.keyboard.press("n")
    assert state(page, "seed") == 4
    for _ in range(6):
        page.keyboard.press("p")
    assert state(page, "seed") == 0
    page.keyboard.press("r")
    page.keyboard.press("n")
    first = state(page, "seed")
    page.keyboard.press("r")
    assert state(page, "seed") not in (0, first)


def test_a_link_is_followed_though_the_page_writes_its_own(page):
    page.evaluate("location.hash = '#seed=9'; history.replaceState(null, '', '#seed=3')")
    until(page, "studio.state.seed === 9")


def test_truncation(page):
    whole = picture(page)
    slider = page.get_by_label("Truncation", exact=True)
    assert slider.get_attribute("aria-valuetext") == "off"
    slider.focus()
    slider.press("Home")
    assert state(page, "truncation") == 0.1
    assert picture(page) != whole
    slider.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "0.15"
    page.get_by_role("button", name="Truncation: Off").click()
    assert state(page, "truncation") is None
    assert picture(page) == whole


def test_the_pad_and_the_sliders_set_the_same_weights(page):
    before = picture(page)
    pad = page.get_by_label("Pad of two directions")
    drag(page, pad, (0.6, 0.4), (0.75, 0.25))
    assert state(page, "weights") == pytest.approx([1.5, 1.5], abs=0.1)
    sliders = [page.get_by_label(f"Direction {k}", exact=True) for k in (1, 2, 3)]
    assert [float(slider.input_value()) for slider in sliders] == pytest.approx(
        [1.5, 1.5, 0], abs=0.1
    )
    assert picture(page) != before
    sliders[2].focus()
    sliders[2].press("End")
    assert state(page, "weights")[2] == 3
    sliders[2].dblclick(position={"x": 3, "y": 8})
    assert len(state(page, "weights")) == 2
    page.get_by_role("button", name="Reset Direction 1").click()
    assert state(page, "weights")[0] == 0
    page.get_by_role("button", name="Reset all").click()
    assert state(page, "weights") == []
    assert picture(page) == before


def test_the_pad_with_keys_over_chosen_directions(page):
    pad = page.get_by_label("Pad of two directions")
    page.get_by_label("Across").select_option(label="6")
    page.get_by_label("Up").select_option(label="6")
    assert page.get_by_label("Across").input_value() == "1", "they change places"
    pad.focus()
    pad.press("Shift+ArrowUp")
    pad.press("ArrowLeft")
    assert state(page, "weights") == pytest.approx([0, -0.12, 0, 0, 0, 0.6])
    assert pad.get_attribute("aria-valuetext") == "direction 2: \u22120.12, direction 6: 0.60"
    pad.press("Home")
    assert state(page, "weights") == []


def test_what_is_drawn_last_is_what_the_pad_says_last(page):
    places = [(0.5 + k / 100, 0.5 + (k % 7) / 20) for k in range(40)]
    drag(page, page.get_by_label("Pad of two directions"), *places)
    dragged = picture(page)
    page.evaluate("studio.redraw()")
    assert picture(page) == dragged


def test_the_pad_by_touch(browser, url):
    with a_page(browser, f"{url}#seed=3", has_touch=True) as page:
        box = page.get_by_label("Pad of two directions").bounding_box()
        page.touchscreen.tap(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4)
        assert state(page, "weights") == pytest.approx([-1.5, 1.5], abs=0.1)
        box = page.locator(".picture canvas").bounding_box()
        page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 4)
        assert state(page, "points") == [[32, 16]]
        assert page.evaluate("studio.pointed") == {"x": 32, "y": 16}


def test_the_link_is_noted_a_few_times_a_second(page):
    page.evaluate("""() => {
        window.noted = 0;
        const write = history.replaceState;
        history.replaceState = function (...all) { window.noted++; write.apply(this, all); };
        for (let k = 0; k < 300; k++) studio.set({ weights: [k / 100] });
    }""")
    until(page, "location.hash.includes('weights=2.99')")
    assert page.evaluate("noted") <= 3


def test_one_class(page):
    page.get_by_label("Class", exact=True).and_(page.get_by_role("combobox")).select_option("cat")
    assert caption(page) == "Seed 3, cat"
    page.keyboard.press("2")
    assert state(page, "classes") == [[1, 1]]
    assert page.get_by_role("slider", name="Mixture").count() == 0


def test_a_mixture_of_up_to_four(page):
    mix = page.get_by_role("button", name="Mix")
    mix.click()
    assert state(page, "classes") == [[0, 0.5], [1, 0.5]]
    assert caption(page) == "Seed 3, 50 % blue robot, 50 % brown robot"
    mixture = page.get_by_role("slider", name="Mixture")
    mixture.focus()
    mixture.press("Home")
    assert state(page, "classes") == [[0, 1], [1, 0]]
    mix.click()
    share = page.get_by_role("spinbutton").nth(2)
    share.fill("50")
    share.press("Enter")
    assert sum(weight for _, weight in state(page, "classes")) == pytest.approx(1, abs=1e-3)
    assert state(page, "classes")[2] == [2, 0.5]
    drag(page, mixture, (0.5, 0.02))
    assert state(page, "classes")[0][1] > 0.9, "the corner above is the first class"
    mixture.press("Home")
    assert [weight for _, weight in state(page, "classes")] == pytest.approx([1 / 3] * 3, abs=1e-3)
    mix.click()
    assert mix.is_disabled()
    drag(page, mixture, (0.99, 0.99))
    assert state(page, "classes")[3][1] > 0.9
    mixture.press("Shift+ArrowLeft")
    assert state(page, "classes")[2][1] == pytest.approx(0.11, abs=0.02)
    page.get_by_label("Class 2").focus()
    page.get_by_label("Class 2").select_option("cat")
    assert page.evaluate("document.activeElement.ariaLabel") == "Class 2"
    assert "cat" in caption(page)
    for name in ("cat", "blue robot", "green robot"):
        page.get_by_role("button", name=f"Remove {name}").click()
    assert state(page, "classes") == [[3, pytest.approx(1, abs=0.9)]]
    assert caption(page) == "Seed 3, grey robot"


def test_places_and_shares_of_a_simplex_belong_together(page):
    found = page.evaluate("""async () => {
        const { placeOf, sharesAt } = await import("studio/simplex.js");
        const mixtures = [[0.2, 0.5, 0.3], [1, 0, 0], [0, 0, 1], [0.06, 0.14, 0.24, 0.56]];
        return mixtures.map((shares) => [shares, sharesAt(...placeOf(shares), shares.length)]);
    }""")
    for given, back in found:
        assert back == pytest.approx(given)
    outside = page.evaluate(
        "import('studio/simplex.js').then(({ sharesAt }) => sharesAt(0, 0.8, 3))"
    )
    assert sum(outside) == pytest.approx(1)
    assert min(outside) == 0


def test_many_classes_are_searched(page):
    page.evaluate("studio.set({ models: ['3'] })")
    until(page, "document.querySelector('datalist')")
    field = page.get_by_label("Class", exact=True).and_(page.locator("input"))
    assert page.locator("datalist option").count() == len(MANY)
    for typed, number in (
        ("ibis", 62),
        ("cat", 60),
        ("tab", 61),
        ("species 7", 7),
        ("12", 12),
        ("59", 59),
    ):
        field.fill(typed)
        field.press("Enter")
        assert state(page, "classes") == [[number, 1]], typed
        assert field.input_value() == MANY[number]
    field.fill("<b>dog")
    field.press("Enter")
    assert page.locator("#line").text_content() == "There is no class <b>dog."
    assert state(page, "classes") == [[59, 1]]


def signed(number):
    return f"{number:.3f}".replace("-", "\u2212")


def test_gamma(page):
    trained = picture(page)
    slider = page.get_by_label("Gamma of Generator, 32 x 32", exact=True)
    weights = load_checkpoint("avatars64")[0].parts["generator"]
    gamma = weights["attention.32.gamma"].item()
    assert slider.get_attribute("aria-valuetext") == signed(gamma)
    slider.focus()
    slider.press("End")
    assert state(page, "scales") == {"generator.32": 2}
    assert slider.get_attribute("aria-valuetext") == f"\u00d7 2.00 = {signed(2 * gamma)}"
    changed = picture(page)
    assert changed != trained
    page.get_by_role("button", name="Before").click()
    assert picture(page) == trained
    assert caption(page).startswith("Before, with gamma as trained. Seed 3")
    page.keyboard.press("g")
    assert caption(page).startswith("Difference that gamma makes, 4 times enlarged.")
    assert page.evaluate("[...studio.columns[0].before.data]") == trained
    assert picture(page) == changed
    page.keyboard.press("g")
    assert caption(page) == "Seed 3, blue robot"
    slider.dblclick(position={"x": 5, "y": 8})
    assert state(page, "scales") == {}


def test_attention_off(page):
    trained = picture(page)
    page.get_by_role("button", name="Attention off").click()
    assert state(page, "scales") == {"generator.32": 0, "discriminator.32": 0}
    assert picture(page) != trained
    page.get_by_role("button", name="Reset Gamma of Discriminator, 32 x 32").click()
    assert state(page, "scales") == {"generator.32": 0}
    page.locator("#gammas").get_by_role("button", name="Reset", exact=True).click()
    assert picture(page) == trained
    page.keyboard.press("a")
    page.keyboard.press("a")
    assert state(page, "scales") == {}


def test_the_difference_of_nothing_is_grey(page):
    page.get_by_role("button", name="Difference").click()
    when_drawn(page)
    corner = "document.querySelector('.picture canvas').getContext('2d').getImageData(9, 9, 1, 1)"
    assert page.evaluate(f"[...{corner}.data]") == [128, 128, 128, 255]


def test_two_models_side_by_side(page, browser, url):
    page.get_by_label("Beside it").select_option("fashion32")
    until(page, "studio.columns[1]?.picture")
    assert page.locator(".board h2").all_text_contents() == ["avatars64", "fashion32"]
    assert page.locator("#gammas .name").all_text_contents() == [
        "Generator, 32 x 32", "Generator, 16 x 16",
        "Discriminator, 32 x 32", "Discriminator, 16 x 16",
    ]  # fmt: skip
    beside = picture(page, 1)
    pictures = page.locator(".picture canvas")
    tops = [pictures.nth(i).bounding_box()["y"] for i in (0, 1)]
    assert tops[0] == tops[1]
    box = pictures.nth(0).bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.76, box["y"] + box["height"] * 0.26)
    assert "place 48, 16" in pictures.nth(0).get_attribute("aria-label")
    assert "place 24, 8" in pictures.nth(1).get_attribute("aria-label")
    with a_page(browser, f"{url}#models=1&seed=3") as alone:
        assert picture(alone) == beside
    page.get_by_label("Beside it").select_option("none")
    assert state(page, "models") == ["0"]
    assert page.locator(".board").count() == 1


def test_classes_are_matched_by_name(page):
    found = page.evaluate("""async () => {
        const { byName } = await import("studio/state.js");
        const mixed = [[1, 0.5], [0, 0.5]];
        return [byName(mixed, ["dog", "cat"], ["cat", "cow"]), byName(mixed, ["a", "b"], ["c"])];
    }""")
    assert found == [[[0, 0.5]], [[1, 0.5], [0, 0.5]]]
    page.evaluate("studio.set({ models: ['0', '3'], classes: [[13, 1]] })")
    until(page, "studio.columns[1]?.picture")
    names = page.evaluate("studio.models[0].classes")
    page.evaluate(f"studio.set({{ classes: [[{names.index('cat')}, 1]] }})")
    assert caption(page, 1) == "Seed 3, cat"


@pytest.mark.parametrize(
    ("link", "field", "value"),
    [
        ("weights=1e300,1", "weights", []),
        (f"weights={','.join(['1'] * 500)}", "weights", [1] * 10),
        ("classes=0:1e308,1:1e308", "classes", [[0, 1]]),
        ("classes=5:-1", "classes", [[0, 1]]),
        (f"classes={','.join(['1:1'] * 3000)}", "classes", [[1, 1]] * 4),
        ("scales=generator.32:1e30", "scales", {}),
        ("truncation=1e-30", "truncation", None),
        ("models=0,0", "models", ["0"]),
        (f"points={','.join(['1x1'] * 3000)}", "points", [[1, 1]] * 6),
    ],
)
def test_a_link_says_only_what_can_be_shown(page, link, field, value):
    show(page, f"#seed=3&{link}")
    assert state(page, field) == value
    assert caption(page).startswith("Seed 3, ")
    assert not page.evaluate("studio.columns[0].hasFailed")


def test_a_link_from_another_model(page):
    show(page, "#seed=4&step=7&classes=99:1&scales=generator.64:0.5&points=900x900")
    assert caption(page) == "Seed 4, blue robot"
    assert page.evaluate("studio.columns[0].state.seed") == 4


def test_zero_has_no_sign(page):
    found = page.evaluate("""async () => {
        const { readable } = await import("studio/numbers.js");
        return [readable(-0.0004, 3), readable(-0.0006, 3), readable(0)];
    }""")
    assert found == ["0.000", "\N{MINUS SIGN}0.001", "0.00"]


def test_a_page_that_waits_says_so(browser, url):
    with browser.new_context() as context:
        waiting = context.new_page()
        asked = []
        waiting.route("**/api/models", lambda route: asked.append(route))
        waiting.goto(url)
        assert waiting.locator("#stage").inner_text() == "Opening the model …"
        assert waiting.locator("#own").is_hidden()


def test_how_to_begin_is_said_until_a_place_is_pinned(page):
    hint = page.locator(".hint")
    assert hint.is_visible()
    page.locator(".picture canvas").click()
    assert hint.is_hidden()
    show(page, "#models=2")
    assert hint.is_hidden()


def test_a_model_without_classes_attention_and_discriminator(page):
    show(page, "#models=2&scales=generator.32:0.5&classes=5:1")
    assert page.locator(".maps").text_content() == "This model has no attention layer."
    assert page.locator("#classes").is_hidden()
    assert page.locator("#gammas").is_hidden()
    assert caption(page) == "Seed 0"
    box = page.locator(".picture canvas").bounding_box()
    assert box["width"] == pytest.approx(2 * box["height"], rel=0.01)
    for key in "1ga":
        page.keyboard.press(key)
    when_drawn(page)


def test_layers_of_a_model_are_all_there(page):
    page.evaluate("studio.set({ models: ['3'] })")
    until(page, "studio.columns[0].picture")
    assert page.locator(".map h3").all_text_contents() == [
        "Generator, 8 x 8",
        "Generator, 16 x 16",
        "Discriminator, 8 x 8",
        "Discriminator, 16 x 16",
    ]
    assert page.locator("#gammas .name").count() == 4


def test_question_colours_and_lines(page):
    tops = page.locator(".scale span:last-child")
    page.keyboard.press("c")
    assert len(set(tops.all_text_contents())) == 1
    page.get_by_role("button", name="Own scale").click()
    assert len(set(tops.all_text_contents())) == 2
    page.get_by_role("button", name="Who looks here").click()
    assert "together" in page.locator(".map p").first.text_content()
    page.keyboard.press("q")
    assert state(page, "query") == "from"
    canvas = "document.querySelector('.map canvas').toDataURL()"
    plain = page.evaluate(canvas)
    page.keyboard.press("b")
    assert page.evaluate(canvas) != plain
    page.get_by_role("button", name="Lines between the blocks").click()
    assert page.evaluate(canvas) == plain


def test_theme(browser, url):
    ground = "getComputedStyle(document.body).backgroundColor"
    with a_page(browser, url) as page:
        light = page.evaluate(ground)
        page.keyboard.press("t")
        assert page.evaluate(ground) == light, "chosen, as it was by the system"
        page.get_by_role("button", name="Theme: light").click()
        page.wait_for_timeout(200)
        dark = page.evaluate(ground)
        assert dark != light
        page.reload()
        until(page, "window.studio?.columns[0].picture")
        assert page.evaluate(ground) == dark
        page.keyboard.press("t")
        page.emulate_media(color_scheme="dark")
        assert page.evaluate(ground) == dark


def test_full_screen_of_a_lecture(page):
    canvas = page.locator(".picture canvas")
    before = canvas.bounding_box()["width"]
    page.keyboard.press("f")
    until(page, "document.fullscreenElement !== null")
    assert page.locator("aside").is_hidden()
    assert canvas.bounding_box()["width"] > before
    page.keyboard.press("h")
    assert page.locator("aside").is_visible()
    page.get_by_role("button", name="Controls").click()
    assert page.locator("aside").is_hidden()
    page.keyboard.press("Escape")
    until(page, "document.fullscreenElement === null")
    assert page.locator("aside").is_visible()
    assert not page.evaluate("document.documentElement.hasAttribute('data-lecture')")
    full = page.get_by_role("button", name="Full screen")
    full.click()
    assert page.locator("aside").is_hidden()
    full.click()
    assert page.locator("aside").is_visible()


def test_a_browser_without_full_screen_enlarges_the_page(page):
    page.evaluate("document.documentElement.requestFullscreen = undefined")
    page.keyboard.press("f")
    assert page.locator("aside").is_hidden()
    page.keyboard.press("Escape")
    assert page.locator("aside").is_visible()
    page.evaluate("delete document.documentElement.requestFullscreen")


def test_help_lists_every_key_and_can_turn_them_off(page):
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="What you see, and the keys")
    told = dialog.locator("kbd").all_text_contents()
    keys = page.evaluate("import('studio/shortcuts.js').then((s) => [...s.SHORTCUTS.keys()])")
    assert {*keys} - {*"123456789"} - {"Escape"} <= {*told}
    assert {"1 \u2013 9", "Esc", "Arrow keys", "Enter", "Delete", "Home"} <= {*told}
    about = dialog.locator(".about").all_text_contents()
    assert len(about) == 4
    assert "Licence: " in about[0]
    page.keyboard.press("n")
    assert state(page, "seed") == 3, "nothing happens behind the help"
    dialog.get_by_role("checkbox").uncheck()
    page.keyboard.press("Escape")
    assert dialog.is_hidden()
    page.keyboard.press("n")
    assert state(page, "seed") == 3
    page.get_by_role("button", name="Help and keys").click()
    dialog.get_by_role("checkbox").check()
    dialog.get_by_role("button", name="Close").click()
    page.keyboard.press("n")
    assert state(page, "seed") == 4


def test_no_key_fires_where_text_is_typed(page):
    field = page.get_by_role("textbox", name="Seed")
    field.focus()
    page.keyboard.type("nr")
    assert state(page, "seed") == 3
    page.get_by_label("Model").focus()
    page.keyboard.press("q")
    assert state(page, "query") == "from"
    page.locator("body").press("Control+n")
    assert state(page, "seed") == 3


def test_points_with_the_keyboard_alone(page):
    canvas = page.locator(".picture canvas")
    canvas.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert state(page, "points") == [[32, 32], [40, 31]]
    assert page.locator(".map .pinned").first.locator("canvas").count() == 2
    chips = page.locator(".points button")
    assert [chip.inner_text() for chip in chips.all()] == ["1", "2", "Let go of all"]
    page.keyboard.press("Delete")
    assert state(page, "points") == [[32, 32]], "the one under the point"
    page.keyboard.press("Delete")
    assert state(page, "points") == [], "the last one"
    page.evaluate("studio.set({ points: [[1, 1], [60, 60], [30, 2]] })")
    chips.nth(1).press("Enter")
    assert state(page, "points") == [[1, 1], [30, 2]]
    assert page.evaluate("document.activeElement.ariaLabel") == "Let go of point 2 at 30, 2"
    page.get_by_role("button", name="Let go of all").click()
    assert state(page, "points") == []


def test_what_is_said_waits_for_rest(page):
    page.keyboard.press("n")
    until(page, "document.getElementById('spoken').textContent === 'Seed 4, blue robot'")
    page.evaluate("""() => {
        window.said = [];
        const hear = () => window.said.push(document.getElementById("spoken").textContent);
        new MutationObserver(hear).observe(document.getElementById("spoken"), { childList: true });
    }""")
    page.locator(".picture canvas").focus()
    for _ in range(9):
        page.keyboard.press("ArrowDown")
    until(page, "window.said.length")
    page.wait_for_timeout(800)
    [line] = page.evaluate("said")
    assert line.startswith("Picture of avatars64; place 32, 41")
    assert "half of its attention" in line


def test_tab_reaches_everything(page):
    page.evaluate("studio.set({ classes: [[0, 0.4], [1, 0.3], [2, 0.3]], points: [[3, 3]] })")
    when_drawn(page)
    wanted = page.evaluate("""() => {
        const all = [...document.querySelectorAll("button, input, select, [tabindex='0']")];
        const usable = all.filter((one) =>
            one.checkVisibility({ visibilityProperty: true }) && !one.disabled);
        usable.forEach((one, i) => one.setAttribute("data-tab", i));
        return usable.length;
    }""")
    reached = set()
    for _ in range(wanted + 5):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.getAttribute('data-tab')"))
    assert len(reached - {None}) == wanted > 40


@pytest.fixture(scope="module")
def narrow(browser, url):
    with a_page(browser, url, viewport={"width": 320, "height": 640}) as page:
        yield page


SEEN = (
    "",
    "#classes=0:0.5,1:0.5&points=9x9,20x20",
    "#classes=0:1,1:1,2:1",
    "#models=0,1",
    "#models=2",
)


@pytest.mark.parametrize("link", SEEN)
def test_a_narrow_page_scrolls_one_way_and_targets_are_large_enough(narrow, link):
    show(narrow, link)
    assert narrow.evaluate("document.documentElement.scrollWidth") == 320
    small = narrow.evaluate("""() => [...document.querySelectorAll("button, input, select, .pad")]
        .filter((one) => one.checkVisibility({ visibilityProperty: true }))
        .map((one) => [one.getBoundingClientRect(), one.ariaLabel ?? one.textContent])
        .filter(([box]) => Math.min(box.width, box.height) < 24 || box.right > 320)
        .map(([, name]) => name)""")
    assert small == []


CONTRAST = """() => {
    const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = (colour) => numbers(colour).slice(0, 3).map((v) => v / 255)
        .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = (one) => {
        const colour = getComputedStyle(one).backgroundColor;
        const isSeen = (numbers(colour)[3] ?? 1) > 0 || !one.parentElement;
        return isSeen ? colour : ground(one.parentElement);
    };
    const texts = [...document.querySelectorAll("body *")].filter((one) => one.checkVisibility()
        && !one.disabled && [...one.childNodes].some((n) => n.nodeType === 3 && n.data.trim()));
    return texts.map((one) => {
        const both = [light(getComputedStyle(one).color), light(ground(one))];
        return [(Math.max(...both) + 0.05) / (Math.min(...both) + 0.05), one.textContent];
    }).filter(([ratio]) => ratio < 4.5);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(browser, url, scheme):
    with a_page(browser, f"{url}{TWO}&points=3x3", color_scheme=scheme) as page:
        page.evaluate("studio.tell('something went wrong')")
        assert page.evaluate(CONTRAST) == []
        page.keyboard.press("?")
        assert page.evaluate(CONTRAST) == []


def test_every_field_has_a_name(page):
    page.evaluate("studio.set({ classes: [[0, 0.4], [1, 0.3], [2, 0.3]], points: [[3, 3]] })")
    when_drawn(page)
    tree = page.locator("body").aria_snapshot()
    for line in tree.splitlines():
        role = line.strip(" -").split(":")[0].split(" ")
        if role[0] in ("button", "slider", "combobox", "textbox", "spinbutton"):
            assert len(role) > 1, line
            assert role[1].startswith('"'), line


def test_nothing_moves_where_less_motion_is_asked_for(browser, url):
    with a_page(browser, url, reduced_motion="reduce") as page:
        moving = """[...document.querySelectorAll("*")]
            .filter((one) => parseFloat(getComputedStyle(one).transitionDuration) > 0).length"""
        assert page.evaluate(moving) == 0


VIEWS = {
    "one": "#seed=3",
    "pinned": "#seed=3&points=20x20,48x40&grid=on",
    "mixture": "#seed=3&classes=0:0.5,2:0.3,3:0.2&weights=1.5,-1&truncation=0.8",
    "four": "#seed=3&classes=0:0.4,2:0.3,3:0.2,1:0.1&query=to&colour=common",
    "difference": "#seed=3&scales=generator.32:0&shown=difference",
    "two": TWO,
    "grey": "#models=1&seed=3",
    "plain": "#models=2",
    "layers": "#models=3",
}
WAYS = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True},
}


@pytest.mark.parametrize("way", WAYS)
def test_every_view_is_seen(browser, url, way, tmp_path):
    with a_page(browser, url, **WAYS[way]) as page:
        for view, link in VIEWS.items():
            show(page, link)
            screenshot(page, f"controls-{view}-{way}", tmp_path)
        page.keyboard.press("?")
        screenshot(page, f"controls-help-{way}", tmp_path)
        page.keyboard.press("Escape")
        show(page, VIEWS["one"])
        page.keyboard.press("f")
        until(page, "document.fullscreenElement")
        screenshot(page, f"controls-lecture-{way}", tmp_path)
