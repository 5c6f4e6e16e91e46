"""The controls and the frame of the studio's page, used as people use them."""

import pytest
from browser import a_browser, a_page, a_server, screenshot, when_drawn


@pytest.fixture(scope="module")
def browser():
    with a_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def url():
    with a_server("avatars64", "fashion32") as address:
        yield address


@pytest.fixture
def page(browser, url):
    with a_page(browser, url) as opened:
        yield opened


def test_first(page, tmp_path):
    page.evaluate("studio.set({seed: 3})")
    when_drawn(page)
    screenshot(page, "first", tmp_path)
