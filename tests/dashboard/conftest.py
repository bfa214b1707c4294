"""Lakes and servers for the dashboard's tests."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from streamlit.testing.v1 import AppTest

from tables import TableStore
from tests.dashboard import browser, lakes

APP = str(Path(__file__).resolve().parents[2] / "dashboard" / "app.py")


@pytest.fixture(scope="session")
def full_lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A complete small lake; tests only read it."""
    return lakes.full_lake(tmp_path_factory.mktemp("full") / "lake")


@pytest.fixture
def empty_lake(tmp_path: Path) -> str:
    """A lake whose tables have no rows."""
    TableStore(str(tmp_path / "lake")).create()
    return str(tmp_path / "lake")


@pytest.fixture(scope="session")
def server(full_lake: str) -> Iterator[str]:
    """The address of a dashboard that shows the full lake."""
    with browser.served(full_lake) as address:
        yield address


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A headless Chromium."""
    with browser.chromium() as opened:
        yield opened


@pytest.fixture
def open_page(monkeypatch):
    """Open a page of the dashboard on a lake, as the browser would with these query parameters."""

    def opened(lake: str, page: str, /, **parameters: str) -> AppTest:
        app = AppTest.from_file(APP, default_timeout=60)
        monkeypatch.setattr(sys, "argv", ["app.py", "--lake", "/nowhere"])
        app.run()  # makes the pages known, without the cost of one
        monkeypatch.setattr(sys, "argv", ["app.py", "--lake", lake])
        app.query_params.update(parameters)
        app.switch_page(f"app_pages/{page}.py").run()
        return app

    return opened
