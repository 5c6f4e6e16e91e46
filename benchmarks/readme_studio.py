"""The README's pictures of the studio: a film of the pointer over a picture, and two views.

``studio.webp``, ``studio-light.png`` and ``studio-dark.png``, photographed in Chromium; called by
:mod:`benchmarks.readme_pictures`.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image, ImageDraw

from sagan.sampling.animation import save_animation

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SHOWN = "classes=13:1&seed=23"
"""The permalink of a person with long hair."""
STATIONS = ((42, 14), (20, 14), (12, 29), (25, 26), (32, 45), (31, 57), (53, 32))
"""Pixels of it where the pointer rests: hair, background, glasses, neck, shirt, background."""
SIDE = 64
RATE, FRAMES = 12, 96
RESTING = 0.35
"""Share of the time between two stations in which the pointer stays."""
WIDTH, HEIGHT, SCALE, MARGIN = 1200, 800, 0.8, 8
FILM = {"viewport": {"width": WIDTH, "height": HEIGHT}, "device_scale_factor": SCALE}
VIEW = {"viewport": {"width": 1440, "height": 900}}
ARROW = ((0, 0), (0, 22), (5, 17.5), (8.5, 25.5), (12, 24), (8.5, 16.5), (15.5, 15.5))
"""Corners of the mouse pointer, its tip first."""


@contextmanager
def started_studio() -> Iterator[str]:
    """The address of a studio that shows the model that comes along."""
    command = [sys.executable, "-m", "sagan", "studio", "--no-open", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            found = re.search(r"http://\S+", line)
            assert found, line
            yield found[0]
        finally:
            process.terminate()


@contextmanager
def opened(browser: Browser, address: str, **context: Any) -> Iterator[Page]:
    """The studio's page with its first picture drawn."""
    with browser.new_context(**context) as window:
        page = window.new_page()
        page.goto(f"{address}#{SHOWN}")
        page.locator(".map canvas").first.wait_for()
        yield page


def pointer_path(frames: int) -> np.ndarray:
    """Where the pointer is in each frame: smoothly round all stations, resting at each.

    Returns:
        (frames, 2), in pixels of the picture shown; the last frame leads to the first.
    """
    places = np.asarray(STATIONS, dtype=float)
    where = np.arange(frames) / frames * len(places)
    number = where.astype(int)
    share = np.clip((where - number - RESTING) / (1 - RESTING), 0, 1)[:, None]
    share = share * share * (3 - 2 * share)
    before, begin, end, after = (places[(number + step) % len(places)] for step in (-1, 0, 1, 2))
    bend = share * (1 - share) / 4  # towards a curve; straight lines look like a machine
    line = begin + (end - begin) * share
    return line + bend * ((begin - before) * (1 - share) - (after - end) * share)


def with_pointer(picture: Image.Image, x: float, y: float) -> Image.Image:
    """Draws the mouse pointer, which Chromium without a window does not show."""
    fine = 4  # drawn so many times larger, for smooth edges
    arrow = Image.new("RGBA", (20 * fine, 30 * fine))
    left, top = x - int(x) + 2, y - int(y) + 2
    corners = [((left + across) * fine, (top + down) * fine) for across, down in ARROW]
    ImageDraw.Draw(arrow).polygon(corners, fill="black", outline="white", width=fine)
    arrow = arrow.resize((20, 30), Image.Resampling.BOX)
    picture.paste(arrow, (int(x) - 2, int(y) - 2), arrow)
    return picture


def move_pointer(page: Page, across: float, down: float) -> tuple[float, float]:
    """Moves the mouse to a pixel of the picture; returns where that is on the page."""
    box = page.locator(".picture canvas").first.bounding_box()
    assert box
    x, y = box["x"] + box["width"] * across / SIDE, box["y"] + box["height"] * down / SIDE
    page.mouse.move(x, y)
    return x, y


def film_of_pointer(page: Page, path: Path) -> Path:
    """Films the pointer on its way over the picture, with the controls hidden."""
    page.keyboard.press("h")
    board = page.locator(".board").first.bounding_box()
    assert board
    height = board["y"] + board["height"] + MARGIN
    frames = []
    for across, down in pointer_path(FRAMES):
        x, y = move_pointer(page, across, down)
        seen = page.screenshot(clip={"x": 0, "y": 0, "width": WIDTH, "height": height})
        picture = Image.open(io.BytesIO(seen)).convert("RGB")
        picture = with_pointer(picture, x * SCALE, y * SCALE)
        frames.append(np.asarray(picture).transpose(2, 0, 1))
    return save_animation(frames, path, frames_per_second=RATE)


def view_of_studio(page: Page, path: Path) -> Path:
    """Photographs the whole studio with the pointer at the first station."""
    move_pointer(page, *STATIONS[0])
    page.screenshot(path=path)
    return path


def draw_studio(folder: Path) -> list[Path]:
    """Draws all three; returns their paths."""
    from playwright.sync_api import sync_playwright

    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    with started_studio() as address, sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        with opened(browser, address, **FILM) as page:
            pictures = [film_of_pointer(page, folder / "studio.webp")]
        for scheme in schemes:
            with opened(browser, address, color_scheme=scheme, **VIEW) as page:
                pictures.append(view_of_studio(page, folder / f"studio-{scheme}.png"))
        browser.close()
    return pictures
