"""The benchmark's served dashboard and headless Chromium, for tests and screenshots."""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page

from pipeline.benchmarks import dashboard_session
from pipeline.benchmarks.dashboard_browser import CHROMIUM, SETTLED, chromium, has_chromium

__all__ = ["CHROMIUM", "chromium", "has_chromium", "served", "settle"]


@contextmanager
def served(lake: str) -> Iterator[str]:
    """Run the dashboard on a free port of 127.0.0.1 and yield its address."""
    with dashboard_session.served(lake) as server:
        yield f"http://{server.address}"


def settle(page: Page, seconds: float = 120.0) -> None:
    """Wait until the page is drawn and nothing is on its way."""
    page.get_by_test_id("stHeading").first.wait_for(timeout=seconds * 1000)
    page.wait_for_function(SETTLED, timeout=seconds * 1000, polling=100)
