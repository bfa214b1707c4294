"""Pictures of every page in both themes and at two widths.

`python -m tests.dashboard.screenshots --lake lake --out screenshots`
"""

import argparse
from pathlib import Path

from playwright.sync_api import Browser

from tests.dashboard.browser import chromium, has_chromium, served, settle

# Name of the file: address of the page.
VIEWS = {
    "overview": "/",
    "concept-map": "/concept_map?concept={concept}",
    "concept": "/concept?concept={concept}",
    "blindspots": "/blindspots?generator=tiny-suppressed",
    "blindspots-all": "/blindspots?of=all+generators&rank=energy+gained+or+lost",
    "compare": "/compare?generator=tiny-sd&against=tiny-suppressed&concept={concept}",
    "runs": "/runs",
    "images": "/images",
    "images-pairs": "/images?view=pairs",
    "images-copies": "/images?view=copies",
    "images-one-pair": "/images?view=one+pair",
    "cooccurrence": "/cooccurrence",
    "cooccurrence-heat-map": "/cooccurrence?look=heat+map",
    "cooccurrence-one-concept": "/cooccurrence?look=one+concept",
}
WIDTHS = (1280, 1920)
THEMES = ("light", "dark")


def take(browser: Browser, address: str, out: Path, concept: int = 0) -> list[Path]:
    """Take all views of the dashboard at `address`; the files, named view-theme-width.png."""
    out.mkdir(parents=True, exist_ok=True)
    files = []
    for theme in THEMES:
        for width in WIDTHS:
            context = browser.new_context(viewport={"width": width, "height": 1000}, color_scheme=theme)
            page = context.new_page()
            for name, path in VIEWS.items():
                page.goto(address + path.format(concept=concept))
                settle(page)
                _grow_to_content(page)
                page.wait_for_timeout(2500)  # the map is painted after its points arrive
                files.append(out / f"{name}-{theme}-{width}.png")
                page.screenshot(path=files[-1])
                page.set_viewport_size({"width": width, "height": 1000})
            context.close()
    return files


def _grow_to_content(page) -> None:
    height = page.evaluate("document.querySelector('[data-testid=\"stMain\"]').scrollHeight")
    page.set_viewport_size({"width": page.viewport_size["width"], "height": min(max(1000, height), 6000)})


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lake", default="lake")
    parser.add_argument("--out", type=Path, default=Path("screenshots"))
    parser.add_argument("--concept", type=int, default=0, help="the concept to show")
    asked = parser.parse_args()
    if not has_chromium():
        raise SystemExit("Screenshots need Debian's chromium: apt-get install chromium")
    with served(asked.lake) as address, chromium() as browser:
        for file in take(browser, address, asked.out, asked.concept):
            print(file)


if __name__ == "__main__":
    main()
