"""The dashboard in a real browser: nothing comes from outside, nothing complains, and a concept is found."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import polars as pl
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect

from dashboard import map_deck, maps
from tests.dashboard import browser, lakes
from tests.dashboard.browser import settle

if not browser.has_chromium():
    pytest.skip(f"browser tests: no {browser.CHROMIUM}, apt-get install chromium", allow_module_level=True)

PATHS = (
    *("/", "/concept_map?concept=3", "/blindspots", "/compare?concept=3", "/cooccurrence", "/images"),
    *("/runs", "/concept?concept=2"),
)
TIMEOUT = 90_000  # milliseconds; the machine may be busy


@dataclass
class Watched:
    """A page, and what it should not have done."""

    page: Page
    address: str
    complaints: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        """Go to a page and wait until it is drawn."""
        self.page.goto(self.address + path)
        settle(self.page)

    def heard(self, message: ConsoleMessage) -> None:
        """Keep an error; that Streamlit looks for its server below the page's path first is none."""
        where = message.location.get("url", "")
        if message.type == "error" and not re.search(r"/\w+/_stcore/(health|host-config)$", where):
            self.complaints.append(f"{message.text} {where}")

    def asked(self, request: Request) -> None:
        """Keep a request that leaves this machine."""
        if not request.url.startswith((self.address, self.address.replace("http", "ws"), "data:", "blob:")):
            self.outside.append(request.url)


@pytest.fixture(scope="module")
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """One browser cache for all tests here: loading Streamlit's own code is most of a page's time."""
    opened = chromium.new_context(viewport={"width": 1280, "height": 1000})
    opened.set_default_timeout(TIMEOUT)
    yield opened
    opened.close()


@pytest.fixture
def watched(context: BrowserContext, server: str) -> Iterator[Watched]:
    """A fresh session on the full lake; afterwards nobody complained and nothing left the machine."""
    page = context.new_page()
    seen = Watched(page, server)
    page.on("console", seen.heard)
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("request", seen.asked)
    page.on("dialog", lambda dialog: (seen.dialogs.append(dialog.message), dialog.dismiss()))
    yield seen
    page.close()
    assert seen.complaints == []
    assert seen.outside == []
    assert seen.dialogs == []


def test_every_page_loads_and_foreign_text_stays_text(watched: Watched):
    for path in PATHS:
        watched.open(path)
        assert watched.page.get_by_test_id("stException").count() == 0
        assert "broken" not in watched.page.title()
    shown = watched.page.locator("h1").inner_text().replace("\u2060", "")
    assert shown == lakes.NAMES[2]  # letter by letter: <b>bold</b> *star* :smile:
    assert watched.page.locator("[data-testid=stMain] img[src=x]").count() == 0


def test_from_search_to_the_concept_and_on(watched: Watched):
    page = watched.page
    watched.open("/concept_map?generator=tiny-suppressed")
    page.get_by_role("searchbox", name="Search").fill("red triangle")
    page.keyboard.press("Enter")
    page.get_by_test_id("stPageLink").filter(has_text="red triangle").locator("a").click()
    expect(page.locator("h1")).to_have_text("red triangle", timeout=TIMEOUT)
    settle(page)
    assert "concept=0" in page.url
    assert "generator=tiny-suppressed" in page.url
    page.get_by_role("button", name="Next").click()
    expect(page.locator("h1")).to_have_text("stripes", timeout=TIMEOUT)
    assert "concept=1" in page.url


def test_the_most_suppressed_concept_of_another_generator_is_three_clicks_away(watched: Watched):
    page = watched.page
    watched.open("/")
    page.get_by_role("combobox", name="Generator").click()
    page.get_by_role("option", name="tiny-suppressed").click()
    expect(page.get_by_text("Energy differences of tiny-suppressed")).to_be_visible(timeout=TIMEOUT)
    settle(page)
    page.get_by_test_id("stPageLink").first.locator("a").click()
    expect(page.get_by_text("Strongest in real images")).to_be_visible(timeout=TIMEOUT)
    settle(page)
    assert re.search(r"concept=(0|2)\b", page.url) and "generator=tiny-suppressed" in page.url
    assert page.locator("[data-testid=stMain] img").count() > 4
    assert page.get_by_text(lakes.PLAIN[0]).count() > 0  # a caption


