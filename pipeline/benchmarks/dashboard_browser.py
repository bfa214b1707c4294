"""What a person waits for, in a headless Chromium: the painted map, and a concept with its images.

It draws WebGL in software, on the same cores as the server: with a graphics card both are quicker.
"""

import importlib.util
import io
import os
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from PIL import Image

from pipeline.benchmarks import Row
from pipeline.benchmarks.dashboard_session import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
_ARGUMENTS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
_COLOURS = 40  # of a picture of the map once its points are there
_CLICKS = 5
_MAP = "[data-testid=stDeckGlJsonChart]"
# The script has run, nothing is greyed out and no picture is still loading.
SETTLED = """() => {
  const running = document.querySelector('[data-testid="stApp"]')?.dataset.testScriptState === 'running';
  const stale = document.querySelector('[data-stale="true"]');
  const skeleton = document.querySelector('[data-testid="stSkeleton"]');
  const loading = [...document.images].some((image) => !image.complete);
  return !running && !stale && !skeleton && !loading;
}"""


def has_chromium() -> bool:
    """Whether Chromium is installed."""
    return shutil.which(CHROMIUM) is not None


@contextmanager
def chromium() -> Iterator["Browser"]:
    """A headless Chromium that draws WebGL in software. ImportError without playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def browser_rows(server: Server) -> list[Row]:
    """Seconds to the painted map and from a click to a concept's images; none without a browser."""
    if not importlib.util.find_spec("playwright"):
        print("painted map and click need playwright: see requirements-dev.txt", file=sys.stderr)
        return []
    if not has_chromium():
        print(f"painted map and click need Chromium at {CHROMIUM}, or CHROMIUM set", file=sys.stderr)
        return []
    with chromium() as browser:
        return [*_map_rows(browser, server), _click_row(browser, server)]


def _map_rows(browser: "Browser", server: Server) -> list[Row]:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url) if "/media/" in request.url else None)
    started = time.perf_counter()
    page.goto(f"http://{server.address}/concept_map")
    place = page.locator(_MAP).first
    place.wait_for(timeout=120_000)
    while _colours(page) < _COLOURS:
        if time.perf_counter() - started > 120:
            raise TimeoutError("the map was not painted in 120 s")
    painted = time.perf_counter() - started
    page.get_by_role("searchbox").first.fill("bird")
    page.keyboard.press("Enter")
    page.wait_for_timeout(1000)
    page.wait_for_function(SETTLED, timeout=120_000)
    page.close()
    points = [url for url in fetched if url.split("?")[0].endswith(".json")]
    most = max((points.count(url) for url in points), default=0)
    beside = f"painted {painted:.1f} s after a fresh tab was opened, in software"
    return [Row("map: fetches of its points in two runs", most, 1, at_least=False, beside=beside)]


def _colours(page: "Page") -> int:
    box = page.locator(_MAP).first.bounding_box()
    if box is None:
        return 0
    inner = {"x": box["x"] + 20, "y": box["y"] + 20, "width": box["width"] - 40, "height": box["height"] - 40}
    picture = Image.open(io.BytesIO(page.screenshot(clip=inner))).convert("RGB")  # type: ignore[arg-type]
    return len(picture.resize((200, 200), Image.Resampling.NEAREST).getcolors(40_000) or [])


def _click_row(browser: "Browser", server: Server) -> Row:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.goto(f"http://{server.address}/concept?concept=1234")
    page.get_by_text("Strongest in real images").wait_for(timeout=120_000)
    page.wait_for_function(SETTLED, timeout=120_000)
    new = [_seconds_of_click(page, "Next") for _ in range(_CLICKS)]
    warm = [_seconds_of_click(page, "Previous") for _ in range(_CLICKS)]
    page.close()
    beside = f"images painted; {statistics.median(new):.2f} where nobody has been before"
    return Row("click to concept: browser, s", statistics.median(warm), 1.0, at_least=False, beside=beside)


def _seconds_of_click(page: "Page", button: str) -> float:
    page.wait_for_timeout(500)
    before = page.url
    started = time.perf_counter()
    page.get_by_role("button", name=button).first.click()
    page.wait_for_function("(before) => location.href !== before", arg=before, polling=20)
    page.wait_for_function(SETTLED, timeout=120_000, polling=20)
    return time.perf_counter() - started
