"""Pictures of every page in both themes and at two widths.

`python -m tests.dashboard.screenshots --lake lake --out screenshots`; with `--readme .github` also those that
the README shows.
"""

import argparse
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser

from tests.dashboard.browser import chromium, has_chromium, served, settle

# Name of the file: address of the page. Every address takes a generator and a concept.
VIEWS = {
    "overview": "/?",
    "concept-map": "/concept_map?",
    "concept-map-two": "/concept_map?beside=tiny-sd&links=together+in+real+images",
    "concept-map-narrowed": "/concept_map?label=suppressed&label=exaggerated&colour=region",
    "concept": "/concept?",
    "blindspots": "/blindspots?",
    "blindspots-all": "/blindspots?of=all+generators&rank=energy+gained+or+lost",
    "compare": "/compare?against=tiny-sd",
    "images": "/images?",
    "images-pairs": "/images?view=pairs",
    "images-copies": "/images?view=copies",
    "images-one-pair": "/images?view=one+pair",
    "cooccurrence": "/cooccurrence?",
    "cooccurrence-heat-map": "/cooccurrence?look=heat+map",
    "cooccurrence-one-concept": "/cooccurrence?look=one+concept",
    "runs": "/runs?",
}
README = {"concept-map-two": 1180, "concept": 1500, "blindspots": 900}  # pixels from the top
WIDTHS = (1280, 1920)
THEMES = ("light", "dark")


def take(browser: Browser, address: str, out: Path, generator: str, concept: int) -> list[Path]:
    """Take all views of the dashboard at `address`; the files, named view-theme-width.png."""
    chosen = f"&generator={generator}&concept={concept}"
    out.mkdir(parents=True, exist_ok=True)
    files = []
    for theme in THEMES:
        for width in WIDTHS:
            context = browser.new_context(viewport={"width": width, "height": 1000}, color_scheme=theme)
            page = context.new_page()
            for name, path in VIEWS.items():
                page.goto(address + path + chosen)
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


def for_readme(shots: Path, out: Path) -> None:
    """The README's pictures from the light ones at 1280: their upper part, as WebP."""
    for name, height in README.items():
        with Image.open(shots / f"{name}-light-1280.png") as shot:
            upper = shot.crop((0, 0, shot.width, min(height, shot.height)))
            upper.save(out / f"{name}.webp", quality=82, method=6)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lake", default="lake")
    parser.add_argument("--out", type=Path, default=Path("screenshots"))
    parser.add_argument("--generator", default="tiny-suppressed", help="the generator to show")
    parser.add_argument("--concept", type=int, default=8, help="the concept to show")
    parser.add_argument("--readme", type=Path, help="folder for the README's pictures")
    asked = parser.parse_args()
    if not has_chromium():
        raise SystemExit("Screenshots need Debian's chromium: apt-get install chromium")
    with served(asked.lake) as address, chromium() as browser:
        for file in take(browser, address, asked.out, asked.generator, asked.concept):
            print(file)
    if asked.readme:
        for_readme(asked.out, asked.readme)


if __name__ == "__main__":
    main()
