"""The pictures of the README, from the model that comes along and from a demonstration.

    sagan demo
    python -m benchmarks.readme_pictures runs/demo

Writes ``avatars64.png``, ``avatars64-attention.png``, ``growth.webp``, ``report.png`` and the three
pictures of :mod:`benchmarks.readme_studio` into ``docs/images``, and says how large they are. The
last four need Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from benchmarks.readme_studio import draw_studio
from sagan.demo import SHOWN_FIRST, draw_pictures, film_of
from sagan.report.page import write_report

FOLDER = Path(__file__).parent.parent / "docs" / "images"
VIEW = 1100, 1250
"""Width and height in pixels of what is shown of the report."""


def photograph(page: Path, picture: Path) -> None:
    """Opens a page in Chromium and writes its top as PNG."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        view = browser.new_page(viewport={"width": VIEW[0], "height": VIEW[1]})
        view.goto(page.resolve().as_uri())
        view.screenshot(path=picture)
        browser.close()


def main() -> None:
    """Draws them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="the run folder of a demonstration")
    run = parser.parse_args().run
    pictures = [
        path.replace(FOLDER / name)
        for path, name in zip(
            draw_pictures(SHOWN_FIRST, FOLDER, f"{SHOWN_FIRST}-"),
            (f"{SHOWN_FIRST}.png", f"{SHOWN_FIRST}-attention.png"),
            strict=True,
        )
    ]
    pictures.append(film_of(run, FOLDER / "growth.webp"))
    if shutil.which("chromium"):
        photograph(write_report(run), FOLDER / "report.png")
        pictures += [FOLDER / "report.png", *draw_studio(FOLDER)]
    else:
        print("chromium is not installed: report.png and studio* stay as they are", file=sys.stderr)
    for picture in pictures:
        print(f"{picture.stat().st_size / 1e6:.2f} MB  {picture}")


if __name__ == "__main__":
    main()