def test_a_concept_is_reached_and_stepped_through_by_keyboard_alone(watched: Watched):
    page = watched.page
    watched.open("/concept_map")
    page.get_by_role("searchbox", name="Search").focus()
    page.keyboard.type("red triangle")
    page.keyboard.press("Enter")
    link = page.get_by_test_id("stPageLink").filter(has_text="red triangle").locator("a")
    expect(link).to_be_visible(timeout=TIMEOUT)
    settle(page)
    for _ in range(60):
        page.keyboard.press("Tab")
        if link.evaluate("(element) => element === document.activeElement"):
            break
    shaded = link.evaluate("(element) => getComputedStyle(element).backgroundColor")
    assert shaded != "rgba(0, 0, 0, 0)"  # where the focus is can be seen
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("red triangle", timeout=TIMEOUT)
    settle(page)
    page.get_by_role("button", name="Next").focus()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("stripes", timeout=TIMEOUT)


@pytest.mark.parametrize("width", [1280, 1920])
def test_the_dark_theme_is_drawn_and_nothing_sticks_out(chromium: Browser, server: str, width: int):
    context = chromium.new_context(viewport={"width": width, "height": 1000}, color_scheme="dark")
    page = context.new_page()
    for path in PATHS:
        page.goto(server + path)
        settle(page)
        background = page.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor")
        assert background == "rgb(22, 23, 28)"
        wide = page.evaluate("document.querySelector('[data-testid=\"stMain\"]').scrollWidth")
        shown = page.evaluate("document.querySelector('[data-testid=\"stMain\"]').clientWidth")
        assert wide <= shown, path
        assert page.get_by_test_id("stException").count() == 0
    context.close()


@pytest.mark.parametrize("beside", ["", "&beside=tiny-suppressed"])
def test_a_click_on_a_point_chooses_its_concept(watched: Watched, beside: str):
    page = watched.page
    # Picking on software GL takes longer than a click may last: a slow clock keeps the click a click.
    page.add_init_script(
        "const now = Date.now; const start = now(); Date.now = () => start + (now() - start) / 10;"
    )
    watched.open(f"/concept_map?concept=3{beside}")
    page.wait_for_timeout(3000)  # the points are painted after they arrive
    page.get_by_label("Concept", exact=True).fill("")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Click a point, search")).to_be_visible(timeout=TIMEOUT)
    settle(page)
    for concept in (3, 11):
        x, y = _on_screen(page, concept, n_maps=2 if beside else 1)
        page.mouse.move(x, y)
        page.mouse.click(x, y)
        expect(page.get_by_label("Concept", exact=True)).to_have_value(str(concept), timeout=TIMEOUT)
        assert f"concept={concept}" in page.url
        settle(page)


def test_a_narrowed_map_is_exported(watched: Watched):
    page = watched.page
    watched.open("/concept_map?generator=tiny-suppressed")
    page.get_by_role("button", name="suppressed", exact=True).click()
    expect(page.get_by_text(re.compile(r"^\d+ of 40 concepts$"))).to_be_visible(timeout=TIMEOUT)
    page.get_by_role("searchbox", name="Search").fill("red triangle")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 of 40 concepts")).to_be_visible(timeout=TIMEOUT)
    settle(page)
    assert "label=suppressed" in page.url and "q=red" in page.url
    for kind, read in (("CSV", pl.read_csv), ("Parquet", pl.read_parquet)):
        with page.expect_download() as started:
            page.get_by_role("button", name=kind, exact=True).click()
        rows = read(started.value.path())
        assert rows.select("generator", "concept_id", "name", "label").rows() == [
            ("tiny-suppressed", 0, "red triangle", "suppressed")
        ]


def test_from_a_caption_to_its_pair_concept_by_concept(watched: Watched):
    page = watched.page
    watched.open("/images")
    page.get_by_text("pairs", exact=True).first.click()
    page.get_by_role("searchbox", name="Caption").fill("red triangle above")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 of 12 pairs")).to_be_visible(timeout=TIMEOUT)
    settle(page)
    assert "view=pairs" in page.url
    assert "caption=red" in page.url
    page.get_by_role("button", name="Concept by concept").click()
    expect(page.get_by_text("rank 6 of 12")).to_be_visible(timeout=TIMEOUT)
    settle(page)
    assert "pair=6" in page.url
    assert page.get_by_test_id("stException").count() == 0
    watched.open(page.url.removeprefix(watched.address))  # a fresh session on the same link
    expect(page.get_by_text("rank 6 of 12")).to_be_visible(timeout=TIMEOUT)


