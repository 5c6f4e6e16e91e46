"""A browser and a server of the studio, for tests that look at the page."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def a_browser() -> Iterator[Browser]:
    """A browser without window; the test is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@contextmanager
def a_server(*models: str | Path) -> Iterator[str]:
    """`sagan studio MODELS` in a process of its own; gives its address."""
    command = [sys.executable, "-m", "sagan", "studio", *map(str, models)]
    with subprocess.Popen(
        [*command, "--port", "0", "--no-open"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "http://" in line, line + process.stdout.read()
            yield "http://" + line.split("http://")[1].split()[0]
        finally:
            process.terminate()


@contextmanager
def a_page(browser: Browser, url: str, *, refused: bool = False, **context: Any) -> Iterator[Page]:
    """The page after its first picture; at the end nothing was wrong and nothing came from outside.

    Args:
        browser: Where.
        url: May have a permalink, "#seed=3".
        refused: Whether the server will refuse something, which browsers note.
        **context: Of Playwright: viewport, color_scheme, has_touch, ...
    """
    wrong: list[str] = []
    own = re.split("[?#]", url)[0]

    def heard(told: ConsoleMessage) -> None:
        if told.type != "log" and not (refused and "Failed to load resource" in told.text):
            wrong.append(told.text)

    def asked(request: Request) -> None:
        if not request.url.startswith((own, "data:", "blob:")):
            wrong.append(request.url)

    with browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **context}) as opened:
        page = opened.new_page()
        page.on("console", heard)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", asked)
        page.goto(url)
        until(page, "window.studio?.columns.every((column) => column.picture)")
        when_drawn(page)
        yield page
    assert not wrong


def until(page: Page, expression: str, seconds: float = 10) -> None:
    """Waits until an expression is true; the page's policy forbids Playwright's own way."""
    end = monotonic() + seconds
    while not page.evaluate(f"Boolean({expression})"):
        assert monotonic() < end, f"never came: {expression}"
        page.wait_for_timeout(20)


def when_drawn(page: Page) -> None:
    """Waits until everything that was asked for is drawn."""
    until(page, "!studio.isDrawing")


def screenshot(page: Page, name: str, folder: Path, *, whole: bool = False) -> None:
    """Saves what is seen, or the whole page, in SAGAN_SCREENSHOTS, or else in the folder given."""
    target = Path(os.environ.get("SAGAN_SCREENSHOTS") or folder)
    page.screenshot(path=target / f"{name}.png", full_page=whole)
