"""The page in a single file: its size, and how fast it is when opened from the disk.

    python benchmarks/single_file.py runs/demo

The same of a studio that is running:

    python benchmarks/single_file.py http://127.0.0.1:8000/

Needs Chromium and the runtime (``python -m sagan.studio.runtime``).
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from sagan.studio.single_file import write_page

OPENINGS = 5
REQUESTS = 100

# From the event of the pointer to the end of the last listener, and to the next frame.
POINTER = """async (count) => {
    const canvas = document.querySelector(".picture canvas");
    const box = canvas.getBoundingClientRect();
    const drawn = [], shown = [];
    for (let i = 0; i < count; i++) {
        const place = (i + 0.5) / count;
        const began = performance.now();
        canvas.dispatchEvent(new PointerEvent("pointermove", { bubbles: true,
            clientX: box.left + place * box.width, clientY: box.top + place * box.height }));
        drawn.push(performance.now() - began);
        await new Promise(requestAnimationFrame);
        shown.push(performance.now() - began);
    }
    return [drawn, shown];
}"""
# From a seed to its picture, both networks' maps and the logits, drawn on the page.
SEEDS = """async (count) => {
    const taken = [];
    for (let seed = 1; seed <= count; seed++) {
        const began = performance.now();
        await new Promise((resolve) => {
            studio.addEventListener("drawn", resolve, { once: true });
            studio.set({ seed });
        });
        taken.push(performance.now() - began);
    }
    return taken;
}"""
READY = "() => Boolean(window.studio?.columns[0]?.picture)"


def first_picture(browser: Any, address: str) -> tuple[Any, float]:
    """Opens a page; gives it with the seconds until there is a picture."""
    page = browser.new_page()
    began = time.perf_counter()
    page.goto(address)
    while not page.evaluate(READY):
        time.sleep(0.005)
    return page, time.perf_counter() - began


def measure(address: str) -> None:
    """Opens a page several times and asks the last one."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page, took = first_picture(browser, address)
        seconds = [took]
        for _ in range(OPENINGS - 1):
            page.close()
            page, took = first_picture(browser, address)
            seconds.append(took)
        drawn, shown = page.evaluate(POINTER, REQUESTS)
        seeds = page.evaluate(SEEDS, REQUESTS)
        browser.close()
    told = " ".join(f"{took:.2f}" for took in seconds)
    print(f"first picture: median {statistics.median(seconds):.2f} s of {told}")
    print(f"pointer to map: median {statistics.median(drawn):.1f} ms of {REQUESTS}")
    print(f"pointer to the next frame: median {statistics.median(shown):.1f} ms")
    print(f"seed to picture, maps and logits: median {statistics.median(seeds):.1f} ms")


def main() -> None:
    """Writes the page and measures it, or measures one that is served."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a run folder, a checkpoint, a name, or an address")
    model = parser.parse_args().model
    if model.startswith("http://"):
        measure(model)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        began = time.perf_counter()
        write_page(model, path, print)
        print(f"written in {time.perf_counter() - began:.0f} s")
        measure(path.as_uri())


if __name__ == "__main__":
    main()