def test_every_view_of_cooccurrence_draws(watched: Watched):
    page = watched.page
    for view, words in (
        ("", "pairs of concepts"),
        ("?look=heat+map", "those of one community side by side"),
        ("?look=one+concept&concept=2", "The wider a line"),
    ):
        watched.open("/cooccurrence" + view)
        expect(page.get_by_text(words).first).to_be_visible(timeout=TIMEOUT)
        settle(page)
        assert page.get_by_test_id("stException").count() == 0
        assert page.locator("[data-testid=stMain] img[src=x]").count() == 0
    assert page.get_by_test_id("stVegaLiteChart").count() == 2


def test_blindspots_are_filtered_exported_and_followed(watched: Watched):
    page = watched.page
    watched.open("/blindspots?generator=tiny-suppressed&label=suppressed")
    page.get_by_role("searchbox", name="Search").fill("red triangle")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 of 40 concepts")).to_be_visible(timeout=TIMEOUT)
    settle(page)
    assert "q=red" in page.url
    with page.expect_download() as started:
        page.get_by_role("button", name="CSV", exact=True).first.click()  # of the ranking, above the advice
    exported = pl.read_csv(started.value.path())
    assert exported.select("generator", "concept_id", "name", "label").rows() == [
        ("tiny-suppressed", 0, "red triangle", "suppressed")
    ]
    with page.expect_download() as started:
        page.get_by_role("button", name="Parquet", exact=True).first.click()
    assert pl.read_parquet(started.value.path())["words"].to_list() == [["red", "triangle"]]
    table = page.get_by_test_id("stDataFrame").first.bounding_box()
    page.mouse.click(table["x"] + 16, table["y"] + 36 + 38)  # the box of the first row, below the head
    expect(page.locator("h1")).to_have_text("red triangle", timeout=TIMEOUT)
    settle(page)
    assert "concept=0" in page.url and "generator=tiny-suppressed" in page.url


def test_two_generators_are_compared_and_a_concept_followed(watched: Watched):
    page = watched.page
    watched.open("/compare")
    page.get_by_role("combobox", name="Generator").click()
    page.get_by_role("option", name="tiny-suppressed").click()
    expect(page.get_by_text("Across: tiny-suppressed")).to_be_visible(timeout=TIMEOUT)
    settle(page)
    scatter = page.get_by_test_id("stVegaLiteChart").nth(1)
    scatter.locator("path[aria-roledescription=circle]").last.click(force=True)
    link = page.get_by_test_id("stPageLink").last.locator("a")
    expect(link).to_be_visible(timeout=TIMEOUT)
    settle(page)
    concept = re.search(r"concept=(\d+)", page.url)
    assert concept and "generator=tiny-suppressed" in page.url
    link.click()
    expect(page.get_by_text(f"Concept {concept[1]}.")).to_be_visible(timeout=TIMEOUT)
    settle(page)
    assert f"concept={concept[1]}" in page.url and "generator=tiny-suppressed" in page.url


def test_runs_without_records_name_their_command(watched: Watched):
    watched.open("/runs")
    expect(watched.page.get_by_text("python -m pipeline run CONFIG")).to_be_visible(timeout=TIMEOUT)


def _on_screen(page: Page, concept: int, n_maps: int) -> tuple[float, float]:
    """Where a point of the last map is on the screen, from the points that the browser has fetched."""
    urls = page.evaluate("performance.getEntriesByType('resource').map((entry) => entry.name)")
    files = page.evaluate(
        "(urls) => Promise.all(urls.map((url) => fetch(url).then((answer) => answer.json())))",
        [url for url in urls if ".json" in url],
    )
    points = next(file for file in files if file and "i" in file[0])  # of all maps in the same places
    point = next(point for point in points if point["i"] == concept)
    box = page.get_by_test_id("stDeckGlJsonChart").bounding_box()
    assert box is not None
    fit = map_deck.MAP_FIT if n_maps == 1 else map_deck.MAP_FIT_BESIDE
    scale = fit / maps.MAP_SIZE
    middle_x = box["x"] + box["width"] * (n_maps - 0.5) / n_maps
    middle_y = box["y"] + box["height"] / 2
    return middle_x + (point["x"] - 500) * scale, middle_y + (point["y"] - 500) * scale
